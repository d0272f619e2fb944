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

KEPT = timedelta(days=30)
KEPT_MOST = 10_000

OPEN = ("waiting", "retrying")


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


def store(connection: sqlite3.Connection, record: Record) -> str | None:
    """Keep a delivery; the id of the earlier one where its body was taken before."""
    expires = None if record.once else record.received + KEPT.total_seconds()
    added = connection.execute(
        "INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (record.sha256, record.id, expires)
    )
    if not added.rowcount:
        row = connection.execute("SELECT id FROM seen WHERE sha256 = ?", (record.sha256,))
        return str(row.fetchone()[0])
    connection.execute(
        "INSERT INTO delivery (id, sha256, received, announced, peer, headers, secret, event,"
        " kind, body, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
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
        ),
    )
    return None


def prune(connection: sqlite3.Connection, now: float) -> int:
    """Forget what is over the limits of the history, never what is still to be worked.

    Returns how many deliveries went.
    """
    gone = connection.execute(
        "DELETE FROM delivery WHERE state NOT IN ('waiting', 'retrying') AND (received < ? OR"
        " seq <= (SELECT seq FROM delivery ORDER BY seq DESC LIMIT 1 OFFSET ?))",
        (now - KEPT.total_seconds(), KEPT_MOST),
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
