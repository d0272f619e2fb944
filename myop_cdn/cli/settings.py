"""The options that several commands share, in groups with a purpose.

Each class is one heading in a command's help. What the rooms below take is made of them here,
in one place each: `deploy_options`, `sync_options`, `open_target`, `selection_of`, `api_of`,
`exporter_of`, `channels_of`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from myop_cdn.cli.console import Console
from myop_cdn.cli.options import (
    HEADER_VALUE,
    HISTORY,
    MAX_DELETE,
    ORIGIN,
    SecretFile,
    group,
    option,
    option_group,
)
from myop_cdn.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myop_cdn.deploy.history import Selection
    from myop_cdn.deploy.options import DeployOptions, Encoding, HistoryLimit
    from myop_cdn.deploy.target import Target
    from myop_cdn.export import Exporter
    from myop_cdn.inputs import Warn
    from myop_cdn.model import DeleteLimit
    from myop_cdn.notify.sender import Channel
    from myop_cdn.sync import SyncOptions


def _jobs() -> Any:
    several = click.IntRange(1, 256)
    return option("How many requests to make at once.", "N", type=several, default=16)


def _endpoint_url() -> Any:
    what = "An S3-compatible service for s3:// destinations; AWS_ENDPOINT_URL works too."
    return option(what, "URL")


@option_group("Signature")
class SecretSettings:
    secret_file: tuple[str, ...] = option(
        "File with the webhook's signing secret, or with several while one is being "
        "replaced, or the URL of one that a cloud keeps (aws-sm://NAME, gcp-sm://PROJECT/NAME, "
        "az-kv://VAULT/NAME); repeat it for more. Without it MYOP_WEBHOOK_SECRET is taken.",
        "FILE",
        type=SecretFile(),
    )


@option_group("Signature")
class SignatureSettings:
    signature: str | None = option(
        "The X-Myop-Signature header's value; the payload is checked before all else.",
        "SIG",
        even_empty=True,
    )
    secrets: SecretSettings = group(SecretSettings)
    require_signature: bool = option("Refuse a payload that comes without a signature.")


@option_group("What to export")
class SourceSettings:
    payload: str | None = option(
        "The webhook's body, GitHub's event file, GitLab's $TRIGGER_PAYLOAD, …", "FILE|-"
    )
    releases: str | None = option("The payload's array of releases alone.", "JSON|-")
    full: bool = option("Export everything, whatever the payload says.")
    signed: SignatureSettings = group(SignatureSettings)


@option_group("Myop's API")
class ApiSettings:
    api_key_file: str | None = option(
        "File with the API key, or its URL as for --secret-file. Without it MYOP_API_KEY is taken.",
        "FILE",
    )
    api_url: str = option(
        "Myop's API; MYOP_API_URL names it too.",
        "URL",
        envvar="MYOP_API_URL",
        default="https://cloud.myop.dev",
    )
    allow_http: bool = option("Allow plain http:// to a host that is not this machine.")


@option_group("Export")
class ExportSettings:
    output: Path = option(
        "The folder that holds the exported files.", "DIR", default="./myop-static"
    )
    environment: tuple[str, ...] = option(
        "Export this environment only; repeat it for more. 'preview' is one of the names.", "NAME"
    )
    exporter: str = option(
        "Myop's API, Myop's own command-line tool, or (auto) the API, and the tool of "
        "--export-command where the API's index can't be read.",
        type=click.Choice(["auto", "api", "npx"]),
        default="auto",
    )
    export_command: str | None = option(
        "What the npx exporter runs; 'npx --yes myop@1.2.3 export' names a version, which "
        "auto needs.  [default: npx --yes myop export]",
        "WORDS",
    )
    api: ApiSettings = group(ApiSettings)


@option_group("Limits")
class LimitSettings:
    max_delete: DeleteLimit | None = option(
        "How many documents one run may remove; more is refused.  "
        "[default: 25%, or one component's documents]",
        type=MAX_DELETE,
    )
    jobs: int = _jobs()


@option_group("Objects")
class WriteSettings:
    acl: str = option(
        "The canned ACL (S3) or predefined ACL (GCS) of what is written, for example public-read.",
        "ACL",
        default="",
        show_default=False,
    )
    storage_class: str = option(
        "The storage class (S3, GCS) or access tier (Azure) of what is written.",
        "CLASS",
        default="",
        show_default=False,
    )


@option_group("Objects")
class ObjectSettings:
    cache_control: str = option(
        "The objects' Cache-Control header.", type=HEADER_VALUE, default="public, max-age=300"
    )
    encoding: Encoding = option(
        "How objects are stored.", type=click.Choice(["identity", "gzip"]), default="identity"
    )
    cors_origin: tuple[str, ...] = option(
        "Let pages of this origin read the objects (https://app.example.com); repeat it.",
        "URL",
        type=ORIGIN,
    )
    ledger: str | None = option(
        "Keep the log in this folder or bucket instead of beside the objects.", "URL"
    )
    history: HistoryLimit | None = option(
        "How much of what is replaced is kept for a rollback: the last N contents of each "
        "document, or those of the last DURATION; 0 keeps nothing.  [default: 10]",
        type=HISTORY,
    )
    written: WriteSettings = group(WriteSettings)
    endpoint_url: str | None = _endpoint_url()


@option_group("Deleting")
class DeleteSettings:
    delete: bool = option("Delete objects that a complete tree lacks.")
    delete_after: timedelta | None = option(
        "How long a document must have been gone before --delete removes it.",
        show_default="0; for serve 1h",
    )


@option_group("CDN")
class CdnSettings:
    invalidate: tuple[str, ...] = option(
        "Tell this CDN what has changed: cloudfront:ID, cloudcdn:PROJECT/URLMAP, "
        "cloudflare:ZONE or frontdoor:…; repeat it for more.",
        "CDN",
    )
    wait: bool = option("Wait until the CDNs are done.")


@option_group("Plan")
class PlanSettings:
    plan_out: Path | None = option(
        "Show what would be done, and write it to this file with the documents that it "
        "needs; change nothing.",
        "FILE",
    )
    apply: Path | None = option(
        "Carry out a plan as it was written. It is refused, and nothing is changed, if the "
        "destination is no longer as the plan saw it.",
        "FILE",
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


@option_group()
class DeploySettings:
    objects: ObjectSettings = group(ObjectSettings)
    deleting: DeleteSettings = group(DeleteSettings)
    cdn: CdnSettings = group(CdnSettings)


@option_group("Which documents")
class SelectionSettings:
    component: tuple[str, ...] = option("This component only; repeat it for more.", "ID")
    environment: tuple[str, ...] = option(
        "This environment only; repeat it for more. 'preview' is one of the names.", "NAME"
    )


@option_group("Destination")
class SiteSettings:
    ledger: str | None = option(
        "The folder or bucket that keeps the log, as given to deploy.", "URL"
    )
    endpoint_url: str | None = _endpoint_url()
    jobs: int = _jobs()


def _note_json(ctx: click.Context, param: click.Parameter, value: bool) -> bool:  # noqa: ARG001
    # Noted before anything can fail, as a failure is reported in JSON too.
    console = ctx.find_object(Console)
    if value and console is not None:
        console.wants_json = True
    return value


@option_group("Output")
class JsonSettings:
    json: bool = option(
        "Print the report as one JSON object on stdout.", is_eager=True, callback=_note_json
    )


def _note_report(
    ctx: click.Context, param: click.Parameter, value: tuple[Path, ...]
) -> tuple[Path, ...]:
    # Noted before anything can fail, as the report of a failed run is the most wanted.
    console = ctx.find_object(Console)
    if value:
        from myop_cdn.summary import FORMATS

        endings = (*FORMATS, ".html")
        for path in value:
            if path.suffix.lower() not in endings:
                problem = f"{shown(path)!r} ends in none of {', '.join(endings)}"
                raise click.BadParameter(f"{problem}: the ending names the format", ctx, param)
    if console is not None:
        console.report_files = value
    return value


@option_group("Output")
class ReportSettings:
    report: tuple[Path, ...] = option(
        "Write a report of the run, a failed one too, to this file: Markdown (.md), JUnit's "
        "XML (.xml), JSON (.json) or a page (.html), by the ending; repeat it for more.",
        "FILE",
        is_eager=True,
        type=click.Path(path_type=Path),
        callback=_note_report,
    )


@option_group("Output")
class RunSettings:
    dry_run: bool = option("Show what would be done; change nothing.")
    output_json: JsonSettings = group(JsonSettings)
    reports: ReportSettings = group(ReportSettings)


def default_state_dir() -> Path:
    """systemd's `StateDirectory=`, else the user's state folder (XDG base directories)."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "myop-cdn"


