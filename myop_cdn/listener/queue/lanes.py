"""Lanes and runs in the journal: what is open in each lane, what it runs, what it has published.

Every function takes a connection and leaves the transaction to its caller; the statements are
such that SQLite and PostgreSQL read them alike (see `sql`). Nothing that a run is
to work on is changed before it has ended, so an interrupted run is simply done again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from myop_cdn.listener.queue.agenda import (
    MERGED,
    RETRY_LONGEST,
    Agenda,
    FullDue,
    Outage,
    Retry,
    Waiting,
)
from myop_cdn.listener.queue.base import (
    LaneState,
    LaneView,
    LiveDocument,
    LivePage,
    Need,
    Overview,
    RunView,
)
from myop_cdn.listener.queue.deliveries import refresh, settle
from myop_cdn.listener.queue.sql import upsert
from myop_cdn.model import DocumentRef, Release

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from myop_cdn.listener.queue.base import Changes, Lane, LiveQuery
    from myop_cdn.listener.queue.sql import Connection

_AT_ONCE = 250  # documents to a statement
_FULL = "full_reason, full_since, full_after, full_attempts, full_error, full_failed"
_OUTAGE = "outage_attempts, outage_since, outage_at, outage_until, outage_error"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found at start: whether the last process ended in order, and what waits."""

    clean: bool
    waiting: int


def begin(
    connection: Connection, lanes: Sequence[Lane], now: float, due: str | None = None
) -> Recovery:
    """Begin with these lanes: mark what the last process left unfinished, and that this one has
    not ended. due: why a full sync is due in every lane, None where it is not.

    A lane that is new to a journal with others has a full sync due; what waited only for one
    that is gone is done.
    """
    name_journal(connection)
    clean, owed = connection.execute("SELECT clean, due FROM service").fetchone()
    connection.execute("UPDATE service SET clean = ?, due = NULL", (False,))
    _interrupt_runs(connection, now)
    reason = ("unclean exit" if not clean else None) or due or owed
    if gone := join(connection, lanes, now, reason):
        drop(connection, gone, now)
    return Recovery(bool(clean), count_waiting(connection))


def name_journal(connection: Connection) -> None:
    """Give a new journal what tells it from every other."""
    connection.execute(
        "INSERT INTO service (one, journal, clean) VALUES (1, ?, ?) ON CONFLICT DO NOTHING",
        (os.urandom(8).hex(), True),
    )


def join(
    connection: Connection, lanes: Sequence[Lane], now: float, reason: str | None
) -> list[str]:
    """See that these lanes are there, with a full sync due where there is a `reason` for it; the
    names of the other lanes that the journal knows.
    """
    known = {row[0] for row in connection.execute("SELECT name FROM lane").fetchall()}
    for lane in lanes:
        connection.execute(
            "INSERT INTO lane (name) VALUES (?) ON CONFLICT DO NOTHING", (lane.name,)
        )
        new = "a new destination" if known and lane.name not in known else None
        if reason or new:
            make_full_due(connection, lane.name, reason or new or "", now)
        _reschedule(connection, lane, now)
    return sorted(known - {lane.name for lane in lanes})


def count_waiting(connection: Connection) -> int:
    """How many deliveries are to be worked still by some lane."""
    row = connection.execute("SELECT count(*) FROM delivery WHERE state = 'waiting'").fetchone()
    return int(row[0])


def begin_again(connection: Connection, lanes: Sequence[Lane], now: float, due: str | None) -> None:
    """Go on in a journal that was opened again, or begun anew with these lanes."""
    begun = connection.execute("SELECT count(*) FROM service WHERE NOT clean").fetchone()[0]
    if not begun:
        begin(connection, lanes, now, due)
    elif due is not None:
        for lane in lanes:
            make_full_due(connection, lane.name, due, now)


def _reschedule(connection: Connection, lane: Lane, now: float) -> None:
    upcoming = _value(connection, "next_full", lane.name)
    # A clock that was set back, or a shorter schedule, must not put it off for long.
    if lane.full_every <= 0:
        upcoming = None
    elif upcoming is None or upcoming - now > lane.full_every * 1.1:
        upcoming = now + lane.full_every
    connection.execute("UPDATE lane SET next_full = ? WHERE name = ?", (upcoming, lane.name))


