"""The one thread that writes the journal: many jobs, one commit.

A commit costs a round trip to the disk whatever it holds, so everything that has been handed
in while the last commit was on its way shares the next one. Whoever handed a job in hears of
it after the commit, and never before.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from myop_cdn.errors import ListenerError
from myop_cdn.listener.queue import deliveries, journal

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    from myop_cdn.listener import Log
    from myop_cdn.listener.queue.base import Record

T = TypeVar("T")
_MOST = 256  # jobs to a commit: keeps the wait of the first in a batch short


Done: TypeAlias = "Callable[[Any, ListenerError | None], None]"


@dataclass(frozen=True, slots=True)
class _Job:
    """Either work of any kind, or a record to be stored together with others."""

    done: Done
    work: Callable[[sqlite3.Connection], Any] | None = None
    record: Record | None = None


class Committer:
    """Writes the journal at `path`. Jobs get the connection inside a transaction.

    prepare: the first change after each opening, with the reason for which a full sync is due by
    then (None: it is not), and whether nothing was ever committed.

    When the journal can't be written, jobs fail with ListenerError and the thread goes on; if a
    delivery was among them, a full sync is due with the next commit that succeeds. A damaged
    file is set aside and a new one begun, also with a full sync due.
    """

    def __init__(
        self,
        path: Path,
        log: Log,
        prepare: Callable[[sqlite3.Connection, str | None, bool], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._log = log
        self._prepare = prepare
        self._wall = wall
        self._jobs: deque[_Job] = deque()
        self._ready = threading.Condition()
        self._closing = False
        self._connection: sqlite3.Connection | None = None
        self._prepared = False
        self._suspected = False
        self._file: os.stat_result | None = None
        self._log_file: os.stat_result | None = None
        self._owed: str | None = None
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self.has_begun = False  # whether anything was committed since the start
        self.trouble: str | None = None  # why the last commit failed, None when it did not
        self.notice: str | None = None  # what was done about a damaged journal

    def start(self) -> None:
        """Open the journal and begin.

        Raises ListenerError when it can't be opened at all; a journal that is only locked, or
        on a disk that is full, is tried again with each job.
        """
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            if journal.is_passing(error):
                self.trouble = str(error)
                self._log.warning("the journal can't be written", error=str(error))
                self._thread.start()
                return
            raise ListenerError(
                f"can't open the journal {self._path}: {error}",
                "is the folder writable, and on a local disk with space left?",
            ) from None
        self._thread.start()

    def store(self, record: Record, done: Callable[[str | None, Any], None]) -> None:
        """Store a delivery. `done` is called on the committer's thread, after the commit: with
        what `deliveries.store` says of it, or with an error.
        """
        self._hand_in(_Job(done, record=record))

    def call(self, work: Callable[[sqlite3.Connection], T], seconds: float | None = None) -> T:
        """Hand a job in and wait for its commit, so long at most. Raises ListenerError."""
        finished = threading.Event()
        outcome: list[Any] = []

        def done(result: Any, error: ListenerError | None) -> None:
            outcome.extend((result, error))
            finished.set()

        self._hand_in(_Job(done, work=work))
        if not finished.wait(seconds):
            raise ListenerError(f"the journal has not answered for {seconds:g} s")
        result, error = outcome
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]  # it went through a list

    def hand_in(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Hand a job in whose result nobody waits for; a failure is told by the log alone."""
        self._hand_in(_Job(lambda *_: None, work=work))

    def suspect(self, error: BaseException) -> None:
        """A reader met a journal that is at fault: before the next commit it is looked at, and
        set aside where no reader sees what is written.
        """
        if journal.is_unreadable(error):
            self._suspected = True

    def _hand_in(self, job: _Job) -> None:
        with self._ready:
            self._jobs.append(job)
            if len(self._jobs) == 1:
                self._ready.notify()

    def close(self) -> None:
        """Commit what was handed in, then end the thread and close the journal."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        if self._thread.ident is not None:
            self._thread.join()
        self._shut()

    # -- on the committer's thread

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._jobs and not self._closing:
                    self._ready.wait()
                batch = [self._jobs.popleft() for _ in range(min(len(self._jobs), _MOST))]
            if not batch:
                return
            self._commit(batch)

    def _commit(self, batch: list[_Job]) -> None:
        try:
            results = self._attempt(batch)
        except (sqlite3.Error, OSError, ListenerError) as error:
            self._failed(batch, error)
            return
        except Exception as error:  # a defect in a job: the others must not wait for ever
            self._failed(batch, error)
            return
        if self.trouble is not None:
            self._log.info("the journal can be written again")
            self.trouble = None
        for job, result in zip(batch, results, strict=True):
            self._tell(job, result, None)

    def _attempt(self, batch: list[_Job]) -> list[Any]:
        try:
            return self._transaction(batch)
        except sqlite3.DatabaseError as error:
            if not journal.is_damage(error):
                raise
            # Not merely opened again: SQLite passes silently over what a log has lost.
            self._begin_anew("the journal was damaged")
            return self._transaction(batch)

    def _transaction(self, batch: list[_Job]) -> list[Any]:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not self._prepared or self._owed is not None:
                self._prepare(connection, self._owed, not self.has_begun)
            results = _work(connection, batch)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        if not self._prepared:
            self._prepared = self.has_begun = True
            # That this process has begun is to be known even where the log alone gets lost.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._owed = None
        self._log_file = self._stat("-wal")
        return results

    def _failed(self, batch: list[_Job], error: Exception) -> None:
        words = f"{type(error).__name__}: {error}"
        if self.trouble is None:
            self._log.warning("the journal can't be written", error=words)
        self.trouble = words
        if any(job.record is not None for job in batch):
            self._owed = self._owed or "a delivery could not be stored"
        failure = ListenerError(f"the journal can't be written: {words}")
        for job in batch:
            self._tell(job, None, failure)

    def _tell(self, job: _Job, result: Any, error: ListenerError | None) -> None:
        try:
            job.done(result, error)
        except Exception as defect:  # in whoever handed the job in; the others must hear too
            self._log.warning("a result was not taken", error=type(defect).__name__)

    def _open(self) -> sqlite3.Connection:
        """The open journal; opened anew where it is closed, was replaced, or is damaged."""
        if self._connection is not None:
            if not self._is_in_place():
                # SQLite would go on writing to a file that no reader and no restart can find.
                self._begin_anew("a file of the journal was removed or replaced")
            elif self._suspected and not self._is_readable(self._connection):
                self._begin_anew("the journal could be written but not read")
            else:
                self._suspected = False
                return self._connection
        try:
            self._connection = journal.open_journal(self._path)
        except sqlite3.DatabaseError as error:
            if not journal.is_damage(error):
                raise
            self._begin_anew("the journal was damaged")
            self._connection = journal.open_journal(self._path)
        self._prepared = self._suspected = False
        self._file = self._stat()
        self._log_file = None
        return self._connection

    def _begin_anew(self, reason: str) -> None:
        """Set aside what is there, so that a new journal is begun, with a full sync due."""
        if self._connection is not None:
            # What only the removed log held then is in the file that is kept.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._shut()
        self._owed = reason
        kept = "nothing was left of it"
        if self._path.exists():
            kept = f"it was set aside as {journal.set_aside(self._path, self._wall()).name}"
        self.notice = f"{reason}; {kept}; a new one was begun, and a full sync is due"
        self._log.warning(self.notice)

    def _is_in_place(self) -> bool:
        if not _same(self._file, self._stat()):
            return False
        before, now = self._log_file, self._stat("-wal")
        if before is None:
            return True
        if now is None or not _same(before, now):
            return False
        if now.st_size < before.st_size:  # by a checkpoint of somebody's, or by damage
            self._suspected = True
        return True

    def _stat(self, suffix: str = "") -> os.stat_result | None:
        try:
            return self._path.with_name(self._path.name + suffix).stat()
        except OSError:
            return None

    def _is_readable(self, connection: sqlite3.Connection) -> bool:
        """Whether another connection sees what this one does."""
        query = "SELECT (SELECT count(*) FROM delivery), (SELECT max(seq) FROM delivery)"
        try:
            reader = journal.connect_reader(self._path)
            try:
                if reader.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                    return False
                seen = reader.execute(query).fetchone()
                return bool(seen == connection.execute(query).fetchone())
            finally:
                reader.close()
        except sqlite3.Error as error:
            return not journal.is_unreadable(error)

    def _shut(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _same(before: os.stat_result | None, now: os.stat_result | None) -> bool:
    if before is None or now is None:
        return False
    return (before.st_ino, before.st_dev) == (now.st_ino, now.st_dev)


def _work(connection: sqlite3.Connection, batch: list[_Job]) -> list[Any]:
    """The result of each job. Deliveries go first, all of them together."""
    found = [job.record for job in batch if job.record is not None]
    stored = iter(deliveries.store(connection, found) if found else ())
    return [job.work(connection) if job.work is not None else next(stored) for job in batch]
