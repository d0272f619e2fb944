"""`/metrics`: the counts and the journal in Prometheus' text format.

The only file that imports prometheus-client, and only a listener with `--admin` imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from myop_cdn.listener import status
from myop_cdn.listener.metrics import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

    from myop_cdn.listener.metrics import Metrics
    from myop_cdn.listener.queue.base import LaneView, Overview

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(
    metrics: Metrics, overview: Overview | None, now: float, gauges: dict[str, float]
) -> bytes:
    """The whole page. overview: of the queue, None where it can't be read. gauges: further
    values by name, without the prefix.
    """
    registry = CollectorRegistry()
    registry.register(_Page(metrics, overview, now, gauges))
    return generate_latest(registry)


class _Page(Collector):
    def __init__(
        self,
        metrics: Metrics,
        overview: Overview | None,
        now: float,
        gauges: dict[str, float],
    ) -> None:
        self._metrics = metrics
        self._overview = overview
        self._now = now
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """Every metric, once."""
        yield from self._counters()
        yield self._durations()
        gauges = dict(self._gauges)
        if self._overview is not None:
            gauges |= _queue(self._overview, self._now)
            yield from self._destinations(self._overview)
        for name, value in gauges.items():
            yield GaugeMetricFamily(f"myop_cdn_{name}", _HELP[name], value)

    def _destinations(self, overview: Overview) -> Iterable[Metric]:
        for name, (words, value) in _OF_DESTINATION.items():
            family = GaugeMetricFamily(f"myop_cdn_destination_{name}", words, None, ["destination"])
            for lane in overview.lanes:
                family.add_metric([lane.name], value(lane))
            yield family

    def _counters(self) -> Iterable[Metric]:
        metrics = self._metrics
        received = CounterMetricFamily(
            "myop_cdn_received",
            "Signed deliveries answered 200, by what became of them",
            None,
            ["fate"],
        )
        for fate, count in metrics.received.copy().items():
            received.add_metric([fate], count)
        yield received
        rejected = CounterMetricFamily(
            "myop_cdn_rejected", "Requests refused (status 0: closed)", None, ["status", "reason"]
        )
        for (code, reason), count in metrics.rejected.copy().items():
            rejected.add_metric([str(code), reason], count)
        yield rejected
        secrets = CounterMetricFamily(
            "myop_cdn_secret_matched", "Signatures by the index of their secret", None, ["index"]
        )
        for index, count in metrics.secrets.copy().items():
            secrets.add_metric([str(index)], count)
        yield secrets
        ended = CounterMetricFamily("myop_cdn_runs", "Runs that ended", None, ["scope", "state"])
        for (scope, state), count in metrics.runs.copy().items():
            ended.add_metric([scope, state], count)
        yield ended
        each = CounterMetricFamily(
            "myop_cdn_destination_runs", "Runs that ended", None, ["destination", "state"]
        )
        for (destination, state), count in metrics.destination_runs.copy().items():
            each.add_metric([destination, state], count)
        yield each
        yield CounterMetricFamily("myop_cdn_uploaded_objects", "Objects uploaded", metrics.uploaded)

    def _durations(self) -> Metric:
        buckets: list[tuple[str, float]] = []
        total = 0
        found = self._metrics.buckets.copy()
        for bound in (*BUCKETS, float("inf")):
            total += found[bound]
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        return HistogramMetricFamily(
            "myop_cdn_run_seconds", "How long runs took", buckets, self._metrics.seconds
        )


_HELP = {
    "connections": "Connections that are open",
    "journal_writable": "1 while the journal can be written",
    "journal_replaced": "1 where a damaged journal has been set aside since the start",
    "running": "1 while something is being published",
    "queue_depth": "Deliveries that are not published yet",
    "oldest_delivery_age_seconds": "Age of the oldest of them",
    "retries": "Documents that failed and will be retried",
    "behind": "Documents that do not hold what was announced for them",
    "given_up": "Documents that are given up; they are tried again now and then for a day",
    "failed_full_syncs": "Full syncs that failed since the last that did not",
    "full_sync_due": "1 while a full sync is due",
    "failed_attempts": "Runs that failed as a whole since the last that did not",
    "last_success_timestamp_seconds": "When a run last did all it had to",
}


_OF_DESTINATION: dict[str, tuple[str, Callable[[LaneView], float]]] = {
    "ok": (
        "0 while something is wrong at the destination that will not go away unseen",
        lambda lane: float(not status.troubles(lane)),
    ),
    "pending": ("Deliveries that it has not got yet", lambda lane: lane.pending),
    "documents": ("Documents that were published there", lambda lane: lane.documents),
    "failed_attempts": (
        "Runs that failed as a whole since the last that did not",
        lambda lane: lane.agenda.outage.attempts if lane.agenda.outage else 0,
    ),
    "failed_full_syncs": (
        "Full syncs that failed since the last that did not",
        lambda lane: lane.agenda.full.attempts if lane.agenda.full else 0,
    ),
    "behind": (
        "Documents that do not hold what was announced for them",
        lambda lane: sum(retry.behind for retry in lane.agenda.retries),
    ),
    "given_up": (
        "Documents that are given up; they are tried again now and then for a day",
        lambda lane: status.given_up(lane.agenda.retries),
    ),
    "last_success_timestamp_seconds": (
        "When a run last did all it had to",
        lambda lane: lane.last_success or 0.0,
    ),
}


def _queue(overview: Overview, now: float) -> dict[str, float]:
    agendas = [lane.agenda for lane in overview.lanes]
    retries = [retry for agenda in agendas for retry in agenda.retries]
    oldest = overview.oldest
    return {
        "queue_depth": overview.waiting,
        "oldest_delivery_age_seconds": max(0.0, now - oldest) if oldest is not None else 0.0,
        "retries": len(retries),
        "behind": sum(retry.behind for retry in retries),
        "given_up": status.given_up(retries),
        "full_sync_due": float(any(agenda.full is not None for agenda in agendas)),
        "failed_attempts": max((one.outage.attempts for one in agendas if one.outage), default=0),
        "failed_full_syncs": max((one.full.attempts for one in agendas if one.full), default=0),
        "last_success_timestamp_seconds": status.last_success(overview) or 0.0,
    }
