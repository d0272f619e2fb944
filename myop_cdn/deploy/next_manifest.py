"""Which manifest a deploy puts at the destination, if any. Pure.

A whole tree brings its own; a partial one has its documents added to the one that is there, and
where there is none, none is made up. A manifest never names a document that is neither in the
tree nor at the destination: a reader that trusts it would ask in vain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from myop_cdn.deploy.source import decoded
from myop_cdn.errors import InputError, StorageError
from myop_cdn.manifest import Manifest
from myop_cdn.model import PREVIEW, DocumentRef

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.storage.base import Blob


@dataclass(frozen=True, slots=True)
class ManifestThere:
    """The destination's manifest as it was read. manifest: None where there is none, or where
    `problem` says why it is not Myop's. asked: see `Entry`.
    """

    blob: Blob | None = None
    manifest: Manifest | None = None
    problem: str = ""
    is_ours: bool = False
    asked: int = 0

    @classmethod
    def of(cls, blob: Blob | None) -> ManifestThere:
        """What these bytes are."""
        if blob is None:
            return cls()
        try:
            return cls(blob, Manifest.parse(decoded(blob)))
        except (InputError, StorageError) as error:
            return cls(blob, None, error.message)

    @property
    def version(self) -> str | None:
        """The service's version; None where there is no manifest."""
        return self.blob.version if self.blob else None

    @property
    def refs(self) -> set[DocumentRef]:
        """The documents it names, previews too."""
        return set(self.manifest.all_refs()) if self.manifest else set()


def without(manifest: Manifest, gone: Collection[DocumentRef]) -> Manifest:
    """The manifest without these documents; a component that keeps none is left out."""
    if not gone:
        return manifest
    touched = {ref.component_id for ref in gone}
    entries = []
    for entry in manifest.entries:
        if entry.id not in touched:
            entries.append(entry)
            continue
        listed = entry.environments or ()
        kept = tuple(one for one in listed if DocumentRef(entry.id, one) not in gone)
        if kept or DocumentRef(entry.id, PREVIEW) not in gone:
            entries.append(entry if kept == listed else entry.with_environments(kept))
    return replace(manifest, entries=tuple(entries))


def with_others(own: Manifest, there: Manifest, options: DeployOptions) -> Manifest:
    """A tree's own manifest with what the one there says of environments that the tree was not
    exported for.
    """
    if not options.environments:
        return own
    names = {entry.id: entry.name for entry in there.entries}
    others = [ref for ref in there.refs() if not options.wants(ref.environment)]
    if not options.wants(PREVIEW):
        others += there.previews()
    return own.with_documents((ref, names[ref.component_id]) for ref in others)


def merged(
    mine: Manifest, seen: Manifest | None, now: Manifest | None, removed: Collection[DocumentRef]
) -> Manifest:
    """`mine` with what others added since: what `now` names and `seen` did not. removed: what
    they took away since, and Myop does not have either.
    """
    if now is None:
        return without(mine, removed)
    before = set(seen.all_refs()) if seen else set()
    names = {entry.id: entry.name for entry in now.entries}
    added = [ref for ref in now.all_refs() if ref not in before]
    return without(mine, removed).with_documents((ref, names[ref.component_id]) for ref in added)


def with_names(
    manifest: Manifest, documents: Iterable[DocumentRef], names: Mapping[str, str]
) -> Manifest:
    """The manifest with these documents listed too. names: of the components, by id."""
    listed = [(ref, names.get(ref.component_id) or ref.component_id) for ref in documents]
    return manifest.with_documents(listed)


def older_than_there(own: Manifest, there: ManifestThere) -> str | None:
    """A warning where a tree's manifest is older than the one it is about to replace."""
    if there.manifest is None:
        return f"the destination's manifest could not be read ({there.problem}); it is replaced"
    mine, theirs = own.exported_at, there.manifest.exported_at
    before, after = _moment(mine), _moment(theirs)
    if before is None or after is None or before >= after:
        return None
    return f"this tree is older than what is at the destination ({mine}, there {theirs})"


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment.astimezone() if moment else None
