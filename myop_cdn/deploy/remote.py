"""What is at the destination: objects as a listing, a HEAD and the log tell of them.

The object itself is the truth: its own bytes, the hash and the facts in its metadata, and the
version that its service gives it. What the log remembers counts for exactly that version, and
only where the object can't be asked without a request of its own.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from myop_cdn.deploy.log import LAST_SECOND, Entry
from myop_cdn.moments import moment, written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myop_cdn.deploy.source import LocalObject
    from myop_cdn.model import Release
    from myop_cdn.storage.base import Headers, ObjectInfo

# Names of what is kept in an object's metadata. Beside them the store keeps the SHA-256.
ASKED = "myopasked"  # when Myop was asked for it: ISO 8601, by Myop's own Date
VARIANT = "myopvariant"  # the id of the variant it holds
VARIANT_NAME = "myopvariantname"
ANNOUNCED = "myopannounced"  # the sender's timestamp of the release that announced that variant
SINCE = "myopsince"  # when that variant came here: ISO 8601
NAME = "myopname"  # the component's
BASE = "myopbase"  # the newest commit when it was written: its own commit has a higher number
BEFORE = "myopbefore"  # the SHA-256 of what it replaced
_MOST = 120  # characters of a value; the services take 2 KB in all, some 1 KB
_AS_IT_IS = re.compile(f"[A-Za-z0-9_.~ :+/,()-]{{0,{_MOST}}}")


def fingerprint(headers: Headers) -> str:
    """A short hash of the headers' values: 16 hex digits."""
    values = (headers.content_type, headers.cache_control, headers.content_encoding)
    return hashlib.sha256("\n".join(values).encode()).hexdigest()[:16]


def metadata_of(entry: Entry, base: int, before: str) -> dict[str, str]:
    """What is kept with an object that is described by `entry`."""
    values = {
        ASKED: _written(entry.asked),
        VARIANT: _encoded(entry.variant),
        VARIANT_NAME: _encoded(entry.variant_name),
        ANNOUNCED: _encoded(entry.announced),
        SINCE: _written(entry.since),
        NAME: _encoded(entry.name),
        BASE: str(base),
        BEFORE: before,
    }
    return {name: value for name, value in values.items() if value}


@lru_cache(maxsize=16)  # many documents come within a second
def _written(seconds: int) -> str:
    return written(datetime.fromtimestamp(seconds, UTC)) if seconds else ""


