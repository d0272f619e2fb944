"""How the core tells what it is doing, without knowing who listens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

NOTE_PAUSE_SECONDS = 10.0  # between what is said of retries


class Progress(Protocol):
    """Told about a run as it goes. Calls come from several threads and must be cheap."""

    def start(self, what: str, total: int) -> None:
        """A phase begins: `what` in words ("fetching"), `total` steps in all."""

    def step(self) -> None:
        """One step of the phase is done."""

    def note(self, message: str) -> None:
        """One line worth a reader's time now rather than in the report."""

    def waited(self, seconds: float) -> None:
        """So many seconds more have passed in waiting for another run that is in the way."""


class Silent:
    """The default: nobody listens."""

    def start(self, what: str, total: int) -> None:
        """Say nothing."""

    def step(self) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""

    def waited(self, seconds: float) -> None:
        """Say nothing."""


class Sparing:
    """Hands a note on, but not the next ones for a while: many threads meet the same trouble."""

    def __init__(
        self,
        note: Callable[[str], None],
        every: float = NOTE_PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._note = note
        self._every = every
        self._clock = clock
        self._until = float("-inf")

    def __call__(self, message: str) -> None:
        """One line, if it is time for one."""
        now = self._clock()
        if now >= self._until:
            self._until = now + self._every
            self._note(message)
