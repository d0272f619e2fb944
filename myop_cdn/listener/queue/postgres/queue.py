"""The queue in PostgreSQL, shared by any number of listeners; see `base.Queue`.

Deliveries go in by `store`, many to a commit. All else that is written takes one lock first
(`schema.WORKING`), as SQLite's single writer does it: what a delivery has come to follows from
several rows, which nobody may change meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from myop_cdn.errors import ListenerError
from myop_cdn.listener.queue import deliveries, lanes
from myop_cdn.listener.queue.postgres import schema
from myop_cdn.listener.queue.postgres.lease import Leases, fence
from myop_cdn.listener.queue.postgres.session import Session, connect, words_of
from myop_cdn.listener.queue.postgres.store import Store
from myop_cdn.listener.queue.sql_queue import SqlQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from myop_cdn.listener import Log
    from myop_cdn.listener.queue.agenda import Agenda
    from myop_cdn.listener.queue.base import Lane, Record
    from myop_cdn.listener.queue.sql import Connection

T = TypeVar("T")
_SECONDS = 15.0  # that a statement of a run's may take, the wait for a lock included
_READ_SECONDS = 5.0
_LOOK_EVERY = 30.0  # seconds between two looks whether the lanes are known
_CHORES = 0.2  # seconds between two looks at what is owed
_UNSERVED = 3600.0  # seconds after which a destination that no listener serves is forgotten
_VERSION = (
    "SELECT (SELECT max(seq) FROM delivery), (SELECT count(*) FROM todo),"
    " (SELECT max(id) FROM run), (SELECT max(ended) FROM"
    " (SELECT ended FROM run ORDER BY id DESC LIMIT 50) AS newest)"
)
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresQueue(SqlQueue):
    """Keeps the queue in the database at `url`, for `lane_list`; see `base.Queue`.

    sync_at_start: whether a full sync is due at the start in every lane. holder: tells this
    listener from all others.
    """

    def __init__(
        self,
        url: str,
        lane_list: Sequence[Lane],
        log: Log,
        wall: Callable[[], float] = time.time,
        *,
        sync_at_start: bool = False,
        holder: str | None = None,
    ) -> None:
        super().__init__(lane_list, log, wall, sync_at_start)
        self._url = url
        self._holder = holder or os.urandom(8).hex()
        self._store = Store(url, log, self._owe)
        self._working = _Door(url, _SECONDS)
        self._reading = _Door(url, _READ_SECONDS)
        self._owed: str | None = None
        self._requests: dict[str, float] = {}
        self._joined = False
        self._looked = float("-inf")
        self._tokens: dict[str, int] = {}
        self._wake: Callable[[], None] = lambda: None
        self._leases = Leases(
            url,
            [lane.name for lane in lane_list],
            self._holder,
            log,
            lambda: self._wake(),
            self._taken,
        )
        self._ending = threading.Event()
        self._chores = threading.Thread(target=self._do_chores, name="chores", daemon=True)

    @property
    def trouble(self) -> str | None:
        """Why the database can't be written, None when it can."""
        return self._store.trouble

    @property
    def notice(self) -> str | None:
        """Nothing: a database is its operators' to mend."""
        return None

    def start(self, wake: Callable[[], None] = lambda: None) -> None:
        """Begin. A database that is away is waited for; raises ListenerError for one that
        answers and does not do.
        """
        self._wake = wake
        self._store.start()
        if self._store.trouble is None:
            with contextlib.suppress(ListenerError):  # it has gone meanwhile
                self._join()
        self._leases.start()
        self._chores.start()

    def close(self) -> None:
        """End in order: what was handed in is stored, and another listener may work the lanes."""
        self._store.close()
        self._ending.set()
        if self._chores.ident is not None:
            self._chores.join(2 * _READ_SECONDS)
        self._leases.close()
        self._working.close()
        self._reading.close()

    def held_until(self, lane: str) -> float | None:
        """Up to when the lane surely is this listener's (`time.monotonic`)."""
        return self._leases.held_until(lane)

    def let_go(self, lane: str) -> None:
        """Nothing of the lane is worked here any more: another listener may."""
        self._leases.give_up(lane)

    def store(
        self, record: Record, done: Callable[[str | None, ListenerError | None], None]
    ) -> None:
        """Keep a delivery; `done` is called on the store's thread, after the commit."""
        self._store.hand_in(record, done)

    def request_full_sync(self, reason: str, throttle: float) -> None:
        """Make a full sync due in every lane, unless one was requested so a short while ago."""
        self._requests[reason] = throttle  # by another thread: nobody waits for it

    def agenda(self, lane: str) -> Agenda:
        """All that there is to be done in a lane."""
        now = self._wall()
        return self._read(lambda connection: lanes.agenda(connection, lane, now))

    def begin(self, lane: str, kind: str, reason: str, count: int) -> int:
        """Record that a run begins; its number."""
        now, token = self._wall(), self._leases.token(lane)

        def work(connection: Connection) -> int:
            fence(connection, lane, self._holder, token)
            self._interrupt(connection, lane, now)  # one that was given up with its lease
            row = connection.execute(
                "INSERT INTO run (lane, kind, reason, started, state, deliveries)"
                " VALUES (?, ?, ?, ?, 'running', ?) RETURNING id",
                (lane, kind, reason, now, count),
            ).fetchone()
            return int(row[0])

        run = self._write(work)
        self._tokens[lane] = token
        return run

    def probe(self, seconds: float) -> None:
        """Commit something, to see that it can be done. Raises ListenerError after `seconds`."""
        if (trouble := self.trouble) is not None:
            raise ListenerError(f"the journal can't be written: {trouble}")
        with self._reading.open(seconds) as session:
            session.execute("UPDATE service SET one = 1")

    def prune(self, most: int) -> int:
        """Forget what is over the limits of the history, and destinations that nobody serves."""
        now = self._wall()

        def work(connection: Connection) -> int:
            unserved = connection.execute(
                "SELECT name FROM lane LEFT JOIN lease ON lease.lane = name WHERE seen IS NULL OR"
                " seen < clock_timestamp() - make_interval(secs => ?)",
                (_UNSERVED,),
            ).fetchall()
            gone = sorted({row[0] for row in unserved} - {lane.name for lane in self._lanes})
            if gone:
                lanes.drop(connection, gone, now)
                connection.execute("DELETE FROM lease WHERE lane = ANY (?)", (gone,))
            return deliveries.prune(connection, now, most)

        return self._write(work)

    def version(self) -> str:
        """What any listener's deliveries and runs have changed so far."""
        with self._reading.open() as session:
            return "-".join(map(str, session.execute(_VERSION).fetchone()))

    def _read(self, look: Callable[[Connection], T]) -> T:
        return _look(self._working, look)

    def _show(self, look: Callable[[Connection], T]) -> T:
        return _look(self._reading, look)

    def _write(self, work: Callable[[Connection], T]) -> T:
        with self._working.open() as session, changing(session):
            return work(session)

    def _fence(self, connection: Connection, lane: str) -> None:
        token = self._tokens.get(lane) or self._leases.token(lane)
        fence(connection, lane, self._holder, token)

    # -- in the transaction that takes a lane

    def _taken(self, connection: Connection, lane: str, is_unclean: bool) -> None:
        now = self._wall()
        self._interrupt(connection, lane, now)
        # What kept another listener from publishing need not keep this one.
        connection.execute(
            "UPDATE lane SET outage_until = ? WHERE name = ? AND outage_until > ?", (now, lane, now)
        )
        if is_unclean:
            lanes.make_full_due(connection, lane, "unclean exit", now)

    def _interrupt(self, connection: Connection, lane: str, now: float) -> None:
        connection.execute(
            "UPDATE run SET state = 'interrupted', ended = ? WHERE state = 'running' AND lane = ?",
            (now, lane),
        )

    def _owe(self) -> None:
        # Myop does not send it again, so that only a full sync can tell what was announced.
        self._owed = "a delivery could not be stored"

    # -- on a thread of its own, which may wait for others

    def _do_chores(self) -> None:
        ending = False
        while not ending:
            ending = self._ending.wait(_CHORES)  # once more then, for what the end left owed
            try:
                self._settle_debts()
            except ListenerError as error:
                self._log.debug("the journal is not to be had now", error=error.message)
            except Exception as error:  # a defect: what is owed is tried again
                self._log.warning("a chore failed", error=f"{type(error).__name__}: {error}")

    def _settle_debts(self) -> None:
        if self._joined and time.monotonic() - self._looked > _LOOK_EVERY:
            self._joined = self._is_known()
            self._looked = time.monotonic()
        if not self._joined:
            self._join()
        if (owed := self._owed) is not None:
            self._owed = None
            try:
                self._write(lambda connection: self._make_full_due(connection, owed))
            except ListenerError:
                self._owed = owed
                raise
        for reason, throttle in list(self._requests.items()):
            if self._write(
                lambda connection, reason=reason, throttle=throttle: lanes.request_full_sync(  # type: ignore[misc]
                    connection, reason, self._wall(), throttle
                )
            ):
                self._log.info("a full sync was requested", reason=reason)
            self._requests.pop(reason, None)

    def _is_known(self) -> bool:
        """Whether no lane was forgotten by a listener that does not serve it, as it may be after
        an hour without a word of this one.
        """
        names = [lane.name for lane in self._lanes]
        count = "SELECT count(*) FROM lane WHERE name = ANY (?)"
        found = self._show(lambda connection: connection.execute(count, (names,)).fetchone()[0])
        return bool(found == len(names))

    def _make_full_due(self, connection: Connection, reason: str) -> None:
        for lane in self._lanes:
            lanes.make_full_due(connection, lane.name, reason, self._wall())

    def _join(self) -> None:
        def work(connection: Connection) -> int:
            lanes.name_journal(connection)
            reason = "start" if self._sync_at_start else None
            lanes.join(connection, self._lanes, self._wall(), reason)
            return lanes.count_waiting(connection)

        waiting = self._write(work)
        self._joined = True
        if waiting:
            self._log.info("deliveries are waiting from before", deliveries=waiting)


