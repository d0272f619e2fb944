"""Jobs that run at once, driven request by request through every order that can matter.

No luck and no clock: each job runs in a thread that stops before every request, and one goes on
at a time. An order that leads to where another one has led (the same objects, and every job having
seen the same) is not followed any further, so that a few hundred runs stand for all of them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any

from myop_cdn.errors import MyopCdnError
from myop_cdn.storage.memory import MemoryBackend
from myop_cdn.workers import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    import pytest

    from myop_cdn.storage.memory import Stored


MOST_ORDERS = 5_000


class Abandoned(BaseException):
    """This order leads nowhere new."""


@dataclass
class Job:
    """One job, stopped before a request. history: all that it has seen, as a hash."""

    name: str
    work: Callable[[], None]
    history: int = 0
    error: BaseException | None = None
    is_done: bool = False
    stopped: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    is_abandoned: bool = False


_current = threading.local()


def step(what: str, look: Callable[[], object] = lambda: None) -> None:
    """Stop before a request. look: who or what is there, once the job may go on."""
    job: Job | None = getattr(_current, "job", None)
    if job is None:
        return
    job.stopped.release()
    job.go.acquire()
    if job.is_abandoned:
        raise Abandoned
    job.history = hash((job.history, what, look()))


class Objects:
    """The objects of a destination, and who wrote each: that is what it is, in any order."""

    def __init__(self) -> None:
        self.writers: dict[str, tuple[str, int]] = {}

    def wrote(self, key: str) -> None:
        """The current job, knowing what it knows, wrote the object at `key`."""
        job: Job | None = getattr(_current, "job", None)
        self.writers[key] = (job.name, job.history) if job else ("before", 0)

    def below(self, prefix: str, limit: int | None) -> tuple[object, ...]:
        """Who wrote what is listed."""
        keys = sorted(key for key in self.writers if key.startswith(prefix))[:limit]
        return tuple((key, self.writers[key]) for key in keys)


class Stepped(MemoryBackend):
    """A destination in memory at which every job stops before each request."""

    def __init__(self, inner: MemoryBackend, objects: Objects) -> None:
        super().__init__(inner.location, inner.shelf)
        self.objects = objects

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Any:
        step(f"list {prefix} {limit}", lambda: self.objects.below(prefix, limit))
        return super().list(cursor, prefix, limit)

    def head(self, key: str) -> Any:
        step(f"head {key}", lambda: self.objects.writers.get(key))
        return super().head(key)

    def get(self, key: str, *rest: Any) -> Any:
        step(f"get {key}", lambda: self.objects.writers.get(key))
        return super().get(key, *rest)

    def put(self, key: str, *rest: Any) -> str:
        step(f"put {key}", lambda: self.objects.writers.get(key))
        return self._written(key, lambda: super(Stepped, self).put(key, *rest))

    def copy(self, source: Any, source_key: str, version: str, key: str, *rest: Any) -> str:
        ends = (source_key, key)
        step(f"copy {ends}", lambda: tuple(self.objects.writers.get(one) for one in ends))
        work = super().copy
        return self._written(key, lambda: work(source, source_key, version, key, *rest))

    def delete_version(self, key: str, version: str) -> None:
        step(f"delete {key}", lambda: self.objects.writers.get(key))
        super().delete_version(key, version)
        self.objects.writers.pop(key, None)

    def delete(self, keys: Any) -> Mapping[str, Any]:
        step(f"delete {keys}")
        for key in keys:
            self.objects.writers.pop(key, None)
        return super().delete(keys)

    def _written(self, key: str, work: Callable[[], str]) -> str:
        version = work()
        self.objects.wrote(key)
        return version


@dataclass
class Order:
    """One order of the steps that was followed. ended: whether to its end."""

    steps: list[str]
    ended: bool


def orders(
    begin: Callable[[], tuple[list[Job], Callable[[], object]]], most: int | None = None
) -> Iterator[Order]:
    """Follow every order of the jobs' steps that leads somewhere new; yields each at its end.

    begin: sets everything back, and returns new jobs and what tells the state of all they share.
    most: how many orders are followed, where there are more; None: there may be no more than
    `MOST_ORDERS`.
    """
    seen: set[object] = set()
    waiting: list[list[str]] = [[]]
    for number in count():
        if not waiting or number == most:
            return
        assert number < (most or MOST_ORDERS), "these are too many orders to follow each"
        prefix = waiting.pop()
        jobs, state = begin()
        taken: list[str] = []
        threads = [_started(job) for job in jobs]
        is_new = True
        while alive := [job for job in jobs if not job.is_done]:
            chosen = alive[0]
            if len(taken) < len(prefix):
                chosen = next(job for job in alive if job.name == prefix[len(taken)])
            elif is_new:
                here = (state(), tuple((job.history, job.is_done) for job in jobs))
                if here in seen:
                    is_new = False
                else:
                    seen.add(here)
                    waiting += [[*taken, other.name] for other in alive[1:]]
            if not is_new:
                for job in alive:
                    job.is_abandoned = True
                    job.go.release()
                break
            taken.append(chosen.name)
            chosen.go.release()
            chosen.stopped.acquire()
        for thread in threads:
            thread.join()
        for job in jobs:
            if job.error is not None:
                raise AssertionError(f"{job.name} failed in the order {taken}") from job.error
        yield Order(taken, is_new)


def _started(job: Job) -> threading.Thread:
    def run() -> None:
        _current.job = job
        try:
            job.work()
        except Abandoned:
            pass
        except BaseException as error:
            job.error = error
        finally:
            job.is_done = True
            job.stopped.release()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    job.stopped.acquire()  # it stands before its first request
    return thread


def one_after_the_other(monkeypatch: pytest.MonkeyPatch, *, eager: bool = False) -> None:
    """Have each job do one thing at a time, in its own thread, and wait for nothing.

    eager: whether the log is read before the objects are listed, or after.
    """

    def each(
        work: Callable[[Any], Any], items: Iterable[Any], jobs: int, what: str, ends: Any
    ) -> Generator[Done[Any, Any], None, None]:
        for item in list(items):
            try:
                done: Done[Any, Any] = Done(item, work(item), None)
            except MyopCdnError as error:
                done = Done(item, None, error)
            yield done
            if ends(done.error):
                return

    class Beside:
        """Work that is done when it is begun, or not before its result is wanted."""

        def __init__(self, work: Callable[[], Any], _name: str) -> None:
            self._work = work
            self._done = [work()] if eager else []

        def result(self) -> Any:
            self._done = self._done or [self._work()]
            return self._done[0]

    for name in ("sync", "deploy.log", "deploy.source", "deploy.writes"):
        monkeypatch.setattr(import_module(f"myop_cdn.{name}"), "each", each)
    for name in ("deploy", "deploy.destination", "deploy.run"):
        monkeypatch.setattr(import_module(f"myop_cdn.{name}"), "Beside", Beside)
    monkeypatch.setattr(import_module("myop_cdn.deploy.writes"), "_LONGEST_PAUSE_SECONDS", 0.0)


def snapshot(stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """The objects as they are; they are never changed in place."""
    return dict(stored)
