"""`memory://NAME[/prefix]`: objects of this process, for tests and rehearsals."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from myop_cdn.errors import PreconditionFailed
from myop_cdn.storage.base import Blob, Body, Headers, Listed, Page
from myop_cdn.storage.location import Location

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from myop_cdn.errors import StorageError
    from myop_cdn.storage.base import Expect, OpenOptions

PAGE_SIZE = 1000
_versions = count(1)


@dataclass(frozen=True, slots=True)
class Stored:
    """One object, under its full key."""

    body: Body
    headers: Headers
    facts: Listed


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
        self.location = location
        self.shelf = shelf
        self.page_size = PAGE_SIZE

    def list(self, cursor: str | None) -> Page:
        """In order of keys; the cursor is the last key of the page before."""
        with self.shelf.lock:
            facts = [
                replace(one.facts, key=self.location.relative(key))
                for key, one in sorted(self.shelf.objects.items())
                if key.startswith(self.location.root) and (cursor is None or key > cursor)
            ]
        page = facts[: self.page_size]
        more = len(facts) > len(page)
        return Page(page, self.location.full(page[-1].key) if more else None)

    def head(self, key: str) -> Listed | None:
        """What a listing says of it."""
        found = self.shelf.objects.get(self.location.full(key))
        return replace(found.facts, key=key) if found else None

    def get(self, key: str) -> Blob | None:
        """The object."""
        found = self.shelf.objects.get(self.location.full(key))
        return Blob(found.body.data, found.facts.version, found.headers) if found else None

    def put(self, key: str, body: Body, headers: Headers, expect: Expect | None = None) -> str:
        """Keep the object under a new version."""
        full = self.location.full(key)
        with self.shelf.lock:
            there = self.shelf.objects.get(full)
            if expect is not None and (there.facts.version if there else None) != expect.version:
                raise PreconditionFailed(f"{self.url}: {key} was changed by somebody else")
            facts = Listed(
                full,
                len(body.data),
                str(next(_versions)),
                md5=body.md5,
                sha256=body.sha256,
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
