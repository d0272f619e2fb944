"""What the listener is at, read from its journal: for `/status`, `/metrics` and people.

Every function takes a connection that only needs to read. Times in the results are ISO 8601.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from myop_cdn.listener.queue import deliveries, runs

if TYPE_CHECKING:
    import sqlite3


def iso(moment: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC, with milliseconds."""
    if moment is None:
        return None
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def delivery_json(row: dict[str, Any]) -> dict[str, Any]:
    """One row of `deliveries.listed` as a report shows it."""
    return {
        "id": row["id"],
        "received": iso(row["received"]),
        "event": row["event"],
        "scope": row["kind"],
        "bytes": row["size"],
        "state": row["state"],
        "attempts": row["attempts"],
        "run": row["run"],
        "error": row["error"],
        "finished": iso(row["finished"]),
        "peer": row["peer"],
        "secret": row["secret"],
    }


def summary(connection: sqlite3.Connection, now: float) -> dict[str, Any]:
    """The queue, what comes next, and how it went last; small and quick."""
    count, oldest = runs.open_count(connection)
    agenda = runs.agenda(connection)
    outage, full = agenda.outage, agenda.full
    return {
        "queue": {
            "deliveries": count,
            "oldestSeconds": None if oldest is None else round(max(0.0, now - oldest), 3),
            "retries": [
                {
                    "componentId": retry.ref.component_id,
                    "environment": retry.ref.environment,
                    "attempts": retry.attempts,
                    "due": iso(retry.due),
                }
                for retry in agenda.retries
            ],
        },
        "nextAttempt": iso(outage.until) if outage else None,
        "failedAttempts": outage.attempts if outage else 0,
        "fullSyncDue": full.reason if full else None,
        "nextFullSync": iso(agenda.next_full),
        "lastSuccess": iso(runs.fact(connection, "last_success")),
        "lastError": _last_error(connection),
    }


def last_success_age(connection: sqlite3.Connection, now: float) -> float | None:
    """Seconds since a run last did all it had to; None when none ever did."""
    moment = runs.fact(connection, "last_success")
    return None if moment is None else max(0.0, now - moment)


def everything(connection: sqlite3.Connection, now: float) -> dict[str, Any]:
    """The summary, the last deliveries and runs, and what is live."""
    return {
        **summary(connection, now),
        "deliveries": [delivery_json(row) for row in deliveries.listed(connection, 50)],
        "runs": _runs(connection, 20),
        "live": _live(connection),
    }


def _last_error(connection: sqlite3.Connection) -> dict[str, Any] | None:
    value = runs.fact(connection, "last_error")
    return None if value is None else {"at": iso(value["at"]), "error": value["error"]}


def _runs(connection: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT id, kind, reason, started, ended, state, deliveries, uploaded, error FROM run"
        " ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [
        {
            "run": number,
            "scope": kind,
            "reason": reason,
            "started": iso(started),
            "ended": iso(ended),
            "state": state,
            "deliveries": deliveries,
            "uploaded": uploaded,
            "error": error,
        }
        for number, kind, reason, started, ended, state, deliveries, uploaded, error in rows
    ]


def _live(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT component, environment, variant, since FROM live ORDER BY component, environment"
    )
    return [
        {
            "componentId": component,
            "environment": environment,
            "variantId": variant,
            "since": iso(since),
        }
        for component, environment, variant, since in rows
    ]
