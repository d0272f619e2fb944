"""The options that several commands share, in groups with a purpose.

Each class is one heading in a command's help. What the rooms below take is made of them here,
in one place each: `deploy_options`, `sync_options`, `open_target`, `selection_of`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from myop_cdn.cli.console import Console
from myop_cdn.cli.options import (
    Duration,
    HeaderValue,
    History,
    MaxDelete,
    Origin,
    SecretFile,
    group,
    option,
    settings,
)
from myop_cdn.text import shown

if TYPE_CHECKING:
    from myop_cdn.deploy.history import Selection
    from myop_cdn.deploy.options import DeployOptions, Encoding, HistoryLimit
    from myop_cdn.deploy.target import Target
    from myop_cdn.model import DeleteLimit
    from myop_cdn.sync import SyncOptions


@settings
class SecretSettings:
    """What signatures are checked with."""

    TITLE: ClassVar[str] = "Signature"
    secret_file: tuple[str, ...] = option(
        multiple=True,
        type=SecretFile(),
        metavar="FILE",
        help="File with the webhook's signing secret, or with several while one is being "
        "replaced, or the URL of one that a cloud keeps (aws-sm://NAME, gcp-sm://PROJECT/NAME, "
        "az-kv://VAULT/NAME); repeat it for more. Without it MYOP_WEBHOOK_SECRET is taken.",
    )


@settings
class SignatureSettings:
    """How a payload is vouched for."""

    TITLE: ClassVar[str] = "Signature"
    signature: str | None = option(
        even_empty=True,
        metavar="SIG",
        help="The X-Myop-Signature header's value; the payload is checked before all else.",
    )
    secrets: SecretSettings = group(SecretSettings)
    require_signature: bool = option(
        is_flag=True, help="Refuse a payload that comes without a signature."
    )


@settings
class SourceSettings:
    """What is to be exported: for commands that run once."""

    TITLE: ClassVar[str] = "What to export"
    payload: str | None = option(
        metavar="FILE|-",
        help="The webhook's body, GitHub's event file, GitLab's $TRIGGER_PAYLOAD, …",
    )
    releases: str | None = option(metavar="JSON|-", help="The payload's array of releases alone.")
    full: bool = option(is_flag=True, help="Export everything, whatever the payload says.")
    signed: SignatureSettings = group(SignatureSettings)


@settings
class ApiSettings:
    """How Myop's API is asked."""

    TITLE: ClassVar[str] = "Myop's API"
    api_key_file: str | None = option(
        metavar="FILE",
        help="File with the API key, or its URL as for --secret-file. Without it MYOP_API_KEY is "
        "taken.",
    )
    api_url: str = option(
        metavar="URL",
        envvar="MYOP_API_URL",
        default="https://cloud.myop.dev",
        help="Myop's API; MYOP_API_URL names it too.",
    )
    allow_http: bool = option(
        is_flag=True, help="Allow plain http:// to a host that is not this machine."
    )


@settings
class ExportSettings:
    """Where it is exported from, and the folder it goes to."""

    TITLE: ClassVar[str] = "Export"
    output: Path = option(
        type=click.Path(path_type=Path, file_okay=False),
        default="./myop-static",
        metavar="DIR",
        help="The folder that holds the exported files.",
    )
    environment: tuple[str, ...] = option(
        multiple=True,
        metavar="NAME",
        help="Export this environment only; repeat it for more. 'preview' is one of the names.",
    )
    exporter: str = option(
        type=click.Choice(["auto", "api", "npx"]),
        default="auto",
        help="Myop's API, Myop's own command-line tool, or (auto) the API, and the tool of "
        "--export-command where the API's index can't be read.",
    )
    export_command: str | None = option(
        metavar="WORDS",
        help="What the npx exporter runs; 'npx --yes myop@1.2.3 export' names a version, which "
        "auto needs.  [default: npx --yes myop export]",
    )
    api: ApiSettings = group(ApiSettings)


@settings
class LimitSettings:
    """How much at once."""

    TITLE: ClassVar[str] = "Limits"
    max_delete: DeleteLimit | None = option(
        type=MaxDelete(),
        metavar="N|N%",
        help="How many documents one run may remove; more is refused.  "
        "[default: 25%, or one component's documents]",
    )
    jobs: int = option(
        type=click.IntRange(1, 256), default=16, metavar="N", help="How many requests at once."
    )


@settings
class WriteSettings:
    """How whatever is written is kept, uploads and copies alike."""

    TITLE: ClassVar[str] = "Objects"
    acl: str = option(
        default="",
        show_default=False,
        metavar="ACL",
        help="The canned ACL (S3) or predefined ACL (GCS) of what is written, public-read for one.",
    )
    storage_class: str = option(
        default="",
        show_default=False,
        metavar="CLASS",
        help="The storage class (S3, GCS) or access tier (Azure) of what is written.",
    )