@option_group("State")
class StateSettings:
    """Where a listener keeps its journal."""

    state_dir: Path = option(
        "The folder with the journal of deliveries; on a local disk, one for each listener.",
        "DIR",
        default=default_state_dir,
        show_default="$STATE_DIRECTORY, else $XDG_STATE_HOME/myop-cdn",
    )
    journal: str | None = option(
        "Keep the journal in this PostgreSQL database instead, which several listeners may "
        "share: postgresql://user@host/database. See 'myop-cdn help replicas'.",
        "URL",
        envvar="MYOP_CDN_JOURNAL",
    )

    def postgres(self) -> str | None:
        """The database's URL, None where the journal is in the folder.

        Raises InputError for a URL that does not do, and for a password on the command line.
        """
        if self.journal is None:
            return None
        from click.core import ParameterSource

        from myop_cdn.listener.queue.postgres.session import check_url

        source = click.get_current_context().get_parameter_source("journal")
        check_url(self.journal, password_is_public=source is ParameterSource.COMMANDLINE)
        return self.journal


@option_group("Notices")
class NoticeSettings:
    notify: tuple[str, ...] = option(
        "Tell this webhook when publishing fails: Slack's, Teams's or Discord's, by the "
        "host, or any other, which gets JSON that is signed with MYOP_CDN_NOTIFY_SECRET; repeat "
        "it for more. MYOP_CDN_NOTIFY, or the file of MYOP_CDN_NOTIFY_FILE, keeps it secret.",
        "URL",
        envvar="MYOP_CDN_NOTIFY",
    )
    on_failure: str | None = option(
        "Run this when publishing fails, without a shell; the facts are in its environment "
        "(MYOP_CDN_EVENT, MYOP_CDN_MESSAGE, …).",
        "COMMAND",
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


def api_of(settings: ApiSettings, warn: Warn) -> tuple[str, str, str]:
    """The API's URL, the key, and where the key came from, checked before any request is made.

    Raises InputError: no key, a URL that is not one.
    """
    from myop_cdn.errors import InputError
    from myop_cdn.export.client import check_url
    from myop_cdn.inputs import KEY_HINT, api_key

    found = api_key(settings.api_key_file, warn)
    if found is None:
        raise InputError("there is no API key", KEY_HINT)
    return check_url(settings.api_url, allow_http=settings.allow_http), *found


def exporter_of(settings: ExportSettings, warn: Warn) -> Exporter:
    """The exporter that the settings name, checked before any request is made.

    Raises InputError: no key, a URL that is not one, no such program.
    """
    import shlex

    from myop_cdn.errors import InputError
    from myop_cdn.export import AutoExporter
    from myop_cdn.export.api import ApiExporter
    from myop_cdn.export.npx import DEFAULT_COMMAND, NpxExporter, is_pinned

    url, key, source = api_of(settings.api, warn)
    api = ApiExporter(url, key, source, allow_http=settings.api.allow_http)
    if settings.exporter == "api":
        return api
    words = settings.export_command
    try:
        command = list(DEFAULT_COMMAND) if words is None else shlex.split(words)
    except ValueError as error:
        raise InputError(f"--export-command: {str(error).lower()}") from None

    def pinned() -> NpxExporter:
        if words is None or not is_pinned(command):
            raise InputError(
                "Myop's command-line tool was not run: without a version the newest code of a "
                "registry would get the API key",
                "name the version: --export-command 'npx --yes myop@1.2.3 export'; or run the "
                "newest all the same: --exporter npx",
            )
        return NpxExporter(command, url, key)

    return (
        NpxExporter(command, url, key) if settings.exporter == "npx" else AutoExporter(api, pinned)
    )


def channels_of(settings: NoticeSettings, warn: Warn, *, allow_http: bool) -> list[Channel]:
    """Who is told. Raises InputError for URLs, secrets and commands that can't be."""
    from myop_cdn.inputs import NOTICE_SECRET, NOTICE_URL, SHORT_SECRET
    from myop_cdn.notify.messages import run_link, signing_key
    from myop_cdn.notify.sender import Command, Receiver

    urls: Sequence[str] = settings.notify
    if not urls and (found := NOTICE_URL.words(warn)):
        urls = [os.fsdecode(one) for one in found[0]]
    link = run_link(dict(os.environ))
    keys: list[bytes] = []
    if urls and (found := NOTICE_SECRET.words(warn)):
        keys = [signing_key(os.fsdecode(one)) for one in found[0]]
        if any(len(key) < SHORT_SECRET for key in keys):
            warn(f"the notices' secret is shorter than {SHORT_SECRET} bytes")
    receivers = [Receiver.at(url, keys, link, allow_http=allow_http) for url in urls]
    unsigned = [one.name for one in receivers if one.form == "json"] if not keys else []
    if unsigned:
        warn(
            f"notices to {', '.join(unsigned)} are not signed: set {NOTICE_SECRET.variable}, so "
            "that whoever gets them can tell them from others"
        )
    channels: list[Channel] = list(receivers)
    if settings.on_failure is not None:
        channels.append(Command.parse(settings.on_failure, link))
    return channels
