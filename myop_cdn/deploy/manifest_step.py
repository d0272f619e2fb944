"""Which manifest a deploy puts at the destination, if any.

A complete tree brings its own. A partial one has its documents added to the one that is there,
and where there is none, none is made up. A manifest that would name a document which is neither
in the tree nor at the destination is withheld: a reader that trusts it would ask in vain.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from myop_cdn.deploy.encoding import decoded, encoded
from myop_cdn.deploy.source import Wanted
from myop_cdn.document import Document
from myop_cdn.errors import DocumentError, InputError, StorageError
from myop_cdn.manifest import Manifest
from myop_cdn.model import MANIFEST, DocumentRef
from myop_cdn.storage.base import Body, Precondition

if TYPE_CHECKING:
    from collections.abc import Collection

    from myop_cdn.deploy.source import Source
    from myop_cdn.storage.store import Store


@dataclass(frozen=True, slots=True)
class NextManifest:
    """The manifest to put.

    body: as stored; None where none is to be put. precondition: what has to be there for that (a
    merged manifest must not lose what somebody else merged meanwhile). problem: why it is
    withheld. warnings: for the report.
    """

    body: Body | None = None
    precondition: Precondition | None = None
    problem: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def wanted(self) -> Wanted | None:
        """The manifest as an object of the plan."""
        return Wanted.of(MANIFEST, self.body) if self.body else None


def own_manifest(source: Source, there: Collection[str]) -> NextManifest:
    """A complete tree's own manifest. there: the keys at the destination."""
    lost = [key for key in source.missing if key not in there]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        return NextManifest(
            problem=f"not uploaded: it names {lost[0]}{more}, which is neither in the tree "
            "nor at the destination"
        )
    return NextManifest(Body.of(encoded(source.manifest_data, source.encoding)))


def merged_manifest(source: Source, store: Store) -> NextManifest:
    """The destination's manifest with a partial tree's documents. Raises StorageError."""
    blob = store.get(MANIFEST)
    if blob is None:
        return NextManifest()
    try:
        data = decoded(blob)
        manifest = Manifest.parse(data)
    except (InputError, StorageError) as error:
        return NextManifest(
            warnings=(f"the destination's {MANIFEST} was left as it is: {error.message}",)
        )
    documents = []
    warnings = []
    for key in source.documents:
        ref = DocumentRef.of(key)
        if ref is None or _lists(manifest, ref):
            continue
        try:
            documents.append((ref, Document.parse(ref, source.tree.read(key)).name))
        except DocumentError as error:
            warnings.append(f"{key} was not added to {MANIFEST}: {error.message}")
    merged = manifest.with_documents(documents)
    if merged is not manifest:
        data = merged.dump()
    body = Body.of(encoded(data, source.encoding))
    return NextManifest(body, Precondition(blob.version), warnings=tuple(warnings))


def _lists(manifest: Manifest, ref: DocumentRef) -> bool:
    for entry in manifest.entries:
        if entry.id == ref.component_id:
            return ref.is_preview or ref.environment in (entry.environments or ())
    return False


def older_than_there(source: Source, store: Store) -> str | None:
    """A warning where the destination's manifest is newer than the tree's.

    Asked only when the manifest is about to be replaced. Raises StorageError.
    """
    blob = store.get(MANIFEST)
    if blob is None or source.manifest is None:
        return None
    try:
        there = Manifest.parse(decoded(blob)).exported_at
    except (InputError, StorageError):
        return f"the destination's {MANIFEST} could not be read; it is replaced"
    mine = source.manifest.exported_at
    before, after = _moment(mine), _moment(there)
    if before is None or after is None or before >= after:
        return None
    return f"this tree is older than what is at the destination ({mine}, there {there})"


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment.astimezone() if moment else None