@settings
class ObjectSettings:
    """How objects are stored at a destination."""

    TITLE: ClassVar[str] = "Objects"
    cache_control: str = option(
        type=HeaderValue(),
        default="public, max-age=300",  # as of DeployOptions, which a sync has no need to load
        metavar="TEXT",
        help="The objects' Cache-Control header.",
    )
    encoding: Encoding = option(
        type=click.Choice(["identity", "gzip"]),
        default="identity",
        help="How objects are stored.",
    )
    cors_origin: tuple[str, ...] = option(
        type=Origin(),
        multiple=True,
        metavar="URL",
        help="Let pages of this origin read the objects (https://app.example.com); repeat it.",
    )
    ledger: str | None = option(
        metavar="URL", help="Keep the log in this folder or bucket, not beside the objects."
    )
    history: HistoryLimit | None = option(
        type=History(),
        metavar="N|DURATION",
        help="How much of what is replaced is kept, to go back to: so many contents of each "
        "document, or those of so long; 0 keeps nothing.  [default: 10]",
    )
    written: WriteSettings = group(WriteSettings)
    endpoint_url: str | None = option(
        metavar="URL",
        help="An S3-compatible service for s3:// destinations; AWS_ENDPOINT_URL works too.",
    )


@settings
class DeleteSettings:
    """What may be taken away at a destination."""

    TITLE: ClassVar[str] = "Deleting"
    delete: bool = option(is_flag=True, help="Delete objects that a complete tree lacks.")
    delete_after: timedelta | None = option(
        type=Duration(),
        metavar="DURATION",
        show_default="0; for serve 1h",
        help="How long a document has to have been gone before --delete takes it away.",
    )


@settings
class CdnSettings:
    """Who is told of what has changed."""

    TITLE: ClassVar[str] = "CDN"
    invalidate: tuple[str, ...] = option(
        multiple=True,
        metavar="CDN",
        help="Tell this CDN what has changed: cloudfront:ID, cloudcdn:PROJECT/URLMAP, "
        "cloudflare:ZONE or frontdoor:…; repeat it for more.",
    )
    wait: bool = option(is_flag=True, help="Wait until the CDNs are done.")


@settings
class PlanSettings:
    """A plan that is approved before it is carried out."""

    TITLE: ClassVar[str] = "Plan"
    plan_out: Path | None = option(
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Show what would be done, and write it to this file with the documents that it "
        "needs; change nothing.",
    )
    apply: Path | None = option(
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Carry out a plan as it was written. It is refused, and nothing changed, where what "
        "is there is no longer what the plan saw.",
    )


def check_plan(settings: PlanSettings, *excluded: str) -> None:
    """Raise a usage error for what makes no sense with these options.

    excluded: options (as fields) that say what to publish, which is in the plan already.
    """
    ctx = click.get_current_context()
    if settings.plan_out is not None and not settings.plan_out.absolute().parent.is_dir():
        raise click.UsageError(f"--plan-out: there is no folder {settings.plan_out.parent}", ctx)
    if settings.apply is None:
        return
    for name in ("plan_out", *excluded):
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            flag = f"--{name.replace('_', '-')}"
            why = "a plan that exists is carried out as it was written"
            raise click.UsageError(f"{flag} makes no sense with --apply: {why}", ctx)


@settings
class DeploySettings:
    """All that only a deploy takes, for `deploy`, `publish` and `serve` alike."""

    objects: ObjectSettings = group(ObjectSettings)
    deleting: DeleteSettings = group(DeleteSettings)
    cdn: CdnSettings = group(CdnSettings)


@settings
class SelectionSettings:
    """Which documents."""

    TITLE: ClassVar[str] = "Which documents"
    component: tuple[str, ...] = option(
        multiple=True, metavar="ID", help="This component only; repeat it for more."
    )
    environment: tuple[str, ...] = option(
        multiple=True,
        metavar="NAME",
        help="This environment only; repeat it for more. 'preview' is one of the names.",
    )


@settings
class SiteSettings:
    """How a destination that was published to is reached, and its log."""

    TITLE: ClassVar[str] = "Destination"
    ledger: str | None = option(
        metavar="URL", help="The folder or bucket that keeps the log, as given to deploy."
    )
    endpoint_url: str | None = option(
        metavar="URL",
        help="An S3-compatible service for s3:// destinations; AWS_ENDPOINT_URL works too.",
    )
    jobs: int = option(
        type=click.IntRange(1, 256), default=16, metavar="N", help="How many requests at once."
    )


def _note_json(ctx: click.Context, param: click.Parameter, value: bool) -> bool:  # noqa: ARG001
    # Noted before anything can fail, as a failure is reported in JSON too.
    console = ctx.find_object(Console)
    if value and console is not None:
        console.wants_json = True
    return value


@settings
class JsonSettings:
    """How a report is printed."""

    TITLE: ClassVar[str] = "Output"
    json: bool = option(
        is_flag=True,
        is_eager=True,
        callback=_note_json,
        help="Print the report as one JSON object on stdout.",
    )


