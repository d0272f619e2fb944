"""Counts of what happened since the start, as Prometheus' own objects."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

# Upper bounds in seconds, for the histogram of run durations.
_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """Written by the loop, the committer and the workers; read by whoever asks `registry`.

    Labels are from fixed sets, never what a client sent.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"myop_cdn_{name}", words, labels, registry=self.registry)

        self._received = counter(
            "received", "Signed deliveries answered 200, by what became of them", "fate"
        )
        self._rejected = counter(
            "rejected", "Requests refused (status 0: closed)", "status", "reason"
        )
        self._secrets = counter(
            "secret_matched", "Signatures by the index of their secret", "index"
        )
        self._runs = counter("runs", "Runs that ended", "scope", "state")
        self._at_destinations = counter(
            "destination_runs", "Runs that ended", "destination", "state"
        )
        self._uploaded = counter("uploaded_objects", "Objects uploaded")
        self._seconds = Histogram(
            "myop_cdn_run_seconds", "How long runs took", buckets=_BUCKETS, registry=self.registry
        )

    def accepted(self, fate: str, secret: int) -> None:
        """A delivery was answered: accepted, duplicate or ignored. secret: which one matched."""
        self._received.labels(fate).inc()
        self._secrets.labels(str(secret)).inc()

    def refused(self, status: int, reason: str) -> None:
        """A request was refused."""
        self._rejected.labels(str(status), reason).inc()

    def ran(self, destination: str, scope: str, state: str, seconds: float, uploaded: int) -> None:
        """A run ended."""
        self._runs.labels(scope, state).inc()
        self._at_destinations.labels(destination, state).inc()
        self._uploaded.inc(uploaded)
        self._seconds.observe(seconds)
