"""From a command's options to an exporter, checked before any request is made."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from myop_cdn import names
from myop_cdn.cli.inputs import KEY_HINT, api_key
from myop_cdn.errors import InputError
from myop_cdn.model import DeleteLimit
from myop_cdn.sync import SyncOptions

if TYPE_CHECKING:
    from myop_cdn.cli.options import ExportSettings
    from myop_cdn.export import Exporter


def exporter_of(settings: ExportSettings) -> Exporter:
    """The exporter that the options name. Raises InputError: no key, a URL that is none, no
    such program.
    """
    # Imported here, as a scope of nothing needs no exporter.
    from myop_cdn.export import AutoExporter
    from myop_cdn.export.api import ApiExporter
    from myop_cdn.export.client import check_url
    from myop_cdn.export.npx import DEFAULT_COMMAND, NpxExporter, is_pinned

    found = api_key(settings.api_key_file)
    if found is None:
        raise InputError("there is no API key", KEY_HINT)
    key, source = found
    url = check_url(settings.api_url, allow_http=settings.allow_http)

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
    api = ApiExporter(url, key, source, allow_http=settings.allow_http)
    return api if settings.exporter == "api" else AutoExporter(api, pinned)


def sync_options_of(settings: ExportSettings) -> SyncOptions:
    """The options of `sync`. Raises InputError for an environment's name that is none."""
    for name in settings.environment:
        if trouble := names.problem(name):
            raise InputError(f"--environment {names.shown(name)!r} {trouble}")
    return SyncOptions(
        jobs=settings.jobs,
        environments=frozenset(settings.environment),
        max_delete=settings.max_delete or DeleteLimit(),
    )
