"""The tree as a deploy sees it: what each object is to be, and its bytes when they are needed."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object as it is to be: its stored (encoded) size in bytes and hashes in hex."""

    key: str
    size: int
    md5: str
    sha256: str

    @classmethod
    def of(cls, key: str, body: Body) -> Wanted:
        """What `body` is under `key`."""
        return cls(key, len(body.data), body.md5, body.sha256)


@dataclass(frozen=True, slots=True)
class Source:
    """A tree that was read through once. No file's bytes are kept, but the manifest's.

    documents: every component document on disk, by key. manifest: None where the tree is
    partial, else the manifest and its own bytes.
    """

    tree: Tree
    encoding: Encoding
    documents: Mapping[str, Wanted]
    manifest: Manifest | None
    manifest_data: bytes

    @property
    def is_complete(self) -> bool:
        """Whether the tree has a manifest, and every entry of it is on disk."""
        return self.manifest is not None and not self.missing

    @property
    def missing(self) -> list[str]:
        """The keys that the manifest names and that are not on disk, sorted."""
        if self.manifest is None:
            return []
        here = self.documents
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
        # The same bytes have the same MD5, which takes longer to compute than SHA-256.
        return Body(data, wanted.md5, wanted.sha256)


def read_source(tree: Tree, encoding: Encoding, jobs: int) -> Source:
    """Read the whole tree once, for its hashes.

    Raises RefusedError where it is missing, unreadable or holds no documents.
    """

    def hashed(keys: Sequence[str]) -> list[Wanted]:
        return [Wanted.of(key, Body.of(encoded(tree.read(key), encoding))) for key in keys]

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
    return Source(tree, encoding, documents, manifest, data)
