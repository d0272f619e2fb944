"""What the demo tells: steps as values, for a terminal and a page to show each in its way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Tone = Literal["plain", "good", "new", "refused"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing seen during a step: a word for it, and its value."""

    label: str
    value: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Grid:
    """Which variant each component's published document holds, one column an environment.

    changed: the cells (row, column) that are not as they were.
    """

    environments: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    changed: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """One step that was done. text: one or two sentences; seconds: how long it took."""

    title: str
    text: str
    facts: tuple[Fact, ...] = ()
    grid: Grid | None = None
    seconds: float = 0.0

    def lasting(self, seconds: float) -> Step:
        """The same step with its time."""
        return replace(self, seconds=seconds)

    @property
    def time(self) -> str:
        """The time in words: "38 ms", "1.2 s"."""
        if self.seconds < 0.9995:
            return f"{max(1, round(self.seconds * 1000))} ms"
        return f"{self.seconds:.1f} s"
