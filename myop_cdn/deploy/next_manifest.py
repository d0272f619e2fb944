"""Which manifest a deploy puts at the destination, if any, and the putting.

A whole tree brings its own; a partial one has its documents added to the one that is there, and
where there is none, none is made up. A manifest never names a document that is neither in the
tree nor at the destination: a reader that trusts it would ask in vain.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from myop_cdn.deploy.log import Change, Entry
from myop_cdn.deploy.plan import check_manifest
from myop_cdn.deploy.remote import fingerprint, metadata_of
from myop_cdn.deploy.source import decoded, encoded
from myop_cdn.deploy.writes import attempts
from myop_cdn.errors import (
    InputError,
    MyopCdnError,
    PreconditionFailed,
    RefusedError,
    StorageError,
)
from myop_cdn.manifest import Manifest
from myop_cdn.model import MANIFEST, PREVIEW, DocumentRef
from myop_cdn.report import Upload
from myop_cdn.storage.base import Blob, Body

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from myop_cdn.deploy.deletions import Deletions
    from myop_cdn.deploy.destination import Destination
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.outcome import Outcome
    from myop_cdn.deploy.source import Wanted
    from myop_cdn.deploy.writes import Writer
    from myop_cdn.report import Reason
    from myop_cdn.storage.base import Headers


class ManifestThere:
    """The destination's manifest as it was read; parsed where it matters what it says.

    blob: None where there is none. is_ours: whether this program put it there; asked: see `Entry`.
    Both are known from `Destination.manifest_facts` on; until then `asked` is None.
    """

    def __init__(
        self, blob: Blob | None = None, *, is_ours: bool = False, asked: int | None = None
    ) -> None:
        self.blob = blob
        self.is_ours = is_ours
        self.asked = asked

    @cached_property
    def _parsed(self) -> tuple[Manifest | None, str]:
        if self.blob is None:
            return None, ""
        try:
            return Manifest.parse(decoded(self.blob)), ""
        except (InputError, StorageError) as error:
            return None, error.message

    @property
    def manifest(self) -> Manifest | None:
        """What it says; None where there is none, or where `problem` says why it is not Myop's."""
        return self._parsed[0]

    @property
    def problem(self) -> str:
        """Why it is not Myop's; "" where it is, or there is none."""
        return self._parsed[1]

    @property
    def version(self) -> str | None:
        """The service's version; None where there is no manifest."""
        return self.blob.version if self.blob else None

    @property
    def refs(self) -> set[DocumentRef]:
        """The documents it names, previews too."""
        return set(self.manifest.all_refs()) if self.manifest else set()


