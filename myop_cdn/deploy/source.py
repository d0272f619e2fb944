"""The tree as a deploy sees it: what each object is to be, and its bytes when they are needed."""

from __future__ import annotations

import hashlib
import sys
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from sys import intern
from typing import TYPE_CHECKING, NamedTuple, Protocol

from myop_cdn import jsontext
from myop_cdn.deploy.log import Entry
from myop_cdn.deploy.writes import run_all
from myop_cdn.document import named
from myop_cdn.errors import DocumentError, InputError, RefusedError, StorageError, TreeError
from myop_cdn.exportnote import NotedDocument
from myop_cdn.model import MANIFEST, DocumentRef, Variant
from myop_cdn.moments import written
from myop_cdn.storage.base import Body
from myop_cdn.workers import each

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from myop_cdn.deploy.options import Encoding
    from myop_cdn.deploy.remote import RemoteObject
    from myop_cdn.manifest import Manifest
    from myop_cdn.model import ExportedDocument
    from myop_cdn.report import Upload
    from myop_cdn.storage.base import Blob
    from myop_cdn.tree import Tree


_PART = 32  # files that are handed to a thread at once
_MOST_READERS = 4  # threads that read files
_JSON_BLANKS = b" \t\r\n"
_GZIP_LEVEL = 6
_MOST_DECODED = 256 * 2**20


def encoded(data: bytes, encoding: Encoding) -> bytes:
    """`data` as it is stored. gzip's header has no time stamp: same bytes, same result."""
    if encoding != "gzip":
        return data
    import gzip

    return gzip.compress(data, _GZIP_LEVEL, mtime=0)


def content_encoding(encoding: Encoding) -> str:
    """The `Content-Encoding` header's value; "" for none."""
    return "gzip" if encoding == "gzip" else ""


def decoded(blob: Blob, most: int = _MOST_DECODED) -> bytes:
    """An object's content. Raises StorageError where it is encoded in an unknown way, or becomes
    more than `most` bytes.
    """
    how = blob.headers.content_encoding.strip().lower()
    if how in ("", "identity"):
        return blob.data
    if how != "gzip":
        raise StorageError(f"stored with the unknown Content-Encoding {how[:40]!r}")
    unpacking = zlib.decompressobj(31)
    try:
        data = unpacking.decompress(blob.data, most)
    except zlib.error:
        raise StorageError("stored as gzip, but is not") from None
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise StorageError("stored as gzip that is cut short or becomes too large")
    return data


def _entry(known: NotedDocument) -> Entry:
    """What is known of a document as an entry of the log; see `LocalObject`."""
    held = {one.id: one for one in known.variants}
    announced = held.get(known.announced_variant or "")
    shown = announced or next(iter(known.variants), None)
    at = known.announced_at
    return Entry(
        "",
        asked=int(known.asked_at.timestamp()) if known.asked_at else 0,
        name=known.name,
        variant=shown.id if shown else "",
        variant_name=shown.name if shown else "",
        announced=written(at) if announced and at else "",
    )


class LocalObject(NamedTuple):
    """An object as it is to be: its stored (encoded) size in bytes and hashes in hex.

    md5: None until it is needed. entry: what is known of it as an entry of the log, hash, version
    and headers not filled in. variants: the ids of all variants that it holds. is_noted: whether
    it is known when Myop was asked for it.
    """

    key: str
    size: int
    sha256: str
    md5: str | None = None
    entry: Entry = Entry("")
    variants: tuple[str, ...] = ()
    is_noted: bool = False

    @classmethod
    def of(cls, key: str, body: Body, known: NotedDocument | None = None) -> LocalObject:
        """What `body` is under `key`."""
        # The log, the listing and other documents may have the same texts: each is kept once.
        data, sha256, md5 = body
        key, size, sha256, md5 = intern(key), len(data), intern(sha256), md5 and intern(md5)
        if known is None:
            return cls(key, size, sha256, md5)
        variants = tuple(one.id for one in known.variants)
        return cls(key, size, sha256, md5, _entry(known), variants, known.asked_at is not None)


