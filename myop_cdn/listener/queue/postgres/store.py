"""Deliveries on their way into the database: many to a commit, on one thread.

What has been handed in while the last commit was on its way shares the next one. Whoever handed
a delivery in hears of it after the commit, and never before. Where the connection is lost on the
way, nobody knows whether the commit was done; the same deliveries are then sent once more on a
new connection: the key makes that harmless, and its answer certain. Where that can't be had
either, they are refused. While the database is away they are refused at once, and another
thread looks for it.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from myop_cdn.errors import ListenerError
from myop_cdn.listener.queue.base import KEPT
from myop_cdn.listener.queue.postgres.session import connect, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from myop_cdn.listener import Log
    from myop_cdn.listener.queue.base import Record
    from myop_cdn.listener.queue.postgres.session import Session

Done: TypeAlias = "Callable[[str | None, ListenerError | None], None]"
_SECONDS = 3.0  # that a batch may take: well under the sender's ten, a second attempt included
_MOST = 256  # deliveries to a commit
_MOST_BYTES = 8 << 20  # of bodies in one commit, or a single delivery
# What waiting does not mend, as a server says it in English. Another language is waited for.
_FINAL = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")
_AGAIN = 0.3  # seconds between two attempts to connect

_STORE = (
    "SELECT hash, first_id FROM store(?::bytea[], ?::text[], ?::float8[], ?::float8[], ?::float8[],"
    " ?::text[], ?::text[], ?::int[], ?::text[], ?::text[], ?::bytea[], ?::text[])"
)


class Store:
    """Stores what is handed in. failed: called when deliveries had to be refused."""

    def __init__(self, url: str, log: Log, failed: Callable[[], None]) -> None:
        self._url = url
        self._log = log
        self._failed = failed
        self._jobs: deque[tuple[Record, Done]] = deque()
        self._ready = threading.Condition()
        self._closing = False
        self._session: Session | None = None
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._ended = threading.Event()
        self._seeking = threading.Event()
        self.trouble: str | None = None  # why the database can't be had, None when it can

    def start(self) -> None:
        """Connect and begin. A database that is away is looked for from then on; raises
        ListenerError where one that answers does not do.
        """
        import psycopg

        try:
            self._session = connect(self._url, _SECONDS)
        except psycopg.Error as error:
            words = words_of(error, self._url)
            if isinstance(error, psycopg.OperationalError) and not any(
                final in words for final in _FINAL
            ):
                self._lose(error)
            else:
                raise ListenerError(
                    f"can't use the journal in PostgreSQL: {words}",
                    "is it the right database, and may its role create a schema there?",
                ) from None
        self._thread.start()
        threading.Thread(target=self._seek, name="store-seek", daemon=True).start()

    def hand_in(self, record: Record, done: Done) -> None:
        """Store a delivery; `done` is called on the store's thread, after the commit."""
        with self._ready:
            self._jobs.append((record, done))
            if len(self._jobs) == 1:
                self._ready.notify()

    def close(self) -> None:
        """Store what was handed in, then end."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        if self._thread.ident is not None:
            self._thread.join()
        self._ended.set()
        self._seeking.set()
        if self._session is not None:
            self._session.close()

    # -- on the store's thread

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._jobs and not self._closing:
                    self._ready.wait()
                batch: list[tuple[Record, Done]] = []
                size = 0
                while self._jobs and len(batch) < _MOST:
                    size += len(self._jobs[0][0].body)
                    if batch and size > _MOST_BYTES:
                        break
                    batch.append(self._jobs.popleft())
            if not batch:
                return
            self._commit(batch)

    def _commit(self, batch: list[tuple[Record, Done]]) -> None:
        import psycopg

        records: dict[bytes, Record] = {}
        for record, _ in batch:
            records.setdefault(record.sha256, record)
        try:
            first = self._attempt(list(records.values()))
        except (psycopg.Error, ListenerError) as error:
            if not isinstance(error, psycopg.DataError):
                self._lose(error)
            self._failed()
            failure = ListenerError(f"the journal can't be written: {words_of(error, self._url)}")
            for _, done in batch:
                self._tell(done, None, failure)
            return
        except Exception as error:  # a defect: whoever waits must hear of it all the same
            self._log.warning("deliveries were not stored", error=type(error).__name__)
            self._failed()
            for _, done in batch:
                self._tell(done, None, ListenerError("the journal can't be written"))
            return
        for record, done in batch:
            found = first[record.sha256]
            if isinstance(found, ListenerError):
                self._failed()
                self._tell(done, None, found)
            else:
                self._tell(done, None if found == record.id else found, None)

    def _attempt(self, records: list[Record]) -> Mapping[bytes, str | ListenerError]:
        """The id that each body was first stored with. Raises where nothing is certain."""
        import psycopg

        session = self._session
        if session is None:
            raise ListenerError(self.trouble or "the database is away")
        if session.is_hung_up():
            session.close()
            self._session = session = connect(self._url, _SECONDS)
        try:
            return _store(session, records)
        except psycopg.DataError:
            if len(records) == 1:
                raise
            # One that can't be stored must not keep the others out.
            return self._one_by_one(records)
        except psycopg.Error:
            if not session.is_lost:
                raise
        session.close()
        self._session = session = connect(self._url, _SECONDS)
        return _store(session, records)

    def _one_by_one(self, records: list[Record]) -> dict[bytes, str | ListenerError]:
        import psycopg

        found: dict[bytes, str | ListenerError] = {}
        for record in records:
            try:
                found |= self._attempt([record])
            except psycopg.DataError as error:
                found[record.sha256] = ListenerError(
                    f"the delivery can't be stored: {words_of(error, self._url)}"
                )
        return found

    def _lose(self, error: BaseException) -> None:
        words = words_of(error, self._url)
        if self.trouble is None:
            self._log.warning("the database can't be written", error=words)
        self.trouble = words
        session, self._session = self._session, None
        if session is not None:
            session.close()
        self._seeking.set()

    def _tell(self, done: Done, earlier: str | None, error: ListenerError | None) -> None:
        try:
            done(earlier, error)
        except Exception as defect:  # in whoever handed it in; the others must hear too
            self._log.warning("a result was not taken", error=type(defect).__name__)

    # -- on a thread that looks for the database

    def _seek(self) -> None:
        import psycopg

        while not self._ended.is_set():
            self._seeking.wait()
            if self._ended.wait(_AGAIN) or self._session is not None:
                self._seeking.clear()
                continue
            try:
                found = connect(self._url, _SECONDS)
            except (psycopg.Error, ListenerError) as error:
                self.trouble = words_of(error, self._url)
                continue
            self._seeking.clear()
            self.trouble = None
            self._session = found
            self._log.info("the database can be written again")


def _store(session: Session, records: list[Record]) -> dict[bytes, str]:
    kept = KEPT.total_seconds()
    columns = (
        [record.sha256 for record in records],
        [record.id for record in records],
        [None if record.once else record.received + kept for record in records],
        [record.received for record in records],
        [record.announced for record in records],
        [record.peer for record in records],
        [json.dumps(record.headers) for record in records],
        [record.secret for record in records],
        [record.event for record in records],
        [record.kind for record in records],
        [record.body for record in records],
        [record.state for record in records],
    )
    rows = session.execute(_STORE, columns).fetchall()
    if words := session.warning():
        # As when a standby did not confirm the commit in time (PostgreSQL's manual,
        # "Synchronous Replication"): it is done here, and may be lost with this server.
        raise ListenerError(f"the commit is not certain: {words}")
    return {bytes(row[0]): str(row[1]) for row in rows}
