"""Counts of what happened since the start: plain numbers, cheap enough for every request."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

# Upper bounds in seconds, for the histogram of run durations.
BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


@dataclass(slots=True)
class Metrics:
    """Written by the loop, the committer and the worker; read by whoever asks.

    received: by fate (accepted, duplicate, ignored, unstored). rejected: by (status, reason).
    secrets: by the index of the one that matched. runs: by (scope, state).
    destination_runs: by (destination, state).
    """

    received: Counter[str] = field(default_factory=Counter)
    rejected: Counter[tuple[int, str]] = field(default_factory=Counter)
    secrets: Counter[int] = field(default_factory=Counter)
    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    destination_runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    buckets: Counter[float] = field(default_factory=Counter)
    seconds: float = 0.0
    uploaded: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def accepted(self, fate: str, secret: int) -> None:
        """A delivery was answered."""
        with self._lock:
            self.received[fate] += 1
            self.secrets[secret] += 1

    def refused(self, status: int, reason: str) -> None:
        """A request was refused. reason: from a fixed set, never what a client sent."""
        with self._lock:
            self.rejected[status, reason] += 1

    def ran(self, destination: str, scope: str, state: str, seconds: float, uploaded: int) -> None:
        """A run ended."""
        with self._lock:
            self.runs[scope, state] += 1
            self.destination_runs[destination, state] += 1
            self.seconds += seconds
            self.uploaded += uploaded
            bound = next((bound for bound in BUCKETS if seconds <= bound), float("inf"))
            self.buckets[bound] += 1
