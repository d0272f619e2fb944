"""How objects are stored: as they are, or gzipped the same way every time."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

from myop_cdn.errors import StorageError

if TYPE_CHECKING:
    from myop_cdn.deploy.options import Encoding
    from myop_cdn.storage.base import Blob

_LEVEL = 6


def encoded(data: bytes, encoding: Encoding) -> bytes:
    """`data` as it is stored. gzip's header has no time stamp: same bytes, same result."""
    return gzip.compress(data, compresslevel=_LEVEL, mtime=0) if encoding == "gzip" else data


def content_encoding(encoding: Encoding) -> str:
    """The `Content-Encoding` header's value; "" for none."""
    return "gzip" if encoding == "gzip" else ""


def decoded(blob: Blob) -> bytes:
    """An object's content. Raises StorageError where it is encoded in an unknown way."""
    how = blob.headers.content_encoding.strip().lower()
    if how in ("", "identity"):
        return blob.data
    if how != "gzip":
        raise StorageError(f"stored with the unknown Content-Encoding {how!r}")
    try:
        return gzip.decompress(blob.data)
    except (OSError, EOFError, zlib.error):
        raise StorageError("stored as gzip, but is none") from None