class _Door:
    """A connection for one user at a time, made when it is needed and again when it is lost."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._lock = threading.Lock()
        self._session: Session | None = None

    @contextlib.contextmanager
    def open(self, seconds: float | None = None) -> Iterator[Session]:
        """The connection; ListenerError for whatever keeps it from being used, or when others
        use it for longer than `seconds`.
        """
        limit = self._seconds if seconds is None else seconds
        if not self._lock.acquire(timeout=2 * limit):
            raise ListenerError(f"the journal has not answered for {2 * limit:g} s")
        try:
            with mapped(self._url):
                if self._session is None or self._session.is_hung_up():
                    if self._session is not None:
                        self._session.close()
                    self._session = None
                    self._session = connect(self._url, self._seconds)
                yield self._session
        except BaseException:
            if self._session is not None and self._session.is_lost:
                self._session.close()
                self._session = None
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None


def _look(door: _Door, look: Callable[[Connection], T]) -> T:
    with door.open() as session, session.transaction(_SNAPSHOT):
        return look(session)


@contextlib.contextmanager
def mapped(url: str) -> Iterator[None]:
    """psycopg's errors as ListenerError."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise ListenerError(f"the journal can't be used: {words_of(error, url)}") from None


@contextlib.contextmanager
def changing(session: Session) -> Iterator[Session]:
    """A transaction that has the lock of those that work."""
    with session.transaction():
        session.execute("SELECT pg_advisory_xact_lock(?, ?)", (schema.PROGRAM, schema.WORKING))
        yield session


@contextlib.contextmanager
def reading(url: str) -> Iterator[Connection]:
    """A connection for one look, beside the listeners. Raises ListenerError."""
    with _opened(url) as session, session.transaction(_SNAPSHOT):
        yield session


@contextlib.contextmanager
def writing(url: str) -> Iterator[Connection]:
    """A transaction on the journal, beside the listeners. Raises ListenerError."""
    with _opened(url) as session, changing(session):
        yield session


@contextlib.contextmanager
def _opened(url: str) -> Iterator[Session]:
    with mapped(url):
        session = connect(url, _SECONDS)
        try:
            yield session
        finally:
            session.close()
