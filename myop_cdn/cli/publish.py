"""`myop-cdn publish`: sync, then deploy, in one process."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from myop_cdn.cli.deploy import deploy_options, show, show_plan
from myop_cdn.cli.options import (
    DRY_RUN,
    EXPORT_OPTIONS,
    JSON,
    SOURCE_OPTIONS,
    ExportSettings,
    SourceSettings,
    pick,
    with_options,
)
from myop_cdn.errors import MyopCdnError

if TYPE_CHECKING:
    from myop_cdn.cli.console import Console
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.model import Scope
    from myop_cdn.report import PublishReport


@click.command()
@click.argument("destinations", nargs=-1, required=True, metavar="DESTINATION...")
@with_options(*SOURCE_OPTIONS, *EXPORT_OPTIONS)
@deploy_options
@with_options(DRY_RUN, JSON)
@click.pass_context
def publish(
    ctx: click.Context,
    /,
    destinations: tuple[str, ...],
    deploying: DeployOptions,
    dry_run: bool,
    json: bool,
    **values: Any,
) -> int:
    """Sync, then deploy, with the options of both.

    --delete is carried out when the folder is complete, and passed over with a note when it
    holds only what was released.
    """
    from myop_cdn.cli.source import scope_of

    console: Console = ctx.obj
    export = pick(ExportSettings, values)
    options = replace(deploying, jobs=export.jobs, dry_run=dry_run)
    if export.max_delete is not None:
        options = replace(options, max_delete=export.max_delete)
    known: dict[str, Any] = {"command": "publish"}
    try:
        scope = scope_of(pick(SourceSettings, values), console)
        report = _run(export, scope, destinations, options, console)
    except MyopCdnError as error:
        if json:
            console.report_end(known, error)
        raise
    _say(console, report, dry_run=dry_run, json=json)
    return int(report.exit_code)


def _run(
    export: ExportSettings,
    scope: Scope,
    destinations: tuple[str, ...],
    options: DeployOptions,
    console: Console,
) -> PublishReport:
    from myop_cdn.cli.exporting import exporter_of, sync_options_of
    from myop_cdn.publish import publish as run
    from myop_cdn.tree import DryRunTree, Tree

    sync_options = sync_options_of(export)
    with ExitStack() as stack:
        rehearse = options.dry_run
        tree = (
            stack.enter_context(DryRunTree.of(export.output)) if rehearse else Tree(export.output)
        )
        progress = stack.enter_context(console.progress())
        return run(
            scope,
            lambda: exporter_of(export),
            tree,
            destinations,
            sync_options,
            options,
            progress,
        )


def _say(console: Console, report: PublishReport, *, dry_run: bool, json: bool) -> None:
    from myop_cdn.cli.words import say_sync

    say_sync(console, report.sync, dry_run=dry_run, json=json)
    if report.deploy is not None:
        show(console, report.deploy)
        if dry_run and not json:
            show_plan(console, report.deploy)
    if json:
        console.report(report.to_json())