class Source(NamedTuple):
    """A tree that was read through once. No file's bytes are kept, but the manifest's.

    documents: every component document that is to be deployed, by key. manifest: None where the
    tree is partial, or only a part of it is to be deployed; else the manifest and its own bytes.
    broken: by key, what is wrong with the files that can't be documents; what is at the
    destination must not be lost to them. changed: keys of files that are others than were
    exported. asked: when Myop was asked for the whole tree, at the earliest; 0 where not known.
    """

    tree: Tree
    encoding: Encoding
    documents: Mapping[str, LocalObject]
    manifest: Manifest | None = None
    manifest_data: bytes = b""
    broken: Mapping[str, str] = {}
    changed: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The keys that the manifest names and that are not on disk, sorted."""
        if self.manifest is None:
            return []
        here = (self.documents, self.broken)
        paths = (ref.path for ref in self.manifest.refs())
        absent = {path for path in paths if not any(path in some for some in here)}
        # An entry that lists no environments still says that there is a component.
        components = {path.split("/", 2)[1] for some in here for path in some}
        bare = (ref.path for ref in self.manifest.previews() if ref.component_id not in components)
        return sorted(absent.union(bare))

    @property
    def asked(self) -> int:
        """When the first of the documents was asked for, in seconds since 1970; 0 where that is
        not known of all of them.
        """
        return min((one.entry.asked for one in self.documents.values()), default=0)

    def read(self, wanted: LocalObject) -> tuple[Body, bytes]:
        """A document as it is to be stored and as its file holds it, read now.

        Raises StorageError when the bytes are not those that were planned with, TreeError.
        """
        content = self.tree.read_again(wanted.key)
        data = encoded(content, self.encoding)
        if hashlib.sha256(data).hexdigest() != wanted.sha256:
            raise StorageError(f"{wanted.key}: the file was changed while it was being deployed")
        return Body(data, wanted.sha256, wanted.md5), content


class AskAgain(Protocol):
    """Asks Myop for single documents once more, where somebody was there in between."""

    def __call__(self, keys: Collection[str]) -> Mapping[str, LocalObject]:
        """The documents at these keys that Myop has, by key. Raises what `sync` raises."""

    def named(self, keys: Collection[str]) -> set[str]:
        """Those of these documents that Myop's index names by now; none where it can't be asked
        without a whole export, or does not answer.
        """


class Wanted:
    """What one destination is to hold: a source's documents, and what Myop answered since.

    theirs: keys of documents that Myop does not have any more. insists: whether this is a folder
    that somebody wants there as it is, as Myop can't be asked.
    """

    def __init__(self, source: Source, ask_again: AskAgain | None, jobs: int) -> None:
        self.source = source
        self.theirs: set[str] = set()
        self.insists = ask_again is None
        self._ask_again = ask_again
        self._documents = dict(source.documents)
        entries = source.manifest.entries if source.manifest else ()
        self._component_names = {one.id: one.name for one in entries}
        self._jobs = jobs

    def __contains__(self, key: str) -> bool:
        return key in self._documents

    def __getitem__(self, key: str) -> LocalObject:
        return self._documents[key]

    @property
    def documents(self) -> Mapping[str, LocalObject]:
        """All of them, by key; as they come to be."""
        return self._documents

    def some(self, keys: Collection[str]) -> dict[str, LocalObject]:
        """Those of these documents that are wanted."""
        return {key: self._documents[key] for key in keys if key in self._documents}

    def export_again(self, keys: Collection[str]) -> dict[str, LocalObject]:
        """These documents as Myop has them now; those that it has. Raises what `sync` raises."""
        if self._ask_again is None or not keys:
            return self.some(keys)
        answers = dict(self._ask_again(keys))
        self._documents |= answers
        for key in keys:
            if key not in answers:
                self.theirs.add(key)
                self._documents.pop(key, None)
        return answers

    def named_again(self, keys: Collection[str]) -> set[str]:
        """Those of these documents that are back at Myop."""
        return self._ask_again.named(keys) if self._ask_again is not None and keys else set()

    def export_cached(self, keys: Collection[str]) -> dict[str, LocalObject]:
        """Documents whose answer looked like a cached one, once more, where Myop can be asked."""
        if self._ask_again is None:
            return {}
        answers = dict(self._ask_again(keys))
        self._documents |= answers
        return answers

    def body(self, key: str) -> Body:
        """The bytes of a document, read now; from then on it is known what the document holds.

        Raises StorageError, TreeError: see `Source.read`.
        """
        body, content = self.source.read(self._documents[key])
        self._describe(key, content)
        return body

    def with_md5s(
        self, some: Mapping[str, LocalObject], remote: Mapping[str, RemoteObject]
    ) -> Mapping[str, LocalObject]:
        """These documents, with MD5s where they could tell of the likeness to what is there."""
        keys = [
            key
            for key, mine in some.items()
            if (there := remote.get(key)) is not None and there.lacks_md5(mine)
        ]
        if not keys:
            return some
        hashed = dict(some)
        for done in run_all(lambda key: self.body(key).md5, keys, self._jobs, "hash"):
            # A file that can't be read any more stays undecided: its upload will say why.
            if done.error is None:
                hashed[done.item] = self._documents[done.item]._replace(md5=done.result)
                self._documents[done.item] = hashed[done.item]
        return hashed

    def named(self, uploads: Sequence[Upload]) -> list[Upload]:
        """With the components' names and variants, read from the files where no note has them."""
        entries = {up.key: self.told(up.key, Entry("")) for up in uploads}
        return [
            replace(up, name=entries[up.key].name or up.name, after=entries[up.key].label)
            for up in uploads
        ]

    def told(self, key: str, entry: Entry) -> Entry:
        """`entry`, of an object that holds this document, with the names that it lacks."""
        if entry.variant:
            return entry
        if not self._documents[key].entry.variant:
            with suppress(StorageError, TreeError):  # an upload will say why
                self.body(key)
        mine = self._documents[key].entry
        return entry._replace(
            name=entry.name or mine.name, variant=mine.variant, variant_name=mine.variant_name
        )

    def _describe(self, key: str, content: bytes) -> None:
        """Note what a document holds that the folder's note does not know, from its own bytes."""
        mine, ref = self._documents[key], DocumentRef.of(key)
        if mine.entry.variant or ref is None:
            return
        try:
            name, variants = named(ref, content)
        except DocumentError:
            name, variants = self._component_names.get(ref.component_id, ""), ()
        held = next(iter(variants), Variant(""))
        entry = mine.entry._replace(
            name=mine.entry.name or name, variant=held.id, variant_name=held.name
        )
        self._documents[key] = mine._replace(
            entry=entry, variants=tuple(one.id for one in variants)
        )


