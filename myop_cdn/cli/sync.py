"""`myop-cdn sync`: export what was released into a folder."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

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
    from myop_cdn.model import Scope
    from myop_cdn.report import SyncReport


@click.command()
@with_options(*SOURCE_OPTIONS, *EXPORT_OPTIONS, DRY_RUN, JSON)
@click.pass_context
def sync(ctx: click.Context, /, dry_run: bool, json: bool, **values: Any) -> int:
    """Export what was released from Myop into a folder of static JSON files.

    Without a payload everything is exported. An incremental sync never removes a file; a full
    one removes the documents that are gone from Myop, up to --max-delete.
    """
    from myop_cdn.cli.source import scope_of
    from myop_cdn.cli.words import say_sync

    console: Console = ctx.obj
    export = pick(ExportSettings, values)
    known: dict[str, Any] = {"command": "sync", "output": str(export.output)}
    try:
        scope = scope_of(pick(SourceSettings, values), console)
        known["scope"] = scope.kind
        report = _run(export, scope, console, dry_run=dry_run)
    except MyopCdnError as error:
        if json:
            console.report_end(known, error)
        raise
    say_sync(console, report, dry_run=dry_run, json=json)
    if json:
        console.report(report.to_json())
    return int(report.exit_code)


def _run(export: ExportSettings, scope: Scope, console: Console, *, dry_run: bool) -> SyncReport:
    from myop_cdn.cli.exporting import exporter_of, sync_options_of
    from myop_cdn.sync import left_alone
    from myop_cdn.sync import sync as run
    from myop_cdn.tree import DryRunTree, Tree

    options = sync_options_of(export)
    with ExitStack() as stack:
        tree = stack.enter_context(DryRunTree.of(export.output)) if dry_run else Tree(export.output)
        if scope.kind == "none":
            return left_alone(tree)
        exporter = exporter_of(export)
        progress = stack.enter_context(console.progress())
        return run(scope, exporter, tree, options, progress)
