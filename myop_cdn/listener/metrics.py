"""What `/metrics` tells: counts of what happened since the start, and the queue as it is now. All
of it as Prometheus' own objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from myop_cdn.listener import status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric

    from myop_cdn.listener.queue.base import LaneView, Overview

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Upper bounds in seconds, for the histogram of run durations.
_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """Written by the loop, the committer and the workers; read by whoever asks for `page`.

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

    def page(self, overview: Overview | None, now: float, gauges: dict[str, float]) -> bytes:
        """All of it in Prometheus' text format. overview: of the queue, None where it can't be
        read. gauges: what else there is to tell, by the names of `_HELP`.
        """
        return generate_latest(_Page(self.registry, overview, now, gauges))


@dataclass(frozen=True)
class _Page(Collector):
    counts: CollectorRegistry
    overview: Overview | None
    now: float
    gauges: dict[str, float]

    def collect(self) -> Iterator[Metric]:
        for family in self.counts.collect():
            # When each counter began is the same for all: the start.
            family.samples = [one for one in family.samples if not one.name.endswith("_created")]
            yield family
        for name, value in self.gauges.items():
            yield GaugeMetricFamily(f"myop_cdn_{name}", _HELP[name], value)
        if self.overview is not None:
            yield from _queue(self.overview, self.now)


def _queue(overview: Overview, now: float) -> Iterator[Metric]:
    lanes, oldest = overview.lanes, overview.oldest
    totals = {
        "queue_depth": overview.waiting,
        "oldest_delivery_age_seconds": 0.0 if oldest is None else max(0.0, now - oldest),
        "retries": sum(len(lane.agenda.retries) for lane in lanes),
        "full_sync_due": float(any(lane.agenda.full is not None for lane in lanes)),
    }
    for name, total in totals.items():
        yield GaugeMetricFamily(f"myop_cdn_{name}", _HELP[name], total)
    for name, (words, value, of_all) in _LANES.items():
        family = GaugeMetricFamily(f"myop_cdn_destination_{name}", words, None, ["destination"])
        for lane in lanes:
            family.add_metric([lane.name], value(lane))
        yield family
        if of_all is not None:
            yield GaugeMetricFamily(
                f"myop_cdn_{name}", words, of_all([value(lane) for lane in lanes] or [0.0])
            )


_HELP = {
    "connections": "Connections that are open",
    "journal_writable": "1 while the journal can be written",
    "journal_replaced": "1 where a damaged journal has been set aside since the start",
    "running": "1 while something is being published",
    "queue_depth": "Deliveries that are not published yet",
    "oldest_delivery_age_seconds": "Age of the oldest of them",
    "retries": "Documents that failed and will be retried",
    "full_sync_due": "1 while a full sync is due",
}

# By destination: what it is, how much there, and what that makes of all (None: it is not told).
_LANES: dict[
    str,
    tuple[str, Callable[[LaneView], float], Callable[[Iterable[float]], float] | None],
] = {
    "ok": (
        "0 while something is wrong at the destination that will not go away unseen",
        lambda lane: float(not status.troubles(lane)),
        None,
    ),
    "pending": ("Deliveries that it has not got yet", lambda lane: lane.pending, None),
    "documents": ("Documents that were published there", lambda lane: lane.documents, None),
    "failed_attempts": (
        "Runs that failed as a whole since the last that did not",
        lambda lane: lane.agenda.outage.attempts if lane.agenda.outage else 0,
        max,
    ),
    "failed_full_syncs": (
        "Full syncs that failed since the last that did not",
        lambda lane: lane.agenda.full.attempts if lane.agenda.full else 0,
        max,
    ),
    "behind": (
        "Documents that do not hold what was announced for them",
        lambda lane: sum(retry.behind for retry in lane.agenda.retries),
        sum,
    ),
    "given_up": (
        "Documents that are given up; they are tried again now and then for a day",
        lambda lane: status.given_up(lane.agenda.retries),
        sum,
    ),
    "last_success_timestamp_seconds": (
        "When a run last did all it had to",
        lambda lane: lane.last_success or 0.0,
        min,
    ),
}