def _note_report(
    ctx: click.Context,
    param: click.Parameter,
    value: tuple[Path, ...],
) -> tuple[Path, ...]:
    # Noted before anything can fail, as the report of a failed run is the most wanted.
    console = ctx.find_object(Console)
    if value:
        from myop_cdn.summary import FORMATS

        for path in value:
            if path.suffix.lower() not in (*FORMATS, ".html"):
                endings = ", ".join((*FORMATS, ".html"))
                raise click.BadParameter(
                    f"{shown(path)!r} ends in none of {endings}: the ending names the format",
                    ctx,
                    param,
                )
    if console is not None:
        console.report_files = value
    return value


@settings
class ReportSettings:
    """What is written of a run besides, for people and for CI systems."""

    TITLE: ClassVar[str] = "Output"
    report: tuple[Path, ...] = option(
        multiple=True,
        is_eager=True,
        type=click.Path(path_type=Path),
        callback=_note_report,
        metavar="FILE",
        help="Write a report of the run, a failed one too, to this file: Markdown (.md), JUnit's "
        "XML (.xml), JSON (.json) or a page (.html), by the ending; repeat it for more.",
    )


@settings
class RunSettings:
    """How one run goes about it."""

    TITLE: ClassVar[str] = "Output"
    dry_run: bool = option(is_flag=True, help="Show what would be done; change nothing.")
    output_json: JsonSettings = group(JsonSettings)
    reports: ReportSettings = group(ReportSettings)


@settings
class NoticeSettings:
    """Who is told when it fails."""

    TITLE: ClassVar[str] = "Notices"
    notify: tuple[str, ...] = option(
        multiple=True,
        metavar="URL",
        envvar="MYOP_CDN_NOTIFY",
        help="Tell this webhook when publishing fails: Slack's, Teams's or Discord's, by the "
        "host, or any other, which gets JSON that is signed with MYOP_CDN_NOTIFY_SECRET; repeat "
        "it for more. MYOP_CDN_NOTIFY, or the file of MYOP_CDN_NOTIFY_FILE, keeps it secret.",
    )
    on_failure: str | None = option(
        metavar="COMMAND",
        help="Run this when publishing fails, without a shell; the facts are in its environment "
        "(MYOP_CDN_EVENT, MYOP_CDN_MESSAGE, …).",
    )

    @property
    def wanted(self) -> bool:
        """Whether there may be somebody to tell: their code need not be loaded otherwise."""
        elsewhere = ("MYOP_CDN_NOTIFY_FILE", "CREDENTIALS_DIRECTORY")
        return bool(self.notify or self.on_failure or any(map(os.environ.get, elsewhere)))


def deploy_options(
    settings: DeploySettings,
    limits: LimitSettings,
    *,
    dry_run: bool = False,
    force: bool = False,
    delete_after: timedelta = timedelta(0),
    plan_out: Path | None = None,
) -> DeployOptions:
    """The options of a deploy. delete_after: where nobody chose one."""
    from myop_cdn.deploy.options import DeployOptions, HistoryLimit
    from myop_cdn.model import DeleteLimit

    objects, chosen = settings.objects, settings.deleting.delete_after
    return DeployOptions(
        delete=settings.deleting.delete,
        delete_after=delete_after if chosen is None else chosen,
        max_delete=limits.max_delete or DeleteLimit(),
        force=force,
        history=objects.history or HistoryLimit(),
        acl=objects.written.acl,
        storage_class=objects.written.storage_class,
        cache_control=objects.cache_control,
        encoding=objects.encoding,
        invalidate=settings.cdn.invalidate,
        wait=settings.cdn.wait,
        cors_origins=objects.cors_origin,
        ledger=objects.ledger,
        jobs=limits.jobs,
        endpoint_url=objects.endpoint_url,
        dry_run=dry_run,
        plan_out=plan_out,
    )


def open_target(destination: str, site: SiteSettings) -> Target:
    """The destination with its log, asked nothing yet. Raises InputError, StorageError."""
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.target import open_targets

    options = DeployOptions(ledger=site.ledger, jobs=site.jobs, endpoint_url=site.endpoint_url)
    return open_targets([destination], options)[0]


def selection_of(which: SelectionSettings) -> Selection:
    """The documents that were chosen. Raises InputError for what can't be a name."""
    from myop_cdn.deploy.history import Selection, check_names

    return Selection(
        check_names("--component", which.component),
        check_names("--environment", which.environment),
    )


def sync_options(export: ExportSettings, limits: LimitSettings) -> SyncOptions:
    """The options of a sync. Raises InputError for an environment's name that is not one."""
    from myop_cdn import names
    from myop_cdn.errors import InputError
    from myop_cdn.model import DeleteLimit
    from myop_cdn.sync import SyncOptions

    for name in export.environment:
        if problem := names.problem(name):
            raise InputError(f"--environment {names.shown(name)!r} {problem}")
    return SyncOptions(
        jobs=limits.jobs,
        environments=frozenset(export.environment),
        max_delete=limits.max_delete or DeleteLimit(),
    )
