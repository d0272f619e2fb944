"""`myop-cdn publish`: sync, then deploy, in one process."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from myop_cdn.cli.options import Destination, Duration, argument, command, group, option
from myop_cdn.cli.settings import (
    DeploySettings,
    ExportSettings,
    LimitSettings,
    NoticeSettings,
    PlanSettings,
    RunSettings,
    SourceSettings,
    check_plan,
    deploy_options,
    sync_options,
)
from myop_cdn.errors import ExitCode, MyopCdnError

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from myop_cdn.cli.console import Console
    from myop_cdn.progress import Progress
    from myop_cdn.report import PublishReport
    from myop_cdn.tree import Tree


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """Whether the CDN is asked afterwards."""

    TITLE: ClassVar[str] = "CDN"
    check: str | None = option(
        metavar="BASE_URL",
        help="Then ask the CDN for what was exported, as 'myop-cdn check' does; BASE_URL is what "
        "enableSelfHosted() is given.",
    )
    check_wait: timedelta = option(
        type=Duration(),
        default="30s",
        metavar="DURATION",
        help="How long --check asks again until the CDN shows the new documents.",
    )


@dataclass(frozen=True, slots=True)
class PublishSettings:
    """All that `publish` takes."""

    destinations: tuple[str, ...] = argument(
        nargs=-1, required=True, type=Destination(), metavar="DESTINATION..."
    )
    source: SourceSettings = group(SourceSettings)
    export: ExportSettings = group(ExportSettings)
    plan: PlanSettings = group(PlanSettings)
    deploy: DeploySettings = group(DeploySettings)
    check: CheckSettings = group(CheckSettings)
    limits: LimitSettings = group(LimitSettings)
    notices: NoticeSettings = group(NoticeSettings)
    run: RunSettings = group(RunSettings)


@command(
    PublishSettings,
    "myop-cdn publish s3://my-bucket/myop",
    "myop-cdn publish s3://my-bucket/myop --payload body.json \\\n"
    '    --signature "$SIGNATURE" --invalidate cloudfront:E2EXAMPLE',
    "myop-cdn publish s3://my-bucket/myop --plan-out release.plan",
    "myop-cdn publish s3://my-bucket/myop --apply release.plan",
)
def publish(console: Console, settings: PublishSettings) -> PublishReport:
    """Sync, then deploy, with the options of both.

    --delete is carried out when the folder is complete, and passed over with a note when it
    holds only what was released.
    """
    if not settings.notices.wanted or settings.run.dry_run or settings.plan.plan_out is not None:
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
    from myop_cdn.cli.reports import offer_documents, say_deploy, say_plan, say_sync
    from myop_cdn.cli.source import exporter_of, scope_of
    from myop_cdn.publish import publish as run
    from myop_cdn.tree import DryRunTree, Tree

    export, limits, plan = settings.export, settings.limits, settings.plan
    check_plan(plan, "payload", "releases", "full", "signature", "environment", "check")
    if plan.apply is not None:
        return _apply(console, plan.apply, settings)
    dry_run = settings.run.dry_run or plan.plan_out is not None
    scope = scope_of(settings.source, console)
    options = sync_options(export, limits)
    deploying = deploy_options(settings.deploy, limits, dry_run=dry_run, plan_out=plan.plan_out)
    if settings.check.check is not None:
        from myop_cdn.check import parse

        parse(settings.check.check)  # a wrong one is said before anything is done
    with ExitStack() as stack:
        tree = stack.enter_context(DryRunTree.of(export.output)) if dry_run else Tree(export.output)
        progress = stack.enter_context(console.progress())
        report = run(
            scope,
            lambda: exporter_of(export, console),
            tree,
            settings.destinations,
            options,
            deploying,
            progress,
        )
        report = _checked(settings, report, tree, progress)
    if report.sync.scope != "none" or report.error is None:  # else it came to no export at all
        say_sync(console, report.sync, dry_run=dry_run)
    if report.deploy is not None:
        say_deploy(console, report.deploy)
        say_plan(console, plan.plan_out, report.deploy)
        offer_documents(console, settings.destinations, deploying, report.deploy)
    if report.check is not None:
        from myop_cdn.cli.check import say_check

        say_check(console, report.check)
    elif settings.check.check is not None:
        console.info("the CDN was not asked: nothing was published")
    return report


def _checked(
    settings: PublishSettings, report: PublishReport, tree: Tree, progress: Progress
) -> PublishReport:
    """The report with what the CDN answers for what was exported, where that is wanted."""
    url = settings.check.check
    if url is None or report.deploy is None or report.deploy.dry_run:
        return report
    if report.deploy.exit_code not in (ExitCode.DONE, ExitCode.PARTLY):
        return report
    from myop_cdn.check import DEFAULT_ORIGIN, CheckOptions, Exported, check
    from myop_cdn.report import CheckReport, Fault

    pages = (one for one in settings.deploy.objects.cors_origin if "*" not in one)
    options = CheckOptions(
        origin=next(pages, DEFAULT_ORIGIN),
        wait=settings.check.check_wait,
        jobs=settings.limits.jobs,
    )
    exported = Exported(tree, report.sync, report.deploy)
    if not exported.refs():
        return report
    try:
        checked = check(url, exported, options, progress)
    except MyopCdnError as error:  # what was published is to be reported all the same
        fault = Fault("unreachable", (), error.message, error.hint)
        checked = CheckReport(url, options.origin, exported.source, faults=(fault,))
    return replace(report, check=checked)


def _apply(console: Console, file: Path, settings: PublishSettings) -> PublishReport:
    from myop_cdn.cli.reports import say_deploy
    from myop_cdn.deploy import apply
    from myop_cdn.report import PublishReport
    from myop_cdn.sync import left_alone
    from myop_cdn.tree import Tree

    dry_run = settings.run.dry_run
    options = deploy_options(settings.deploy, settings.limits, dry_run=dry_run)
    with console.progress() as progress:
        deployed = apply(file, settings.destinations, options, progress)
    say_deploy(console, deployed)
    return PublishReport(left_alone(Tree(settings.export.output)), deployed)
