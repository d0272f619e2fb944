"""A plan in a file: looked at, approved, and carried out as it was written.

    plan.json                              what is to be done where, and what was seen there
    components/…, .myop-cdn/export.json    the documents to be written, as a sync leaves them
    manifests/<number>.json                the manifest that a destination is to get

A zip archive, so that whoever approves it can look into it. It names no key, user or host, and it
counts for the destinations that it was made for alone.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

from myop_cdn import exportnote
from myop_cdn.deploy.log import Cause, Entry
from myop_cdn.deploy.options import DeployOptions, Encoding, HistoryLimit
from myop_cdn.document import named
from myop_cdn.errors import DocumentError, InputError, RefusedError, TreeError
from myop_cdn.exportnote import ExportNote, NotedDocument
from myop_cdn.files import TEMPORARY
from myop_cdn.manifest import Manifest
from myop_cdn.model import MANIFEST, DeleteLimit, DocumentRef
from myop_cdn.moments import moment, written
from myop_cdn.report import Reason, Upload, spoken
from myop_cdn.storage.base import Body
from myop_cdn.tree import MAX_FILE_BYTES, Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from zipfile import ZipFile

    from myop_cdn.deploy.source import LocalObject

_PLAN = "plan.json"
_FORM = 1
_MOST_PLAN_BYTES = 64 * 2**20  # a hundred thousand documents take about 30 MB
_MOST_BYTES = 8 * 2**30  # of all that is in the archive, unpacked
_CARRIED = {  # the options that decide what comes of it; the others say how one run goes about it
    "delete": "--delete",
    "delete_after": "--delete-after",
    "max_delete": "--max-delete",
    "environments": "--environment",
    "history": "--history",
    "cache_control": "--cache-control",
    "encoding": "--encoding",
    "acl": "--acl",
    "storage_class": "--storage-class",
    "invalidate": "--invalidate",
    "cors_origins": "--cors-origin",
}


class PlannedDestination(NamedTuple):
    """What is to be done at one destination.

    seen: the version of every object that is to be changed, None where there was none. uploads:
    documents. deleted: what is there of documents that are to be deleted, by key. number: of the
    newest commit that was seen. manifest: the one to put there, None where it stays; asked: when
    Myop was asked for it, see `Source`. gone: all documents that Myop does not have any more, due
    or not, where anything may be deleted.
    """

    url: str
    seen: Mapping[str, str | None] = {}
    uploads: tuple[Upload, ...] = ()
    deleted: Mapping[str, Entry] = {}
    number: int = 0
    manifest: bytes | None = None
    asked: int = 0
    gone: tuple[str, ...] = ()

    def dump(self, manifest_at: str | None) -> dict[str, Any]:
        """As JSON, the manifest itself being kept at `manifest_at`."""
        changes: list[dict[str, Any]] = [
            {"key": up.key, "action": up.reason, "seen": self.seen[up.key], "what": str(up)}
            | {"component": up.name, "before": up.before, "after": up.after}
            for up in self.uploads
        ]
        changes += [
            {"key": key, "action": "delete", "seen": self.seen[key], "entry": one.dump()}
            | {"what": spoken(key, one.name, one.label)}
            for key, one in sorted(self.deleted.items())
        ]
        value: dict[str, Any] = {"url": self.url, "commit": self.number, "changes": changes}
        if manifest_at:
            value["manifest"] = {"file": manifest_at, "seen": self.seen[MANIFEST]}
            value["manifest"]["asked"] = self.asked
        return value | ({"gone": list(self.gone)} if self.gone else {})

    @classmethod
    def parse(cls, value: Any, tree: PlannedTree) -> PlannedDestination:
        """The opposite. Raises ValueError, TypeError, KeyError, AttributeError, TreeError."""
        seen: dict[str, str | None] = {}
        uploads: list[Upload] = []
        deleted: dict[str, Entry] = {}
        for one in value["changes"]:
            key, action = _document(one["key"]), one["action"]
            seen[key] = None if one["seen"] is None else _text(one["seen"])
            if action == "delete":
                deleted[key] = Entry.parse(one["entry"])
            elif action in ("new", "content", "headers"):
                name, before, after = map(_text, (one["component"], one["before"], one["after"]))
                uploads.append(Upload(key, cast("Reason", action), name, before, after))
            else:
                raise ValueError(f"{key} has the unknown action {action!r}")
        number = int(value["commit"])
        planned = cls(_text(value["url"]), seen, tuple(uploads), deleted, number)
        there = value.get("manifest")
        if there is not None:
            seen[MANIFEST] = None if there["seen"] is None else _text(there["seen"])
            data = tree.read(_text(there["file"]))
            Manifest.parse(data)
            planned = planned._replace(manifest=data, asked=int(there["asked"]))
        return planned._replace(gone=tuple(map(_document, value.get("gone", ()))))


class SavedPlan(NamedTuple):
    """What is to be done at each destination, why, and with which options. made: when, aware."""

    cause: Cause
    options: DeployOptions
    destinations: tuple[PlannedDestination, ...]
    made: datetime

    def bound(self, options: DeployOptions) -> DeployOptions:
        """`options` with what the plan has decided.

        Raises InputError where they ask for something else than the plan.
        """
        usual = DeployOptions()
        for name, flag in _CARRIED.items():
            given = getattr(options, name)
            if given not in (getattr(usual, name), getattr(self.options, name)):
                raise InputError(
                    f"the plan was made with another {flag}",
                    "leave the option out, or make a new plan",
                )
        return replace(self.options, **{name: getattr(options, name) for name in _FREE})

    def check_destinations(self, urls: Sequence[str]) -> None:
        """Raise RefusedError where the plan was made for others than these."""
        mine = [one.url for one in self.destinations]
        if sorted(mine) != sorted(urls):
            raise RefusedError(
                f"the plan was made for {' '.join(mine)}, not for {' '.join(urls)}",
                "nothing was changed; name the destinations that it was made for",
            )


_FREE = tuple(one.name for one in fields(DeployOptions) if one.name not in _CARRIED)


class PlannedTree(Tree):
    """The documents of a plan, read from its archive as if it were a folder."""

    may_write = False

    def __init__(self, root: Path, archive: ZipFile) -> None:
        super().__init__(root)
        self._archive = archive

    def exists(self) -> bool:
        """Always."""
        return True

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """The bytes of the member at `path`. Raises TreeError."""
        data = self.read_if_there(path, max_bytes)
        if data is None:
            raise TreeError(f"{self.root} holds no {path}", "make a new plan")
        return data

    def read_again(self, path: str) -> bytes:
        """The bytes of the member at `path`. Raises TreeError."""
        return self.read(path)

    def read_each(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The path and the bytes of each of these members. Raises TreeError."""
        for path in paths:
            yield path, self.read(path)

    def read_if_there(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """As `read`; None where there is no such member."""
        import zlib
        from zipfile import BadZipFile

        try:
            with self._archive.open(path) as member:
                data = member.read(max_bytes + 1)
        except KeyError:
            return None
        except (BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise TreeError(
                f"{self.root}: {path} is damaged ({error})", "make a new plan"
            ) from None
        if len(data) > max_bytes:
            raise TreeError(f"{self.root}: {path} is larger than {max_bytes // 2**20} MiB")
        return data


def save(file: Path, plan: SavedPlan, tree: Tree, wanted: Mapping[str, LocalObject]) -> None:
    """Write the plan with the documents of `tree` that it needs: whole, or not at all.

    wanted: what these documents are. Raises RefusedError where a document was changed since the
    plan was made, TreeError.
    """
    from zipfile import ZIP_DEFLATED, ZipFile  # loaded where there is a plan

    note = exportnote.read(tree)
    temporary = file.with_name(f".{file.name}.{os.urandom(6).hex()}{TEMPORARY}")
    try:
        with ZipFile(temporary, "x", ZIP_DEFLATED) as archive:
            _write(archive, plan, tree, wanted, note)
        temporary.replace(file)
    except OSError as error:
        raise TreeError(f"the plan can't be written to {file}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _write(
    archive: ZipFile,
    plan: SavedPlan,
    tree: Tree,
    wanted: Mapping[str, LocalObject],
    note: ExportNote,
) -> None:
    destinations = []
    for number, one in enumerate(plan.destinations):
        at = f"manifests/{number}.json" if one.manifest is not None else None
        if at and one.manifest is not None:
            archive.writestr(at, one.manifest)
        destinations.append(one.dump(at))
    head = {
        "form": _FORM,
        "made": written(plan.made),
        "cause": plan.cause.dump(),
        "options": _dump_options(plan.options),
        "destinations": destinations,
    }
    archive.writestr(_PLAN, json.dumps(head, ensure_ascii=False, indent=1).encode())
    noted: dict[str, NotedDocument] = {}
    for key in sorted({up.key for one in plan.destinations for up in one.uploads}):
        data = tree.read(key)
        known = wanted[key]
        if plan.options.encoding == "identity" and Body.of(data).sha256 != known.sha256:
            raise RefusedError(
                f"{tree.root}/{key} was changed while the plan was being made",
                "no plan was written; run it again",
            )
        archive.writestr(key, data)
        noted[key] = _noted(key, data, note)
    archive.writestr(exportnote.PATH, ExportNote(noted).dump())


def _noted(key: str, data: bytes, note: ExportNote) -> NotedDocument:
    sha256 = Body.of(data).sha256
    known = note.of(key, sha256)
    if known is not None:
        return known
    ref = DocumentRef.of(key)
    assert ref is not None  # only documents are uploaded
    try:
        return NotedDocument(sha256, None, *named(ref, data))
    except DocumentError:
        return NotedDocument(sha256, None, "")


@contextmanager
def opened(file: Path) -> Iterator[tuple[SavedPlan, PlannedTree, ExportNote]]:
    """The plan at `file`, its documents, and what is known of them.

    Raises InputError where it is not one, or damaged.
    """
    from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

    hint = "give a file that --plan-out has written, whole"
    try:
        if file.exists() and not file.is_file():  # a device has no end, and no size
            raise BadZipFile
        if file.stat().st_size > _MOST_BYTES:
            raise InputError(f"{file} is larger than {_MOST_BYTES // 2**30} GiB", hint)
        archive = ZipFile(file)
    except (BadZipFile, NotImplementedError):  # the latter for a ZIP of a later version
        raise InputError(f"{file} is not a plan", hint) from None
    except OSError as error:
        raise InputError(f"the plan {file} can't be read: {error.strerror}", hint) from None
    with archive:
        tree = PlannedTree(file, archive)
        try:
            if sum(one.file_size for one in archive.infolist()) > _MOST_BYTES:
                raise ValueError(f"it holds more than {_MOST_BYTES // 2**30} GiB")
            if any(
                one.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for one in archive.infolist()
            ):
                raise ValueError("it is packed in a way that --plan-out does not")
            plan = _parse(tree)
            note = ExportNote.parse(tree.read(exportnote.PATH, exportnote.MAX_BYTES))
            wanted = {up.key for one in plan.destinations for up in one.uploads}
            if missing := sorted(wanted - note.documents.keys()):
                raise ValueError(f"it says nothing of {missing[0]}")
        except (TreeError, InputError) as error:
            raise InputError(error.message, error.hint or hint) from None
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
            OverflowError,
        ) as error:
            why = str(error) if type(error) is ValueError else type(error).__name__
            raise InputError(f"{file} is not a plan ({why})", hint) from None
        yield plan, tree, note


def _parse(tree: PlannedTree) -> SavedPlan:
    raw = json.loads(tree.read(_PLAN, _MOST_PLAN_BYTES))
    if raw["form"] != _FORM:
        raise InputError(
            f"{tree.root} is a plan of another version: form {str(raw['form'])[:20]}, not {_FORM}",
            "make a new plan with this version",
        )
    made = moment(raw["made"])
    options = _parse_options(raw["options"])
    planned = tuple(PlannedDestination.parse(one, tree) for one in raw["destinations"])
    return SavedPlan(Cause.parse(raw["cause"]), options, planned, made)


def _dump_options(options: DeployOptions) -> dict[str, Any]:
    history = options.history
    return {
        "delete": options.delete,
        "deleteAfterSeconds": options.delete_after.total_seconds(),
        "maxDelete": [options.max_delete.count, options.max_delete.percent],
        "environments": sorted(options.environments),
        "history": [history.count, history.age.total_seconds() if history.age else None],
        "cacheControl": options.cache_control,
        "encoding": options.encoding,
        "acl": options.acl,
        "storageClass": options.storage_class,
        "invalidate": list(options.invalidate),
        "corsOrigins": list(options.cors_origins),
    }


def _parse_options(raw: Any) -> DeployOptions:
    """Raises ValueError, TypeError, KeyError."""
    count, age = raw["history"]
    most, percent = raw["maxDelete"]
    encoding = raw["encoding"]
    if encoding not in get_args(Encoding):
        raise ValueError(f"the encoding {encoding!r} is not known")
    if raw["delete"] not in (True, False):
        raise TypeError
    return DeployOptions(
        delete=raw["delete"],
        delete_after=timedelta(seconds=float(raw["deleteAfterSeconds"])),
        max_delete=DeleteLimit(
            None if most is None else int(most), None if percent is None else float(percent)
        ),
        environments=frozenset(map(_text, raw["environments"])),
        history=HistoryLimit(int(count), None if age is None else timedelta(seconds=float(age))),
        cache_control=_header(raw["cacheControl"]),
        encoding=encoding,
        acl=_header(raw["acl"]),
        storage_class=_header(raw["storageClass"]),
        invalidate=tuple(map(_text, raw["invalidate"])),
        cors_origins=tuple(map(_text, raw["corsOrigins"])),
    )


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("not a text")
    return value


def _header(value: Any) -> str:
    if not all(" " <= sign <= "~" for sign in _text(value)):
        raise ValueError("a header's value is not plain ASCII on one line")
    return cast("str", value)


def _document(value: Any) -> str:
    """The key of a document. Raises TypeError, and ValueError for any other path."""
    if DocumentRef.of(_text(value)) is None:
        raise ValueError(f"{value[:80]!r} is not a document's path")
    return cast("str", value)