class RemoteObject(NamedTuple):
    """One object at the destination. None: not known.

    headers: their fingerprint. facts: what its metadata says of it, as an entry of the log whose
    version and headers are not filled in. base, before: see BASE and BEFORE. is_ours: whether
    this program put it there, as far as is known.
    """

    key: str
    size: int
    version: str
    md5: str | None = None
    md5_is_content: bool = True
    sha256: str | None = None
    headers: str | None = None
    facts: Entry | None = None
    base: int | None = None
    before: str = ""
    is_ours: bool = False
    modified: datetime | None = None
    storage_class: str = ""
    was_asked: bool = False

    @classmethod
    def of(cls, info: ObjectInfo, *, hash_is_proof: bool = True) -> RemoteObject:
        """What a listing or a HEAD tells.

        hash_is_proof: False where the service tells a SHA-256 of objects that others put there.
        """
        metadata = info.metadata
        base = (metadata or {}).get(BASE, "")
        return cls(
            intern(info.key),
            info.size,
            info.version,
            info.md5,
            info.md5_is_content,
            info.sha256,
            fingerprint(info.headers) if info.headers else None,
            _facts(metadata, info.sha256) if metadata is not None else None,
            int(base) if base.isdecimal() else None,
            (metadata or {}).get(BEFORE, ""),
            bool(base) or (hash_is_proof and info.sha256 is not None),
            info.modified,
            info.storage_class,
            metadata is not None,
        )

    def is_later(self, as_of: datetime | None) -> bool:
        """Whether it is known to have been written after this moment of the service's."""
        return self.modified is not None and as_of is not None and self.modified > as_of

    @classmethod
    def logged(cls, info: ObjectInfo, entry: Entry, as_of: datetime | None) -> RemoteObject:
        """What a listing tells without metadata, with what the log remembers of this very version.

        Some services' versions (S3's ETag) do not change with the headers, so headers are not
        believed of an object that was written after the log's entry was (`as_of`): somebody else
        has been there. The log's hash stands in only where the service tells nothing of the
        content, or nothing that can be relied upon.
        """
        key, size, version, md5, md5_is_content, _, headers, modified, storage_class = info
        if headers:
            known = fingerprint(headers)
        elif modified is not None and as_of is not None and modified > as_of:
            known = None
        else:
            known = entry.headers
        return cls(
            key, size, version, md5, md5_is_content, entry.sha256, known, entry, None, "", True,
            modified, storage_class,
        )  # fmt: skip

    def same_content(self, wanted: LocalObject) -> bool | None:
        """Whether its bytes are the wanted ones; None where that can't be told yet.

        Times are never asked. A size proves a difference, never a likeness. An MD5 that may be
        something else (an S3 ETag) proves likeness, never a difference; there only the object's
        own metadata does, not the log.
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
            if not self.was_asked:
                return None
        return None if self.sha256 is None else self.sha256 == wanted.sha256

    def lacks_md5(self, wanted: LocalObject) -> bool:
        """Whether the content could be told by an MD5 that was not computed yet."""
        return self.size == wanted.size and self.md5 is not None and wanted.md5 is None

    def same_headers(self, wanted: str | None) -> bool | None:
        """Whether it is served with the wanted headers; wanted None: nobody keeps any."""
        if wanted is None:
            return True
        return None if self.headers is None else self.headers == wanted

    def is_decided(self, wanted: LocalObject, headers: str | None) -> bool:
        """Whether nothing more has to be asked to know whether it is what is wanted."""
        same = self.same_content(wanted)
        return same is False or (same is True and self.same_headers(headers) is not None)

    def since(self, variant: str) -> int:
        """Since when it holds this variant, in seconds since 1970; 0 where it holds another."""
        if self.facts is None or not variant or self.facts.variant != variant:
            return 0
        return self.facts.since or (int(self.modified.timestamp()) if self.modified else 0)

    def is_before(self, release: Release) -> bool:
        """Whether this release is a later one of another variant, as far as its metadata tell."""
        facts = self.facts
        if facts is None or release.variant_id in (None, facts.variant):
            return False
        if release.announced_at is None:
            return True
        try:
            before = moment(facts.announced) if facts.announced else None
        except ValueError:
            return False
        if before is not None:
            return release.announced_at > before
        return release.announced_at.timestamp() > facts.asked

    def entry(self, sha256: str) -> Entry:
        """It as an entry of the log, its content known to have this hash."""
        facts = self.facts or Entry(sha256)
        return facts._replace(sha256=sha256, headers=self.headers, version=self.version)


def _facts(metadata: Mapping[str, str], sha256: str | None) -> Entry:
    def of(name: str) -> str:
        return unquote(metadata.get(name, ""))

    def seconds(name: str) -> int:
        try:
            at = int(datetime.fromisoformat(of(name)).timestamp())
        except (ValueError, OverflowError):
            return 0
        return at if 0 <= at <= LAST_SECOND else 0

    return Entry(
        sha256 or "",
        asked=seconds(ASKED),
        name=of(NAME),
        variant=of(VARIANT),
        variant_name=of(VARIANT_NAME),
        announced=of(ANNOUNCED),
        since=seconds(SINCE),
    )


def _encoded(value: str) -> str:
    """Printable ASCII, cut where it is long."""
    if _AS_IT_IS.fullmatch(value):
        return value.strip()
    while len(encoded := quote(value, safe=" :+/,()")) > _MOST:
        value = value[: len(value) * _MOST // len(encoded) - 1]
    return encoded.strip()
