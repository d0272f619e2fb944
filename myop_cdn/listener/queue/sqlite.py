"""The queue in a SQLite journal: one thread writes it, anybody reads it."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from myop_cdn.errors import ListenerError
from myop_cdn.listener.queue import deliveries, lanes
from myop_cdn.listener.queue.base import Batch
from myop_cdn.listener.queue.committer import Committer
from myop_cdn.listener.queue.journal import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from myop_cdn.listener import Log
    from myop_cdn.listener.queue.agenda import Agenda
    from myop_cdn.listener.queue.base import (
        Changes,
        DeliveryView,
        Lane,
        LaneState,
        LiveDocument,
        LivePage,
        LiveQuery,
        Overview,
        Record,
        RunView,
    )
    from myop_cdn.model import DocumentRef

T = TypeVar("T")
_AT_ONCE = 200  # deliveries settled in one commit
_LIVE_AT_ONCE = 1000  # documents noted as live in one commit


class SqliteQueue:
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
        self._path = path
        self._lanes = tuple(lane_list)
        self._log = log
        self._wall = wall
        self._sync_at_start = sync_at_start
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
        return self._committer.call(lambda connection: lanes.agenda(connection, lane, now))

    def batch(self, lane: str, most: int) -> Batch:
        """The oldest deliveries that wait in a lane, so many at most."""
        # Beside the committer: deliveries go on being stored meanwhile.
        return self._read(
            lambda connection: Batch(
                lanes.journal_id(connection), deliveries.waiting(connection, lane, most)
            )
        )

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

    def live(
        self, lane: str, refs: Iterable[DocumentRef] | None
    ) -> dict[DocumentRef, LiveDocument]:
        """What a lane has published, of these documents or (None) of all."""
        return self._read(lambda connection: lanes.live(connection, lane, refs))

    def state(self, lane: str, refs: frozenset[DocumentRef] | None) -> LaneState:
        """What a lane has open. refs: the documents whose needs are wanted, None for all."""
        return self._read(lambda connection: lanes.state(connection, lane, refs))

    def set_live(
        self, lane: str, documents: Sequence[LiveDocument], gone: Sequence[DocumentRef]
    ) -> None:
        """Note what a lane publishes now, in small commits that others can share."""
        for start in range(0, max(len(documents), len(gone)), _LIVE_AT_ONCE):
            chunk = documents[start : start + _LIVE_AT_ONCE]
            less = gone[start : start + _LIVE_AT_ONCE]
            self._committer.call(
                lambda c, chunk=chunk, less=less: lanes.set_live(c, lane, chunk, less)  # type: ignore[misc]
            )

    def finish(
        self,
        lane: str,
        journal: str,
        refs: frozenset[DocumentRef] | None,
        decide: Callable[[LaneState], Changes],
    ) -> Changes:
        """Record what follows from a run. Very many deliveries are settled in small commits,
        which others can share.
        """

        def work(connection: sqlite3.Connection) -> Changes:
            changes = decide(lanes.state(connection, lane, refs))
            if lanes.journal_id(connection) != journal:
                # The run was of a journal that has been replaced; its numbers mean nothing here.
                changes = replace(changes, settlements=(), position=None)
            lanes.finish(connection, lane, lanes.part_of(changes, 0, _AT_ONCE))
            return changes

        changes = self._committer.call(work)
        for start in range(_AT_ONCE, len(changes.settlements), _AT_ONCE):
            part = lanes.part_of(changes, start, _AT_ONCE)
            self._committer.call(
                lambda c, part=part: lanes.take(c, lane, part, part.end.run)  # type: ignore[misc]
            )
        return changes

    def probe(self, seconds: float) -> None:
        """Commit something, to see that it can be done. Raises ListenerError after `seconds`."""
        # A real commit: a disk can be full, or a file locked, without anybody noticing.
        self._committer.call(
            lambda connection: connection.execute("UPDATE service SET one = 1"), seconds
        )

    def prune(self, most: int) -> int:
        """Forget what is over the limits of the history, so many deliveries at most; how many."""
        now = self._wall()
        return self._committer.call(lambda connection: deliveries.prune(connection, now, most))

    def overview(self) -> Overview:
        """What is open, in all and in each lane."""
        return self._read(lanes.overview)

    def runs(self, limit: int) -> list[RunView]:
        """The newest runs, newest first."""
        return self._read(lambda connection: lanes.runs(connection, limit))

    def deliveries(self, limit: int) -> list[DeliveryView]:
        """The newest deliveries, newest first, without headers and bodies."""
        return self._read(lambda connection: deliveries.listed(connection, limit))

    def page(
        self, limit: int, after: tuple[str, str, str] | None
    ) -> list[tuple[str, LiveDocument]]:
        """What is live with its lane, from the one after `after` on."""
        return self._read(lambda connection: lanes.live_page(connection, limit, after))

    def delivery(self, delivery_id: str) -> DeliveryView | None:
        """One delivery with headers and body, None where there is none of that id."""
        return self._read(lambda connection: deliveries.found(connection, delivery_id))

    def retry(self, delivery_id: str) -> bool:
        """Put a delivery back among those that wait; False where there is none of that id."""
        return self._committer.call(lambda connection: deliveries.retry(connection, delivery_id))

    def forget(self, delivery_id: str) -> bool:
        """Drop a delivery, but not its hash; False where there is none of that id."""
        return self._committer.call(lambda connection: deliveries.forget(connection, delivery_id))

    def search(self, query: LiveQuery) -> LivePage:
        """A page of components with what is live of them in one lane."""
        return self._read(lambda connection: lanes.search(connection, query))

    def version(self) -> str:
        """What the journal's files say: every commit, of any process, writes to one of them."""
        found = []
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                state = self._path.with_name(self._path.name + suffix).stat()
                found.append(f"{state.st_mtime_ns:x}.{state.st_size:x}")
        return "-".join(found)

    def _read(self, look: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with reading(self._path) as connection:
                return look(connection)
        except ListenerError as error:
            if isinstance(error.__context__, sqlite3.Error):
                self._committer.suspect(error.__context__)
            raise

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
