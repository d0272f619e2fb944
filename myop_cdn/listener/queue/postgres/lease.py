"""Which listener works a lane: a lease in the database, by the database's clock.

A listener holds a lane while it renews its lease; another one takes it when it has run out, with
a higher token. What fences off one that lost it without noticing, stopped or cut off from the
database:

- its publishing process is ended by the kernel at the moment up to which the lease surely held
  (see `listener.child`), without another instruction, however long it was stopped;
- what it would record is refused: each of its transactions looks at its token;
- a request that was on its way already meets the destination's conditional write.

All clocks here are monotonic, but for the database's own.

A listener that is killed renewed its lease just before at the worst: another one has the lane
`LENGTH + _TICK` seconds later at the most, with a process ready to publish. A session that has
gone is no reason to take it sooner: whoever is cut off from the database, but not from the
destination, may be publishing still. A listener that is slow keeps its lease as long as it gets to
renew it within `LENGTH - _MARGIN - _RENEW` seconds.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from myop_cdn.errors import LeaseLost, ListenerError
from myop_cdn.listener.queue.postgres import schema
from myop_cdn.listener.queue.postgres.session import connect, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.listener import Log
    from myop_cdn.listener.queue.postgres.session import Session
    from myop_cdn.listener.queue.sql import Connection

T = TypeVar("T")
LENGTH = 2.5  # seconds from one renewal
_MARGIN = 0.3  # seconds before its end from which on a lease counts as lost here
_RENEW = 0.4  # seconds between two renewals
_TICK = 0.2  # seconds between two looks: for what others stored, and for leases that ran out
_SEEN = 60.0  # seconds between two notes that a lane is served
_SECONDS = 2.0  # that a statement may take
_STALLED = 1.0  # seconds without a word after which a session that holds the lock is ended


@dataclass(frozen=True, slots=True)
class Hold:
    """A lane that this listener holds. until: a moment of the monotonic clock."""

    token: int
    until: float


class Leases:
    """Takes, renews and gives up the leases of `lanes` on a thread of its own.

    wake: called when a lane was taken, or another listener may have stored something. taken:
    what is to be done in the transaction that takes a lane, and whether it was taken from one that
    did not let it go.
    """

    def __init__(
        self,
        url: str,
        lanes: Sequence[str],
        holder: str,
        log: Log,
        wake: Callable[[], None],
        taken: Callable[[Connection, str, bool], None],
    ) -> None:
        self._url = url
        self._lanes = list(lanes)
        self._holder = holder
        self._log = log
        self._wake = wake
        self._taken = taken
        self._holds: dict[str, Hold] = {}
        self._given_up: set[str] = set()
        self._guard = threading.Lock()
        self._session: Session | None = None
        self._ending = threading.Event()
        self._renewed = self._noted = float("-inf")
        self._newest: int | None = None
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def held_until(self, lane: str) -> float:
        """Up to when a lane surely is this listener's; a moment that has passed where it is not."""
        hold = self._holds.get(lane)
        return float("-inf") if hold is None else hold.until - _MARGIN

    def token(self, lane: str) -> int:
        """The token of the lease that is held, or was last."""
        hold = self._holds.get(lane)
        return 0 if hold is None else hold.token

    def give_up(self, lane: str) -> None:
        """Nothing of a lane is being worked here, nor will be: the next one may take it."""
        with self._guard:
            self._given_up.add(lane)

    def close(self, *, release: bool = True) -> None:
        """End. What is held is free at once, or (not `release`) when it runs out by itself."""
        if release:
            with self._guard:
                self._given_up.update(self._lanes)
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(2 * _SECONDS)

    # -- on the thread of the leases

    def _run(self) -> None:
        while not self._ending.is_set():
            self._guarded(self._look)
            self._ending.wait(_TICK)
        self._guarded(self._release)
        if self._session is not None:
            self._session.close()

    def _guarded(self, work: Callable[[Session], None]) -> None:
        import psycopg

        try:
            if self._session is None:
                self._session = connect(self._url, _SECONDS)
            work(self._session)
        except (psycopg.Error, ListenerError) as error:
            self._log.debug("the leases were not renewed", error=words_of(error, self._url))
            if self._session is not None:
                self._session.close()
                self._session = None
        except Exception as error:  # a defect must not end the thread: no lane would be worked
            self._log.warning("the leases failed", error=f"{type(error).__name__}: {error}")

    def _look(self, session: Session) -> None:
        now = time.monotonic()
        if now - self._noted > _SEEN:
            self._note(session)
            self._noted = now
        self._release(session)
        wanted = [lane for lane in self._lanes if lane not in self._given_up]
        held = [lane for lane in wanted if lane in self._holds]
        if held and now - self._renewed >= _RENEW:
            self._renew(session, held)
            end_stalled(session)
            self._renewed = now
        if free := [lane for lane in wanted if lane not in self._holds]:
            for lane in self._run_out(session, free):
                self._take(session, lane)
        self._look_for_news(session)

    def _note(self, session: Session) -> None:
        # One statement: a listener that stalls here must not keep another from renewing.
        session.execute(
            "INSERT INTO lease (lane) SELECT * FROM unnest(?::text[]) ON CONFLICT (lane) DO UPDATE"
            " SET seen = clock_timestamp()",
            (sorted(self._lanes),),
        )

    def _renew(self, session: Session, lanes: list[str]) -> None:
        sent = time.monotonic()
        rows = session.execute(
            "UPDATE lease SET expires = clock_timestamp() + make_interval(secs => ?)"
            " WHERE holder = ? AND lane = ANY (?) AND expires > clock_timestamp()"
            " RETURNING lane, token",
            (LENGTH, self._holder, lanes),
        ).fetchall()
        renewed = {str(lane): int(token) for lane, token in rows}
        for lane in lanes:
            if renewed.get(lane) == self._holds[lane].token:
                self._holds[lane] = Hold(renewed[lane], sent + LENGTH)
            else:
                del self._holds[lane]
                self._log.warning("the lease was lost", destination=lane)

    def _run_out(self, session: Session, lanes: list[str]) -> list[str]:
        rows = session.execute(
            "SELECT lane FROM lease WHERE lane = ANY (?) AND expires <= clock_timestamp()"
            " ORDER BY lane",
            (lanes,),
        ).fetchall()
        return [str(row[0]) for row in rows]

    def _take(self, session: Session, lane: str) -> None:
        end_stalled(session)
        with session.transaction():
            # Waits for a transaction of the last holder's that is under way.
            session.execute("SELECT pg_advisory_xact_lock(?, ?)", (schema.PROGRAM, schema.WORKING))
            before = session.execute("SELECT holder FROM lease WHERE lane = ?", (lane,)).fetchone()
            sent = time.monotonic()
            row = session.execute(
                "UPDATE lease SET holder = ?, token = token + 1,"
                " expires = clock_timestamp() + make_interval(secs => ?)"
                " WHERE lane = ? AND expires <= clock_timestamp() RETURNING token",
                (self._holder, LENGTH, lane),
            ).fetchone()
            if row is not None:
                self._taken(session, lane, before[0] not in ("", self._holder))
        if row is not None:
            self._holds[lane] = Hold(int(row[0]), sent + LENGTH)
            self._log.info("this listener publishes now", destination=lane, holder=self._holder)
            self._wake()

    def _release(self, session: Session) -> None:
        with self._guard:
            lanes = sorted(self._given_up & set(self._holds))
        if lanes:
            for lane in lanes:
                del self._holds[lane]
            session.execute(
                "WITH freed AS (UPDATE lease SET expires = '-infinity', holder = ''"
                " WHERE holder = ? AND lane = ANY (?) RETURNING lane)"
                " UPDATE run SET state = 'interrupted', ended = extract(epoch FROM now())"
                " WHERE state = 'running' AND lane IN (SELECT lane FROM freed)",
                (self._holder, lanes),
            )

    def _look_for_news(self, session: Session) -> None:
        if not self._holds:
            return
        newest = session.execute("SELECT max(seq) FROM delivery").fetchone()[0]
        if newest != self._newest:
            self._newest = newest
            self._wake()


def end_stalled(connection: Connection) -> None:
    """End a session that has the lock of those that work and hears nothing of its listener, which
    was stopped or cut off: it would keep everybody from working.

    `idle_in_transaction_session_timeout` does not see one that stalled between statements which
    are sent without waiting for each answer.
    """
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_locks USING (pid)"
        " WHERE locktype = 'advisory' AND classid = ? AND objid = ? AND objsubid = 2 AND granted"
        " AND datname = current_database() AND database = datid AND wait_event = 'ClientRead'"
        " AND query_start < clock_timestamp() - make_interval(secs => ?)",
        (schema.PROGRAM, schema.WORKING, _STALLED),
    )


def fence(connection: Connection, lane: str, holder: str, token: int) -> None:
    """Raise LeaseLost unless the lane is still held as by this token.

    Within a transaction that has the lock of those that work: no lane is taken meanwhile.
    """
    row = connection.execute(
        "SELECT 1 FROM lease WHERE lane = ? AND holder = ? AND token = ?", (lane, holder, token)
    ).fetchone()
    if row is None:
        raise LeaseLost("another listener works this destination now")
