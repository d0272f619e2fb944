"""The contract between this program and a place that objects are kept in.

A backend says what its service does and nothing more. Retries, hashing, ordering, deciding and
reporting are written once above it, in `store.py` and `myop_cdn.deploy`. `contract.py` is the
suite that every backend passes, third parties' too.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from myop_cdn.errors import StorageError

JSON_TYPE = "application/json; charset=utf-8"
MAX_OBJECT_BYTES = 2**30  # that are read at once: a ledger of six million objects
SHA256_METADATA = "myopsha256"  # letters and digits only: what every service takes


class Headers(NamedTuple):
    """The headers that an object is served with. An empty string: the header is not sent."""

    content_type: str = JSON_TYPE
    cache_control: str = ""
    content_encoding: str = ""


class Body(NamedTuple):
    """The bytes of an object with their SHA-256, and MD5 where it is known already, in lower-case
    hex.
    """

    data: bytes
    sha256: str
    known_md5: str | None = None

    @classmethod
    def of(cls, data: bytes) -> Body:
        """`data` with its hash."""
        return cls(data, hashlib.sha256(data).hexdigest())

    @property
    def md5(self) -> str:
        """The MD5 in lower-case hex. Computed when asked for, which takes twice as long as
        SHA-256: only some services want it, and only with an upload.
        """
        return self.known_md5 or hashlib.md5(self.data, usedforsecurity=False).hexdigest()

    @property
    def content_md5(self) -> str:
        """The MD5 in base64, as the services want it."""
        return base64.b64encode(bytes.fromhex(self.md5)).decode()


def hex_md5(content_md5: str | None) -> str | None:
    """An MD5 in hex that a service tells in base64; None where it tells none."""
    try:
        digest = base64.b64decode(content_md5 or "", validate=True)
    except ValueError:
        return None
    return digest.hex() if len(digest) == 16 else None


class ObjectInfo(NamedTuple):
    """What a service says of one object without handing it out.

    key: relative to the destination's prefix. size: bytes as stored. version: a token that
    changes whenever the object's content does (ETag, generation); "" where not told. md5:
    lower-case hex, or None where the service has none. md5_is_content: False where `md5` may be
    something else than the hash of the content (an S3 ETag may); equal to the content's MD5 it is
    proof even so.
    metadata: what was given to `put`, names in lower case, with SHA256_METADATA; None where a
    listing does not tell. headers: likewise. modified: by the service's clock, None where it has
    none. storage_class: as the service names it; "" for the usual one, or where it has none.
    """

    key: str
    size: int
    version: str
    md5: str | None = None
    md5_is_content: bool = True
    metadata: Mapping[str, str] | None = None
    headers: Headers | None = None
    modified: datetime | None = None
    storage_class: str = ""

    @property
    def sha256(self) -> str | None:
        """The SHA-256 that this program's own metadata tells, None where not said."""
        return self.metadata.get(SHA256_METADATA) if self.metadata else None


class Page(NamedTuple):
    """A part of a listing, and the cursor to ask for the next part with (None at the end)."""

    objects: Sequence[ObjectInfo]
    cursor: str | None = None


class Blob(NamedTuple):
    """An object as stored: its bytes (still encoded), its version, its headers."""

    data: bytes
    version: str
    headers: Headers


class Precondition(NamedTuple):
    """What has to be there for a write to be carried out: this version, or (None) nothing."""

    version: str | None


class OpenOptions(NamedTuple):
    """What a destination is opened with.

    jobs: how many requests will run at once. endpoint_url: another service than AWS that
    speaks S3's protocol. acl: the canned (S3) or predefined (Google) ACL for what is written;
    storage_class: S3's or Google's storage class, Azure's access tier; "" leaves either to the
    service. A backend that has no such thing raises InputError when it is opened with one.
    """

    jobs: int = 16
    endpoint_url: str | None = None
    acl: str = ""
    storage_class: str = ""


class Backend(Protocol):
    """One destination at one service. Used from several threads at once.

    Keys are relative to the destination's prefix, with forward slashes, any Unicode. Every
    method raises errors of the `StorageError` tree and no other: CredentialsError, AccessDenied
    and ContainerMissing end the run; StorageUnavailable is tried again by the caller (so a
    backend has no retries of its own). Opening a backend makes no request.

    What only some services can do is a protocol of its own, below.
    """

    url: str
    """The destination as shown to users: no secrets in it."""
    origin_path: str
    """What stands before each key in the path that a CDN asks this origin for, with a slash at
    both ends: "/", "/prefix/", "/container/prefix/"."""
    keeps_headers: bool
    """False where the service can't keep headers (a folder)."""
    delete_batch: int
    """How many keys `delete` takes at once."""

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:
        """One page of all objects whose keys begin with `prefix`; `cursor` None: the first.

        In ascending order of the keys (as UTF-8 bytes). limit: the most objects wanted in this
        page. Consistent: an object that was put before the first page was asked for is listed.
        """

    def head(self, key: str) -> ObjectInfo | None:
        """The object's facts with `headers` and `metadata`; None: no object."""

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """The object as stored, not decoded; None where there is none.

        Raises StorageError for one of more than `limit` bytes, without reading it all.
        """

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """Write the object whole or not at all; the new version as a listing would tell it.

        metadata: names of lower-case ASCII letters and digits, values of printable ASCII, 1 KB
        in all; `body.sha256` is kept beside it under SHA256_METADATA. Raises PreconditionFailed
        when `precondition` is given and something else is there.
        """

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Delete up to `delete_batch` objects; one that is not there is no error.

        The result has the keys that could not be deleted, and why. Raises when none could.
        """

    def close(self) -> None:
        """Let go of connections. Called once, last."""


@runtime_checkable
class Copying(Protocol):
    """A backend that copies objects at the service, no bytes passing through this program."""

    def can_copy_from(self, source: Backend) -> bool:
        """Whether objects of `source`, itself or another destination, can be copied here."""

    def copy(
        self,
        source: Backend,
        source_key: str,
        source_version: str,
        key: str,
        precondition: Precondition | None = None,
    ) -> str:
        """Copy content, headers and metadata to `key`; the new version.

        Raises PreconditionFailed where the source is not of `source_version` any more (or gone),
        or where something else is at `key` than `precondition` says. Where a service has no
        condition for a copy's target, it is looked at just before.
        """


@runtime_checkable
class ConditionalDelete(Protocol):
    """A backend whose service deletes on a condition."""

    def delete_version(self, key: str, version: str) -> None:
        """Delete the object if it is still of this version. One that is gone is not an error.

        Raises PreconditionFailed when another version is there.
        """


@runtime_checkable
class Cors(Protocol):
    """A backend whose service has CORS rules."""

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Let pages of these origins read the objects (GET and HEAD, kept for a day).

        Rules of others stay. False where nothing had to be changed.
        """

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """Whether there is a rule to add; changes nothing."""


@runtime_checkable
class AclAware(Protocol):
    """A backend whose service grants reading object by object, so that a write can revoke it."""

    def is_public_by_acl(self, key: str) -> bool | None:
        """Whether the object's own ACL lets everybody read it; None where that can't be told."""


@runtime_checkable
class Folder(Protocol):
    """A backend whose objects are files of this machine."""

    root: Path
