"""The worker: one thread that takes what waits, has it published, and records the outcome."""

from __future__ import annotations

import sqlite3
import threading
import time
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from myop_cdn.errors import ListenerError, MyopCdnError, PayloadError
from myop_cdn.listener.queue import agenda, deliveries, outcome, runs
from myop_cdn.listener.queue.agenda import Start, Wait
from myop_cdn.listener.queue.journal import reading
from myop_cdn.model import Scope
from myop_cdn.payload import parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from myop_cdn.listener import Log, Publisher
    from myop_cdn.listener.metrics import Metrics
    from myop_cdn.listener.queue.committer import Committer
    from myop_cdn.report import PublishReport

_PRUNE_EVERY = 600.0  # seconds
_MANY = 20_000  # deliveries that one full sync takes off the list
_SHOWN = 100  # deliveries named in a line of the log
_AT_ONCE = 200  # deliveries settled in one commit


@dataclass(frozen=True, slots=True)
class Job:
    """A run that has been put together.

    deliveries: (seq, scope) of each that it does; the scope is None where there were too many
    to look into. ids: of the deliveries, for the log.
    """

    start: Start
    scope: Scope
    deliveries: tuple[tuple[int, Scope | None], ...] = ()
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Now:
    """What the worker is at, for those who look from other threads. since: of the run, in
    seconds since the epoch. beat: of the last turn, in seconds of the monotonic clock.
    """

    job: Job | None = None
    since: float = 0.0
    beat: float = field(default_factory=time.monotonic)