def read_source(
    tree: Tree,
    encoding: Encoding,
    jobs: int,
    known: Mapping[str, NotedDocument],
    *,
    with_md5: bool,
) -> Source:
    """Read the whole tree once, for its hashes. A file that can't be a document is set apart.

    known: what is known of the files, by key; it counts while the file has that hash. with_md5:
    whether MD5s are going to be needed. Raises RefusedError where the tree is
    missing, unreadable or holds no documents.
    """
    hint = "nothing was changed; run a sync first, or check --source"
    if not tree.exists():
        raise RefusedError(f"{tree.root}: there is no such folder", hint)
    try:
        manifest = tree.manifest()
        data = tree.read(MANIFEST) if manifest else b""
        keys = tree.paths()
        if not keys:
            raise RefusedError(f"{tree.root} holds no component documents", hint)
        documents, broken, _ = _read(tree, keys, encoding, jobs, known, with_md5=with_md5)
    except TreeError as error:
        raise RefusedError(f"the source can't be read: {error.message}", error.hint) from None
    return Source(tree, encoding, documents, manifest, data, broken)


def read_exported(
    tree: Tree,
    encoding: Encoding,
    jobs: int,
    exported: Sequence[ExportedDocument],
    *,
    with_md5: bool,
    whole: bool,
) -> Source:
    """Read exactly the documents that were exported. whole: they are the whole tree, so that its
    manifest goes with them. with_md5: see `read_source`. Raises TreeError.
    """
    known = {one.ref.path: NotedDocument.of(one) for one in exported}
    documents, broken, changed = _read(tree, list(known), encoding, jobs, known, with_md5=with_md5)
    manifest = tree.manifest() if whole else None
    data = tree.read(MANIFEST) if manifest else b""
    return Source(tree, encoding, documents, manifest, data, broken, tuple(changed))


