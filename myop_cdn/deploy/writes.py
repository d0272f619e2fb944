"""Writing at a destination: each object only if it still is as it was seen, many at once."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    CredentialsError,
    MyopCdnError,
    PreconditionFailed,
    StorageError,
    StorageUnavailable,
)
from myop_cdn.storage.base import Body, Precondition
from myop_cdn.workers import each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from myop_cdn.deploy.log import Log
    from myop_cdn.deploy.remote import RemoteObject
    from myop_cdn.storage.base import Headers
    from myop_cdn.storage.store import Store
    from myop_cdn.workers import Done

Item = TypeVar("Item")
Result = TypeVar("Result")

ROUNDS = 40  # each one lost means that somebody else got something through
_LONGEST_PAUSE_SECONDS = 2.0
_FATAL = (CredentialsError, AccessDenied, ContainerMissing)
_MOST_IN_A_ROW = 5  # requests that failed one after the other, after all their retries


def attempts(url: str, hint: str = "") -> Iterator[int]:
    """The attempts at something that others may be first at, from 0 on; before each but the first
    it is waited, for longer the more there were.

    url: the destination's. Raises StorageError, with that hint, after `ROUNDS` of them.
    """
    for attempt in range(ROUNDS):
        if attempt:
            longest = min(_LONGEST_PAUSE_SECONDS, 0.05 * 2.0**attempt)
            time.sleep(longest * random.random())  # noqa: S311 - spreads retries, keeps no secret
        yield attempt
    raise StorageError(f"{url}: others kept publishing there, {ROUNDS} times over", hint)


class AbortRun(Exception):
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

    Raises AbortRun, after what had been begun was yielded, when an error says that all would
    fail (credentials, permission, bucket) or the service fails again and again. what: the
    threads' name.
    """
    breaker = _Breaker()
    yield from each(work, items, jobs, what, breaker.is_open)
    if breaker.cause:
        raise AbortRun(breaker.cause)


class _Breaker:
    """Until when going on is of use. cause: the error for which nothing more is begun."""

    def __init__(self) -> None:
        self.cause: MyopCdnError | None = None
        self._in_a_row = 0

    def is_open(self, error: MyopCdnError | None) -> bool:
        """Whether to stop, after a piece that ended with this error, or well."""
        self._in_a_row = self._in_a_row + 1 if isinstance(error, StorageUnavailable) else 0
        if isinstance(error, _FATAL) or self._in_a_row >= _MOST_IN_A_ROW:
            self.cause = self.cause or error
        return self.cause is not None


class Keeper:
    """Keeps contents before they are replaced, each once.

    enabled: whether anything is kept at all. kept: hashes of what is kept already.
    """

    def __init__(
        self, store: Store, log: Log, *, enabled: bool = True, kept: Iterable[str] = ()
    ) -> None:
        self._store = store
        self._log = log
        self._enabled = enabled
        self._kept = set(kept)
        self._keeping: dict[str, threading.Lock] = {}

    def keep(self, key: str, there: RemoteObject) -> str:
        """Copy what is there; its SHA-256 ("" where not known). Raises PreconditionFailed where it
        is not as it was seen any more, and StorageError.
        """
        sha256 = there.sha256 or (there.facts.sha256 if there.facts else "")
        if not self._enabled or (sha256 and not there.version):
            return sha256
        if not sha256:
            return self._keep_unknown(key, there)
        # Several documents may hold the same: none is replaced before it is kept.
        with self._keeping.setdefault(sha256, threading.Lock()):
            if sha256 not in self._kept:
                kept = self._log.history_key(sha256)
                self._log.store.copy(self._store, key, there.version, kept)
                self._kept.add(sha256)
        return sha256

    def keep_early(self, seen: Mapping[str, RemoteObject], jobs: int) -> None:
        """Copy what is about to be replaced, as far as that goes: what is not kept by then is
        copied by `keep`, which waits for what has begun.
        """
        if self._enabled:
            known = [key for key, there in seen.items() if there.sha256]
            with suppress(AbortRun):
                for _ in run_all(lambda key: self.keep(key, seen[key]), known, jobs, "keep"):
                    pass

    def _keep_unknown(self, key: str, there: RemoteObject) -> str:
        blob = self._store.get(key)
        if blob is None or blob.version != there.version:
            raise PreconditionFailed(f"{self._store.url}: {key} was changed by somebody else")
        body = Body.of(blob.data)
        kept = self._log.history_key(body.sha256)
        if self._log.store.head(kept) is None:
            self._log.store.put(kept, body, blob.headers)
        return body.sha256


class Writer:
    """The writes of one run. Every method raises PreconditionFailed where the object is not as it
    was seen any more, and StorageError.

    keeper: keeps what is replaced. unconditional: the service ignores conditions, so each object
    is looked at just before.
    """

    def __init__(
        self, store: Store, log: Log, headers: Headers, keeper: Keeper, *, unconditional: bool
    ) -> None:
        self.keep = keeper.keep
        self._store = store
        self._log = log
        self._headers = headers
        self._unconditional = unconditional

    def put(self, key: str, body: Body, metadata: Mapping[str, str], version: str | None) -> str:
        """Write the object where `version` is still there (None: nothing); its new version."""
        self._look_just_before(key, version)
        precondition = self._condition(version)
        return self._store.put(key, body, self._headers, metadata, precondition)

    def delete(self, key: str, there: RemoteObject) -> None:
        """Delete the object where it is still as it was seen."""
        if self._unconditional or not there.version:
            self._look_just_before(key, there.version)
            for error in self._store.delete([key]).values():
                raise error
        else:
            self._store.delete_version(key, there.version)

    def restore(self, key: str, sha256: str, version: str | None) -> str:
        """Put content that was kept back in its place; the new version.

        Raises StorageError where it is not kept any more.
        """
        kept = self._log.history_key(sha256)
        info = self._log.store.head(kept)
        if info is None:
            raise StorageError(f"{key}: the content to go back to is not kept any more")
        self._look_just_before(key, version)
        precondition = self._condition(version)
        return self._store.copy(self._log.store, kept, info.version, key, precondition)

    def _condition(self, version: str | None) -> Precondition | None:
        """What a write is made to depend on: nothing where the service keeps no conditions, or
        does not tell the version of what is there.
        """
        return None if self._unconditional or version == "" else Precondition(version)

    def _look_just_before(self, key: str, version: str | None) -> None:
        if not self._unconditional:
            return
        info = self._store.head(key)
        if (info.version if info else None) != version:
            raise PreconditionFailed(f"{self._store.url}: {key} was changed by somebody else")
