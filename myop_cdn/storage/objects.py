"""A backend whose requests for objects are made in one of two ways, chosen at the first of them.

The lean way makes its own requests over kept connections; the other one is the service's SDK,
for all that is out of the ordinary. Which one it is can depend on credentials that have to be
looked for, so it is not decided while a backend is opened, which makes no request.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from myop_cdn.errors import StorageError
from myop_cdn.storage.base import MAX_OBJECT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from myop_cdn.storage.base import Blob, Body, Headers, ObjectInfo, Page, Precondition


class Objects(Protocol):
    """The requests for single objects. Methods are those of `Backend`; `list` is told how many
    objects a page may have.
    """

    def list(self, cursor: str | None, page_size: int, prefix: str = "") -> Page:
        """See `Backend.list`."""

    def head(self, key: str) -> ObjectInfo | None:
        """See `Backend.head`."""

    def get(self, key: str) -> Blob | None:
        """See `Backend.get`."""

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """See `Backend.put`."""

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """See `Backend.delete`."""

    def close(self) -> None:
        """See `Backend.close`."""


class ByObjects:
    """The part of a backend that hands on to its `Objects`.

    choose: makes them, at the first request. page_size: the most objects of a page.
    """

    keeps_headers = True
    delete_batch = 1

    def __init__(
        self, url: str, origin_path: str, page_size: int, choose: Callable[[], Objects]
    ) -> None:
        self.url = url
        self.origin_path = origin_path
        self.page_size = page_size
        self._choose = choose
        self._chosen: Objects | None = None
        self._lock = threading.Lock()

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:
        """See `Backend.list`."""
        return self._objects.list(cursor, min(self.page_size, limit or self.page_size), prefix)

    def head(self, key: str) -> ObjectInfo | None:
        """See `Backend.head`."""
        return self._objects.head(key)

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """See `Backend.get`."""
        found = self._objects.get(key)
        if found and len(found.data) > limit:
            raise StorageError(f"{self.url}: {key} has more than {limit} bytes")
        return found

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """See `Backend.put`."""
        return self._objects.put(key, body, headers, metadata, precondition)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """See `Backend.delete`."""
        return self._objects.delete(keys)

    def close(self) -> None:
        """Close the connections."""
        if self._chosen is not None:
            self._chosen.close()

    @property
    def _objects(self) -> Objects:
        with self._lock:
            if self._chosen is None:
                self._chosen = self._choose()
            return self._chosen
