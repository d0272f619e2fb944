"""A backend with what is the same for all of them: retries and whole listings."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from myop_cdn import retry
from myop_cdn.errors import PreconditionFailed, StorageError
from myop_cdn.retry import Retries, RetryPolicy
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


class Store:
    """A destination, ready to use. Methods are those of `Backend`, tried again where it helps.

    policy, wait, chance, clock, on_retry: as for `Retries`.
    """

    def __init__(
        self,
        backend: Backend,
        policy: RetryPolicy | None = None,
        wait: Callable[[float], bool] = retry.sleep,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        on_retry: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.backend = backend
        self.url = backend.url
        self.keeps_headers = backend.keeps_headers
        self.delete_batch = backend.delete_batch
        self._retries = Retries(policy, wait, chance, clock, on_retry)

    def list(self, prefix: str = "", limit: int | None = None) -> list[ObjectInfo]:
        """Every object whose key begins with `prefix`, in ascending order; of these the first
        `limit`, where that is given. Raises StorageError.
        """
        objects: list[ObjectInfo] = []
        cursor: str | None = None
        cursors: set[str] = set()
        while True:
            wanted = None if limit is None else limit - len(objects)
            page = self._page(cursor, prefix, wanted)
            objects.extend(page.objects)
            cursor = page.cursor
            if cursor is None or (limit is not None and len(objects) >= limit):
                return objects[:limit]
            if cursor in cursors:
                raise StorageError(
                    f"{self.url}: the service's listing goes round in circles",
                    "its continuation tokens repeat; is a proxy or a cache between?",
                )
            cursors.add(cursor)

    def head(self, key: str) -> ObjectInfo | None:
        """See `Backend.head`."""
        return self._retries.call(lambda: self.backend.head(key))

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """See `Backend.get`."""
        return self._retries.call(lambda: self.backend.get(key, limit))

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """See `Backend.put`."""
        tries = 0

        def put() -> str:
            nonlocal tries
            tries += 1
            try:
                return self.backend.put(key, body, headers, metadata, precondition)
            except PreconditionFailed:
                # The try before may have got through, and only its answer been lost.
                there = self.backend.head(key) if tries > 1 else None
                sent = {**(metadata or {}), SHA256_METADATA: body.sha256}
                if there is None or there.metadata != sent or there.headers != headers:
                    raise
                return there.version

        return self._retries.call(put)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """See `Backend.delete`."""
        return self._retries.call(lambda: self.backend.delete(keys))

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
            return self._retries.call(
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
            return self._retries.call(lambda: backend.delete_version(key, version))
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
        return self._retries.call(lambda: backend.allow_origins(origins))

    def close(self) -> None:
        """See `Backend.close`."""
        self.backend.close()

    def _page(self, cursor: str | None, prefix: str, limit: int | None) -> Page:
        return self._retries.call(lambda: self.backend.list(cursor, prefix, limit))
