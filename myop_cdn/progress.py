"""How the core tells what it is doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


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