class NextManifest:
    """The manifest of one run: decided after the documents, put there before the deletions."""

    def __init__(
        self,
        there: Destination,
        wanted: Wanted,
        outcome: Outcome,
        deletions: Deletions,
        options: DeployOptions,
        headers: Headers,
    ) -> None:
        self._there = there
        self._wanted = wanted
        self._outcome = outcome
        self._deletions = deletions
        self._options = options
        self._headers = headers
        self._fingerprint = fingerprint(headers) if there.store.keeps_headers else None
        self._is_contested = False  # somebody else changed it meanwhile
        self.rehearsed: bytes | None = None  # what a dry run would put there

    def check(self) -> None:
        """Raise RefusedError where the one there is not Myop's, or would lose too much."""
        there, source = self._there.manifest, self._wanted.source
        if source.manifest is not None and there.blob and not self.differs(source.manifest_data):
            return
        known = (self._there.view.objects or {}).get(MANIFEST)
        if there.problem and known is None and not self._there.manifest_facts().is_ours:
            raise RefusedError(
                f"{self._there.url} holds a {MANIFEST} that is not Myop's ({there.problem})",
                f"nothing was changed; give the documents a prefix of their own: "
                f"{self._there.url}/myop",
            )
        if source.manifest is not None and there.manifest is not None:
            own = with_others(source.manifest, there.manifest, self._options)
            dropped = there.refs.difference(own.all_refs())
            if dropped and not self._is_later():
                check_manifest(dropped, there.refs, self._options)

    def rehearse(self) -> None:
        """Note what `settle` would do."""
        data, problem = self._next()
        if problem:
            self._outcome.failed[MANIFEST] = problem
        elif data is not None and self.differs(data):
            self.rehearsed = data
            self._outcome.uploads[MANIFEST] = Upload(MANIFEST, "manifest")
        elif data is not None:
            self._outcome.unchanged.add(MANIFEST)

    def settle(self, writer: Writer) -> set[str]:
        """Put the manifest where it has to be another; the documents that have to be settled
        again before it can be true. Raises StorageError.
        """
        outcome, wanted = self._outcome, self._wanted
        tries = attempts(self._there.url, "publish again when they have finished")
        while True:
            next(tries)
            data, problem = self._next()
            if problem:
                outcome.failed[MANIFEST] = problem
            if data is None or not self.differs(data):
                if data is not None:
                    outcome.unchanged.add(MANIFEST)
                return set()
            try:
                self.put(data, self._asked(), writer)
            except PreconditionFailed:
                seen = self._there.seen_manifest.refs
                self._is_contested = True
                there = self._there.read_manifest()
                if not wanted.insists and wanted.source.manifest is not None:
                    away = {ref.path for ref in seen.difference(there.refs) if ref.path in wanted}
                    if away:
                        return away
                continue
            except MyopCdnError as error:
                outcome.failed[MANIFEST] = error.message
            return set()

    def _is_later(self) -> bool:
        """Whether the manifest there knows more than a folder that was exported before."""
        source, insists = self._wanted.source, self._wanted.insists
        may_be_old = insists and not self._options.force and source.asked > 0
        if not may_be_old or not self.differs(source.manifest_data):
            return False
        if self._there.manifest.manifest is None:
            return False
        return (self._there.manifest_facts().asked or 0) > source.asked

    def _next(self) -> tuple[bytes | None, str | None]:
        """The manifest to put (None: leave it), or why it has to be withheld."""
        source = self._wanted.source
        if source.broken:
            return None, None
        gone = {ref for key in self._deletions.due if (ref := DocumentRef.of(key))}
        if source.manifest is not None and not self._is_later():
            return self._own(source.manifest, self._there.manifest)
        listed = self._to_be_listed()
        if not listed and not gone:
            return None, None
        there = self._there.manifest
        if there.blob is None:
            return None, None
        if there.manifest is None:
            self._outcome.warn(f"the destination's {MANIFEST} was left as it is: {there.problem}")
            return None, None
        manifest = with_names(without(there.manifest, gone), listed, self._names(listed))
        if manifest is there.manifest:
            return decoded(there.blob), None
        return manifest.dump(), None

    def _own(self, own: Manifest, there: ManifestThere) -> tuple[bytes | None, str | None]:
        """A whole tree's own manifest, with what others added meanwhile."""
        source, wanted, outcome = self._wanted.source, self._wanted, self._outcome
        present = {*self._there.remote, *outcome.uploads}
        lost = [key for key in source.missing if key not in present]
        if lost:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            return None, (
                f"not uploaded: it names {lost[0]}{more}, which is neither in the tree "
                "nor at the destination"
            )
        manifest = own
        if self._options.environments and there.manifest:
            manifest = with_others(own, there.manifest, self._options)
        absent = {
            ref
            for ref in manifest.all_refs()
            if ref.path in wanted.theirs
            or (ref.path not in present and ref.path in outcome.overtaken)
        }
        if not wanted.insists and self._is_contested:
            manifest = merged(manifest, self._there.first_manifest.manifest, there.manifest, absent)
        else:
            manifest = without(manifest, absent)
        # What has come since the index was read, and was exported and brought there all the same.
        put = {
            ref
            for key, one in outcome.changes.items()
            if one.after and key not in source.documents and (ref := DocumentRef.of(key))
        }
        later = sorted(put.difference(manifest.all_refs()))
        if later:
            manifest = with_names(manifest, later, self._names(later))
        data = source.manifest_data if manifest is own else manifest.dump()
        if wanted.insists or there.blob is None or not self.differs(data):
            return data, None
        if there.manifest is not None and manifest.says_the_same(there.manifest):
            # Myop dates each export anew: that alone is not worth a write and an invalidation.
            return decoded(there.blob), None
        return data, None

    def _names(self, refs: Iterable[DocumentRef]) -> dict[str, str]:
        wanted = self._wanted
        return {ref.component_id: wanted[ref.path].entry.name for ref in refs if ref.path in wanted}

    def _to_be_listed(self) -> list[DocumentRef]:
        """The documents of this run that a manifest may lack: they were not there before, or
        nobody knows whether the run that brought them came to the manifest.
        """
        outcome = self._outcome
        new = {key for key, one in outcome.changes.items() if one.before is None and one.after}
        if self._options.dry_run:
            new |= {up.key for up in outcome.uploads.values() if up.reason == "new"}
        return [ref for key in sorted(new | {*outcome.adopted}) if (ref := DocumentRef.of(key))]

    def differs(self, data: bytes) -> bool:
        """Whether this is another manifest than the one there, or is served otherwise."""
        there = self._there.seen_manifest
        if there.blob is None:
            return True
        same_headers = self._fingerprint in (None, fingerprint(there.blob.headers))
        return there.blob.data != encoded(data, self._options.encoding) or not same_headers

    def _asked(self) -> int:
        """When Myop was asked for what the next manifest says; see `Entry`."""
        there, source, outcome = self._there.seen_manifest, self._wanted.source, self._outcome
        is_first = MANIFEST not in outcome.uploads
        if there.blob is not None and source.manifest is not None and is_first:
            outcome.warn(older_than_there(source.manifest, there))
        if source.manifest is not None and not self._is_later():
            return source.asked
        new = [one.after.asked for one in outcome.changes.values() if one.after]
        before = self._there.manifest_facts() if self._wanted.insists else there
        return max(before.asked or 0, 0, *new)

    def put(self, data: bytes, asked: int, writer: Writer) -> None:
        """See `put_manifest`."""
        put_manifest(data, asked, self._headers, self._there, self._outcome, writer)


