"""Faults on purpose: which answers of the sandbox are spoilt, and how."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import Literal

Fault = Literal["busy", "busy-retry-now", "cut", "closed"]
KINDS: tuple[Fault, ...] = ("busy", "busy-retry-now", "cut", "closed")


class Faults:
    """Draws the faults of a run. Thread-safe.

    rate: the share of answers, 0 to 1, that is spoilt: a 503, a 503 with `Retry-After: 0`, a
    connection cut in the middle of the body, or one closed without an answer. What happens to
    a request depends on the seed, its target and how often that was asked for before, never on
    the order in which threads run: the same work meets the same faults.
    """

    def __init__(self, rate: float = 0.0, seed: int = 0) -> None:
        self._rate = rate
        self._seed = seed
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()

    def draw(self, target: str) -> Fault | None:
        """The fault of the next answer to `target`, or None. Counts the request."""
        with self._lock:
            self._asked[target] += 1
            nth = self._asked[target]
        dice = random.Random(f"{self._seed}:{nth}:{target}")  # noqa: S311 - no secret hangs on it
        return dice.choice(KINDS) if dice.random() < self._rate else None
