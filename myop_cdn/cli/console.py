"""What a person or a pipe sees: data on stdout, everything else on stderr.

One `Console` is made for each run of a command. It prints plain lines, JSON lines
(`--log-format json`) or, on a terminal, a progress bar. rich is imported only for the bar.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import click

from myop_cdn.errors import MyopCdnError
from myop_cdn.text import json_text, line, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from myop_cdn.progress import Progress
    from myop_cdn.summary import Summary

Level = Literal["debug", "info", "warning", "error"]
SILENT = -2  # the verbosity of what was said elsewhere
_NEEDED: dict[Level, int] = {"debug": 1, "info": 0, "warning": -1, "error": -1}
_MAX_DATA = 1 << 20  # characters of a line on stdout, where a document's body may stand
_COLOURS: dict[Level, str] = {"debug": "bright_black", "warning": "yellow", "error": "red"}


class Console:
    """Where a command's words go.

    verbosity: SILENT, -1 quiet (warnings and errors only), 0 normal, 1 and more verbose.
    """

    def __init__(self, verbosity: int = 0, log_format: Literal["text", "json"] = "text") -> None:
        self.verbosity = verbosity
        self.log_format = log_format
        self.wants_json = False  # --json: a failure is reported on stdout too
        self.known: dict[str, Any] = {}  # what is to be said in the report of a failure
        self.report_files: tuple[Path, ...] | None = None  # None: the command writes no reports
        # The data of a report that is a page, by a command that knows the documents.
        self.report_data: Callable[[Summary, datetime], Mapping[str, object]] | None = None
        self._reported = False
        self._warned: set[str] = set()
        self._lock = threading.Lock()

    @property
    def wants_report(self) -> bool:
        """Whether the run is to be reported beside its words: to a file, or to a CI system."""
        if self.report_files is None:
            return False
        systems = ("GITHUB_ACTIONS", "GITLAB_CI")
        return bool(self.report_files) or any(os.environ.get(one) == "true" for one in systems)

    def data(self, *lines: str) -> None:
        """Lines of data, on stdout: each stays one, whatever is in a name. Raises MyopCdnError when
        stdout takes none.
        """
        self.documentation("\n".join(line(one, _MAX_DATA) for one in lines))

    def documentation(self, text: str) -> None:
        """The program's own words, on stdout, as they stand: there is no secret in them."""
        if sys.stdout is not None and sys.stdout.isatty():
            click.echo(text)
        else:
            self.raw(f"{_spelt(text)}\n".encode(_encoding()))

    def raw(self, data: bytes | bytearray) -> None:
        """Bytes as they are, on stdout, every one of them. Raises MyopCdnError."""
        if sys.stdout is None:
            raise MyopCdnError("can't write to stdout: it is closed")
        try:
            sys.stdout.flush()
            rest = memoryview(data)
            while rest:
                # With PYTHONUNBUFFERED a full disk takes a part, and Python says nothing.
                rest = rest[sys.stdout.buffer.write(rest) :]
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise MyopCdnError(f"can't write to stdout: {error.strerror}") from None

    def report(self, value: dict[str, Any]) -> None:
        """The one JSON object of a `--json` run, on stdout."""
        import json

        self._reported = True
        text = json.dumps(value, indent=2, ensure_ascii=False)
        self.documentation(json_text(text if _spelt(text) == text else json.dumps(value, indent=2)))

    def report_failure(self, error: MyopCdnError) -> None:
        """The JSON object of a run that failed, where none is out yet: what is known, the error."""
        if not self._reported:
            self.report({**self.known, "error": error.to_json()})

    def commands(self, text: str) -> None:
        """Lines that a CI system acts upon, on stderr. They have been escaped as it demands."""
        with self._lock:
            click.echo(text, err=True, color=True)  # GitLab's markers hold control sequences

    def debug(self, message: str, **fields: object) -> None:
        """A detail, shown with `-v`."""
        self._say("debug", message, fields)

    def info(self, message: str, **fields: object) -> None:
        """Something worth knowing, hidden by `-q`."""
        self._say("info", message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """Something to look at; always shown."""
        self._say("warning", message, fields)

    def warn_once(self, message: str) -> None:
        """A warning that is not repeated, however often something is read again."""
        if message not in self._warned:
            self._warned.add(message)
            self.warning(message)

    def error(self, error: MyopCdnError) -> None:
        """The end of a run that failed: message, then hint."""
        in_json = self.log_format == "json"
        self._say("error", error.message, {"hint": error.hint} if in_json and error.hint else {})
        if error.hint and not in_json:
            click.echo(f"hint: {line(error.hint)}", err=True)

    def _say(self, level: Level, message: str, fields: dict[str, object]) -> None:
        if self.verbosity < _NEEDED[level]:
            return
        with self._lock:
            if self.log_format == "json":
                click.echo(_json_line(level, message, fields), err=True)
                return
            text = f"{level}: {message}" if level in ("warning", "error") else message
            if fields:
                text += "  " + " ".join(f"{name}={value}" for name, value in fields.items())
            text = line(text)
            colours = _colours()
            styled = text if colours is False else click.style(text, fg=_COLOURS.get(level))
            click.echo(styled, err=True, color=colours)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A progress bar on a terminal, plain notes elsewhere, nothing with `-q`.

        The terminal that some CI systems give a job is a log in truth.
        """
        from myop_cdn.progress import Silent

        console = self

        class Notes(Silent):
            def start(self, what: str, total: int) -> None:
                console.debug(f"{what}: {total}")

            def note(self, message: str) -> None:
                console.info(message)

        watched = sys.stderr is not None and sys.stderr.isatty()  # None where it was closed
        is_watched = watched and not os.environ.get("CI")
        if self.verbosity < 0 or self.log_format == "json" or not is_watched:
            yield Notes()
            return
        # Only here: rich takes longer to load than most runs take.
        import rich.progress as bars
        from rich.console import Console as Terminal
        from rich.text import Text

        class Rate(bars.ProgressColumn):
            def render(self, task: bars.Task) -> Text:  # as of the last half minute
                speed = task.finished_speed or task.speed
                return Text("" if speed is None else f"{speed:.{0 if speed >= 10 else 1}f}/s")

        class Bar(Silent):
            task: bars.TaskID | None = None

            def start(self, what: str, total: int) -> None:
                if self.task is not None:  # one bar at a time
                    shown.remove_task(self.task)
                self.task = shown.add_task(what, total=total)

            def step(self) -> None:
                if self.task is not None:
                    shown.advance(self.task)

            def note(self, message: str) -> None:
                shown.console.print(line(message), markup=False, highlight=False)

        name, left = bars.TextColumn("{task.description}"), bars.TimeRemainingColumn(compact=True)
        columns = (name, bars.BarColumn(), bars.MofNCompleteColumn(), Rate(), left)
        with bars.Progress(*columns, console=Terminal(stderr=True), transient=True) as shown:
            yield Bar()


def _colours() -> bool | None:
    """Whether there are to be colours; None where it is the terminal that decides."""
    if os.environ.get("NO_COLOR"):  # no-color.org: "not an empty string"
        return False
    # force-color.org; "0" is what Node's tools take for no.
    return True if os.environ.get("FORCE_COLOR", "0") not in ("", "0", "false") else None


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _spelt(text: str) -> str:
    """`text` with what stdout's encoding lacks, and halves of surrogate pairs, escaped."""
    return text.encode(_encoding(), "backslashreplace").decode(_encoding())


def _json_line(level: Level, message: str, fields: dict[str, object]) -> str:
    import json

    from myop_cdn.moments import utc_now, written

    value = {
        "time": written(utc_now()),
        "level": level,
        "message": without_credentials(message),
        **fields,
    }
    return json_text(json.dumps(value, ensure_ascii=False, default=str))
