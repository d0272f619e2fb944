"""`memory://NAME`: objects of this process, for tests and as the shortest example of a backend."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from myop_cdn.errors import PreconditionFailed
from myop_cdn.storage.base import Blob, Listed, Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from myop_cdn.errors import StorageError
    from myop_cdn.storage.base import Body, Expect, Headers, OpenOptions

_PAGE = 1000
_versions = count(1)


class MemoryBackend:
    """Objects in a dictionary: a version for each write, headers, conditions, pages."""

    keeps_headers = True
    delete_batch = 100

    def __init__(self, url: str) -> None:
        self.url = url
        self.objects: dict[str, tuple[Body, Headers, Listed]] = {}
        self.origins: set[str] = set()
        self._lock = threading.Lock()

    def list(self, cursor: str | None) -> Page:
        """In order of keys."""
        with self._lock:
            keys = sorted(key for key in self.objects if cursor is None or key > cursor)
            listed = [self.objects[key][2] for key in keys[:_PAGE]]
        return Page(listed, keys[_PAGE - 1] if len(keys) > _PAGE else None)

    def head(self, key: str) -> Listed | None:
        """What a listing says of it."""
        found = self.objects.get(key)
        return found[2] if found else None

    def get(self, key: str) -> Blob | None:
        """The object."""
        found = self.objects.get(key)
        return Blob(found[0].data, found[2].version, found[1]) if found else None

    def put(self, key: str, body: Body, headers: Headers, expect: Expect | None = None) -> str:
        """Keep the object under a new version."""
        with self._lock:
            found = self.objects.get(key)
            if expect is not None and (found[2].version if found else None) != expect.version:
                raise PreconditionFailed(f"{self.url}: {key} was changed by somebody else")
            version = str(next(_versions))
            facts = Listed(
                key,
                len(body.data),
                version,
                md5=body.md5,
                sha256=body.sha256,
                headers=headers,
                modified=datetime.now(UTC),
            )
            self.objects[key] = (body, headers, facts)
            return version

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Forget the objects."""
        with self._lock:
            for key in keys:
                self.objects.pop(key, None)
        return {}

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Remember the origins."""
        new = set(origins) - self.origins
        self.origins |= new
        return bool(new)

    def close(self) -> None:
        """Keep the objects: another one may open the same URL."""


_stores: dict[str, MemoryBackend] = {}


def open_memory(url: str, options: OpenOptions) -> MemoryBackend:  # noqa: ARG001 - the same for all
    """The objects under `url`, the same ones for everybody in this process who names it."""
    return _stores.setdefault(url, MemoryBackend(url))
