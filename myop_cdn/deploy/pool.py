"""Many requests at once, ended early where going on is of no use."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    CredentialsError,
    MyopCdnError,
    StorageUnavailable,
)
from myop_cdn.workers import each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from myop_cdn.workers import Done

Item = TypeVar("Item")
Result = TypeVar("Result")

_FATAL = (CredentialsError, AccessDenied, ContainerMissing)
_PATIENCE = 5  # requests in a row that failed after all their retries


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
    patience = _Patience()
    yield from each(work, items, jobs, what, patience.is_over)
    if patience.cause:
        raise Hopeless(patience.cause)


class _Patience:
    """Until when going on is of use. cause: the error for which nothing more is begun."""

    def __init__(self) -> None:
        self.cause: MyopCdnError | None = None
        self._in_a_row = 0

    def is_over(self, error: MyopCdnError | None) -> bool:
        """Whether it is, after a piece that ended with this error, or well."""
        self._in_a_row = self._in_a_row + 1 if isinstance(error, StorageUnavailable) else 0
        if isinstance(error, _FATAL) or self._in_a_row >= _PATIENCE:
            self.cause = self.cause or error
        return self.cause is not None
