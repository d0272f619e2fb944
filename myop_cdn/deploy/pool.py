"""Many requests at once, ended early where going on is of no use."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
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
    """
    pool = ThreadPoolExecutor(jobs, what)
    hopeless: MyopCdnError | None = None
    in_a_row = 0
    try:
        futures = {pool.submit(work, item): item for item in items}
        for future in as_completed(futures):
            if future.cancelled():
                continue
            error = future.exception()
            if error is not None and not isinstance(error, MyopCdnError):
                raise error
            result = None if error else future.result()
            yield Done(futures[future], result, error)
            in_a_row = in_a_row + 1 if isinstance(error, StorageUnavailable) else 0
            if error and (isinstance(error, _FATAL) or in_a_row >= _PATIENCE) and not hopeless:
                hopeless = error
                for other in futures:
                    other.cancel()
    finally:
        # Reached by Ctrl-C too: what has not begun never will, and nobody waits for the rest.
        pool.shutdown(wait=False, cancel_futures=True)
    if hopeless:
        raise Hopeless(hopeless)
