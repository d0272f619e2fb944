"""`myop-cdn publish`: sync, then deploy, in one process."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from myop_cdn.cli.options import argument, command, group
from myop_cdn.cli.settings import (
    DeploySettings,
    ExportSettings,
    LimitSettings,
    NoticeSettings,
    RunSettings,
    SourceSettings,
    deploy_options,
    sync_options,
)

if TYPE_CHECKING:
    from myop_cdn.cli.console import Console
    from myop_cdn.report import PublishReport


@dataclass(frozen=True, slots=True)
class PublishSettings:
    """All that `publish` takes."""

    destinations: tuple[str, ...] = argument(nargs=-1, required=True, metavar="DESTINATION...")
    source: SourceSettings = group(SourceSettings)
    export: ExportSettings = group(ExportSettings)
    deploy: DeploySettings = group(DeploySettings)
    limits: LimitSettings = group(LimitSettings)
    notices: NoticeSettings = group(NoticeSettings)
    run: RunSettings = group(RunSettings)


@command(
    PublishSettings,
    "myop-cdn publish s3://my-bucket/myop",
    "myop-cdn publish s3://my-bucket/myop --payload body.json \\\n"
    '    --signature "$SIGNATURE" --invalidate cloudfront:E2EXAMPLE',
)
def publish(console: Console, settings: PublishSettings) -> PublishReport:
    """Sync, then deploy, with the options of both.

    --delete is carried out when the folder is complete, and passed over with a note when it
    holds only what was released.
    """
    if not settings.notices.wanted or settings.run.dry_run:
        return _run(console, settings)
    from myop_cdn.cli.notices import channels_of, told_of
    from myop_cdn.text import shown_url

    channels = channels_of(settings.notices, console, allow_http=settings.export.api.allow_http)
    subject = ", ".join(shown_url(one) for one in settings.destinations)
    with told_of(subject, channels, console) as tell:
        report = _run(console, settings)
        tell(report.error)
    return report


def _run(console: Console, settings: PublishSettings) -> PublishReport:
    from myop_cdn.cli.reports import say_deploy, say_sync
    from myop_cdn.cli.source import exporter_of, scope_of
    from myop_cdn.publish import publish as run
    from myop_cdn.tree import DryRunTree, Tree

    export, limits, dry_run = settings.export, settings.limits, settings.run.dry_run
    scope = scope_of(settings.source, console)
    options = sync_options(export, limits)
    with ExitStack() as stack:
        report = run(
            scope,
            lambda: exporter_of(export, console),
            stack.enter_context(DryRunTree.of(export.output)) if dry_run else Tree(export.output),
            settings.destinations,
            options,
            deploy_options(settings.deploy, limits, dry_run=dry_run),
            stack.enter_context(console.progress()),
        )
    say_sync(console, report.sync, dry_run=dry_run)
    if report.deploy is not None:
        say_deploy(console, report.deploy)
    return report
