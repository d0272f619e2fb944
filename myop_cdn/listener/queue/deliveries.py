"""Deliveries in the journal: stored, told apart from duplicates, listed, asked for again.

Every function takes a connection and leaves the transaction to its caller.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

KEPT = timedelta(days=30)
KEPT_MOST = 10_000

_STORED = (
    "id", "sha256", "received", "announced", "peer", "headers", "secret", "event", "kind",
    "body", "state",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """A delivery as it is stored. Times in seconds since the epoch.

    announced: the signed timestamp, or when it was received. once: whether its hash is kept
    for ever, because nothing else would show a replay of it.
    """

    id: str
    sha256: bytes
    received: float
    announced: float
    peer: str
    headers: dict[str, str]
    secret: int
    event: str | None
    kind: str
    body: bytes
    state: str
    once: bool


def store(connection: sqlite3.Connection, batch: Sequence[Record]) -> list[str | None]:
    """Keep deliveries; for each the id of the earlier one where its body was taken before.

    Few large statements: each one hands Python's lock to and fro, which under load costs more
    than the rows.
    """
    known = _known(connection, [record.sha256 for record in batch])
    earlier: list[str | None] = []
    fresh: list[Record] = []
    for record in batch:
        earlier.append(known.get(record.sha256))
        if record.sha256 not in known:
            known[record.sha256] = record.id
            fresh.append(record)
    _insert(connection, "seen", 3, [_seen(record) for record in fresh])
    _insert(connection, f"delivery ({', '.join(_STORED)})", len(_STORED), [*map(_row, fresh)])
    return earlier


def _known(connection: sqlite3.Connection, hashes: list[bytes]) -> dict[bytes, str]:
    marks = ", ".join("?" * len(hashes))
    rows = connection.execute(
        f"SELECT sha256, id FROM seen WHERE sha256 IN ({marks})",  # noqa: S608 - question marks
        hashes,
    )
    return dict(rows.fetchall())


def _insert(
    connection: sqlite3.Connection, into: str, width: int, rows: list[tuple[Any, ...]]
) -> None:
    mark = f"({', '.join('?' * width)})"
    while rows:
        # Powers of two, so that SQLite meets a handful of statements again and again.
        count = min(64, 1 << (len(rows).bit_length() - 1))
        marks = ", ".join([mark] * count)
        values = [cell for row in rows[:count] for cell in row]
        connection.execute(f"INSERT INTO {into} VALUES {marks}", values)  # noqa: S608 - no data
        rows = rows[count:]


def _seen(record: Record) -> tuple[Any, ...]:
    expires = None if record.once else record.received + KEPT.total_seconds()
    return (record.sha256, record.id, expires)


def _row(record: Record) -> tuple[Any, ...]:
    return (
        record.id,
        record.sha256,
        record.received,
        record.announced,
        record.peer,
        json.dumps(record.headers),
        record.secret,
        record.event,
        record.kind,
        record.body,
        record.state,
    )


def prune(connection: sqlite3.Connection, now: float, most: int = -1) -> int:
    """Forget what is over the limits of the history, never what is still to be worked.

    most: how many deliveries at the most, -1 for all. Returns how many went.
    """
    gone = connection.execute(
        "DELETE FROM delivery WHERE seq IN (SELECT seq FROM delivery WHERE"
        " state NOT IN ('waiting', 'retrying') AND (received < ? OR"
        " seq <= (SELECT seq FROM delivery ORDER BY seq DESC LIMIT 1 OFFSET ?)) LIMIT ?)",
        (now - KEPT.total_seconds(), KEPT_MOST, most),
    ).rowcount
    connection.execute("DELETE FROM seen WHERE expires < ?", (now,))
    connection.execute("DELETE FROM run WHERE id <= (SELECT max(id) FROM run) - ?", (KEPT_MOST,))
    return gone


def listed(
    connection: sqlite3.Connection, limit: int, state: str | None = None
) -> list[dict[str, Any]]:
    """The newest deliveries, newest first, without headers and bodies."""
    columns = "id, received, event, kind, state, attempts, run, error, finished, peer, secret"
    where = "WHERE state = ?" if state else ""
    rows = connection.execute(
        f"SELECT {columns}, length(body) FROM delivery {where} ORDER BY seq DESC LIMIT ?",  # noqa: S608 - the parts are constants
        (state, limit) if state else (limit,),
    )
    names = (*columns.split(", "), "size")
    return [dict(zip(names, row, strict=True)) for row in rows]


def found(connection: sqlite3.Connection, id_: str) -> dict[str, Any] | None:
    """One delivery with headers and body (bytes), or None."""
    cursor = connection.execute("SELECT * FROM delivery WHERE id = ?", (id_,))
    row = cursor.fetchone()
    if row is None:
        return None
    value = {column[0]: cell for column, cell in zip(cursor.description, row, strict=True)}
    value["headers"] = json.loads(value["headers"])
    return value


def retry(connection: sqlite3.Connection, id_: str) -> bool:
    """Put a delivery back among those that wait; False when there is none of that id."""
    changed = connection.execute(
        "UPDATE delivery SET state = 'waiting', error = NULL, finished = NULL WHERE id = ?",
        (id_,),
    )
    return bool(changed.rowcount)


def forget(connection: sqlite3.Connection, id_: str) -> bool:
    """Drop a delivery, worked or not; False when there is none of that id.

    Its hash stays: a replay of what was forgotten is still a replay.
    """
    return bool(connection.execute("DELETE FROM delivery WHERE id = ?", (id_,)).rowcount)
