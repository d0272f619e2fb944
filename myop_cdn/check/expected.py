"""What a CDN should answer: as a folder, a destination, a run's export or its own manifest say."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

from myop_cdn import exportnote
from myop_cdn.deploy.source import decoded, encoded
from myop_cdn.document import Document
from myop_cdn.errors import DocumentError, InputError, StorageError, TreeError
from myop_cdn.manifest import Manifest
from myop_cdn.model import MANIFEST, DocumentRef
from myop_cdn.status import read_status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from myop_cdn.deploy.history import Selection
    from myop_cdn.deploy.target import Target
    from myop_cdn.report import DeployReport, SyncReport
    from myop_cdn.status import LiveDocument
    from myop_cdn.tree import Tree


class Expectation:
    """What should be there: documents, whatever they hold. Used from several threads at once.

    source: where that is known from, in words. destination: the URL of where it is published to,
    or "".
    """

    source = ""
    destination = ""

    def refs(self) -> Sequence[DocumentRef]:
        """The documents, sorted."""
        raise NotImplementedError

    def has_same(self, ref: DocumentRef, stored: bytes, content: bytes) -> bool:  # noqa: ARG002
        """Whether a document should be this. stored: as it came, perhaps packed; content: not."""
        return True

    def variant(self, ref: DocumentRef) -> str:  # noqa: ARG002
        """What it should hold, as the variant is called; "" where not known."""
        return ""

    def since(self, ref: DocumentRef) -> datetime | None:  # noqa: ARG002
        """Since when it should be so, where that is known."""
        return None

    def manifest(self) -> Manifest | None:
        """The manifest that should be there, None where there need be none."""
        return None


class OwnManifest(Expectation):
    """What the CDN's own manifest lists: that documents are there, not what they hold."""

    source = "its own manifest"

    def __init__(self, listed: Manifest) -> None:
        self._listed = listed

    def refs(self) -> Sequence[DocumentRef]:
        """See `Expectation`."""
        return sorted(self._listed.all_refs())

    def manifest(self) -> Manifest | None:
        """Itself."""
        return self._listed


class TreeFiles(Expectation):
    """The files of a folder. destination: where it was deployed to, "" where not known.

    Raises InputError where none of its files is a document, TreeError.
    """

    def __init__(self, tree: Tree, destination: str = "") -> None:
        self.source = str(tree.root)
        self.destination = destination
        self._tree = tree
        self._refs: Sequence[DocumentRef] = self._wanted()

    def _wanted(self) -> Sequence[DocumentRef]:
        refs = self._tree.refs() if self._tree.exists() else []
        if not refs:
            raise InputError(
                f"{self._tree.root} holds no document", "--tree names the folder that sync wrote"
            )
        return refs

    @cached_property
    def _note(self) -> exportnote.ExportNote:
        return exportnote.read(self._tree)

    def refs(self) -> Sequence[DocumentRef]:
        """See `Expectation`."""
        return self._refs

    def has_same(self, ref: DocumentRef, stored: bytes, content: bytes) -> bool:  # noqa: ARG002
        """Whether the file holds the same bytes."""
        return self._tree.read(ref.path) == content

    def variant(self, ref: DocumentRef) -> str:
        """As the file says."""
        return variant_in(ref, self._tree.read(ref.path))

    def since(self, ref: DocumentRef) -> datetime | None:
        """When Myop was asked for it, where the folder's note tells."""
        noted = self._note.of(ref.path, _hash(self._tree.read(ref.path)))
        return noted.asked_at if noted else None

    def manifest(self) -> Manifest | None:
        """The folder's own, None where it is partial."""
        return self._tree.manifest()


class Exported(TreeFiles):
    """What a run has just exported and brought to its destinations; perhaps nothing."""

    def __init__(self, tree: Tree, synced: SyncReport, deployed: DeployReport) -> None:
        self._synced, self._deployed = synced, deployed
        super().__init__(tree, next((one.url for one in deployed.destinations), ""))

    def _wanted(self) -> Sequence[DocumentRef]:
        passed: set[str] = set()
        for each in self._deployed.destinations:
            passed.update(one.key for one in each.overtaken)
            passed.update(one.key for one in each.failed)
        return sorted(one.ref for one in self._synced.documents if one.ref.path not in passed)

    def manifest(self) -> Manifest | None:
        """The folder's own after a full run; others leave the CDN's as it may be."""
        own = super().manifest() if self._synced.scope == "full" else None
        uploads = [up.key for one in self._deployed.destinations for up in one.uploaded]
        if own is None or MANIFEST in uploads:
            return own
        return own._replace(raw={**own.raw, "exportedAt": None})  # one of another date was left


class LiveObjects(Expectation):
    """The objects at a destination. Raises StorageError."""

    def __init__(self, target: Target, selection: Selection, jobs: int) -> None:
        self.source = self.destination = target.store.url
        self._target = target
        status = read_status(target, selection, jobs)
        self._live: dict[DocumentRef, LiveDocument] = {one.ref: one for one in status.documents}
        self._is_narrowed = not selection.is_everything
        if not self._live:
            raise InputError(f"nothing is live at {self.source}", "is a prefix missing?")

    def refs(self) -> Sequence[DocumentRef]:
        """See `Expectation`."""
        return sorted(self._live)

    def has_same(self, ref: DocumentRef, stored: bytes, content: bytes) -> bool:
        """Whether the object has these bytes, packed or not."""
        sha256 = self._live[ref].sha256
        if sha256 in (_hash(stored), _hash(content)) or sha256 == _hash(encoded(content, "gzip")):
            return True
        blob = self._target.store.get(ref.path)
        try:
            return blob is not None and decoded(blob) == content
        except StorageError:
            return False

    def variant(self, ref: DocumentRef) -> str:
        """As the log says."""
        variant = self._live[ref].variant
        return (variant.name or variant.id) if variant else ""

    def since(self, ref: DocumentRef) -> datetime | None:
        """When the variant came there."""
        return self._live[ref].since

    def manifest(self) -> Manifest | None:
        """The one that is there, None where there is none that can be read."""
        if self._is_narrowed:
            return None
        blob = self._target.store.get(MANIFEST)
        try:
            return Manifest.parse(decoded(blob)) if blob else None
        except (InputError, StorageError):
            return None


def variant_in(ref: DocumentRef, content: bytes) -> str:
    """What a document holds, as its first variant is called; "" where it is not a document."""
    try:
        document = Document.parse(ref, content)
    except (DocumentError, TreeError):
        return ""
    return next((one.name or one.id for one in document.variants), "")


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
