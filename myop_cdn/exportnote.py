"""What a sync knew of the documents that it wrote, for a deploy that runs later.

    <output>/.myop-cdn/export.json

Never deployed, and harmless to lose: one that is missing or damaged is taken for empty, and an
entry counts only while its hash is that of the file beside it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from myop_cdn import moments, names
from myop_cdn.errors import RefusedError, TreeError
from myop_cdn.model import DocumentRef, Variant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from myop_cdn.model import ExportedDocument
    from myop_cdn.tree import Tree

PATH = f"{names.RESERVED}/export.json"
MAX_BYTES = 64 * 1024 * 1024  # a hundred thousand documents take about 40 MB
_VERSION = 1


class NotedDocument(NamedTuple):
    """One entry. sha256: of the file's bytes, lower-case hex. asked_at: when Myop gave the
    document, by Myop's own clock, aware. name: the component's. announced_variant and
    announced_at: what was announced for it last; the latter is the sender's signed timestamp.
    """

    sha256: str
    asked_at: datetime | None
    name: str
    variants: tuple[Variant, ...] = ()
    announced_variant: str | None = None
    announced_at: datetime | None = None

    @classmethod
    def of(cls, document: ExportedDocument, before: NotedDocument | None = None) -> NotedDocument:
        """What is known of a document that was exported just now. What was announced `before`
        stays while it holds that variant.
        """
        release = document.release
        variant, moment = (release.variant_id, release.announced_at) if release else (None, None)
        held = {one.id for one in document.variants}
        if variant is None and before is not None and before.announced_variant in held:
            variant, moment = before.announced_variant, before.announced_at
        return cls(
            document.sha256, document.asked_at, document.name, document.variants, variant, moment
        )

    @property
    def holds_announced(self) -> bool:
        """Whether it holds the announced variant; True where none was announced."""
        announced = self.announced_variant
        return announced is None or any(one.id == announced for one in self.variants)


class ExportNote(NamedTuple):
    """The entries, by the documents' paths."""

    documents: Mapping[str, NotedDocument] = {}

    def of(self, path: str, sha256: str) -> NotedDocument | None:
        """What is known of the file at `path` with this hash, or None."""
        noted = self.documents.get(path)
        return noted if noted is not None and noted.sha256 == sha256 else None

    def updated(
        self, exported: Iterable[ExportedDocument], keep: Collection[str] | None = None
    ) -> ExportNote:
        """The note after a run that exported these documents.

        keep: the paths that are there now, None where nothing was removed.
        """
        documents = {
            path: noted for path, noted in self.documents.items() if keep is None or path in keep
        }
        for document in exported:
            path = document.ref.path
            documents[path] = NotedDocument.of(document, self.documents.get(path))
        return ExportNote(dict(sorted(documents.items())))

    @classmethod
    def parse(cls, data: bytes) -> ExportNote:
        """The note in `data`; empty where that is not one. An entry that is not of the form is
        left out.
        """
        try:
            value = json.loads(data) if len(data) <= MAX_BYTES else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or value.get("version") != _VERSION:
            return cls()
        entries = value.get("documents")
        found = entries.items() if isinstance(entries, dict) else ()
        read = ((path, _entry(entry)) for path, entry in found if DocumentRef.of(path))
        return cls({path: noted for path, noted in read if noted is not None})

    def dump(self) -> bytes:
        """The bytes of the file."""
        documents = {path: _json(noted) for path, noted in self.documents.items()}
        value = {"version": _VERSION, "documents": documents}
        return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def read(tree: Tree) -> ExportNote:
    """The tree's note; empty where there is none that can be read."""
    try:
        data = tree.read_if_there(PATH, MAX_BYTES)
    except (TreeError, RefusedError):
        return ExportNote()
    return ExportNote() if data is None else ExportNote.parse(data)


def write(tree: Tree, note: ExportNote) -> None:
    """Keep `note` in the tree. Raises RefusedError where a link is in its place, TreeError."""
    tree.write(PATH, note.dump(), durable=False)


def _json(noted: NotedDocument) -> dict[str, Any]:
    entry: dict[str, Any] = {"sha256": noted.sha256, "component": noted.name}
    if noted.asked_at is not None:
        entry["askedAt"] = moments.written(noted.asked_at, "auto")
    entry["variants"] = [{"id": one.id, "name": one.name} for one in noted.variants]
    if noted.announced_variant is not None:
        entry["announcedVariant"] = noted.announced_variant
    if noted.announced_at is not None:
        entry["announcedAt"] = moments.written(noted.announced_at, "auto")
    return entry


def _entry(value: Any) -> NotedDocument | None:
    """None for what is not of the form."""

    def moment(name: str) -> datetime | None:
        return moments.moment(value[name]) if name in value else None

    try:
        variants = tuple(Variant(one["id"], one["name"]) for one in value["variants"])
        announced = value.get("announcedVariant")
        texts = [value["sha256"], value["component"], announced or ""]
        texts += [text for one in variants for text in (one.id, one.name)]
        if not all(isinstance(text, str) for text in texts):
            return None
        return NotedDocument(
            texts[0], moment("askedAt"), texts[1], variants, announced, moment("announcedAt")
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
