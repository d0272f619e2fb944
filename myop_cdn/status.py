"""What is live at a destination, and whether Myop has something newer.

The log tells which variant each object holds; an object that it does not know in this version is
asked itself: its metadata, and where that is silent (another tool put it there) its content. One
listing, the newest checkpoint and the commits since: no request for each document that the log
knows.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from myop_cdn.deploy.history import held_keys
from myop_cdn.deploy.log import Entry
from myop_cdn.deploy.remote import RemoteObject
from myop_cdn.deploy.source import decoded, encoded
from myop_cdn.deploy.writes import AbortRun, run_all
from myop_cdn.document import named
from myop_cdn.errors import DocumentError, PartlyDone, StorageError, Unreachable
from myop_cdn.model import COMPONENTS, DocumentRef, Scope, Variant
from myop_cdn.moments import written
from myop_cdn.progress import Silent
from myop_cdn.report import with_error
from myop_cdn.workers import Beside, each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from myop_cdn.deploy.history import Selection
    from myop_cdn.deploy.target import Target
    from myop_cdn.document import Document
    from myop_cdn.errors import MyopCdnError
    from myop_cdn.export import Exporter
    from myop_cdn.progress import Progress
    from myop_cdn.storage.base import ObjectInfo

State = Literal["live", "current", "behind", "missing", "gone", "unknown"]
_MOST_BYTES = 64 * 2**20  # of an object that is read to see what it holds


@dataclass(frozen=True, slots=True)
class LiveDocument:
    """One document at a destination.

    name: the component's; "" where not known. variant: what it holds, None where not known, or
    where nothing is there. since: when that variant came there; else when the object was last
    written. announced: the sender's timestamp (ISO 8601) of the release, "" where none is known.
    sha256: of the stored bytes; "" where not known. held: a rollback holds newer content back.

    state: "live" where Myop was not asked; else "current", "behind" (Myop has other content),
    "missing" (Myop has it, the destination does not), "gone" (Myop has it no longer) or "unknown"
    (Myop's answer could not be had: `problem`). myop: the variant that Myop has.
    """

    ref: DocumentRef
    name: str = ""
    variant: Variant | None = None
    since: datetime | None = None
    announced: str = ""
    sha256: str = ""
    held: bool = False
    state: State = "live"
    myop: Variant | None = None
    problem: str = ""

    @property
    def is_behind(self) -> bool:
        """Whether Myop has something that a reader of the destination does not get."""
        return self.state in ("behind", "missing")

    def to_json(self) -> dict[str, Any]:
        """One entry of `documents` in the JSON report."""
        said: dict[str, Any] = {
            "key": self.ref.path,
            "componentId": self.ref.component_id,
            "component": self.name,
            "environment": self.ref.environment,
            "variantId": self.variant.id if self.variant else None,
            "variant": self.variant.name if self.variant else None,
            "since": written(self.since) if self.since else None,
            "announced": self.announced or None,
            "held": self.held,
            "state": self.state,
        }
        if self.myop:
            said["myop"] = {"variantId": self.myop.id, "variant": self.myop.name}
        return {**said, "problem": self.problem} if self.problem else said


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """What is live at a destination: its documents by component and environment.

    commit, committed: the newest commit of its log, and when that was made; None without a log.
    against: whether Myop was asked.
    """

    url: str
    documents: tuple[LiveDocument, ...]
    commit: int | None = None
    committed: datetime | None = None
    against: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def behind(self) -> tuple[LiveDocument, ...]:
        """The documents of which Myop has something else."""
        return tuple(one for one in self.documents if one.is_behind)

    @property
    def unknown(self) -> tuple[LiveDocument, ...]:
        """The documents that Myop could not be asked for."""
        return tuple(one for one in self.documents if one.state == "unknown")

    @property
    def error(self) -> MyopCdnError | None:
        """What makes the exit code 4: something is behind, or it is not known whether it is."""
        if self.behind:
            return PartlyDone(
                f"{self.url}: documents behind Myop: {len(self.behind)}",
                "'myop-cdn publish' brings them up to date; --environment narrows what is compared",
            )
        if self.unknown:
            return PartlyDone(
                f"{self.url}: documents that Myop could not be asked for: {len(self.unknown)}",
                "try again later",
            )
        return None

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn status --json`."""
        report = {
            "command": "status",
            "url": self.url,
            "commit": None if self.commit is None else str(self.commit),
            "committed": written(self.committed) if self.committed else None,
            "against": "myop" if self.against else None,
            "documents": [one.to_json() for one in self.documents],
            "behind": len(self.behind),
            "warnings": list(self.warnings),
        }
        return with_error(report, self.error)


def read_status(target: Target, selection: Selection, jobs: int) -> LiveStatus:
    """What is live at a destination of the documents that are meant. Raises StorageError."""
    listing = Beside(lambda: _listed(target, selection), "status")
    view = target.log.everything(jobs)
    warnings = list(view.warnings)
    held = frozenset(held_keys(view.state, selection))
    found = _described(target, listing.result(), view.objects or {}, held, jobs, warnings)
    return LiveStatus(
        target.store.url,
        _sorted(list(found)),
        view.number or None,
        view.newest.at if view.newest else None,
        warnings=tuple(warnings),
    )


def compare(
    status: LiveStatus,
    target: Target,
    exporter: Exporter,
    selection: Selection,
    jobs: int,
    progress: Progress | None = None,
) -> LiveStatus:
    """The same, each document held against what Myop answers for it now.

    Content is compared, not only the variant: what `publish` would write is behind. Raises
    ExportError and those below it where nothing can be asked, StorageError.
    """
    progress = progress or Silent()
    there = {one.ref: one for one in status.documents}
    with exporter.open(Scope("full"), progress) as export:
        index = export.index()
        wanted = [ref for ref in index.all_refs() if selection.has(ref.path)]
        component_names = {entry.id: entry.name for entry in index.entries}
        progress.start("asking Myop", len(wanted))
        compared: list[LiveDocument] = []
        with closing(each(export.document, wanted, jobs, "status", _ends)) as asked:
            for done in asked:
                progress.step()
                name = component_names[done.item.component_id]
                live = there.pop(done.item, None)
                if _ends(done.error):
                    assert done.error is not None  # narrows the type
                    raise done.error
                mine = live or LiveDocument(done.item, name)
                if done.result is None:
                    problem = done.error.message if done.error else ""
                    compared.append(replace(mine, state="unknown", problem=problem))
                else:
                    compared.append(_compared(live, done.result, target))
    compared += [replace(one, state="gone") for one in there.values()]
    return replace(status, documents=_sorted(compared), against=True)


def _ends(error: MyopCdnError | None) -> bool:
    return error is not None and not isinstance(error, (DocumentError, Unreachable))


def _compared(live: LiveDocument | None, document: Document, target: Target) -> LiveDocument:
    has = {one.id: one for one in document.variants}
    newest = next(iter(document.variants), None)
    if live is None:
        return LiveDocument(document.ref, document.name, state="missing", myop=newest)
    shown = has.get(live.variant.id, newest) if live.variant else newest
    same = (live.variant is None or live.variant.id in has) and _is_same(live, document, target)
    return replace(live, state="current" if same else "behind", myop=shown)


def _is_same(live: LiveDocument, document: Document, target: Target) -> bool:
    """Whether the destination holds these bytes, encoded or not."""
    if live.sha256 == _hash(document.body) or live.sha256 == _hash(encoded(document.body, "gzip")):
        return True
    # Encoded by another version of zlib, perhaps: other bytes, the same content.
    try:
        blob = target.store.get(live.ref.path, _MOST_BYTES)
        return blob is not None and decoded(blob) == document.body
    except StorageError:  # too large, or encoded in a way that nobody knows
        return False


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _listed(target: Target, selection: Selection) -> list[ObjectInfo]:
    """The objects at the paths of documents that are meant."""
    folders = [f"{COMPONENTS}/{one}/" for one in sorted(selection.components)]
    found: list[ObjectInfo] = []
    for prefix in folders or [f"{COMPONENTS}/"]:
        found += [one for one in target.store.list(prefix) if selection.has(one.key)]
    return found


def _described(
    target: Target,
    listed: Iterable[ObjectInfo],
    entries: Mapping[str, Entry],
    held: frozenset[str],
    jobs: int,
    warnings: list[str],
) -> Iterator[LiveDocument]:
    """What is known of each object."""

    def look(info: ObjectInfo) -> tuple[ObjectInfo, Entry] | None:
        """By itself: a HEAD where its metadata may tell what it holds, else its bytes."""
        entry = entries.get(info.key)
        if entry is not None and entry.version and entry.version == info.version:
            return info, _read(target, info)  # the log would know what the metadata does
        head = target.store.head(info.key)
        if head is None:
            return None  # deleted meanwhile
        return head, _known(head, entries) or _read(target, head)

    unknown = []
    for info in listed:
        entry = _known(info, entries)
        if entry is None:
            unknown.append(info)
        else:
            yield _live(info, entry, held)
    try:
        for done in run_all(look, unknown, jobs, "status"):
            if done.error is not None:
                warnings.append(done.error.message)
            elif done.result is not None:
                info, entry = done.result
                modified = info.modified or done.item.modified
                yield _live(info._replace(modified=modified), entry, held)
    except AbortRun as error:
        raise error.cause from None


def _live(info: ObjectInfo, entry: Entry, held: frozenset[str]) -> LiveDocument:
    """entry.variant: "" where nothing tells what it holds."""
    return LiveDocument(
        _ref(info.key),
        entry.name,
        Variant(entry.variant, entry.variant_name) if entry.variant else None,
        datetime.fromtimestamp(entry.since, UTC) if entry.since else info.modified,
        entry.announced,
        entry.sha256,
        info.key in held,
    )


def _known(info: ObjectInfo, entries: Mapping[str, Entry]) -> Entry | None:
    """What the log, else the metadata at hand, says of an object in this version."""
    entry = entries.get(info.key)
    if entry is not None and entry.version and entry.version == info.version and entry.variant:
        return entry
    facts = RemoteObject.of(info).facts
    return facts if facts is not None and facts.variant else None


def _read(target: Target, info: ObjectInfo) -> Entry:
    """What an object's own bytes say; nothing where they are not a document."""
    blob = target.store.get(info.key, _MOST_BYTES)
    if blob is None:
        return Entry(info.sha256 or "")
    sha256 = _hash(blob.data)
    try:
        name, variants = named(_ref(info.key), decoded(blob))
    except (DocumentError, StorageError):
        return Entry(sha256)
    variant = next(iter(variants), Variant(""))
    return Entry(sha256, name=name, variant=variant.id, variant_name=variant.name)


def _ref(key: str) -> DocumentRef:
    ref = DocumentRef.of(key)
    assert ref is not None  # only documents are selected
    return ref


def _sorted(documents: Sequence[LiveDocument]) -> tuple[LiveDocument, ...]:
    """By component's name, then id; the preview after the environments."""
    names = {one.ref.component_id: one.name.casefold() for one in documents if one.name}

    def order(one: LiveDocument) -> tuple[str, str, bool, str]:
        ref = one.ref
        return names.get(ref.component_id, ""), ref.component_id, ref.is_preview, ref.environment

    return tuple(sorted(documents, key=order))