def drop(connection: Connection, names: Sequence[str], now: float) -> None:
    """Forget lanes that nobody works any more; what waited only for them is done."""
    rows = [(name,) for name in names]
    for table in ("todo", "need", "retry", "live"):
        connection.executemany(f"DELETE FROM {table} WHERE lane = ?", rows)  # noqa: S608
    connection.executemany("DELETE FROM lane WHERE name = ?", rows)
    seqs = connection.execute(
        "SELECT seq FROM delivery WHERE state IN ('waiting', 'retrying', 'failed')"
    )
    refresh(connection, [row[0] for row in seqs.fetchall()], now)


def end_clean(connection: Connection, now: float) -> None:
    """End in order: what was interrupted is marked, and waits for the next process."""
    _interrupt_runs(connection, now)
    connection.execute("UPDATE service SET clean = ?", (True,))


def _interrupt_runs(connection: Connection, now: float) -> None:
    connection.execute(
        "UPDATE run SET state = 'interrupted', ended = ? WHERE state = 'running'", (now,)
    )


def journal_id(connection: Connection) -> str:
    """What tells this journal from one that has replaced it."""
    return str(connection.execute("SELECT journal FROM service").fetchone()[0])


def request_full_sync(connection: Connection, reason: str, now: float, throttle: float) -> bool:
    """Make a full sync due in every lane, unless one was requested within `throttle` seconds."""
    last = connection.execute("SELECT requested FROM service").fetchone()[0]
    if last is not None and 0 <= now - last < throttle:
        return False
    connection.execute("UPDATE service SET requested = ?", (now,))
    for (name,) in connection.execute("SELECT name FROM lane").fetchall():
        make_full_due(connection, name, reason, now)
    return True


def make_full_due(connection: Connection, lane: str, reason: str, now: float) -> None:
    """Ask for a full sync. One that is due already keeps its place."""
    due = full_due(connection, lane)
    if due is None or due.after > now:
        set_full_due(connection, lane, FullDue(reason, now if due is None else due.since, now))


def set_full_due(connection: Connection, lane: str, due: FullDue | None) -> None:
    """Note when a full sync is due in a lane, or that none is."""
    values = (
        (None, None, None, 0, None, None)
        if due is None
        else (due.reason, due.since, due.after, due.attempts, due.error, due.failed)
    )
    connection.execute(
        f"UPDATE lane SET ({_FULL}) = (?, ?, ?, ?, ?, ?) WHERE name = ?",  # noqa: S608
        (*values, lane),
    )


def full_due(connection: Connection, lane: str) -> FullDue | None:
    """The full sync that is due in a lane."""
    row = connection.execute(f"SELECT {_FULL} FROM lane WHERE name = ?", (lane,)).fetchone()  # noqa: S608
    return None if row is None or row[0] is None else FullDue(*row)


def set_outage(connection: Connection, lane: str, outage: Outage | None) -> None:
    """Note that the runs of a lane fail as a whole, or that they don't."""
    values = (
        (None,) * 5
        if outage is None
        else (outage.attempts, outage.since, outage.at, outage.until, outage.error)
    )
    connection.execute(
        f"UPDATE lane SET ({_OUTAGE}) = (?, ?, ?, ?, ?) WHERE name = ?",  # noqa: S608
        (*values, lane),
    )


def outage(connection: Connection, lane: str) -> Outage | None:
    """The outage of a lane."""
    row = connection.execute(f"SELECT {_OUTAGE} FROM lane WHERE name = ?", (lane,)).fetchone()  # noqa: S608
    return None if row is None or row[0] is None else Outage(*row)


def _value(connection: Connection, column: str, lane: str) -> float | None:
    row = connection.execute(f"SELECT {column} FROM lane WHERE name = ?", (lane,)).fetchone()  # noqa: S608
    return None if row is None else row[0]


