"""`myop-cdn sync`: export what was released into a folder."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from myop_cdn.cli.options import command, group
from myop_cdn.cli.settings import (
    ExportSettings,
    LimitSettings,
    RunSettings,
    SourceSettings,
    sync_options,
)

if TYPE_CHECKING:
    from myop_cdn.cli.console import Console
    from myop_cdn.model import Scope
    from myop_cdn.report import SyncReport


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """All that `sync` takes."""

    source: SourceSettings = group(SourceSettings)
    export: ExportSettings = group(ExportSettings)
    limits: LimitSettings = group(LimitSettings)
    run: RunSettings = group(RunSettings)


@command(
    SyncSettings,
    "myop-cdn sync --output ./myop-static",
    'myop-cdn sync --payload body.json --signature "$SIGNATURE" --json',
)
def sync(console: Console, settings: SyncSettings) -> SyncReport:
    """Export what was released from Myop into a folder of static JSON files.

    Without a payload everything is exported. An incremental sync never removes a file; a full
    one removes the documents that are gone from Myop, up to --max-delete.
    """
    from myop_cdn.cli.reports import say_sync
    from myop_cdn.cli.source import scope_of

    console.known["output"] = str(settings.export.output)
    scope = scope_of(settings.source, console)
    console.known["scope"] = scope.kind
    report = _run(console, settings, scope)
    say_sync(console, report, dry_run=settings.run.dry_run)
    return report


def _run(console: Console, settings: SyncSettings, scope: Scope) -> SyncReport:
    from myop_cdn.cli.source import exporter_of
    from myop_cdn.sync import left_alone
    from myop_cdn.sync import sync as run
    from myop_cdn.tree import DryRunTree, Tree

    options = sync_options(settings.export, settings.limits)
    output = settings.export.output
    with ExitStack() as stack:
        tree = stack.enter_context(DryRunTree.of(output)) if settings.run.dry_run else Tree(output)
        if scope.kind == "none":
            return left_alone(tree)
        exporter = exporter_of(settings.export, console)
        progress = stack.enter_context(console.progress())
        return run(scope, exporter, tree, options, progress)