def put_manifest(
    data: bytes,
    asked: int,
    headers: Headers,
    destination: Destination,
    outcome: Outcome,
    writer: Writer,
) -> None:
    """Put this manifest in the place of the one that was seen; its documents are there already.

    asked: see `Entry`. writer: writes with these headers. Raises PreconditionFailed where somebody
    else changed it since it was seen, StorageError.
    """
    there = destination.seen_manifest
    body = Body.of(encoded(data, "gzip" if headers.content_encoding == "gzip" else "identity"))
    kept = fingerprint(headers) if destination.store.keeps_headers else None
    entry = Entry(body.sha256, headers=kept, asked=asked)
    metadata = metadata_of(entry, destination.view.number, "")
    version = writer.put(MANIFEST, body, metadata, there.version)
    replaced = Entry(Body.of(there.blob.data).sha256) if there.blob else None
    outcome.note(MANIFEST, Change(replaced, entry._replace(version=version)))
    same = there.blob is not None and there.blob.data == body.data
    reason: Reason = "headers" if same else "manifest"
    outcome.uploads.setdefault(MANIFEST, Upload(MANIFEST, reason, size=len(body.data)))
    outcome.unchanged.discard(MANIFEST)
    blob = Blob(body.data, version, headers)
    destination.manifest = ManifestThere(blob, is_ours=True, asked=asked)


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
    return manifest._replace(entries=tuple(entries))


def with_others(own: Manifest, there: Manifest, options: DeployOptions) -> Manifest:
    """A tree's own manifest with what the one there says of environments that the tree was not
    exported for. What both list stays where it is there; what is new comes last.
    """
    if not options.environments:
        return own
    listed = set(own.all_refs())
    kept = there.narrowed(lambda ref: ref in listed or not options.wants(ref.environment))
    mine = {entry.id: entry for entry in own.entries}
    entries = {
        one.id: mine.get(one.id, one).with_environments(one.environments or ())
        for one in kept.entries
    }
    new = {key: entry for key, entry in mine.items() if key not in entries}
    whole = own._replace(entries=(*entries.values(), *new.values()))
    return whole.with_documents((ref, ref.component_id) for ref in own.refs())


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
    if not own.is_older_than(there.manifest):
        return None
    mine, theirs = own.exported_at, there.manifest.exported_at
    return f"this tree is older than what is at the destination ({mine}, there {theirs})"
