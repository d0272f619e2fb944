"""A worker: one thread for each lane, that takes what waits there, has it published, and records
what came of it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from myop_cdn.errors import (
    LeaseLost,
    ListenerError,
    MyopCdnError,
    PayloadError,
    ProcessKilled,
    unexpected,
)
from myop_cdn.listener import notices
from myop_cdn.listener.queue import agenda, outcome
from myop_cdn.listener.queue.agenda import Start, Wait
from myop_cdn.listener.queue.outcome import Clock, Taken, Work
from myop_cdn.model import Scope
from myop_cdn.payload import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from myop_cdn.listener import Log, Publisher
    from myop_cdn.listener.metrics import Metrics
    from myop_cdn.listener.queue.agenda import Retry
    from myop_cdn.listener.queue.base import Changes, Lane, Queue
    from myop_cdn.listener.queue.outcome import Outcome
    from myop_cdn.model import DocumentRef
    from myop_cdn.notify.policy import Event
    from myop_cdn.report import PublishReport

    T = TypeVar("T")

_PRUNE_EVERY = 600.0  # seconds
_PRUNED_AT_ONCE = 200  # deliveries in one commit
_MANY = 20_000  # deliveries that one full sync takes off the list
_AWAY = 0.25  # seconds between two attempts while the journal is not to be had
_SHOWN = 100  # deliveries named in a line of the log


@dataclass(frozen=True, slots=True)
class Now:
    """What a worker is at, for those who look from other threads. since: of the run, in
    seconds since the epoch. beat: of the last turn, in seconds of the monotonic clock.
    """

    work: Work | None = None
    since: float = 0.0
    beat: float = field(default_factory=time.monotonic)


class Worker:
    """Publishes what the queue holds for `lane`, one run after another.

    publisher: for that lane's destination alone. wall: seconds since the epoch. tell: is given
    what somebody may have to be told of; it must return at once.
    """

    def __init__(
        self,
        lane: Lane,
        queue: Queue,
        publisher: Publisher,
        log: Log,
        metrics: Metrics,
        random: Random | None = None,
        wall: Callable[[], float] = time.time,
        tell: Callable[[Event], None] | None = None,
    ) -> None:
        self.lane = lane
        self._queue = queue
        self._publisher = publisher
        self._log = log
        self._metrics = metrics
        self._random = random or Random()  # noqa: S311 - jitter, not secrets
        self._wall = wall
        self._tell = tell or (lambda _: None)
        self._lost: frozenset[DocumentRef] = frozenset()
        self._wakeup = threading.Event()
        self._stopping = threading.Event()
        self._pruned = float("-inf")
        self._thread = threading.Thread(target=self._run, name=f"worker {lane.name}", daemon=True)
        self.now = Now()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Something may be due. Cheap, as it is called for every delivery."""
        if not self._wakeup.is_set():
            self._wakeup.set()

    def alive(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Begin no further run."""
        self._stopping.set()
        self._wakeup.set()

    def join(self, seconds: float) -> bool:
        """Wait for the run that is going on; whether it has ended."""
        if self._thread.ident is None:
            return True
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def step(self) -> Wait:
        """Do what is due; how long to wait before the next look.

        Raises ListenerError while the journal can't be read or written.
        """
        if not self._may_work():
            return Wait(agenda.POLL, wakeable=True)  # another listener works it
        work = self._queue.agenda(self.lane.name)
        action = agenda.next_action(work, self._wall())
        if isinstance(action, Wait):
            self._prune()
            return action
        many = work.waiting is not None and work.waiting.count > agenda.MERGED
        put_together = self._put_together(action, _MANY if many else agenda.MERGED)
        if put_together.scope.kind == "none" and not put_together.deliveries:
            return Wait(agenda.POLL)  # what was waiting has been forgotten meanwhile
        self._do(put_together)
        return Wait(0)

    # -- on the worker's thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.now = replace(self.now, beat=time.monotonic())
            self._wakeup.clear()
            try:
                wait = self.step()
            except ListenerError as error:
                # The queue has said so already; nothing was lost, only time.
                self._log.debug("the journal is not to be had now", error=str(error))
                wait = Wait(_AWAY)
            except Exception as error:  # a defect must not end the work for good
                self._log.warning("the worker failed", error=f"{type(error).__name__}: {error}")
                wait = Wait(agenda.POLL)
            (self._wakeup if wait.wakeable else self._stopping).wait(wait.seconds)
        self._queue.let_go(self.lane.name)

    def _prune(self) -> None:
        if time.monotonic() - self._pruned > _PRUNE_EVERY:
            self._pruned = time.monotonic()
            # In small commits, which others can share.
            while self._queue.prune(_PRUNED_AT_ONCE):
                if self._stopping.is_set():
                    return

    def _put_together(self, start: Start, most: int) -> Work:
        batch = self._queue.batch(self.lane.name, most if start.waiting else 0)
        taken = tuple(
            Taken(found.seq, found.id, found.announced, _scope(found.body))
            for found in batch.deliveries
        )
        scopes = [Scope("incremental", tuple(retry.release for retry in start.retries))]
        newest_last = sorted(taken, key=lambda found: (found.announced, found.seq))
        scopes += [found.scope for found in newest_last]
        scopes += [Scope("full")] if start.full else []
        return Work(start, Scope.merge(scopes), taken, batch.journal)

    def _do(self, work: Work) -> None:
        started = self._wall()
        scope, lane, cause = work.scope, self.lane.name, self._cause(work)
        run = self._queue.begin(lane, scope.kind, work.start.reason, len(work.deliveries))
        self.now = replace(self.now, work=work, since=started)
        self._log.info(
            "publishing",
            run=run,
            destination=lane,
            scope=scope.kind,
            reason=work.start.reason,
            documents=len(scope.releases),
            deliveries=_shown(work.deliveries),
        )
        try:
            result = attempt(self._publisher, scope, cause)
            is_over = self._stopping.is_set() or not self._may_work()
            if isinstance(result, (ProcessKilled, LeaseLost)) and not is_over:
                # Nothing is wrong with the destination that would have to be given time.
                self._log.warning("the run is done again", run=run, error=result.message)
                result = attempt(self._publisher, scope, cause)
        finally:
            self.now = Now()
        if isinstance(result, LeaseLost):
            # It says nothing of the destination: whoever holds the lease does it again.
            self._log.warning(result.message, run=run, destination=lane)
            return
        self._record(work, run, started, outcome.of(result))

    def _may_work(self) -> bool:
        """Whether no other listener may work the lane."""
        held = self._queue.held_until(self.lane.name)
        return held is None or held > time.monotonic()

    def _cause(self, work: Work) -> tuple[str, ...]:
        """The ids of the deliveries that a run is for, those that wait for its retries included."""
        ids = [found.id for found in work.deliveries]
        if retried := frozenset(retry.ref for retry in work.start.retries):
            needs = self._queue.state(self.lane.name, retried).needs
            ids += [need.delivery for need in needs if need.release.ref in retried]
        return tuple(dict.fromkeys(ids))

    def _record(self, work: Work, run: int, started: float, ended: Outcome) -> None:
        now, lane = self._wall(), self.lane.name
        clock = Clock(started, now, self._random, self.lane.full_every)
        self._metrics.ran(lane, work.scope.kind, ended.state, now - started, ended.uploaded)
        # A kill before this is recorded does the run again: that is safe, forgetting is not.
        changes = self._persist(lambda: self._finish(work, run, ended, clock))
        if changes is None:
            return
        fields = {
            "run": run,
            "destination": lane,
            "state": ended.state,
            "seconds": round(now - started, 3),
            "uploaded": ended.uploaded,
            "deliveries": _shown(work.deliveries),
        }
        # What is tried again has been warned of, and is warned of once more when it is given up.
        again = work.start.reason == "retry" and not ended.whole
        for warning in ended.warnings:
            (self._log.debug if again else self._log.warning)(warning, run=run)
        if ended.error is None:
            self._log.info("published", **fields)
        else:
            words = "published in part" if ended.state == "partly" else "publishing failed"
            say = self._log.info if again else self._log.warning
            say(words, **fields, error=ended.error, next=changes.note)
        lost = notices.still_lost(self._lost, changes)
        self._say_what_is_lost(retry for retry in changes.retries if retry.ref in lost - self._lost)
        for event in notices.events(lane, work, ended, changes, self._lost, now):
            self._tell(event)
        self._lost = lost

    def _finish(self, work: Work, run: int, ended: Outcome, clock: Clock) -> Changes:
        queue, lane = self._queue, self.lane.name
        refs = work.refs
        known = {}
        if not ended.whole:
            known = queue.live(lane, None if refs is None else refs | set(ended.published))
            needs = queue.state(lane, refs).needs
            live, gone = outcome.live_changes(ended, work, needs, known, clock.now)
            queue.set_live(lane, live, gone)
        return queue.finish(
            lane,
            work.journal,
            refs,
            lambda state: outcome.decide(run, ended, work, state, known, clock),
        )

    def _say_what_is_lost(self, retries: Iterable[Retry]) -> None:
        for retry in retries:
            self._log.warning(
                "a release is given up; it is tried again now and then for a day",
                destination=self.lane.name,
                document=retry.ref.path,
                variant=retry.release.variant_id,
                error=retry.error,
            )

    def _persist(self, work: Callable[[], T]) -> T | None:
        """Write the outcome, again and again while the journal can't be written."""
        while True:
            try:
                return work()
            except LeaseLost as error:
                self._log.warning(error.message, destination=self.lane.name)
                return None
            except ListenerError:
                if self._stopping.is_set():
                    return None
                self.now = Now()  # it turns still, and what it waits for is told elsewhere
                self._stopping.wait(_AWAY)


def attempt(
    publisher: Publisher, scope: Scope, deliveries: tuple[str, ...]
) -> PublishReport | MyopCdnError:
    """What a run came to, also where it came to nothing."""
    try:
        return publisher(scope, None, deliveries)
    except MyopCdnError as error:
        return error
    except Exception as error:  # a defect below must not end the listener
        return unexpected(error)


def _scope(body: bytes) -> Scope:
    try:
        return parse(body).scope
    except PayloadError:
        # It was understood when it was taken: a version that can't any more asks for it all.
        return Scope("full")


def _shown(deliveries: tuple[Taken, ...]) -> str:
    head = ",".join(found.id for found in deliveries[:_SHOWN])
    return head if len(deliveries) <= _SHOWN else f"{head},… ({len(deliveries)})"
