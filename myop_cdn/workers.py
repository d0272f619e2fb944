"""Work in threads: one piece beside others, or many at once by threads that help themselves.

Not by futures: loading them costs a short command 6 ms, each more time than signing a request,
and a kilobyte for each piece of work that waits.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from myop_cdn.errors import MyopCdnError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    Verdict = Callable[[MyopCdnError | None], bool]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Done(Generic[Item, Result]):
    """One piece of work that ended: with a result, or with an error."""

    item: Item
    result: Result | None
    error: MyopCdnError | None


class Beside(Generic[Result]):
    """A piece of work that has begun in a thread of its own. what: the thread's name."""

    def __init__(self, work: Callable[[], Result], what: str) -> None:
        self._work = work
        self._ended: list[Result] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._do, name=what, daemon=True)
        self._thread.start()

    def result(self) -> Result:
        """What came of it, when it has ended. Raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._ended[0]

    def _do(self) -> None:
        try:
            self._ended.append(self._work())
        except BaseException as error:
            self._error = error


def all_at_once(work: Sequence[Callable[[], Result]], what: str) -> list[Result]:
    """What comes of each of these, done at once, in their order. Raises what the first raises."""
    beside = [Beside(one, what) for one in work[1:]]
    return [*(one() for one in work[:1]), *(one.result() for one in beside)]


def each(
    work: Callable[[Item], Result], items: Iterable[Item], jobs: int, what: str, ends: Verdict
) -> Generator[Done[Item, Result], None, None]:
    """Do `work` for each of `items`, `jobs` at a time; yields each as it ends, in that order.

    ends: told how each piece ended (None: well); where it says so, nothing more is begun, and
    what had been begun is still yielded. what: the threads' name. Closing the generator begins
    nothing more and waits for nobody. Raises what `work` raises besides MyopCdnError.
    """
    line = _Line(work, items, ends)
    try:
        yield from line.run(jobs, what)
    finally:
        # Reached by Ctrl-C too: what has not begun never will, and nobody waits for the rest.
        line.stop()


class _Line(Generic[Item, Result]):
    """The pieces of work that wait, and the results that come.

    Whether to go on is decided by the thread that meets an error, as the others would be through
    with the whole line before anybody looked at the results.
    """

    def __init__(
        self, work: Callable[[Item], Result], items: Iterable[Item], ends: Verdict
    ) -> None:
        self._work = work
        self._ends = ends
        self._waiting = deque(items)
        self._ended: SimpleQueue[Done[Item, Result] | BaseException | None] = SimpleQueue()

    def stop(self) -> None:
        """Begin nothing more."""
        self._waiting.clear()

    def run(self, jobs: int, what: str) -> Generator[Done[Item, Result], None, None]:
        """Each piece as it ends, until all that was begun has ended."""
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
                done: Done[Item, Result]
                try:
                    done = Done(item, self._work(item), None)
                except MyopCdnError as error:
                    done = Done(item, None, error)
                if self._ends(done.error):
                    self.stop()
                self._ended.put(done)
        except BaseException as error:
            self._ended.put(error)
        finally:
            self._ended.put(None)
