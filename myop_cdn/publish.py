"""Sync, then deploy: the one place where the two meet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from myop_cdn.deploy import DeployOptions, check_destinations, deploy
from myop_cdn.report import DeployReport, PublishReport
from myop_cdn.sync import left_alone, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.export import Exporter
    from myop_cdn.model import Scope
    from myop_cdn.progress import Progress
    from myop_cdn.sync import SyncOptions
    from myop_cdn.tree import Tree


def publish(
    scope: Scope,
    exporter: Callable[[], Exporter],
    tree: Tree,
    destinations: Sequence[str],
    sync_options: SyncOptions | None = None,
    deploy_options: DeployOptions | None = None,
    progress: Progress | None = None,
) -> PublishReport:
    """Export what `scope` asks for into `tree` and bring every destination up to it.

    exporter: makes the exporter; not called where there is nothing to do. Documents that failed
    don't hold up the others, but nothing is deleted then. A scope of `none` deploys nothing, nor
    does a tree without documents. Raises InputError for destinations, and what `sync` raises.
    """
    deploy_options = deploy_options or DeployOptions()
    nothing = DeployReport(deploy_options.dry_run)
    if scope.kind == "none":
        return PublishReport(left_alone(tree), nothing)
    if destinations:
        check_destinations(destinations, deploy_options, tree.root)  # before any request
    synced = sync(scope, exporter(), tree, sync_options, progress)
    if not destinations or not tree.refs():
        return PublishReport(synced, nothing)
    options = replace(deploy_options, skip_partial_delete=True)
    if synced.failed:
        options = replace(options, delete=False)
    return PublishReport(synced, deploy(tree, destinations, options, progress))
