"""From a command's settings to what a sync needs: a scope, and an exporter."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from myop_cdn import explain, payload, signature
from myop_cdn.errors import InputError, SignatureInvalid, SignatureUncheckable
from myop_cdn.inputs import KEY_HINT, api_key, read_input, webhook_secrets
from myop_cdn.model import Scope

if TYPE_CHECKING:
    from myop_cdn.cli.console import Console
    from myop_cdn.cli.settings import ApiSettings, ExportSettings, SourceSettings
    from myop_cdn.export import Exporter


def scope_of(settings: SourceSettings, console: Console) -> Scope:
    """What the options ask for. Nothing is parsed before a signature that was given is valid.

    Raises InputError (bad usage, a payload of no known form), SignatureInvalid,
    SignatureUncheckable (GitLab's rewritten body).
    """
    _check_usage(settings)
    if settings.payload is not None:
        scope = _from_payload(settings, console)
    elif settings.releases is not None:
        scope = Scope("incremental", payload.parse_releases(_releases(settings.releases)))
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
        console.info(f"the event {delivery.event!r} asks for nothing: left alone")
    if settings.signed.signature is None:
        return delivery.scope.without_announcements()
    return delivery.scope


def _verify(body: bytes, header: str, secrets: tuple[bytes, ...], console: Console) -> None:
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
        return bytes(read_input("-", payload.MAX_BYTES, "array of releases"))
    return value.encode("utf-8", "surrogateescape")


def api_of(settings: ApiSettings, console: Console) -> tuple[str, str, str]:
    """The API's URL, the key, and where the key came from, checked before any request is made.

    Raises InputError: no key, a URL that is not one.
    """
    from myop_cdn.export.client import check_url

    found = api_key(settings.api_key_file, console.warn_once)
    if found is None:
        raise InputError("there is no API key", KEY_HINT)
    return check_url(settings.api_url, allow_http=settings.allow_http), *found


def exporter_of(settings: ExportSettings, console: Console) -> Exporter:
    """The exporter that the settings name, checked before any request is made.

    Raises InputError: no key, a URL that is not one, no such program.
    """
    # Imported here, as a scope of nothing needs no exporter.
    from myop_cdn.export import AutoExporter
    from myop_cdn.export.api import ApiExporter
    from myop_cdn.export.npx import DEFAULT_COMMAND, NpxExporter, is_pinned

    url, key, source = api_of(settings.api, console)

    def command() -> list[str]:
        if settings.export_command is None:
            return list(DEFAULT_COMMAND)
        try:
            return shlex.split(settings.export_command)
        except ValueError as error:
            raise InputError(f"--export-command: {str(error).lower()}") from None

    def pinned() -> NpxExporter:
        if settings.export_command is None or not is_pinned(command()):
            raise InputError(
                "Myop's command-line tool was not run: without a version the newest code of a "
                "registry would get the API key",
                "name the version: --export-command 'npx --yes myop@1.2.3 export'; or run the "
                "newest all the same: --exporter npx",
            )
        return NpxExporter(command(), url, key)

    if settings.exporter == "npx":
        return NpxExporter(command(), url, key)
    api = ApiExporter(url, key, source, allow_http=settings.api.allow_http)
    return api if settings.exporter == "api" else AutoExporter(api, pinned)
