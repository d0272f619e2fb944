"""`myop-cdn sync`, `deploy` and `publish`: what was released goes to a folder, and from there to
its destinations.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from myop_cdn.cli.options import Destination, argument, command, group, option, option_group
from myop_cdn.cli.settings import (
    DeploySettings,
    ExportSettings,
    LimitSettings,
    NoticeSettings,
    PlanSettings,
    RunSettings,
    SourceSettings,
    channels_of,
    check_plan,
    deploy_options,
    exporter_of,
    sync_options,
)
from myop_cdn.errors import (
    ExitCode,
    InputError,
    Interrupted,
    MyopCdnError,
    SignatureInvalid,
    SignatureUncheckable,
    unexpected,
)
from myop_cdn.model import Scope
from myop_cdn.text import shown_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta

    from myop_cdn.cli.console import Console
    from myop_cdn.model import Delivery
    from myop_cdn.notify.policy import EventKind
    from myop_cdn.notify.sender import Channel
    from myop_cdn.progress import Progress
    from myop_cdn.report import CheckReport, DeployReport, PublishReport, SyncReport
    from myop_cdn.tree import Tree

# How long a run that failed waits at its end: for receivers, and for a command, which has a time
# limit of its own.
_LAST_WORD_SECONDS = 12.0
_COMMAND_SECONDS = 35.0


@option_group()
class SyncSettings:
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
    from myop_cdn.sync import left_alone
    from myop_cdn.sync import sync as run

    output, dry_run = settings.export.output, settings.run.dry_run
    console.known["output"] = str(output)
    scope = scope_of(settings.source, console)
    console.known["scope"] = scope.kind
    options = sync_options(settings.export, settings.limits)
    with ExitStack() as stack:
        tree = _tree(output, stack, dry_run=dry_run)
        if scope.kind == "none":
            report = left_alone(tree)
        else:
            exporter = exporter_of(settings.export, console.warn_once)
            report = run(scope, exporter, tree, options, stack.enter_context(console.progress()))
    say_sync(console, report, dry_run=dry_run)
    return report


def _tree(folder: Path, stack: ExitStack, *, dry_run: bool) -> Tree:
    from myop_cdn.tree import DryRunTree, Tree

    return stack.enter_context(DryRunTree.of(folder)) if dry_run else Tree(folder)


@option_group("What to upload")
class DeployCommandSettings:
    destinations: tuple[str, ...] = argument(
        nargs=-1, required=True, type=Destination(), metavar="DESTINATION..."
    )
    source: Path = option(
        "The folder to upload.", "DIR", type=click.Path(path_type=Path), default="./myop-static"
    )
    force: bool = option("Upload documents even where the destination holds a later export.")
    plan: PlanSettings = group(PlanSettings)
    deploy: DeploySettings = group(DeploySettings)
    limits: LimitSettings = group(LimitSettings)
    run: RunSettings = group(RunSettings)


@command(
    DeployCommandSettings,
    "myop-cdn deploy s3://my-bucket/myop --dry-run",
    "myop-cdn deploy s3://my-bucket/myop file:///srv/cdn --delete",
    "myop-cdn deploy s3://my-bucket/myop --plan-out release.plan",
    "myop-cdn deploy s3://my-bucket/myop --apply release.plan",
)
def deploy(console: Console, settings: DeployCommandSettings) -> DeployReport:
    """Upload a folder to S3, GCS, Azure or a folder.

    A DESTINATION is s3://bucket[/prefix], gs://bucket[/prefix], az://container[/prefix],
    https://ACCOUNT.blob.core.windows.net/container[/prefix] or file:///folder. Contents are
    compared by hash, so what is there already is not uploaded again.
    """
    from myop_cdn.cli.reports import offer_documents, say_deploy, say_plan
    from myop_cdn.deploy import apply
    from myop_cdn.deploy import deploy as run
    from myop_cdn.tree import Tree

    plan = settings.plan
    check_plan(plan, "force")
    options = deploy_options(
        settings.deploy,
        settings.limits,
        dry_run=settings.run.dry_run,
        force=settings.force,
        plan_out=plan.plan_out,
    )
    with console.progress() as progress:
        if plan.apply is not None:
            report = apply(plan.apply, settings.destinations, options, progress)
        else:
            report = run(Tree(settings.source), settings.destinations, options, progress)
    say_deploy(console, report)
    say_plan(console, plan.plan_out, report)
    offer_documents(console, settings.destinations, options, report)
    return report


@option_group("CDN")
class CheckSettings:
    check: str | None = option(
        "Then ask the CDN for what was exported, as 'myop-cdn check' does; BASE_URL is what "
        "enableSelfHosted() is given.",
        "BASE_URL",
    )
    check_wait: timedelta = option(
        "How long --check keeps asking until the CDN shows the new documents.", default="30s"
    )


@option_group()
class PublishSettings:
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
        return _publish(console, settings)
    allow_http = settings.export.api.allow_http
    channels = channels_of(settings.notices, console.warn_once, allow_http=allow_http)
    with told_of(", ".join(map(shown_url, settings.destinations)), channels, console) as tell:
        report = _publish(console, settings)
        tell(report.error)
    return report


def _publish(console: Console, settings: PublishSettings) -> PublishReport:
    from myop_cdn.cli.reports import offer_documents, say_deploy, say_plan, say_sync
    from myop_cdn.deploy import apply
    from myop_cdn.publish import publish as run
    from myop_cdn.report import PublishReport
    from myop_cdn.sync import left_alone
    from myop_cdn.tree import Tree

    export, plan, base_url = settings.export, settings.plan, settings.check.check
    check_plan(plan, "payload", "releases", "full", "signature", "environment", "check")
    dry_run = settings.run.dry_run or plan.plan_out is not None
    deploying = deploy_options(
        settings.deploy, settings.limits, dry_run=dry_run, plan_out=plan.plan_out
    )
    if plan.apply is not None:
        with console.progress() as progress:
            deployed = apply(plan.apply, settings.destinations, deploying, progress)
        say_deploy(console, deployed)
        return PublishReport(left_alone(Tree(export.output)), deployed)
    scope = scope_of(settings.source, console)
    options = sync_options(export, settings.limits)
    if base_url is not None:
        from myop_cdn.check import parse

        parse(base_url)  # a wrong one is said before anything is done
    with ExitStack() as stack:
        tree = _tree(export.output, stack, dry_run=dry_run)
        progress = stack.enter_context(console.progress())
        report = run(
            scope,
            lambda: exporter_of(export, console.warn_once),
            tree,
            settings.destinations,
            options,
            deploying,
            progress,
        )
        if base_url is not None and report.deploy is not None:
            report = replace(
                report,
                check=_checked(settings, base_url, report.sync, report.deploy, tree, progress),
            )
    if report.sync.scope != "none" or report.error is None:  # else it came to no export at all
        say_sync(console, report.sync, dry_run=dry_run)
    if report.deploy is not None:
        say_deploy(console, report.deploy)
        say_plan(console, plan.plan_out, report.deploy)
        offer_documents(console, settings.destinations, deploying, report.deploy)
    if report.check is not None:
        from myop_cdn.cli.check import say_check

        say_check(console, report.check)
    elif base_url is not None:
        console.info("the CDN was not asked: nothing was published")
    return report


def _checked(
    settings: PublishSettings,
    url: str,
    synced: SyncReport,
    deployed: DeployReport,
    tree: Tree,
    progress: Progress,
) -> CheckReport | None:
    """What the CDN answers for what was exported; None where nothing came there."""
    if deployed.dry_run or deployed.exit_code not in (ExitCode.DONE, ExitCode.PARTLY):
        return None
    from myop_cdn.check import DEFAULT_ORIGIN, CheckOptions, Exported, check
    from myop_cdn.report import CheckReport, Fault

    exported = Exported(tree, synced, deployed)
    if not exported.refs():
        return None
    pages = (one for one in settings.deploy.objects.cors_origin if "*" not in one)
    options = CheckOptions(
        origin=next(pages, DEFAULT_ORIGIN),
        wait=settings.check.check_wait,
        jobs=settings.limits.jobs,
    )
    try:
        return check(url, exported, options, progress)
    except MyopCdnError as error:  # what was published is to be reported all the same
        fault = Fault("unreachable", (), error.message, error.hint)
        return CheckReport(url, options.origin, exported.source, faults=(fault,))


@contextmanager
def told_of(
    subject: str, channels: Sequence[Channel], console: Console
) -> Iterator[Callable[[MyopCdnError | None], None]]:
    """A run of which `channels` are told when it fails: by an error that leaves the block, or by
    the one that the yielded function is called with. At the end they get a bounded time.

    subject: what is published, in words.
    """
    from myop_cdn.notify.policy import Event, Policy
    from myop_cdn.notify.sender import Command, Notifier

    notifier = Notifier(channels, Policy(after=1, every=0.0), console.warning)

    def tell(error: MyopCdnError | None) -> None:
        if error is not None and not isinstance(error, Interrupted):
            kind: EventKind = "refused" if error.exit_code == ExitCode.REFUSED else "failed"
            notifier.tell(Event(kind, subject, error.message, error.hint, time.time()))

    try:
        yield tell
    except Exception as error:
        tell(error if isinstance(error, MyopCdnError) else unexpected(error))
        raise
    finally:
        has_command = any(isinstance(one, Command) for one in channels)
        notifier.close(_COMMAND_SECONDS if has_command else _LAST_WORD_SECONDS)


def scope_of(settings: SourceSettings, console: Console) -> Scope:
    """What the options ask for. Nothing is parsed before a signature that was given is valid.

    Raises InputError (bad usage, a payload of no known form), SignatureInvalid,
    SignatureUncheckable (GitLab's rewritten body).
    """
    from myop_cdn import payload
    from myop_cdn.inputs import read_input

    source, releases, signature = settings.payload, settings.releases, settings.signed.signature
    if source is not None and releases is not None:
        raise InputError("--payload and --releases are two ways to say the same: give one")
    # An empty one with nothing to sign is a scheduled job's unset variable.
    if source is None and (signature or (signature is not None and releases is not None)):
        raise InputError("--signature signs a payload: give --payload FILE or --payload -")
    # A full sync acts upon nobody's word; releases that nobody signed are somebody's.
    is_somebodys = source is not None or releases is not None
    if settings.signed.require_signature and is_somebodys and signature is None:
        raise InputError(
            "--require-signature: the payload comes without a signature",
            "give --signature the X-Myop-Signature header's value",
        )
    scope = Scope("full")
    if source is not None:
        body = bytes(read_input(source, payload.MAX_BYTES, "payload"))
        if signature is not None:
            _verify(body, signature, settings.signed.secrets.secret_file, console)
        scope = _announced(payload.parse(body), console, signed=signature is not None)
    elif releases is not None:
        data = releases.encode("utf-8", "surrogateescape")
        if releases == "-":
            data = bytes(read_input("-", payload.MAX_BYTES, "array of releases"))
        scope = Scope("incremental", payload.parse_releases(data))
    return Scope("full", scope.releases) if settings.full else scope


def _announced(delivery: Delivery, console: Console, *, signed: bool) -> Scope:
    if delivery.form == "gitlab" and not signed:
        console.warning(
            "GitLab has written this payload again: its signature can't be checked here, and "
            "nothing vouches for it but GitLab's trigger token"
        )
    if delivery.scope.kind == "none":
        console.info(f"the event {delivery.event!r} needs no sync: ignored")
    return delivery.scope if signed else delivery.scope.without_announcements()


def _verify(body: bytes, header: str, files: Sequence[str], console: Console) -> None:
    from myop_cdn import explain, inputs, signature

    verdict = signature.verify(body, header, inputs.webhook_secrets(files, console.warn_once))
    if verdict.valid:
        console.info(f"the payload is signed with secret {verdict.index}")
        return
    if verdict.mismatch and explain.looks_reserialized(body):
        raise SignatureUncheckable(
            "the signature can't be checked: this payload was written again by GitLab",
            "check it before GitLab (myop-cdn serve), or go without --signature: sync then only "
            "asks Myop's API again",
        )
    raise SignatureInvalid(
        f"the payload's signature is not valid: {verdict.reason}",
        "myop-cdn verify --explain looks for the cause",
    )
