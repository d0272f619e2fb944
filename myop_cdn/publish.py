"""Look at the destinations, sync, then deploy: the one place where the three meet.

In this order: what Myop answers after a look is at least as new as what was seen there.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from myop_cdn.deploy import (
    CACHED,
    Cause,
    Deployment,
    DeployOptions,
    check_destinations,
    read_exported,
)
from myop_cdn.deploy.source import LocalObject, encoded
from myop_cdn.errors import MyopCdnError
from myop_cdn.exportnote import NotedDocument
from myop_cdn.model import DocumentRef, Release, Scope
from myop_cdn.moments import utc_now, written
from myop_cdn.progress import Silent
from myop_cdn.report import DeployReport, PublishReport, SyncReport
from myop_cdn.storage.base import Body
from myop_cdn.sync import SyncOptions, left_alone, released, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from myop_cdn.export import Exporter
    from myop_cdn.model import ExportedDocument
    from myop_cdn.progress import Progress
    from myop_cdn.tree import Tree

__all__ = ["Cause", "check_destinations", "publish"]


def publish(
    scope: Scope,
    exporter: Callable[[], Exporter],
    tree: Tree,
    destinations: Sequence[str],
    sync_options: SyncOptions | None = None,
    deploy_options: DeployOptions | None = None,
    progress: Progress | None = None,
    cause: Cause | None = None,
    now: Callable[[], datetime] = utc_now,
) -> PublishReport:
    """Export what `scope` asks for into `tree` and bring every destination up to it.

    Deployed are exactly the documents that were just exported, never the rest of the folder.
    exporter: makes an exporter; called again where another run was there in between, not at all
    where there is nothing to do. cause: what the destinations' logs say about why. now: this
    machine's clock. Documents that failed don't hold up the others, but nothing is deleted then. A
    scope of `none` deploys nothing. Raises InputError for destinations, and what `sync` raises;
    what goes wrong at a destination is in its report, and where none can be looked at, Myop is
    asked for nothing.
    """
    sync_options = sync_options or SyncOptions()
    deploy_options = deploy_options or DeployOptions()
    nothing = DeployReport(deploy_options.dry_run)
    if scope.kind == "none":
        if deploy_options.plan_out is not None:
            with Deployment(destinations, deploy_options, None, cause or Cause("publish")) as idle:
                idle.plan_nothing(tree)
        return PublishReport(left_alone(tree), nothing)
    if not destinations:
        return PublishReport(sync(scope, exporter(), tree, sync_options, progress), nothing)
    options = replace(
        deploy_options, skip_partial_delete=True, environments=sync_options.environments
    )
    cause = (cause or Cause("publish"))._replace(
        scope=scope.kind, announced=_announced(scope, cause)
    )
    with Deployment(destinations, options, tree.root, cause, progress, now) as deployment:
        opened = exporter()  # what is wrong with it is said before any request
        if scope.kind == "full":
            deployment.look(None)
        else:
            deployment.look(released(scope, sync_options), scope.releases)
        if (lost := deployment.lost()) is not None:
            return PublishReport(left_alone(tree), lost)
        synced = sync(scope, opened, tree, sync_options, progress)
        if not synced.documents:
            deployment.plan_nothing(tree)
            return PublishReport(synced, nothing)
        again = _AskAgain(
            exporter, tree, scope, sync_options, options, by_document=synced.exporter == "api"
        )
        try:
            source = read_exported(
                tree,
                options.encoding,
                options.jobs,
                synced.documents,
                with_md5=deployment.needs_md5s,
                whole=scope.kind == "full" and not synced.failed,
            )
        except MyopCdnError as error:
            return PublishReport(synced, deployment.fail(error))
        deployed = deployment.bring(source, again)
    return PublishReport(_with_cached_behind(synced, deployed), deployed)


def _announced(scope: Scope, cause: Cause | None) -> str:
    if cause is not None and cause.announced:
        return cause.announced
    moments = [one.announced_at for one in scope.releases if one.announced_at]
    return written(max(moments)) if moments else ""


def _with_cached_behind(synced: SyncReport, deployed: DeployReport) -> SyncReport:
    """The sync's report, documents whose answer looked cached marked as behind."""
    cached = {
        one.key
        for destination in deployed.destinations
        for one in destination.overtaken
        if one.reason == CACHED
    }
    if not cached:
        return synced
    documents = tuple(
        replace(one, holds_announced=False) if one.ref.path in cached else one
        for one in synced.documents
    )
    return replace(synced, documents=documents)


class _AskAgain:
    """Exports single documents once more, for a destination where somebody was in between."""

    def __init__(
        self,
        exporter: Callable[[], Exporter],
        tree: Tree,
        scope: Scope,
        sync_options: SyncOptions,
        deploy_options: DeployOptions,
        *,
        by_document: bool,
    ) -> None:
        """by_document: whether asking takes no whole export."""
        self._by_document = by_document
        self._exporter = exporter
        self._tree = tree
        self._releases = {release.ref: release for release in scope.releases}
        self._sync_options = replace(sync_options, with_previews=False)
        self._deploy_options = deploy_options
        self._lock = threading.Lock()  # several destinations may ask at once

    def __call__(self, keys: Collection[str]) -> Mapping[str, LocalObject]:
        """The documents at these keys that Myop has, by key. Raises what `sync` raises."""
        refs = sorted(ref for ref in map(DocumentRef.of, keys) if ref)
        releases = (self._releases.get(ref) or _as_release(ref) for ref in refs)
        scope = Scope("incremental", tuple(releases))
        with self._lock:
            synced = sync(scope, self._exporter(), self._tree, self._sync_options)
        return {one.ref.path: self._object(one) for one in synced.documents}

    def named(self, keys: Collection[str]) -> set[str]:
        """See `deploy.source.AskAgain`."""
        if not self._by_document:
            return set()
        try:
            with self._exporter().open(Scope("full"), Silent()) as export:
                index = export.index()
        except MyopCdnError:
            return set()
        return {ref.path for ref in index.all_refs()}.intersection(keys)

    def _object(self, document: ExportedDocument) -> LocalObject:
        key = document.ref.path
        data = encoded(self._tree.read(key), self._deploy_options.encoding)
        return LocalObject.of(key, Body.of(data), NotedDocument.of(document))


def _as_release(ref: DocumentRef) -> Release:
    return Release(ref.component_id, ref.environment)
