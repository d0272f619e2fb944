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

from myop_cdn.listener.metrics import BUCKETS
from myop_cdn.listener.queue import runs

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from prometheus_client import Metric

    from myop_cdn.listener.metrics import Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(
    metrics: Metrics, connection: sqlite3.Connection | None, now: float, gauges: dict[str, float]
) -> bytes:
    """The whole page. connection: the journal, None where it can't be read. gauges: further
    values by name, without the prefix.
    """
    registry = CollectorRegistry()
    registry.register(_Page(metrics, connection, now, gauges))
    return generate_latest(registry)


class _Page(Collector):
    def __init__(
        self,
        metrics: Metrics,
        connection: sqlite3.Connection | None,
        now: float,
        gauges: dict[str, float],
    ) -> None:
        self._metrics = metrics
        self._connection = connection
        self._now = now
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """Every metric, once."""
        yield from self._counters()
        yield self._durations()
        gauges = dict(self._gauges)
        if self._connection is not None:
            gauges |= _journal(self._connection, self._now)
        for name, value in gauges.items():
            yield GaugeMetricFamily(f"myop_cdn_{name}", _HELP[name], value)

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
        for (status, reason), count in metrics.rejected.copy().items():
            rejected.add_metric([str(status), reason], count)
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
    "running": "1 while something is being published",
    "queue_depth": "Deliveries that are not published yet",
    "oldest_delivery_age_seconds": "Age of the oldest of them",
    "retries": "Documents that failed and will be retried",
    "full_sync_due": "1 while a full sync is due",
    "failed_attempts": "Runs that failed as a whole since the last that did not",
    "last_success_timestamp_seconds": "When a run last did all it had to",
}


def _journal(connection: sqlite3.Connection, now: float) -> dict[str, float]:
    count, oldest = runs.open_count(connection)
    agenda = runs.agenda(connection)
    success = runs.fact(connection, "last_success")
    return {
        "queue_depth": count,
        "oldest_delivery_age_seconds": max(0.0, now - oldest) if oldest is not None else 0.0,
        "retries": len(agenda.retries),
        "full_sync_due": float(agenda.full is not None),
        "failed_attempts": agenda.outage.attempts if agenda.outage else 0,
        "last_success_timestamp_seconds": success or 0.0,
    }
