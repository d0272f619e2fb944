"""Many requests at once, ended early where going on is of no use."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    CredentialsError,
    MyopCdnError,
    StorageUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")

_FATAL = (CredentialsError, AccessDenied, ContainerMissing)
_PATIENCE = 5  # requests in a row that failed after all their retries


@dataclass(frozen=True, slots=True)
class Done(Generic[Item, Result]):
    """One piece of work that ended: with a result, or with an error."""

    item: Item
    result: Result | None
    error: MyopCdnError | None


class Hopeless(Exception):
    """The work was given up: the next piece would fail as the last one did.

    Not for users: carries the error that is.
    """

    def __init__(self, cause: MyopCdnError) -> None:
        super().__init__(cause.message)
        self.cause = cause


def run_all(
    work: Callable[[Item], Result], items: Iterable[Item], jobs: int, what: str
) -> Iterator[Done[Item, Result]]:
    """Do `work` for each of `items`, `jobs` at a time; yields each as it ends, in that order.

    Raises Hopeless, after what had been begun was yielded, when an error says that all would
    fail (credentials, permission, bucket) or the service fails again and again. what: the
    threads' name.

    Threads that help themselves, not futures: those cost more time than signing a request,
    and a kilobyte for each piece of work that waits.
    """
    line = _Line(work, items)
    try:
        yield from line.run(jobs, what)
    finally:
        # Reached by Ctrl-C too: what has not begun never will, and nobody waits for the rest.
        line.stop()
    if line.hopeless:
        raise Hopeless(line.hopeless)


class _Line(Generic[Item, Result]):
    """The pieces of work that wait, and the results that come.

    hopeless: the error for which nothing more is begun. Decided by the thread that meets it, as
    the others would be through with the whole line before anybody looked at the results.
    """

    def __init__(self, work: Callable[[Item], Result], items: Iterable[Item]) -> None:
        self.hopeless: MyopCdnError | None = None
        self._in_a_row = 0
        self._work = work
        self._waiting = deque(items)
        self._ended: SimpleQueue[Done[Item, Result] | BaseException | None] = SimpleQueue()

    def stop(self) -> None:
        """Begin nothing more."""
        self._waiting.clear()

    def run(self, jobs: int, what: str) -> Iterator[Done[Item, Result]]:
        """Each piece as it ends, until all that was begun has ended. Raises what `work` raises
        besides MyopCdnError.
        """
        count = min(jobs, len(self._waiting))
        for number in range(count):
            threading.Thread(target=self._help, name=f"{what}_{number}", daemon=True).start()
        while count:
            ended = self._ended.get()
            if isinstance(ended, Done):
                yield ended
            elif ended is None:
                count -= 1
            else:
                raise ended

    def _help(self) -> None:
        try:
            while True:
                try:
                    item = self._waiting.popleft()
                except IndexError:
                    break
                try:
                    self._ended.put(Done(item, self._work(item), None))
                    self._in_a_row = 0
                except MyopCdnError as error:
                    self._judge(error)
                    self._ended.put(Done(item, None, error))
        except BaseException as error:
            self._ended.put(error)
        finally:
            self._ended.put(None)

    def _judge(self, error: MyopCdnError) -> None:
        self._in_a_row = self._in_a_row + 1 if isinstance(error, StorageUnavailable) else 0
        if isinstance(error, _FATAL) or self._in_a_row >= _PATIENCE:
            self.hopeless = self.hopeless or error
            self.stop()
