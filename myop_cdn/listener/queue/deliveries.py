"""Deliveries in the journal: stored, told apart from duplicates, settled, listed, asked for again.

Every function takes a connection and leaves the transaction to its caller. But for `store`, which
is SQLite's own, the statements are such that SQLite and PostgreSQL read them alike (see `sql`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from myop_cdn.errors import PayloadError
from myop_cdn.listener.queue.base import (
    KEPT,
    KEPT_MOST,
    Delivered,
    DeliveryView,
    NamedRelease,
)
from myop_cdn.payload import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myop_cdn.listener.queue.base import Record, Settlement
    from myop_cdn.listener.queue.sql import Connection

_AT_ONCE = 500  # values to a statement

_STORED = (
    "id", "sha256", "received", "announced", "peer", "headers", "secret", "event", "kind",
    "body", "state",
)  # fmt: skip


def store(connection: Connection, batch: Sequence[Record]) -> list[str | None]:
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


def _known(connection: Connection, hashes: list[bytes]) -> dict[bytes, str]:
    rows = connection.execute(
        f"SELECT sha256, id FROM seen WHERE sha256 IN ({_marks(hashes)})",  # noqa: S608 - marks
        hashes,
    )
    return dict(rows.fetchall())


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _insert(connection: Connection, into: str, width: int, rows: list[tuple[Any, ...]]) -> None:
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


def prune(connection: Connection, now: float, most: int = 1 << 31) -> int:
    """Forget what is over the limits of the history, never what is still to be worked or shown.

    most: how many deliveries at the most. Returns how many went.
    """
    gone = connection.execute(
        "DELETE FROM delivery WHERE seq IN (SELECT seq FROM delivery WHERE"
        " state IN ('done', 'ignored') AND (received < ? OR"
        " seq <= (SELECT seq FROM delivery ORDER BY seq DESC LIMIT 1 OFFSET ?)) LIMIT ?)",
        (now - KEPT.total_seconds(), KEPT_MOST, most),
    ).rowcount
    connection.execute("DELETE FROM seen WHERE expires < ?", (now,))
    connection.execute("DELETE FROM run WHERE id <= (SELECT max(id) FROM run) - ?", (KEPT_MOST,))
    return gone


def waiting(connection: Connection, lane: str, most: int) -> tuple[Delivered, ...]:
    """The oldest deliveries that wait in a lane: put back by a run, or not taken yet."""
    rows = connection.execute(
        "SELECT seq, id, announced, body FROM delivery WHERE seq IN"
        " (SELECT seq FROM todo WHERE lane = :lane AND state = 'waiting' ORDER BY seq LIMIT :most)"
        " UNION ALL SELECT * FROM (SELECT seq, id, announced, body FROM delivery"
        " WHERE state = 'waiting' AND seq > (SELECT position FROM lane WHERE name = :lane)"
        " ORDER BY seq LIMIT :most) AS fresh LIMIT :most",
        {"lane": lane, "most": most},
    )
    found = {row[0]: Delivered(*row) for row in rows.fetchall()}  # one may be among both
    return tuple(found[seq] for seq in sorted(found))


def settle(
    connection: Connection,
    lane: str,
    settlements: Sequence[Settlement],
    run: int,
    now: float,
) -> None:
    """Note what became of deliveries in a lane, and with that over all of them."""
    # Most are done, and alike: few large statements, as in `store`.
    seqs = [found.seq for found in settlements]
    for table in ("todo", "need"):
        _each(connection, f"DELETE FROM {table} WHERE lane = ? AND", (lane,), seqs)  # noqa: S608
    left = [found for found in settlements if found.state != "done"]
    connection.executemany(
        # Not for one that has been forgotten meanwhile.
        'INSERT INTO todo (seq, lane, state, "full", error)'
        " SELECT seq, ?, ?, ?, ? FROM delivery WHERE seq = ?",
        [(lane, found.state, found.full, found.error, found.seq) for found in left],
    )
    connection.executemany(
        "INSERT INTO need (lane, component, environment, seq, delivery, variant, environment_id,"
        " announced) SELECT ?, ?, ?, seq, id, ?, ?, ? FROM delivery WHERE seq = ?"
        " ON CONFLICT (lane, component, environment, seq) DO UPDATE SET"
        " variant = excluded.variant, environment_id = excluded.environment_id,"
        " announced = excluded.announced",
        [
            (
                lane,
                need.release.component_id,
                need.release.environment,
                need.release.variant_id,
                need.release.environment_id,
                need.announced,
                need.seq,
            )
            for found in left
            for need in found.needs
        ],
    )
    noted: dict[str | None, list[int]] = {}
    for found in settlements:
        noted.setdefault(found.note, []).append(found.seq)
    taken = "UPDATE delivery SET run = ?, attempts = attempts + 1, note = coalesce(?, note) WHERE"
    for note, alike in noted.items():
        _each(connection, taken, (run, note), alike)
    refresh(connection, seqs, now)


def _each(
    connection: Connection, statement: str, values: tuple[object, ...], seqs: Sequence[int]
) -> None:
    """Run a statement, which lacks its last condition, for the deliveries of these numbers."""
    for start in range(0, len(seqs), _AT_ONCE):
        chunk = seqs[start : start + _AT_ONCE]
        connection.execute(f"{statement} seq IN ({_marks(chunk)})", (*values, *chunk))


def refresh(connection: Connection, seqs: Sequence[int], now: float) -> None:
    """Derive the state of deliveries from what the lanes have to do with them still."""
    lanes = dict(connection.execute("SELECT name, position FROM lane").fetchall())
    for start in range(0, len(seqs), _AT_ONCE):
        chunk = seqs[start : start + _AT_ONCE]
        marks = _marks(chunk)
        todo: dict[int, list[tuple[str, str, str | None]]] = {}
        for seq, lane, state, error in connection.execute(
            f"SELECT seq, lane, state, error FROM todo WHERE seq IN ({marks})",  # noqa: S608
            chunk,
        ):
            todo.setdefault(seq, []).append((lane, state, error))
        lost = {
            row[0]
            for row in connection.execute(
                "SELECT DISTINCT seq FROM need"  # noqa: S608 - marks
                " JOIN retry USING (lane, component, environment)"
                f" WHERE given_up AND seq IN ({marks})",
                chunk,
            )
        }
        alike: dict[tuple[str, str | None, float | None], list[int]] = {}
        for seq in chunk:
            derived = _state(seq, todo.get(seq, []), lanes, seq in lost, now)
            alike.setdefault(derived, []).append(seq)
        changed = (
            "UPDATE delivery SET state = ?, error = ?, finished = ? WHERE state != 'ignored' AND"
        )
        for derived, those in alike.items():
            _each(connection, changed, derived, those)


def _state(
    seq: int,
    todo: list[tuple[str, str, str | None]],
    lanes: dict[str, int],
    lost: bool,
    now: float,
) -> tuple[str, str | None, float | None]:
    states = {state for _, state, _ in todo}
    if any(position < seq for position in lanes.values()):
        states.add("waiting")
    errors = [
        error if len(lanes) == 1 or lane in error else f"{lane}: {error}"
        for lane, _, error in todo
        if error
    ]
    error = "; ".join(errors) or None
    if "waiting" in states:
        return "waiting", error, None
    if "open" in states:
        return "failed" if lost else "retrying", error, now if lost else None
    return "done", None, now


_COLUMNS = (
    "seq, id, received, announced, event, kind, state, attempts, run, error, note, finished,"
    " peer, secret, sha256, length(body), body"
)


def listed(connection: Connection, limit: int, state: str | None = None) -> list[DeliveryView]:
    """The newest deliveries, newest first, without headers and bodies."""
    where = "WHERE state = ?" if state else ""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM delivery {where} ORDER BY seq DESC LIMIT ?",  # noqa: S608
        (state, limit) if state else (limit,),
    )
    return [_view(connection, row) for row in rows.fetchall()]


def found(connection: Connection, id_: str) -> DeliveryView | None:
    """One delivery with headers and body, or None."""
    row = connection.execute(
        f"SELECT {_COLUMNS}, headers FROM delivery WHERE id = ?",  # noqa: S608 - constants
        (id_,),
    ).fetchone()
    return None if row is None else _view(connection, row[:-1], json.loads(row[-1]))


def _view(
    connection: Connection, row: tuple[Any, ...], headers: dict[str, str] | None = None
) -> DeliveryView:
    seq, id_, received, announced, event, kind, state, attempts, run, error, note = row[:11]
    finished, peer, secret, sha256, size, body = row[11:]
    return DeliveryView(
        id=id_,
        received=received,
        announced=announced,
        event=event,
        kind=kind,
        size=size,
        state=state,
        attempts=attempts,
        run=run,
        error=error,
        note=note,
        finished=finished,
        peer=peer,
        secret=secret,
        sha256=bytes(sha256),
        releases=_named(connection, bytes(body)),
        lacking=_lacking(connection, seq, state),
        headers=headers or {},
        body=b"" if headers is None else bytes(body),
    )


def _named(connection: Connection, body: bytes) -> tuple[NamedRelease, ...]:
    try:
        releases = parse(body).scope.releases
    except PayloadError:
        return ()
    named = []
    for release in releases:
        names = connection.execute(
            "SELECT name, CASE WHEN variant = ? THEN variant_name ELSE '' END FROM live"
            " WHERE component = ? AND environment = ? ORDER BY 2 DESC LIMIT 1",
            (release.variant_id, release.component_id, release.environment),
        ).fetchone()
        named.append(NamedRelease(release, *(names or ())))
    return tuple(named)


def _lacking(connection: Connection, seq: int, state: str) -> dict[str, str | None]:
    if state in ("done", "ignored"):
        return {}
    rows = connection.execute(
        "SELECT name, error FROM lane LEFT JOIN todo ON todo.lane = name AND todo.seq = :seq"
        " WHERE position < :seq OR todo.seq IS NOT NULL ORDER BY name",
        {"seq": seq},
    )
    return dict(rows.fetchall())


def retry(connection: Connection, id_: str) -> bool:
    """Put a delivery back among those that wait; False when there is none of that id."""
    row = connection.execute("SELECT seq FROM delivery WHERE id = ?", (id_,)).fetchone()
    if row is None:
        return False
    _drop_retries(connection, row[0])
    connection.execute("DELETE FROM need WHERE seq = ?", row)
    connection.execute(
        'INSERT INTO todo (seq, lane, state, "full", error)'
        " SELECT seq, name, 'waiting', ?, NULL FROM lane, delivery WHERE seq = ?"
        ' ON CONFLICT (seq, lane) DO UPDATE SET state = excluded.state, "full" = excluded."full",'
        " error = NULL",
        (False, *row),
    )
    connection.execute(
        "UPDATE delivery SET state = 'waiting', error = NULL, note = NULL, finished = NULL"
        " WHERE seq = ?",
        row,
    )
    return True


def forget(connection: Connection, id_: str) -> bool:
    """Drop a delivery, worked or not; False when there is none of that id.

    Its hash stays: a replay of what was forgotten is still a replay.
    """
    row = connection.execute("SELECT seq FROM delivery WHERE id = ?", (id_,)).fetchone()
    if row is None:
        return False
    _drop_retries(connection, row[0])
    connection.execute("DELETE FROM delivery WHERE seq = ?", row)
    return True


def _drop_retries(connection: Connection, seq: int) -> None:
    """Drop the retries of documents that only this delivery still waits for."""
    connection.execute(
        "DELETE FROM retry WHERE EXISTS (SELECT 1 FROM need WHERE need.lane = retry.lane AND"
        " need.component = retry.component AND need.environment = retry.environment AND seq = :seq)"
        " AND NOT EXISTS (SELECT 1 FROM need WHERE need.lane = retry.lane AND"
        " need.component = retry.component AND need.environment = retry.environment"
        " AND seq != :seq)",
        {"seq": seq},
    )
