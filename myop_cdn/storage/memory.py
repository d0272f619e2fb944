"""`memory://NAME[/prefix]`: objects of this process, for tests and rehearsals."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from myop_cdn.errors import PreconditionFailed, StorageError
from myop_cdn.storage.base import (
    MAX_OBJECT_BYTES,
    SHA256_METADATA,
    Blob,
    Body,
    Headers,
    ObjectInfo,
    Page,
    Precondition,
)
from myop_cdn.storage.location import Location

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from myop_cdn.storage.base import Backend, OpenOptions

PAGE_SIZE = 1000
_versions = count(1)


@dataclass(frozen=True, slots=True)
class Stored:
    """One object, under its full key."""

    body: Body
    headers: Headers
    facts: ObjectInfo


@dataclass(slots=True)
class Shelf:
    """What all backends of one name share."""

    objects: dict[str, Stored] = field(default_factory=dict)
    origins: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


class MemoryBackend:
    """Objects in a dictionary: a version for each write, headers, conditions, pages."""

    keeps_headers = True
    delete_batch = 100

    def __init__(self, location: Location, shelf: Shelf) -> None:
        self.url = location.url
        self.origin_path = f"/{location.root}"
        self.location = location
        self.shelf = shelf
        self.page_size = PAGE_SIZE

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:
        """In order of keys; the cursor is the last key of the page before."""
        start = self.location.full(prefix)
        with self.shelf.lock:
            facts = [
                one.facts._replace(key=self.location.relative(key))
                for key, one in sorted(self.shelf.objects.items())
                if key.startswith(start) and (cursor is None or key > cursor)
            ]
        page = facts[: min(self.page_size, limit or self.page_size)]
        more = len(facts) > len(page)
        return Page(page, self.location.full(page[-1].key) if more else None)

    def head(self, key: str) -> ObjectInfo | None:
        """What a listing says of it."""
        found = self.shelf.objects.get(self.location.full(key))
        return found.facts._replace(key=key) if found else None

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """The object."""
        found = self.shelf.objects.get(self.location.full(key))
        if found and len(found.body.data) > limit:
            raise StorageError(f"{self.url}: {key} has more than {limit} bytes")
        return Blob(found.body.data, found.facts.version, found.headers) if found else None

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """Keep the object under a new version."""
        with self.shelf.lock:
            self._check(key, precondition)
            return self._keep(key, body, headers, metadata or {})

    def can_copy_from(self, source: Backend) -> bool:
        """Whether it is in the same process."""
        return isinstance(source, MemoryBackend)

    def copy(
        self,
        source: Backend,
        source_key: str,
        source_version: str,
        key: str,
        precondition: Precondition | None = None,
    ) -> str:
        """Keep the same object once more, under a new version."""
        assert isinstance(source, MemoryBackend)
        found = source.shelf.objects.get(source.location.full(source_key))
        if found is None or found.facts.version != source_version:
            raise PreconditionFailed(f"{source.url}: {source_key} was changed by somebody else")
        with self.shelf.lock:
            self._check(key, precondition)
            return self._keep(key, found.body, found.headers, found.facts.metadata or {})

    def delete_version(self, key: str, version: str) -> None:
        """Forget the object if it is this one."""
        with self.shelf.lock:
            if self.location.full(key) in self.shelf.objects:
                self._check(key, Precondition(version))
                del self.shelf.objects[self.location.full(key)]

    def _check(self, key: str, precondition: Precondition | None) -> None:
        there = self.shelf.objects.get(self.location.full(key))
        version = there.facts.version if there else None
        if precondition is not None and version != precondition.version:
            raise PreconditionFailed(f"{self.url}: {key} was changed by somebody else")

    def _keep(self, key: str, body: Body, headers: Headers, metadata: Mapping[str, str]) -> str:
        full = self.location.full(key)
        facts = ObjectInfo(
            full,
            len(body.data),
            str(next(_versions)),
            md5=body.md5,
            metadata={**metadata, SHA256_METADATA: body.sha256},
            headers=headers,
            modified=datetime.now(UTC),
        )
        self.shelf.objects[full] = Stored(body, headers, facts)
        return facts.version

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Forget the objects."""
        with self.shelf.lock:
            for key in keys:
                self.shelf.objects.pop(self.location.full(key), None)
        return {}

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Remember the origins."""
        new = set(origins) - self.shelf.origins
        self.shelf.origins |= new
        return bool(new)

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """Whether some are not among those remembered."""
        return not self.shelf.origins.issuperset(origins)

    def close(self) -> None:
        """Keep the objects: another one may open the same URL."""


_shelves: dict[str, Shelf] = {}


def open_memory(url: str, options: OpenOptions) -> MemoryBackend:  # noqa: ARG001 - the same for all
    """The objects of that name, the same ones for everybody in this process who names it."""
    location = Location.parse(url, r"[A-Za-z0-9._-]*")
    return MemoryBackend(location, _shelves.setdefault(location.bucket, Shelf()))
