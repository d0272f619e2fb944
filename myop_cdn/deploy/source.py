"""The tree as a deploy sees it: what each object is to be, and its bytes when they are needed."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from myop_cdn import jsontext
from myop_cdn.deploy.encoding import encoded
from myop_cdn.errors import RefusedError, StorageError, TreeError
from myop_cdn.model import MANIFEST, DocumentRef
from myop_cdn.storage.base import Body

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from myop_cdn.deploy.options import Encoding
    from myop_cdn.manifest import Manifest
    from myop_cdn.tree import Tree

_PART = 32  # files that are handed to a thread at once
_JSON_BLANKS = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object as it is to be: its stored (encoded) size in bytes and hashes in hex.

    md5: None until it is needed, which it is not where the ledger knows the object.
    """

    key: str
    size: int
    sha256: str
    md5: str | None = None

    @classmethod
    def of(cls, key: str, body: Body) -> Wanted:
        """What `body` is under `key`."""
        return cls(key, len(body.data), body.sha256)


@dataclass(frozen=True, slots=True)
class Source:
    """A tree that was read through once. No file's bytes are kept, but the manifest's.

    documents: every component document on disk that can be one, by key. manifest: None where
    the tree is partial, else the manifest and its own bytes. broken: by key, what is wrong with
    the files that can't be documents; what is at the destination must not be lost to them.
    """

    tree: Tree
    encoding: Encoding
    documents: Mapping[str, Wanted]
    manifest: Manifest | None
    manifest_data: bytes
    broken: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether the tree has a manifest, and every entry of it is on disk."""
        return self.manifest is not None and not self.missing

    @property
    def missing(self) -> list[str]:
        """The keys that the manifest names and that are not on disk, sorted."""
        if self.manifest is None:
            return []
        here = {*self.documents, *self.broken}
        absent = {ref.path for ref in self.manifest.refs() if ref.path not in here}
        components = {ref.component_id for ref in map(DocumentRef.of, here) if ref}
        # An entry that lists no environments still says that there is a component.
        bare = [ref for ref in self.manifest.previews() if ref.component_id not in components]
        return sorted(absent | {ref.path for ref in bare})

    def body(self, wanted: Wanted) -> Body:
        """The bytes of a document, read now.

        Raises StorageError when they are not those that were planned with, TreeError.
        """
        data = encoded(self.tree.read(wanted.key), self.encoding)
        if hashlib.sha256(data).hexdigest() != wanted.sha256:
            raise StorageError(f"{wanted.key}: the file was changed while it was being deployed")
        return Body(data, wanted.sha256)


def read_source(tree: Tree, encoding: Encoding, jobs: int) -> Source:
    """Read the whole tree once, for its hashes. A file that can't be a document is set apart.

    Raises RefusedError where it is missing, unreadable or holds no documents.
    """

    broken: dict[str, str] = {}

    def hashed(keys: Sequence[str]) -> list[Wanted]:
        found = []
        for key in keys:
            data = tree.read(key)
            if trouble := _trouble(data):
                broken[key] = trouble
            else:
                found.append(Wanted.of(key, Body.of(encoded(data, encoding))))
        return found

    hint = "nothing was changed; run a sync first, or check --source"
    if not tree.exists():
        raise RefusedError(f"{tree.root}: there is no such folder", hint)
    try:
        manifest = tree.manifest()
        data = tree.read(MANIFEST) if manifest else b""
        keys = [ref.path for ref in tree.refs()]
        if not keys:
            raise RefusedError(f"{tree.root} holds no component documents", hint)
        with ThreadPoolExecutor(min(jobs, 4), "read") as pool:
            # Handing single files over takes as long as hashing a small one.
            parts = [keys[start : start + _PART] for start in range(0, len(keys), _PART)]
            documents = {one.key: one for part in pool.map(hashed, parts) for one in part}
    except TreeError as error:
        raise RefusedError(f"the source can't be read: {error.message}", error.hint) from None
    return Source(tree, encoding, documents, manifest, data, broken)


def _trouble(data: bytes) -> str | None:
    """Why this file can't be a document, or None. Its ends are looked at: parsing every file
    would take longer than hashing it, and a file that was cut short has lost its end.
    """
    bare = data if data[:1] == b"{" and data[-1:] == b"}" else data.strip(_JSON_BLANKS)
    if not bare:
        return "the file is empty"
    if bare[:1] != b"{":
        return "the file is no JSON object"
    # Where each member has a line of its own, the last brace has one too; another one may be the
    # end of something within.
    is_suspect = bare[1:2] == b"\n" and bare[-2:] != b"\n}"
    if bare[-1:] != b"}" or (is_suspect and not _parses(bare)):
        return "the file is cut short"
    return None


def _parses(data: bytes) -> bool:
    try:
        jsontext.loads(data)
    except ValueError as error:
        return isinstance(error, jsontext.TooDeep)
    return True
