"""What is known of an object at the destination, and whether that decides. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from myop_cdn.deploy.source import Wanted
    from myop_cdn.storage.base import Headers, ObjectInfo


def fingerprint(headers: Headers) -> str:
    """A short hash of the headers' values: 16 hex digits."""
    values = (headers.content_type, headers.cache_control, headers.content_encoding)
    return hashlib.sha256("\n".join(values).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Seen:
    """One object at the destination. headers: their fingerprint. None: not known."""

    key: str
    size: int
    version: str
    md5: str | None = None
    md5_is_content: bool = True
    sha256: str | None = None
    headers: str | None = None

    @classmethod
    def of(cls, listed: ObjectInfo) -> Seen:
        """What a listing or a HEAD tells."""
        return cls(
            listed.key,
            listed.size,
            listed.version,
            listed.md5,
            listed.md5_is_content,
            listed.sha256,
            fingerprint(listed.headers) if listed.headers else None,
        )

    def completed(self, sha256: str, headers: str | None) -> Seen:
        """With what was remembered of this very version: its hash, in place of whatever else
        could tell the content, and the headers where they were not told.
        """
        return replace(self, md5=None, sha256=sha256, headers=self.headers or headers)

    def same_content(self, wanted: Wanted) -> bool | None:
        """Whether its bytes are the wanted ones; None where that can't be told yet.

        Times are never asked. A size proves a difference, never a likeness. An MD5 that may be
        something else (an S3 ETag) proves likeness, never a difference.
        """
        if self.size != wanted.size:
            return False
        if self.md5 is not None:
            if wanted.md5 is None:
                return None
            if self.md5 == wanted.md5:
                return True
            if self.md5_is_content:
                return False
        return None if self.sha256 is None else self.sha256 == wanted.sha256

    def lacks_md5(self, wanted: Wanted) -> bool:
        """Whether the content could be told by an MD5 that was not computed yet."""
        return self.size == wanted.size and self.md5 is not None and wanted.md5 is None

    def same_headers(self, wanted: str | None) -> bool | None:
        """Whether it is served with the wanted headers; wanted None: nobody keeps any."""
        if wanted is None:
            return True
        return None if self.headers is None else self.headers == wanted

    def decided(self, wanted: Wanted, headers: str | None) -> bool:
        """Whether nothing more has to be asked about it."""
        same = self.same_content(wanted)
        return same is False or (same is True and self.same_headers(headers) is not None)
