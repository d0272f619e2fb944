"""Runs in the journal: what is to be done, what is being done, and how it ended.

Every function takes a connection and leaves the transaction to its caller. Nothing that a
run is to work on is changed before it has ended, so an interrupted run is simply done again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from myop_cdn.listener.queue.agenda import MERGED, Agenda, FullDue, Outage, Retry, Waiting
from myop_cdn.model import Release

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from myop_cdn.model import DocumentRef

_WAITING = "FROM delivery WHERE state = 'waiting'"  # the words of the partial indexes
_RETRYING = "FROM delivery WHERE state = 'retrying'"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found at start: whether the last process ended in order, and what waits."""

    clean: bool
    fresh: bool
    waiting: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery that is to be worked. announced: seconds since the epoch."""

    seq: int
    id: str
    announced: float
    body: bytes


def fact(connection: sqlite3.Connection, name: str) -> Any:
    """A single value, decoded from JSON; None where it was never set."""
    row = connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return None if row is None else json.loads(row[0])


def set_fact(connection: sqlite3.Connection, name: str, value: Any) -> None:
    """Keep a single value; None forgets it."""
    if value is None:
        connection.execute("DELETE FROM fact WHERE name = ?", (name,))
    else:
        connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, json.dumps(value)))


def recover(connection: sqlite3.Connection, now: float) -> Recovery:
    """Begin: mark what the last process left unfinished, and that this one has not ended."""
    clean = fact(connection, "clean")
    connection.execute(
        "UPDATE run SET state = 'interrupted', ended = ? WHERE state = 'running'", (now,)
    )
    set_fact(connection, "clean", False)
    row = connection.execute(f"SELECT count(*) {_WAITING}")
    return Recovery(clean is not False, clean is None, row.fetchone()[0])


def end_clean(connection: sqlite3.Connection, now: float) -> None:
    """End in order: what was interrupted is marked, and waits for the next process."""
    connection.execute(
        "UPDATE run SET state = 'interrupted', ended = ? WHERE state = 'running'", (now,)
    )
    set_fact(connection, "clean", True)


def make_full_due(
    connection: sqlite3.Connection, reason: str, now: float, after: float | None = None
) -> None:
    """Ask for a full sync, not before `after`. One that is due already keeps its place."""
    due = full_due(connection)
    if due is None or due.after > (after or now):
        value = FullDue(reason, now if due is None else due.since, after or now)
        set_full_due(connection, value)


def set_full_due(connection: sqlite3.Connection, due: FullDue) -> None:
    """Note when a full sync is due."""
    set_fact(connection, "full_due", asdict(due))


def full_due(connection: sqlite3.Connection) -> FullDue | None:
    value = fact(connection, "full_due")
    return FullDue(**value) if value else None


def agenda(connection: sqlite3.Connection) -> Agenda:
    """All that there is to be done."""
    outage = fact(connection, "outage")
    return Agenda(
        _waiting(connection),
        tuple(retries(connection)),
        Outage(**outage) if outage else None,
        full_due(connection),
        fact(connection, "next_full"),
    )


def _waiting(connection: sqlite3.Connection) -> Waiting | None:
    # Looked at often, and there may be very many: none of these goes through all of them.
    count = connection.execute(
        f"SELECT count(*) FROM (SELECT 1 {_WAITING} LIMIT ?)",  # noqa: S608 - constants
        (MERGED + 1,),
    ).fetchone()[0]
    if not count:
        return None
    ends = [
        connection.execute(f"SELECT received {_WAITING} ORDER BY seq {way} LIMIT 1").fetchone()[0]
        for way in ("ASC", "DESC")
    ]
    return Waiting(count, *ends)


def retries(connection: sqlite3.Connection) -> Iterable[Retry]:
    """The documents that failed, in the order of their names."""
    rows = connection.execute(
        "SELECT component, environment, variant, environment_id, attempts, due FROM retry"
        " ORDER BY component, environment"
    )
    for component, environment, variant, environment_id, attempts, due in rows:
        yield Retry(Release(component, environment, variant, environment_id), attempts, due)


def waiting(connection: sqlite3.Connection) -> list[Delivered]:
    """The oldest deliveries that wait, as many as are merged one by one."""
    return _delivered(connection, _WAITING, MERGED)


def retrying(connection: sqlite3.Connection) -> list[Delivered]:
    """The deliveries of which a document failed and is to be retried."""
    return _delivered(connection, _RETRYING, -1)


def waiting_seqs(connection: sqlite3.Connection, most: int) -> list[int]:
    """The numbers of the oldest deliveries that wait."""
    return [row[0] for row in connection.execute(f"SELECT seq {_WAITING} LIMIT ?", (most,))]


def _delivered(connection: sqlite3.Connection, which: str, most: int) -> list[Delivered]:
    rows = connection.execute(
        f"SELECT seq, id, announced, body {which} ORDER BY seq LIMIT ?", (most,)
    )
    return [Delivered(*row) for row in rows]


def open_count(connection: sqlite3.Connection) -> tuple[int, float | None]:
    """How many deliveries are not done, and when the oldest of them was received."""
    rows = [
        connection.execute(f"SELECT count(*), min(received) {which}").fetchone()
        for which in (_WAITING, _RETRYING)
    ]
    return sum(row[0] for row in rows), min((row[1] for row in rows if row[0]), default=None)


def begin(
    connection: sqlite3.Connection, kind: str, reason: str, deliveries: int, now: float
) -> int:
    """Record that a run begins; its number."""
    cursor = connection.execute(
        "INSERT INTO run (kind, reason, started, state, deliveries) VALUES (?, ?, ?, 'running', ?)",
        (kind, reason, now, deliveries),
    )
    return int(cursor.lastrowid or 0)


def end(
    connection: sqlite3.Connection,
    run: int,
    state: str,
    uploaded: int,
    error: str | None,
    now: float,
) -> None:
    """Record how a run ended."""
    connection.execute(
        "UPDATE run SET state = ?, ended = ?, uploaded = ?, error = ? WHERE id = ?",
        (state, now, uploaded, error, run),
    )
    if state == "done":
        set_fact(connection, "last_success", now)
    set_fact(connection, "last_error", {"at": now, "error": error} if error else None)


def settle(
    connection: sqlite3.Connection,
    seqs: Sequence[int],
    state: str,
    run: int,
    error: str | None,
    now: float,
) -> None:
    """Move open deliveries on to `state` after a run."""
    finished = None if state in ("waiting", "retrying") else now
    connection.executemany(
        "UPDATE delivery SET state = ?, run = ?, error = ?, finished = ?, attempts = attempts + 1"
        " WHERE seq = ? AND state IN ('waiting', 'retrying')",
        [(state, run, error, finished, seq) for seq in seqs],
    )


def set_retry(connection: sqlite3.Connection, retry: Retry, error: str) -> None:
    """A document failed (again)."""
    release = retry.release
    connection.execute(
        "INSERT OR REPLACE INTO retry VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            release.component_id,
            release.environment,
            release.variant_id,
            release.environment_id,
            retry.attempts,
            retry.due,
            error,
        ),
    )


def drop_retries(connection: sqlite3.Connection, refs: Iterable[DocumentRef]) -> None:
    """These documents need no retry any more."""
    connection.executemany(
        "DELETE FROM retry WHERE component = ? AND environment = ?",
        [(ref.component_id, ref.environment) for ref in refs],
    )


def set_live(
    connection: sqlite3.Connection, releases: Iterable[Release], run: int, now: float
) -> None:
    """These are live now; the moment stays where the same variant was live before."""
    connection.executemany(
        "INSERT INTO live VALUES (?, ?, ?, ?, ?) ON CONFLICT (component, environment) DO UPDATE"
        " SET variant = excluded.variant, since = excluded.since, run = excluded.run"
        " WHERE variant IS NOT excluded.variant OR excluded.variant IS NULL",
        [(one.component_id, one.environment, one.variant_id, now, run) for one in releases],
    )


def drop_live(connection: sqlite3.Connection, refs: Iterable[DocumentRef]) -> None:
    """These are not live any more."""
    connection.executemany(
        "DELETE FROM live WHERE component = ? AND environment = ?",
        [(ref.component_id, ref.environment) for ref in refs],
    )
