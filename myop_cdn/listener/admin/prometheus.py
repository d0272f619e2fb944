"""`/metrics`: the counts and the queue in Prometheus' text format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from myop_cdn.listener import status

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
        for family in self._metrics.registry.collect():
            # When each counter began is the same for all: the start.
            family.samples = [one for one in family.samples if not one.name.endswith("_created")]
            yield family
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
