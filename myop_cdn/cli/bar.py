"""The progress bar on a terminal. The only place but `demo` that imports rich."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

from myop_cdn.text import line

if TYPE_CHECKING:
    from collections.abc import Iterator


class Bar:
    """Progress drawn by rich: one bar for each phase."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def start(self, what: str, total: int) -> None:
        """Put the next phase's bar in the place of the last."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total)

    def step(self) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.advance(self._task)

    def note(self, message: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(line(message), markup=False, highlight=False)


@contextmanager
def bar() -> Iterator[Bar]:
    """A bar on stderr that is gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Elapsed())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress)