class Worker:
    """Publishes what the journal holds, one run after another.

    full_every: seconds between two full syncs by the schedule, 0 for none. wall: seconds
    since the epoch.
    """

    def __init__(
        self,
        path: Path,
        committer: Committer,
        publisher: Publisher,
        log: Log,
        metrics: Metrics,
        full_every: float,
        random: Random | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._committer = committer
        self._publisher = publisher
        self._log = log
        self._metrics = metrics
        self._full_every = full_every
        self._random = random or Random()  # noqa: S311 - jitter, not secrets
        self._wall = wall
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._pruned = float("-inf")
        self._first: Callable[[sqlite3.Connection], None] | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self.now = Now()

    def start(self, first: Callable[[sqlite3.Connection], None]) -> None:
        """Begin, with `first` as the first change to the journal, however long that takes."""
        self._first = first
        self._thread.start()

    def wake(self) -> None:
        """Something may be due. Cheap, as it is called for every delivery."""
        if not self._bell.is_set():
            self._bell.set()

    def alive(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Begin no further run."""
        self._stopping.set()
        self._bell.set()

    def join(self, seconds: float) -> bool:
        """Wait for the run that is going on; whether it has ended."""
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    # -- on the worker's thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.now = replace(self.now, beat=time.monotonic())
            self._bell.clear()
            try:
                wait = self._turn()
            except (ListenerError, sqlite3.Error, OSError) as error:
                # The committer has said so already; nothing was lost, only time.
                self._log.debug("the journal is not to be had now", error=str(error))
                wait = Wait(agenda.POLL)
            except Exception as error:  # a defect must not end the work for good
                self._log.warning("the worker failed", error=f"{type(error).__name__}: {error}")
                wait = Wait(agenda.POLL)
            (self._bell if wait.wakeable else self._stopping).wait(wait.seconds)

    def _turn(self) -> Wait:
        """Do what is due; how long to wait before the next look."""
        if self._first is not None:
            self._committer.call(self._first)
            self._first = None
        # Through the committer, so that what it owes is on the agenda.
        work = self._committer.call(runs.agenda)
        decision = agenda.choose(work, self._wall())
        if isinstance(decision, Wait):
            self._prune()
            return decision
        many = work.waiting is not None and work.waiting.count > agenda.MERGED
        self._do(self._job(decision, many))
        return Wait(0)

    def _prune(self) -> None:
        if time.monotonic() - self._pruned > _PRUNE_EVERY:
            self._pruned = time.monotonic()
            # In small commits, which others can share.
            while self._committer.call(lambda c: deliveries.prune(c, self._wall(), _AT_ONCE)):
                if self._stopping.is_set():
                    return

    def _job(self, start: Start, many: bool) -> Job:
        """Put a run together."""
        found: list[runs.Delivered] = []
        seqs: list[int] = []
        if start.waiting:
            # Read beside the committer: deliveries go on being stored meanwhile.
            with reading(self._path) as connection:
                if many:
                    seqs = runs.waiting_seqs(connection, _MANY)
                else:
                    found = runs.waiting(connection)
        found.sort(key=lambda one: (one.announced, one.seq))
        deliveries = [(one.seq, _scope(one.body)) for one in found]
        scopes = [Scope("incremental", tuple(retry.release for retry in start.retries))]
        scopes += [scope for _, scope in deliveries]
        scopes += [Scope("full")] if start.full else []
        return Job(
            start,
            Scope.merge(scopes),
            (*deliveries, *((seq, None) for seq in seqs)),
            tuple(one.id for one in found),
        )

    def _do(self, job: Job) -> None:
        started = self._wall()
        scope, reason = job.scope, job.start.reason
        seqs = [seq for seq, _ in job.deliveries]
        if scope.kind == "none":  # what was waiting has been forgotten meanwhile
            self._committer.call(
                lambda connection: runs.settle(connection, seqs, "done", 0, None, started)
            )
            return
        run = self._committer.call(
            lambda connection: runs.begin(connection, scope.kind, reason, len(seqs), started)
        )
        self.now = replace(self.now, job=job, since=started)
        self._log.info(
            "publishing",
            run=run,
            scope=scope.kind,
            reason=reason,
            documents=len(scope.releases),
            deliveries=_shown(job.ids),
        )
        try:
            result: PublishReport | MyopCdnError = self._publisher(scope)
        except MyopCdnError as error:
            result = error
        except Exception as error:  # a defect below must not end the listener
            result = MyopCdnError(f"unexpected {type(error).__name__} in the publisher")
        finally:
            self.now = Now()
        self._record(job, run, started, result)

    def _record(
        self, job: Job, run: int, started: float, result: PublishReport | MyopCdnError
    ) -> None:
        now = self._wall()
        ended = outcome.of(result)
        recorder = outcome.Recorder(
            run, job.scope, job.start, started, now, self._full_every, self._random
        )
        earlier = [] if ended.whole else self._retrying()
        seconds = now - started
        self._metrics.ran(job.scope.kind, ended.state, seconds, ended.uploaded)
        deliveries = list(job.deliveries)
        if ended.state == "done":
            deliveries = self._settle_many(run, deliveries)
        deliveries += earlier
        # A kill before this is recorded does the run again: that is safe, forgetting is not.
        note = self._persist(lambda connection: recorder.record(connection, ended, deliveries))
        fields = {
            "run": run,
            "state": ended.state,
            "seconds": round(seconds, 3),
            "uploaded": ended.uploaded,
            "deliveries": _shown(job.ids),
        }
        for warning in ended.warnings:
            self._log.warning(warning, run=run)
        if ended.error is None:
            self._log.info("published", **fields)
        else:
            self._log.warning("publishing failed", **fields, error=ended.error, next=note)

    def _settle_many(
        self, run: int, deliveries: list[tuple[int, Scope | None]]
    ) -> list[tuple[int, Scope | None]]:
        """Settle most of very many deliveries in small commits, which others can share.

        Returns those that are left to settle with the run itself.
        """
        while len(deliveries) > _AT_ONCE:
            seqs = [seq for seq, _ in deliveries[:_AT_ONCE]]
            deliveries = deliveries[_AT_ONCE:]
            now = self._wall()
            self._persist(lambda c, s=seqs, n=now: runs.settle(c, s, "done", run, None, n))  # type: ignore[misc]
        return deliveries

    def _retrying(self) -> list[tuple[int, Scope | None]]:
        """The deliveries of which a document failed earlier, with what they announced."""
        try:
            with reading(self._path) as connection:
                return [(one.seq, _scope(one.body)) for one in runs.retrying(connection)]
        except ListenerError:
            return []  # they are looked at again after the next run

    def _persist(self, work: Callable[[sqlite3.Connection], str | None]) -> str | None:
        """Write the outcome, again and again while the journal can't be written."""
        while True:
            try:
                return self._committer.call(work)
            except ListenerError:
                if self._stopping.is_set():
                    return None
                self._stopping.wait(agenda.POLL)


def _scope(body: bytes) -> Scope:
    try:
        return parse(body).scope
    except PayloadError:
        # It was understood when it was taken: a version that can't any more asks for it all.
        return Scope("full")


def _shown(ids: tuple[str, ...]) -> str:
    head = ",".join(ids[:_SHOWN])
    return head if len(ids) <= _SHOWN else f"{head},… ({len(ids)})"
