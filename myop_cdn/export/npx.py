"""Myop's own command-line tool as an exporter: `npx myop export` into a scratch folder.

The tool is run with an argument list, never through a shell; the API key goes by environment
(Myop's page on generic webhooks documents MYOP_API_KEY, `--releases` and `--output`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from myop_cdn import names, programs
from myop_cdn.document import Document, describe
from myop_cdn.errors import DocumentError, ExportError, IndexFormError, InputError
from myop_cdn.manifest import Manifest
from myop_cdn.model import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from myop_cdn.model import DocumentRef, Release, Scope
    from myop_cdn.progress import Progress

DEFAULT_COMMAND = ("npx", "--yes", "myop", "export")
TIMEOUT_SECONDS = 900.0
_HANDED_ON = {"PATH", "HOME"}
if sys.platform == "win32":  # what stands for HOME there, and what no program runs without
    _HANDED_ON |= {"USERPROFILE", "APPDATA", "LOCALAPPDATA", "TEMP", "SYSTEMROOT", "PATHEXT"}
_PACKAGE_RUNNERS = {
    "npx",
    "npm",
    "pnpm",
    "pnpx",
    "yarn",
    "yarnpkg",
    "bun",
    "bunx",
    "deno",
    "corepack",
}
_PINNED = re.compile(r"(?:npm:|--package=)?@?[^@\s]+@\d+\.\d+\.\d+[^\s]*")
MAX_ARGUMENT_BYTES = 100_000  # Linux takes 128 KiB in one argument
_SMALL_TALK = re.compile(r"^npm notice|complete log of this run")
MAX_LOG_BYTES = 1024 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024


class NpxExporter:
    """Exports with the official tool.

    command: the words before its options, `npx --yes myop@1.2.3 export` to pin a version.
    url, key: the API's, handed on as MYOP_API_URL and MYOP_API_KEY. Raises InputError when the
    command's program is not to be found.
    """

    def __init__(self, command: Sequence[str], url: str, key: str) -> None:
        program = shutil.which(command[0]) if command else None
        if program is None:
            what = names.shown(command[0]) if command else "an empty command"
            raise InputError(
                f"the npx exporter needs {what}, which is not on the PATH",
                "install Node.js, or use --exporter api, which needs none",
            )
        if program.lower().endswith((".cmd", ".bat")):
            # cmd.exe reads the arguments of batch files again: a payload could run commands.
            raise InputError(
                f"{program} is a batch file, which can't be given arguments safely",
                "use --exporter api, or name node and the tool's script with --export-command",
            )
        self._command = (program, *command[1:])
        self._url = url
        self._key = key

    @contextmanager
    def open(self, scope: Scope, progress: Progress) -> Iterator[NpxExport]:
        """Run the tool for `scope`; its files are gone afterwards. Raises ExportError."""
        progress.note(f"running {_shown(self._command)}")
        with tempfile.TemporaryDirectory(prefix="myop-cdn-") as scratch:
            output = Path(scratch) / "export"
            for batch in _batches(scope):
                self._run(batch, output, Path(scratch) / "log")
            yield NpxExport(output)

    def _run(self, releases: Sequence[Release], output: Path, log: Path) -> None:
        words = [*self._command, "--output", str(output)]
        if releases:
            words += ["--releases", _argument(releases)]
        environment = {
            **{name: value for name, value in os.environ.items() if _is_handed_on(name)},
            "MYOP_API_KEY": self._key,
            "MYOP_API_URL": self._url,
        }
        with log.open("wb") as output_file:
            try:
                code = programs.run(words, environment, TIMEOUT_SECONDS, output_file)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "a NUL"
                raise ExportError(f"can't run {words[0]}: {why}") from None
        if code is None:
            raise ExportError(f"{_shown(self._command)} took longer than {TIMEOUT_SECONDS:.0f} s")
        if code != 0:
            raise ExportError(f"{_shown(self._command)} ended with {code}: {self._tail(log)}")

    def _tail(self, log: Path) -> str:
        """The last lines that the tool wrote, without the key and without npm's small talk."""
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_LOG_BYTES))
            said = file.read().replace(self._key.encode(), b"***")
        # Shorter than what was read, as its beginning could hold the end of a key.
        text = said[-4096:].decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        telling = [line for line in lines if not _SMALL_TALK.search(line)]
        return names.shown("; ".join((telling or lines)[-3:]), 300) or "it said nothing"


class NpxExport:
    """The files that one run of the tool wrote."""

    name = "npx"
    asks_again = False

    def __init__(self, output: Path) -> None:
        self._output = output

    def index(self) -> Manifest:
        """The manifest that the tool wrote. Raises IndexFormError."""
        data = _file(self._output, MANIFEST)
        if data is None:
            raise IndexFormError("the official tool wrote no manifest.json")
        try:
            index = Manifest.parse(data)
        except InputError as error:
            raise IndexFormError(f"the official tool's manifest.json: {error.message}") from None
        if not index.complete:
            raise IndexFormError("the official tool's manifest.json names no environments")
        return index

    def document(self, ref: DocumentRef) -> Document:
        """The document that the tool wrote. Raises DocumentError."""
        data = _file(self._output, ref.path)
        if data is None:
            raise DocumentError(f"{describe(ref)}: the official tool wrote no such file")
        return Document.parse(ref, data)


def is_pinned(command: Sequence[str]) -> bool:
    """Whether the command runs a program that stays the same until somebody changes the words:
    a package of a given version, or a program that is installed here.
    """
    runner = Path(command[0]).stem.lower() if command else ""
    if runner not in _PACKAGE_RUNNERS:
        return True
    return any(_PINNED.fullmatch(word) for word in command[1:])


def _is_handed_on(variable: str) -> bool:
    """Whether the tool gets this variable: somebody else's code needs no cloud's secrets."""
    name = variable.upper()
    if name.startswith(("MYOP_WEBHOOK_SECRET", "MYOP_CDN_")):
        return False  # the latter are this program's own, a chat's URL among them
    return name in _HANDED_ON or name.startswith(("NPM_", "MYOP_")) or name.endswith("_PROXY")


def _file(folder: Path, path: str) -> bytes | None:
    file = folder / path
    if not file.is_file() or file.is_symlink() or file.stat().st_size > MAX_FILE_BYTES:
        return None
    return file.read_bytes()


def _batches(scope: Scope) -> Iterator[list[Release]]:
    """The releases in parts that fit into one argument; one empty part for a full export."""
    if scope.kind == "full":
        yield []
        return
    batch: list[Release] = []
    size = 0
    for release in scope.releases:
        more = len(_argument([release]).encode())
        if batch and size + more > MAX_ARGUMENT_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(release)
        size += more
    yield batch


def _argument(releases: Sequence[Release]) -> str:
    """The value of `--releases`, as Myop's page shows it."""
    rows = []
    for one in releases:
        row = {"componentId": one.component_id, "environment": one.environment}
        if one.environment_id is not None:
            row["environmentId"] = one.environment_id
        if one.variant_id is not None:
            row["variantId"] = one.variant_id
        rows.append(row)
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _shown(command: Sequence[str]) -> str:
    return " ".join((Path(command[0]).name, *command[1:]))
