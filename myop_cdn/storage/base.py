"""The contract between this program and a place that objects are kept in.

A backend says what its service does and nothing more. Retries, hashing, ordering, deciding and
reporting are written once above it, in `store.py` and `myop_cdn.deploy`. `contract.py` is the
suite that every backend passes, third parties' too.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from myop_cdn.errors import StorageError

JSON_TYPE = "application/json; charset=utf-8"
MAX_OBJECT_BYTES = 2**30  # that are read at once: a ledger of six million objects
SHA256_METADATA = "myopsha256"  # letters and digits only: what every service takes


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers that an object is served with. An empty string: the header is not sent."""

    content_type: str = JSON_TYPE
    cache_control: str = ""
    content_encoding: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of an object with their SHA-256 in lower-case hex."""

    data: bytes
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Body:
        """`data` with its hash."""
        return cls(data, hashlib.sha256(data).hexdigest())

    @property
    def md5(self) -> str:
        """The MD5 in lower-case hex. Computed when asked for, which takes twice as long as
        SHA-256: only some services want it, and only with an upload.
        """
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()

    @property
    def content_md5(self) -> str:
        """The MD5 in base64, as the services want it."""
        digest = hashlib.md5(self.data, usedforsecurity=False).digest()
        return base64.b64encode(digest).decode()


def hex_md5(content_md5: str | None) -> str | None:
    """An MD5 in hex that a service tells in base64; None where it tells none."""
    try:
        digest = base64.b64decode(content_md5 or "", validate=True)
    except ValueError:
        return None
    return digest.hex() if len(digest) == 16 else None


@dataclass(frozen=True, slots=True)
class Listed:
    """What a service says of one object without handing it out.

    key: relative to the destination's prefix. size: bytes as stored. version: a token that
    changes whenever the object's content does (ETag, generation). md5: lower-case hex, or None
    where the service has none. md5_is_content: False where `md5` may be something else than the
    hash of the content (an S3 ETag may); equal to the content's MD5 it is proof even so.
    sha256: from this program's own metadata, None where not said. headers: None where a listing
    does not tell them. modified: by the service's clock, None where it has none.
    """

    key: str
    size: int
    version: str
    md5: str | None = None
    md5_is_content: bool = True
    sha256: str | None = None
    headers: Headers | None = None
    modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing, and the cursor to ask for the next part with (None at the end)."""

    objects: Sequence[Listed]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Blob:
    """An object as stored: its bytes (still encoded), its version, its headers."""

    data: bytes
    version: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class Expect:
    """What has to be there for a write to be carried out: this version, or (None) nothing."""

    version: str | None


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """What a destination is opened with.

    jobs: how many requests will run at once. endpoint_url: another service than AWS that
    speaks S3's protocol.
    """

    jobs: int = 16
    endpoint_url: str | None = None


class Backend(Protocol):
    """One destination at one service. Used from several threads at once.

    Keys are relative to the destination's prefix, with forward slashes, any Unicode. Every
    method raises errors of the `StorageError` tree and no other: CredentialsError, AccessDenied
    and ContainerMissing end the run; StorageUnavailable is tried again by the caller (so a
    backend switches its SDK's own retries off). Opening a backend makes no request.
    """

    url: str
    """The destination as shown to users: no secrets in it."""
    keeps_headers: bool
    """False where the service can't keep headers (a folder)."""
    delete_batch: int
    """How many keys `delete` takes at once."""

    def list(self, cursor: str | None) -> Page:
        """One page of all objects below the prefix, in any order; `cursor` None: the first.

        Consistent: an object that was put before the first page was asked for is listed.
        """

    def head(self, key: str) -> Listed | None:
        """The object's facts with `headers` and, where known, `sha256`; None: no object."""

    def get(self, key: str) -> Blob | None:
        """The object as stored, not decoded; None where there is none."""

    def put(self, key: str, body: Body, headers: Headers, expect: Expect | None = None) -> str:
        """Write the object whole or not at all; the new version as a listing would tell it.

        `body.sha256` is kept in the object's metadata under SHA256_METADATA where the service
        has such. Raises PreconditionFailed when `expect` is given and something else is there.
        """

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Delete up to `delete_batch` objects; one that is not there is no error.

        The result has the keys that could not be deleted, and why. Raises when none could.
        """

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Let pages of these origins read the objects (CORS: GET and HEAD, kept for a day).

        Rules of others stay. False where nothing had to be changed. Raises StorageError where
        the service has no such rules. A backend may also have `lacks_origins(origins) -> bool`,
        which changes nothing: a dry run asks it whether there is a rule to add.
        """

    def close(self) -> None:
        """Let go of connections. Called once, last."""
