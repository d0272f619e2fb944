"""A store that refuses to write: what a dry run is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.errors import PreconditionFailed
from myop_cdn.storage.base import MAX_OBJECT_BYTES, Blob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from myop_cdn.errors import StorageError
    from myop_cdn.storage.base import Backend, Body, Headers, ObjectInfo, Page, Precondition


class ReadOnly:
    """A backend that reads from another one and lets every write pass without doing it.

    knows_origins: whether the other one can say which origins it lacks.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.url = backend.url
        self.origin_path = backend.origin_path
        self.keeps_headers = backend.keeps_headers
        self.delete_batch = backend.delete_batch
        self._lacks: Callable[[Sequence[str]], bool] | None
        self._lacks = getattr(backend, "lacks_origins", None)
        self.knows_origins = self._lacks is not None
        self._pretended: dict[str, str] = {}
        self._kept: dict[str, Blob] = {}

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:
        """As the other one."""
        return self._backend.list(cursor, prefix, limit)

    def head(self, key: str) -> ObjectInfo | None:
        """As the other one."""
        return self._backend.head(key)

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """As the other one, but for what was put on a condition: that is found again."""
        return self._kept.get(key) or self._backend.get(key, limit)

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,  # noqa: ARG002 - nothing is kept
        precondition: Precondition | None = None,
    ) -> str:
        """Write nothing. The version is one that no service gives; conditions hold against it."""
        if precondition is not None and precondition.version != self._version(key):
            raise PreconditionFailed(f"{self.url}: {key} was changed by somebody else")
        version = self._pretended[key] = f"unwritten-{body.sha256}"
        if precondition is not None:
            self._kept[key] = Blob(body.data, version, headers)
        return version

    def _version(self, key: str) -> str | None:
        if key in self._pretended:
            return self._pretended[key]
        facts = self._backend.head(key)
        return facts.version if facts else None

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Delete nothing but what was pretended."""
        for key in keys:
            self._pretended.pop(key, None)
            self._kept.pop(key, None)
        return {}

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Allow nothing; whether the other one would have to. Yes where it can't say."""
        return self._lacks(origins) if self._lacks else True

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """As `allow_origins`."""
        return self.allow_origins(origins)

    def close(self) -> None:
        """As the other one."""
        self._backend.close()
