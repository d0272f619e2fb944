"""The queue in a SQLite journal: one thread writes it, anybody reads it."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from myop_cdn.errors import ListenerError
from myop_cdn.listener.queue import lanes
from myop_cdn.listener.queue.committer import Committer
from myop_cdn.listener.queue.journal import reading
from myop_cdn.listener.queue.sql_queue import SqlQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from myop_cdn.listener import Log
    from myop_cdn.listener.queue.agenda import Agenda
    from myop_cdn.listener.queue.base import Lane, Record
    from myop_cdn.listener.queue.sql import Connection

T = TypeVar("T")


class SqliteQueue(SqlQueue):
    """Keeps the queue in the journal at `path`, for `lane_list`; see `base.Queue`.

    sync_at_start: whether a full sync is due at the start in every lane.
    """

    def __init__(
        self,
        path: Path,
        lane_list: Sequence[Lane],
        log: Log,
        wall: Callable[[], float] = time.time,
        *,
        sync_at_start: bool = False,
    ) -> None:
        super().__init__(lane_list, log, wall, sync_at_start)
        self._path = path
        self._run = 0
        self._counting = threading.Lock()
        self._committer = Committer(path, log, self._prepare, wall)

    @property
    def trouble(self) -> str | None:
        """Why the journal can't be written, None when it can."""
        return self._committer.trouble

    @property
    def notice(self) -> str | None:
        """What was done about a damaged journal."""
        return self._committer.notice

    def start(self, wake: Callable[[], None] = lambda: None) -> None:  # noqa: ARG002 - Queue
        """Begin. Raises ListenerError when there can't be a journal at all."""
        self._committer.start()

    def close(self) -> None:
        """End in order; what the process before this one left may still be to be looked at."""
        if self._committer.has_begun:
            try:
                now = self._wall()
                self._committer.call(lambda connection: lanes.end_clean(connection, now))
            except ListenerError as error:
                self._log.warning("the end could not be recorded", error=error.message)
        self._committer.close()

    def held_until(self, lane: str) -> float | None:  # noqa: ARG002 - Queue
        """For good: the folder's lock keeps every other process out."""
        return None

    def let_go(self, lane: str) -> None:
        """Nobody else could take it."""

    def store(
        self, record: Record, done: Callable[[str | None, ListenerError | None], None]
    ) -> None:
        """Keep a delivery; `done` is called on the committer's thread, after the commit."""
        self._committer.store(record, done)

    def request_full_sync(self, reason: str, throttle: float) -> None:
        """Make a full sync due in every lane, unless one was requested so a short while ago."""

        def work(connection: sqlite3.Connection) -> None:
            if lanes.request_full_sync(connection, reason, self._wall(), throttle):
                self._log.info("a full sync was requested", reason=reason)

        self._committer.hand_in(work)

    def agenda(self, lane: str) -> Agenda:
        """All that there is to be done in a lane."""
        # Through the committer, so that what it owes is on the agenda.
        now = self._wall()
        return self._write(lambda connection: lanes.agenda(connection, lane, now))

    def begin(self, lane: str, kind: str, reason: str, count: int) -> int:
        """Record that a run begins; its number. Does not wait for the commit."""
        now = self._wall()
        if not self._run:
            last = self._read(lanes.last_run)
            with self._counting:
                self._run = max(self._run, last)
        with self._counting:
            self._run += 1
            run = self._run
        self._committer.hand_in(
            lambda connection: lanes.begin_run(connection, lane, kind, reason, count, now, run)
        )
        return run

    def probe(self, seconds: float) -> None:
        """Commit something, to see that it can be done. Raises ListenerError after `seconds`."""
        # A real commit: a disk can be full, or a file locked, without anybody noticing.
        self._committer.call(
            lambda connection: connection.execute("UPDATE service SET one = 1"), seconds
        )

    def version(self) -> str:
        """What the journal's files say: every commit, of any process, writes to one of them."""
        found = []
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                state = self._path.with_name(self._path.name + suffix).stat()
                found.append(f"{state.st_mtime_ns:x}.{state.st_size:x}")
        return "-".join(found)

    def _read(self, look: Callable[[Connection], T]) -> T:
        # Beside the committer: deliveries go on being stored meanwhile.
        try:
            with reading(self._path) as connection:
                return look(connection)
        except ListenerError as error:
            if isinstance(error.__context__, sqlite3.Error):
                self._committer.suspect(error.__context__)
            raise

    def _write(self, work: Callable[[Connection], T]) -> T:
        return self._committer.call(work)

    def _fence(self, connection: Connection, lane: str) -> None:
        """Nobody else could have it: see `held_until`."""

    def _prepare(self, connection: sqlite3.Connection, owed: str | None, first: bool) -> None:
        """The first change to a journal that was opened, or what is owed to one that is open."""
        now = self._wall()
        if not first:
            # A journal that was begun anew knows no lanes yet.
            lanes.begin_again(connection, self._lanes, now, owed)
            return
        start = "start" if self._sync_at_start else None
        found = lanes.begin(connection, self._lanes, now, owed or start)
        if found.waiting:
            self._log.info("deliveries are waiting from before", deliveries=found.waiting)
        if not found.clean:
            self._log.warning("the last process did not end in order: a full sync is due")