def agenda(connection: Connection, lane: str, now: float | None = None) -> Agenda:
    """All that there is to be done in a lane. now: only the retries that matter for a decision at
    that moment, of thousands: those that are due, as many as a run takes, and the next one.
    """
    if now is None:
        found = tuple(retries(connection, lane))
    else:
        upcoming = "due > :now AND due <= :then"  # what is later still was set by another clock
        values: dict[str, str | float] = {"lane": lane, "now": now, "then": now + RETRY_LONGEST}
        due = f"due IS NOT NULL AND NOT ({upcoming}) ORDER BY due LIMIT {MERGED}"
        found = (
            *_retries(connection, f"lane = :lane AND {due}", values),
            *_retries(connection, f"lane = :lane AND {upcoming} ORDER BY due LIMIT 1", values),
        )
    return Agenda(
        _waiting(connection, lane),
        found,
        outage(connection, lane),
        full_due(connection, lane),
        _value(connection, "next_full", lane),
    )


def _waiting(connection: Connection, lane: str) -> Waiting | None:
    # Looked at often, and there may be very many: none of these goes through all of them.
    sources = (
        "FROM todo JOIN delivery USING (seq) WHERE lane = :lane AND todo.state = 'waiting'",
        (
            "FROM delivery WHERE state = 'waiting'"
            " AND seq > (SELECT position FROM lane WHERE name = :lane)"
        ),
    )
    count, ends = 0, []
    for source in sources:
        count += connection.execute(
            f"SELECT count(*) FROM (SELECT 1 {source} LIMIT :most) AS found",  # noqa: S608
            {"lane": lane, "most": MERGED + 1},
        ).fetchone()[0]
        for way in ("ASC", "DESC"):
            ends += connection.execute(
                f"SELECT seq, received {source} ORDER BY seq {way} LIMIT 1",
                {"lane": lane},
            ).fetchall()
    if not count:
        return None
    (_, oldest), (newest_seq, newest) = min(ends), max(ends)
    before = connection.execute(
        "SELECT received FROM delivery WHERE seq < ? ORDER BY seq DESC LIMIT 1", (newest_seq,)
    ).fetchone()
    return Waiting(count, oldest, newest, None if before is None else before[0])


def retries(connection: Connection, lane: str) -> Iterable[Retry]:
    """The documents that failed or are behind, in the order of their names."""
    return _retries(connection, "lane = :lane ORDER BY component, environment", {"lane": lane})


def _retries(
    connection: Connection, which: str, values: Mapping[str, str | float]
) -> Iterable[Retry]:
    rows = connection.execute(
        "SELECT component, environment, variant, environment_id, announced, attempts, due, since,"  # noqa: S608
        f" error, behind, given_up FROM retry WHERE {which}",
        values,
    )
    for component, environment, variant, environment_id, announced, *cells in rows:
        moment = None if announced is None else datetime.fromisoformat(announced)
        release = Release(component, environment, variant, environment_id, moment)
        attempts, due, since, error, behind, given_up = cells
        yield Retry(release, attempts, due, since, error, bool(behind), bool(given_up))


def state(connection: Connection, lane: str, refs: frozenset[DocumentRef] | None) -> LaneState:
    """What a lane has open. refs: the documents whose needs are wanted, None for all."""
    full = connection.execute(
        "SELECT seq FROM todo WHERE lane = ? AND state = 'open' AND \"full\" ORDER BY seq", (lane,)
    )
    return LaneState(
        {retry.ref: retry for retry in retries(connection, lane)},
        tuple(_needs(connection, lane, refs)),
        tuple(row[0] for row in full.fetchall()),
        outage(connection, lane),
        full_due(connection, lane),
        _value(connection, "next_full", lane),
    )


def _needs(
    connection: Connection, lane: str, refs: frozenset[DocumentRef] | None
) -> Iterable[Need]:
    # All needs of each delivery that needs one of `refs`: it is settled as a whole.
    rows = connection.execute(
        "SELECT seq, delivery, component, environment, variant, environment_id, announced"
        " FROM need WHERE lane = ? ORDER BY seq",
        (lane,),
    ).fetchall()
    touched = {row[0] for row in rows if refs is None or DocumentRef(row[2], row[3]) in refs}
    for seq, delivery, component, environment, variant, environment_id, announced in rows:
        if seq in touched:
            release = Release(component, environment, variant, environment_id)
            yield Need(seq, delivery, release, announced)


