"""A backend with what is the same for all of them: retries and whole listings."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from myop_cdn.errors import (
    PreconditionFailed,
    StorageError,
    StorageUnavailable,
    StorageUnreachable,
)
from myop_cdn.storage.base import (
    MAX_OBJECT_BYTES,
    SHA256_METADATA,
    Body,
    ConditionalDelete,
    Copying,
    Cors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from myop_cdn.storage.base import Backend, Blob, Headers, ObjectInfo, Page, Precondition

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is made again, and how long is waited before.

    attempts: tries in all for a service that answers but can't now (503 SlowDown, 500, a
    connection cut short). unreachable_attempts: tries in all where there is no connection at
    all. The n-th pause is random between half of and all of `first_pause * 2**n` seconds,
    `longest_pause` at most: many clients that were told to slow down must not come back at once.
    """

    attempts: int = 9
    unreachable_attempts: int = 4
    first_pause: float = 0.1
    longest_pause: float = 10.0

    def pause(self, tries: int, chance: float) -> float:
        """Seconds to wait after `tries` failed tries; chance: 0 to 1."""
        longest = min(self.longest_pause, self.first_pause * 2.0**tries)
        return longest * (0.5 + chance / 2)


class Store:
    """A destination, ready to use. Methods are those of `Backend`, tried again where it helps."""

    def __init__(
        self,
        backend: Backend,
        policy: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.backend = backend
        self.url = backend.url
        self.keeps_headers = backend.keeps_headers
        self.delete_batch = backend.delete_batch
        self._patience = policy or RetryPolicy()
        self._sleep = sleep
        self._chance = chance

    def list(self, prefix: str = "", limit: int | None = None) -> list[ObjectInfo]:
        """Every object whose key begins with `prefix`, in ascending order; of these the first
        `limit`, where that is given. Raises StorageError.
        """
        objects: list[ObjectInfo] = []
        cursor: str | None = None
        while True:
            page = self._page(cursor, prefix, limit)
            objects.extend(page.objects)
            cursor = page.cursor
            if cursor is None or (limit is not None and len(objects) >= limit):
                return objects[:limit]

    def head(self, key: str) -> ObjectInfo | None:
        """See `Backend.head`."""
        return self._again(lambda: self.backend.head(key))

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """See `Backend.get`."""
        return self._again(lambda: self.backend.get(key, limit))

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """See `Backend.put`. PreconditionFailed may mean that an earlier try got through."""
        return self._again(lambda: self.backend.put(key, body, headers, metadata, precondition))

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """See `Backend.delete`."""
        return self._again(lambda: self.backend.delete(keys))

    def copy(
        self,
        source: Store,
        source_key: str,
        source_version: str,
        key: str,
        precondition: Precondition | None = None,
    ) -> str:
        """See `Copying.copy`. Where the service can't, the object is read and written."""
        backend = self.backend
        if isinstance(backend, Copying) and backend.can_copy_from(source.backend):
            return self._again(
                lambda: backend.copy(source.backend, source_key, source_version, key, precondition)
            )
        info, blob = source.head(source_key), source.get(source_key)
        if blob is None or info is None or not info.version == blob.version == source_version:
            raise PreconditionFailed(f"{source.url}: {source_key} was changed by somebody else")
        metadata = {k: v for k, v in (info.metadata or {}).items() if k != SHA256_METADATA}
        return self.put(key, Body.of(blob.data), blob.headers, metadata, precondition)

    def delete_version(self, key: str, version: str) -> None:
        """See `ConditionalDelete`. Where the service has no such thing, the object is looked at
        just before.
        """
        backend = self.backend
        if isinstance(backend, ConditionalDelete):
            return self._again(lambda: backend.delete_version(key, version))
        info = self.head(key)
        if info is not None and info.version != version:
            raise PreconditionFailed(f"{self.url}: {key} was changed by somebody else")
        for error in self.delete([key]).values():
            raise error
        return None

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """See `Backend.allow_origins`."""
        backend = self.backend
        if not isinstance(backend, Cors):
            raise StorageError(f"{self.url}: the service has no CORS rules")
        return self._again(lambda: backend.allow_origins(origins))

    def close(self) -> None:
        """See `Backend.close`."""
        self.backend.close()

    def _page(self, cursor: str | None, prefix: str, limit: int | None) -> Page:
        return self._again(lambda: self.backend.list(cursor, prefix, limit))

    def _again(self, request: Callable[[], T]) -> T:
        tries = 0
        while True:
            try:
                return request()
            except StorageUnavailable as error:
                tries += 1
                unreachable = isinstance(error, StorageUnreachable)
                policy = self._patience
                if tries >= (policy.unreachable_attempts if unreachable else policy.attempts):
                    raise
                self._sleep(policy.pause(tries, self._chance()))