def read_planned(
    tree: Tree, encoding: Encoding, jobs: int, known: Mapping[str, NotedDocument]
) -> Source:
    """Read the documents of a plan. Raises InputError where one is not as it was planned, or
    missing.
    """
    try:
        documents, broken, changed = _read(tree, list(known), encoding, jobs, known, with_md5=False)
    except TreeError as error:
        raise InputError(error.message, error.hint) from None
    for key in (*broken, *changed):
        raise InputError(f"{tree.root}: {key} is damaged", "make a new plan")
    return Source(tree, encoding, documents)


def _read(
    tree: Tree,
    keys: Sequence[str],
    encoding: Encoding,
    jobs: int,
    known: Mapping[str, NotedDocument],
    *,
    with_md5: bool,
) -> tuple[dict[str, LocalObject], dict[str, str], list[str]]:
    broken: dict[str, str] = {}
    changed: list[str] = []
    # Environments of a component often hold the same: an MD5 takes longer than all the rest.
    md5s: dict[str, str] = {}

    def hashed(keys: Sequence[str]) -> Iterator[tuple[str, LocalObject]]:
        for key, content in tree.read_each(keys):
            if problem := _problem(content):
                broken[key] = problem
                continue
            body = Body.of(encoded(content, encoding))
            about = known.get(key)
            if about is not None:
                plain = body.sha256 if encoding == "identity" else Body.of(content).sha256
                if plain != about.sha256:
                    changed.append(key)
                    about = None
            if with_md5:
                md5 = md5s.get(body.sha256) or md5s.setdefault(body.sha256, body.md5)
                body = Body(body.data, body.sha256, md5)
            yield key, LocalObject.of(key, body, about)

    before = _blocks_read()
    documents = dict(hashed(keys[:_PART]))
    if encoding == "identity" and _blocks_read() == before:
        # Files in memory are read by one thread: several would fight over the interpreter's lock
        # and take twice as long. Waiting for a disk, and compressing, are done without the lock.
        documents.update(hashed(keys[_PART:]))
        return documents, broken, changed
    # Handing single files over takes as long as hashing a small one.
    parts = [keys[start : start + _PART] for start in range(_PART, len(keys), _PART)]
    readers = min(jobs, _MOST_READERS)

    def read(part: Sequence[str]) -> dict[str, LocalObject]:
        return dict(hashed(part))

    for done in each(read, parts, readers, "read", lambda error: error is not None):
        if done.error is not None:
            raise done.error
        documents |= done.result or {}
    return documents, broken, changed


def _blocks_read() -> int:
    """How many blocks this process has had a disk read so far; always more where not known."""
    if sys.platform == "win32":
        return time.monotonic_ns()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_inblock


def _problem(data: bytes) -> str | None:
    """Why this file can't be a document, or None. Its ends are looked at: parsing every file
    would take longer than hashing it, and a file that was cut short has lost its end.
    """
    bare = data if data[:1] == b"{" and data[-1:] == b"}" else data.strip(_JSON_BLANKS)
    if not bare:
        return "the file is empty"
    if bare[:1] != b"{":
        return "the file is not a JSON object"
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