def begin_run(
    connection: Connection,
    lane: str,
    kind: str,
    reason: str,
    deliveries: int,
    now: float,
    run: int,
) -> None:
    """Record that a run begins."""
    connection.execute(
        "INSERT OR REPLACE INTO run (id, lane, kind, reason, started, state, deliveries)"
        " VALUES (?, ?, ?, ?, ?, 'running', ?)",
        (run, lane, kind, reason, now, deliveries),
    )


def last_run(connection: Connection) -> int:
    """The number of the newest run, 0 where there was none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM run").fetchone()[0])


def finish(connection: Connection, lane: str, changes: Changes) -> None:
    """Record how a run ended, and what follows from it."""
    end = changes.end
    connection.execute(
        "UPDATE run SET state = ?, ended = ?, uploaded = ?, error = ? WHERE id = ?",
        (end.state, end.ended, end.uploaded, end.error, end.run),
    )
    if end.state == "done":
        connection.execute("UPDATE lane SET last_success = ? WHERE name = ?", (end.ended, lane))
    set_outage(connection, lane, changes.outage)
    set_full_due(connection, lane, changes.full)
    connection.execute("UPDATE lane SET next_full = ? WHERE name = ?", (changes.next_full, lane))
    connection.executemany(
        "DELETE FROM retry WHERE lane = ? AND component = ? AND environment = ?",
        [(lane, ref.component_id, ref.environment) for ref in changes.resolved],
    )
    for retry in changes.retries:
        _set_retry(connection, lane, retry)
    take(connection, lane, changes, end.run)


def part_of(changes: Changes, start: int, most: int) -> Changes:
    """The part of `changes` whose settlements begin at `start`, so many at most."""
    part = changes.settlements[start : start + most]
    if len(part) == len(changes.settlements):
        return changes
    position = changes.position
    if position is not None and start + most < len(changes.settlements):
        position = min(position, part[-1].seq)
    return replace(changes, settlements=part, position=position)


def take(connection: Connection, lane: str, changes: Changes, run: int) -> None:
    """Settle deliveries in a lane, and go on behind those that were taken."""
    if changes.position is not None:
        connection.execute(
            "UPDATE lane SET position = ? WHERE name = ? AND position < ?",
            (changes.position, lane, changes.position),
        )
    settle(connection, lane, changes.settlements, run, changes.end.ended)


_SET_RETRY = upsert(
    "retry",
    ("lane", "component", "environment"),
    ("variant", "environment_id", "announced", "attempts", "due", "since", "error", "behind",
     "given_up"),
)  # fmt: skip


def _set_retry(connection: Connection, lane: str, retry: Retry) -> None:
    release = retry.release
    connection.execute(
        _SET_RETRY,
        (
            lane,
            release.component_id,
            release.environment,
            release.variant_id,
            release.environment_id,
            None if release.announced_at is None else release.announced_at.isoformat(),
            retry.attempts,
            retry.due,
            retry.since,
            retry.error,
            retry.behind,
            retry.given_up,
        ),
    )


_LIVE = "component, environment, name, variant, variant_name, since, announced, announced_by"
_SET_LIVE = upsert("live", ("lane", "component", "environment"), tuple(_LIVE.split(", ")[2:]))


def live(
    connection: Connection, lane: str, refs: Iterable[DocumentRef] | None
) -> dict[DocumentRef, LiveDocument]:
    """What a lane has published, of these documents or (None) of all."""
    if refs is None:
        rows = connection.execute(f"SELECT {_LIVE} FROM live WHERE lane = ?", (lane,)).fetchall()  # noqa: S608
    else:
        wanted, rows = list(refs), []
        for start in range(0, len(wanted), _AT_ONCE):
            chunk = wanted[start : start + _AT_ONCE]
            pairs = ", ".join(["(?, ?)"] * len(chunk))
            rows += connection.execute(
                f"SELECT {_LIVE} FROM live WHERE lane = ?"  # noqa: S608 - marks
                f" AND (component, environment) IN (VALUES {pairs})",
                [lane, *(name for ref in chunk for name in (ref.component_id, ref.environment))],
            ).fetchall()
    found = (LiveDocument(DocumentRef(row[0], row[1]), *row[2:]) for row in rows)
    return {document.ref: document for document in found}


def set_live(
    connection: Connection,
    lane: str,
    documents: Sequence[LiveDocument],
    gone: Sequence[DocumentRef],
) -> None:
    """Note what a lane has published now, and what it does not publish any more."""
    connection.executemany(
        _SET_LIVE,
        [
            (
                lane,
                found.ref.component_id,
                found.ref.environment,
                found.name,
                found.variant_id,
                found.variant_name,
                found.since,
                found.announced,
                found.announced_by,
            )
            for found in documents
        ],
    )
    connection.executemany(
        "DELETE FROM live WHERE lane = ? AND component = ? AND environment = ?",
        [(lane, ref.component_id, ref.environment) for ref in gone],
    )


def live_page(
    connection: Connection, limit: int, after: tuple[str, str, str] | None
) -> list[tuple[str, LiveDocument]]:
    """What is live with its lane, in the order of component, environment, lane, after `after`."""
    rows = connection.execute(
        f"SELECT lane, {_LIVE} FROM live WHERE (component, environment, lane) > (?, ?, ?)"  # noqa: S608
        " ORDER BY component, environment, lane LIMIT ?",
        (*(after or ("", "", "")), limit),
    )
    return [(row[0], LiveDocument(DocumentRef(row[1], row[2]), *row[3:])) for row in rows]


def search(connection: Connection, query: LiveQuery) -> LivePage:
    """A page of components with what is live of them in one lane."""
    environments = connection.execute(
        "SELECT environment, count(*) FROM live WHERE lane = ? GROUP BY environment"
        " ORDER BY environment",
        (query.lane,),
    ).fetchall()
    where, values = "lane = ?", [query.lane]
    if query.environment:
        where += " AND environment = ?"
        values.append(query.environment)
    if query.search:
        sign = "".join(f"!{one}" if one in "!%_" else one for one in query.search.lower())
        where += " AND lower(name || ' ' || component || ' ' || variant_name) LIKE ? ESCAPE '!'"
        values.append(f"%{sign}%")
    # One pass over what is live, however many pages there are.
    found = connection.execute(
        f"WITH fitting AS (SELECT component, lower(max(name)) AS title FROM live WHERE {where}"  # noqa: S608 - no data
        " GROUP BY component) SELECT component, (SELECT count(*) FROM fitting) FROM fitting"
        " ORDER BY title, component LIMIT ? OFFSET ?",
        (*values, query.limit, query.offset),
    ).fetchall()
    matched = found[0][1] if found else 0
    components = matched
    if len(values) > 1 or not found:
        components = connection.execute(
            "SELECT count(DISTINCT component) FROM live WHERE lane = ?",
            (query.lane,),
        ).fetchone()[0]
    documents = [
        LiveDocument(DocumentRef(row[0], row[1]), *row[2:])
        for component, _ in found
        for row in connection.execute(
            f"SELECT {_LIVE} FROM live WHERE component = ? AND lane = ? ORDER BY environment",  # noqa: S608
            (component, query.lane),
        )
    ]
    return LivePage(components, matched, dict(environments), tuple(documents))


def overview(connection: Connection) -> Overview:
    """What is open, in all and in each lane."""
    open_ = [
        connection.execute(
            f"SELECT count(*), min(received) FROM delivery WHERE state = '{which}'"  # noqa: S608
        ).fetchone()
        for which in ("waiting", "retrying")
    ]
    documents = dict(connection.execute("SELECT lane, count(*) FROM live GROUP BY lane").fetchall())
    lanes = []
    for name, position, success in connection.execute(
        "SELECT name, position, last_success FROM lane ORDER BY rowid"
    ).fetchall():
        pending = connection.execute(
            "SELECT (SELECT count(*) FROM todo WHERE lane = ?) +"
            " (SELECT count(*) FROM delivery WHERE state = 'waiting' AND seq > ?)",
            (name, position),
        ).fetchone()[0]
        work = agenda(connection, name)
        lanes.append(LaneView(name, work, pending, success, documents.get(name, 0)))
    oldest = min((moment for count, moment in open_ if count), default=None)
    return Overview(sum(count for count, _ in open_), oldest, tuple(lanes))


def runs(connection: Connection, limit: int) -> list[RunView]:
    """The newest runs, newest first."""
    rows = connection.execute(
        "SELECT id, lane, kind, reason, started, ended, state, deliveries, uploaded, error FROM run"
        " ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [RunView(*row) for row in rows]
