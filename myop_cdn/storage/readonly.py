"""A destination that lets every write pass without doing it: what a dry run is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.errors import PreconditionFailed, StorageError
from myop_cdn.storage.base import MAX_OBJECT_BYTES, AclAware, Blob, Cors, Folder, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from myop_cdn.storage.base import Backend, Body, Headers, Page, Precondition


class ReadOnly:
    """A backend that reads from another one. What is written is remembered, so that conditions
    hold; what is written on a condition can be read back. A folder is still one.
    """

    root: Path

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.url = backend.url
        self.origin_path = backend.origin_path
        self.keeps_headers = backend.keeps_headers
        self.delete_batch = backend.delete_batch
        if isinstance(backend, Folder):
            self.root = backend.root
        self._versions: dict[str, str | None] = {}  # None: deleted
        self._kept: dict[str, Blob] = {}

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:
        """As the other one."""
        return self.backend.list(cursor, prefix, limit)

    def head(self, key: str) -> ObjectInfo | None:
        """As the other one."""
        return self.backend.head(key)

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """As the other one, but for what was put on a condition: that is found again."""
        return self._kept.get(key) or self.backend.get(key, limit)

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,  # noqa: ARG002 - kept nowhere
        precondition: Precondition | None = None,
    ) -> str:
        """Write nothing. The version is one that no service gives; conditions hold against it."""
        self._check(key, precondition)
        version = self._pretend(key, body.sha256)
        if precondition is not None:
            self._kept[key] = Blob(body.data, version, headers)
        return version

    def can_copy_from(self, source: Backend) -> bool:  # noqa: ARG002 - all the same to it
        """Always: nothing is copied."""
        return True

    def copy(
        self,
        source: Backend,
        source_key: str,
        source_version: str,
        key: str,
        precondition: Precondition | None = None,
    ) -> str:
        """Copy nothing; the conditions hold."""
        facts = source.head(source_key)
        if facts is None or facts.version != source_version:
            raise PreconditionFailed(f"{source.url}: {source_key} was changed by somebody else")
        self._check(key, precondition)
        return self._pretend(key, source_version)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Delete nothing."""
        for key in keys:
            self._versions[key] = None
            self._kept.pop(key, None)
        return {}

    def delete_version(self, key: str, version: str) -> None:
        """Delete nothing; the condition holds."""
        there = self._version(key)
        if there is not None and there != version:
            raise PreconditionFailed(f"{self.url}: {key} was changed by somebody else")
        self.delete([key])

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Allow nothing; whether the other one would have to."""
        return self.lacks_origins(origins)

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """As the other one. Raises StorageError where it has no CORS rules."""
        if not isinstance(self.backend, Cors):
            raise StorageError(f"{self.url}: the service has no CORS rules")
        return self.backend.lacks_origins(origins)

    def is_public_by_acl(self, key: str) -> bool | None:
        """As the other one."""
        return self.backend.is_public_by_acl(key) if isinstance(self.backend, AclAware) else None

    def close(self) -> None:
        """As the other one."""
        self.backend.close()

    def _check(self, key: str, precondition: Precondition | None) -> None:
        if precondition is not None and precondition.version != self._version(key):
            raise PreconditionFailed(f"{self.url}: {key} was changed by somebody else")

    def _version(self, key: str) -> str | None:
        if key in self._versions:
            return self._versions[key]
        facts = self.backend.head(key)
        return facts.version if facts else None

    def _pretend(self, key: str, what: str) -> str:
        self._kept.pop(key, None)
        version = self._versions[key] = f"unwritten-{what}"
        return version
