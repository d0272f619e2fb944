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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta

    from myop_cdn.cli.console import Console
    from myop_cdn.notify.policy import EventKind
    from myop_cdn.notify.sender import Channel
    from myop_cdn.progress import Progress
    from myop_cdn.report import DeployReport, PublishReport, SyncReport
    from myop_cdn.tree import Tree

# How long a run that failed waits at its end: for receivers, and for a command, which has a time
# limit of its own.
_LAST_WORD_SECONDS = 12.0
_COMMAND_SECONDS = 35.0


@option_group()
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

    console.known["output"] = str(settings.export.output)
    scope = scope_of(settings.source, console)
    console.known["scope"] = scope.kind
    report = _sync(console, settings, scope)
    say_sync(console, report, dry_run=settings.run.dry_run)
    return report


def _sync(console: Console, settings: SyncSettings, scope: Scope) -> SyncReport:
    from myop_cdn.sync import left_alone
    from myop_cdn.sync import sync as run
    from myop_cdn.tree import DryRunTree, Tree

    options = sync_options(settings.export, settings.limits)
    output = settings.export.output
    with ExitStack() as stack:
        tree = stack.enter_context(DryRunTree.of(output)) if settings.run.dry_run else Tree(output)
        if scope.kind == "none":
            return left_alone(tree)
        exporter = exporter_of(settings.export, console.warn_once)
        progress = stack.enter_context(console.progress())
        return run(scope, exporter, tree, options, progress)


@option_group("What to upload")
class DeployCommandSettings:
    """All that `deploy` takes."""

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
    """Whether the CDN is asked afterwards."""

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
        return _publish(console, settings)
    from myop_cdn.text import shown_url

    channels = channels_of(
        settings.notices, console.warn_once, allow_http=settings.export.api.allow_http
    )
    subject = ", ".join(shown_url(one) for one in settings.destinations)
    with told_of(subject, channels, console) as tell:
        report = _publish(console, settings)
        tell(report.error)
    return report


def _publish(console: Console, settings: PublishSettings) -> PublishReport:
    from myop_cdn.cli.reports import offer_documents, say_deploy, say_plan, say_sync
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
            lambda: exporter_of(export, console.warn_once),
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
    from myop_cdn.payload import parse_releases

    _check_usage(settings)
    if settings.payload is not None:
        scope = _from_payload(settings, console)
    elif settings.releases is not None:
        scope = Scope("incremental", parse_releases(_releases(settings.releases)))
    else:
        scope = Scope("full")
    return Scope("full", scope.releases) if settings.full else scope


def _check_usage(settings: SourceSettings) -> None:
    if settings.payload is not None and settings.releases is not None:
        raise InputError("--payload and --releases are two ways to say the same: give one")
    # An empty one with nothing to sign is a scheduled job's unset variable.
    signs_nothing = settings.signed.signature == "" and settings.releases is None
    if settings.payload is None and settings.signed.signature is not None and not signs_nothing:
        raise InputError("--signature signs a payload: give --payload FILE or --payload -")
    # A full sync acts upon nobody's word; releases that nobody signed are somebody's.
    told_what = settings.payload is not None or settings.releases is not None
    if settings.signed.require_signature and told_what and settings.signed.signature is None:
        raise InputError(
            "--require-signature: the payload comes without a signature",
            "give --signature the X-Myop-Signature header's value",
        )


def _from_payload(settings: SourceSettings, console: Console) -> Scope:
    from myop_cdn import payload
    from myop_cdn.inputs import read_input, webhook_secrets

    assert settings.payload is not None  # the caller has looked
    body = bytes(read_input(settings.payload, payload.MAX_BYTES, "payload"))
    if settings.signed.signature is not None:
        _verify(
            body,
            settings.signed.signature,
            webhook_secrets(settings.signed.secrets.secret_file, console.warn_once),
            console,
        )
    delivery = payload.parse(body)
    if delivery.form == "gitlab" and settings.signed.signature is None:
        console.warning(
            "GitLab has written this payload again: its signature can't be checked here, and "
            "nothing vouches for it but GitLab's trigger token"
        )
    if delivery.scope.kind == "none":
        console.info(f"the event {delivery.event!r} needs no sync: ignored")
    if settings.signed.signature is None:
        return delivery.scope.without_announcements()
    return delivery.scope


def _verify(body: bytes, header: str, secrets: tuple[bytes, ...], console: Console) -> None:
    from myop_cdn import explain, signature

    verdict = signature.verify(body, header, secrets)
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


def _releases(value: str) -> bytes:
    if value == "-":
        from myop_cdn.inputs import read_input
        from myop_cdn.payload import MAX_BYTES

        return bytes(read_input("-", MAX_BYTES, "array of releases"))
    return value.encode("utf-8", "surrogateescape")
