"""A scope, an exporter and a tree in; an exported tree and a report out."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from myop_cdn import exportnote, names
from myop_cdn.document import describe
from myop_cdn.errors import (
    DocumentError,
    ExportError,
    InputError,
    RefusedError,
    TreeError,
    Unreachable,
)
from myop_cdn.model import (
    MANIFEST,
    PREVIEW,
    DeleteLimit,
    DocumentRef,
    ExportedDocument,
    Scope,
    largest_component,
)
from myop_cdn.progress import Silent
from myop_cdn.report import FailedDocument, SyncReport
from myop_cdn.tree import check_cases
from myop_cdn.workers import each

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from myop_cdn.document import Document
    from myop_cdn.errors import MyopCdnError
    from myop_cdn.export import Export, Exporter
    from myop_cdn.manifest import Manifest
    from myop_cdn.progress import Progress
    from myop_cdn.tree import Tree
    from myop_cdn.workers import Done

ASK_AGAIN_PAUSE = 0.5

Fate = Literal["added", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How to sync.

    jobs: documents asked for at once. environments: only these (`preview` is one of the
    names); empty for all. max_delete: what a full sync may remove. with_previews: whether an
    incremental sync exports the preview of each released component too. ask_again_seconds: how
    long documents that do not hold what was announced are asked for again. unknown_is_error:
    whether a full sync fails where one of the environments is not to be found; else it warns.
    sleep: waits for so many seconds, clock: counts them.
    """

    jobs: int = 16
    environments: frozenset[str] = frozenset()
    max_delete: DeleteLimit = field(default_factory=DeleteLimit)
    with_previews: bool = True
    ask_again_seconds: float = 5.0
    unknown_is_error: bool = True
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def wants(self, environment: str) -> bool:
        """Whether documents of this environment are exported at all."""
        return not self.environments or environment in self.environments


def sync(
    scope: Scope,
    exporter: Exporter,
    tree: Tree,
    options: SyncOptions | None = None,
    progress: Progress | None = None,
) -> SyncReport:
    """Export what `scope` asks for into `tree`.

    Documents that fail are in the report and don't hold up the others. Raises RefusedError
    (nothing was changed), InputError (names that the file system can't tell apart, an
    environment that nothing has), ExportError (no index, a rejected key, an API that answers
    nothing), TreeError.
    """
    options, progress = options or SyncOptions(), progress or Silent()
    if scope.kind == "none":
        return left_alone(tree)
    started = options.clock()
    with tree.writing(waited=progress.waited), exporter.open(scope, progress) as export:
        run = _Run(export, tree, options, progress, scope)
        if scope.kind == "full":
            _full(run)
        else:
            _incremental(run, scope)
        run.note_exported()
        return run.report(scope.kind, options.clock() - started)


def left_alone(tree: Tree) -> SyncReport:
    """The report of a sync that had nothing to do."""
    return SyncReport("none", "api", str(tree.root))


def _full(run: _Run) -> None:
    index = run.export.index()
    existing = run.tree.refs()
    old = _old_manifest(run)
    unknown: str | None = None
    if run.options.environments:
        unknown = unknown_environments(index, run.options.environments)
        # What is not exported stays as it is, in the folder and in the manifest.
        others = {ref for ref in existing if not run.options.wants(ref.environment)}
        kept = others.intersection(old.all_refs()) if old else set()
        names_kept = {entry.id: entry.name for entry in old.entries} if old else {}
        index = index.narrowed(
            lambda ref: run.options.wants(ref.environment) or ref in kept
        ).with_documents((ref, names_kept[ref.component_id]) for ref in sorted(kept))
    wanted = [ref for ref in index.all_refs() if run.options.wants(ref.environment)]
    check_cases(run.tree, [*existing, *wanted])
    _check_removal(run, wanted, existing, old)
    if unknown and run.options.unknown_is_error:
        raise InputError(unknown, "names are written as in Myop: is one of them misspelt?")
    if unknown:
        run.warnings.append(unknown)
    if old and old.organization and index.organization not in (None, old.organization):
        run.warnings.append(
            f"the index is of organization {names.shown(index.organization or '')}, the tree was "
            f"of {names.shown(old.organization)}: is it the right API key?"
        )
    run.fetch(wanted)
    run.ask_again()
    if run.failed:
        run.warnings.append(
            "documents failed: nothing was removed, and the manifest is the old one"
        )
        return
    # The manifest before what it no longer names: it never names what is not there.
    new = index.stamped(datetime.now(UTC))
    run.put_manifest(old if old is not None and new.says_the_same(old) else new)
    gone = set(existing).difference(wanted)
    run.remove(sorted(ref for ref in gone if run.options.wants(ref.environment)))


def _old_manifest(run: _Run) -> Manifest | None:
    try:
        return run.tree.manifest()
    except TreeError as error:
        run.warnings.append(f"{error.message}; it is replaced")
        return None


def _incremental(run: _Run, scope: Scope) -> None:
    manifest = run.tree.manifest()
    passed_over = Counter(
        one.environment for one in scope.releases if not run.options.wants(one.environment)
    )
    if passed_over:
        listed = ", ".join(f"{names.shown(name)} ({n})" for name, n in sorted(passed_over.items()))
        run.warnings.append(f"releases of other environments were passed over: {listed}")
    wanted = released(scope, run.options)
    check_cases(run.tree, [*run.tree.refs(), *wanted])
    run.fetch(wanted)
    run.ask_again()
    if manifest is not None:
        fetched = [(ref, run.fetched[ref].name) for ref in wanted if ref in run.fetched]
        run.put_manifest(manifest.with_documents(fetched))


def released(scope: Scope, options: SyncOptions) -> list[DocumentRef]:
    """The documents that an incremental sync exports, in the order of their releases."""
    wanted: dict[DocumentRef, None] = {}
    for release in scope.releases:
        if options.wants(release.environment):
            wanted[release.ref] = None
            if options.with_previews and options.wants(PREVIEW):
                wanted[DocumentRef(release.component_id, PREVIEW)] = None
    return list(wanted)


def unknown_environments(index: Manifest, environments: Collection[str]) -> str | None:
    """What is wrong with names of environments that no component has, in words, or None."""
    known = {environment for entry in index.entries for environment in entry.environments or ()}
    unknown = sorted(set(environments) - known - {PREVIEW})
    if not unknown:
        return None
    shown = ", ".join(map(names.shown, unknown))
    listed = ", ".join(map(names.shown, sorted(known))) or "none"
    return f"no component has an environment {shown}; there are: {listed}"


def _check_removal(
    run: _Run,
    wanted: Sequence[DocumentRef],
    existing: Sequence[DocumentRef],
    old: Manifest | None,
) -> None:
    """Raise RefusedError where more would go than may. What the manifest of a folder names
    counts as there: a workspace may have been restored with the manifest alone.
    """
    limit = run.options.max_delete
    listed = {*existing, *(old.refs() if old else ())}
    there = [ref for ref in listed if run.options.wants(ref.environment)]
    gone = len(set(there).difference(wanted))
    if not wanted and gone and limit.is_default:
        raise RefusedError(
            f"Myop's index names nothing to export, but the folder holds {len(there)} documents",
            "is it the right API key and --environment? --max-delete 100% removes them all",
        )
    if not limit.allows(gone, len(there), largest_component=largest_component(there)):
        raise RefusedError(
            f"{gone} of {len(there)} documents would be removed; the limit is {limit}",
            "is it the right API key and --environment? If so, raise --max-delete",
        )


def _ends_a_run(error: MyopCdnError | None) -> bool:
    """Whether no document can be had, or kept, after this."""
    return error is not None and not isinstance(error, DocumentError | Unreachable)


class _WriteGate:
    """Lets writes through, any number at once, until it is shut.

    When a run ends early no answer is waited for, but a write that has begun is finished, so
    that no part of a file stays behind. A count under a lock rather than a pool of writers:
    handing a document to another thread and waiting for it takes longer than writing it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_shut = False

    def __enter__(self) -> None:
        with self._changed:
            if self._is_shut:
                raise CancelledError
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            if self._is_shut:
                self._changed.notify_all()

    def shut(self) -> None:
        """Let nobody in any more, and wait for those that are inside."""
        with self._changed:
            self._is_shut = True
            self._changed.wait_for(lambda: not self._inside)


class _Run:
    """One run's work and what came of it."""

    def __init__(
        self, export: Export, tree: Tree, options: SyncOptions, progress: Progress, scope: Scope
    ) -> None:
        self.export = export
        self.tree = tree
        self.options = options
        self.warnings: list[str] = []
        self.failed: dict[DocumentRef, ExportError] = {}
        self.fetched: dict[DocumentRef, ExportedDocument] = {}
        self._fates: dict[str, Fate] = {}
        self._removed: list[str] = []
        self._releases = {release.ref: release for release in scope.releases}
        self._progress = progress

    def fetch(self, refs: Sequence[DocumentRef]) -> None:
        """Fetch and write these documents. Raises what no document can be had after."""
        self._progress.start("fetching", len(refs))
        writes = _WriteGate()

        def one(ref: DocumentRef) -> tuple[Fate, ExportedDocument]:
            return self._one(ref, writes)

        try:
            with closing(each(one, refs, self.options.jobs, "fetch", _ends_a_run)) as ended:
                for done in ended:
                    self._take(done)
                    self._progress.step()
        finally:
            writes.shut()
        if refs and not self.fetched:
            # One cause for all of them is the run's own failure, not each document's.
            for error in self.failed.values():
                if all(isinstance(one, Unreachable) for one in self.failed.values()):
                    raise error

    def ask_again(self) -> None:
        """Ask again, for as long as the options say, for those documents that hold another
        variant than was announced; then keep what there is, with a warning.
        """
        deadline = self.options.clock() + self.options.ask_again_seconds
        said = False
        while behind := [ref for ref, one in self.fetched.items() if not one.holds_announced]:
            if not self.export.asks_again or self.options.clock() >= deadline:
                break
            if not said:
                self._progress.note(f"asking again for what was announced: {len(behind)}")
                said = True
            self.options.sleep(ASK_AGAIN_PAUSE)
            self.fetch(behind)
        for ref in sorted(behind):
            announced = self._releases[ref].variant_id or ""
            self.warnings.append(
                f"{describe(ref)}: announced was variant {names.shown(announced)}, the document "
                "holds another; a later release may have overtaken it"
            )

    def remove(self, refs: Iterable[DocumentRef]) -> None:
        """Take these documents away."""
        for ref in refs:
            self.tree.remove(ref.path)
            self._removed.append(ref.path)

    def put_manifest(self, manifest: Manifest) -> None:
        """Write the manifest, unless it is there as it is."""
        self._fates[MANIFEST] = self._put(MANIFEST, manifest.dump())

    def note_exported(self) -> None:
        """Keep in the folder what a later deploy needs to know of the documents."""
        before = exportnote.read(self.tree)
        keep = set(self.tree.paths()) if self._removed else None
        after = before.updated(self.fetched.values(), keep)
        if after != before:
            exportnote.write(self.tree, after)

    def report(self, scope: Literal["full", "incremental", "none"], seconds: float) -> SyncReport:
        """What this run did."""

        def of(fate: Fate) -> tuple[str, ...]:
            return tuple(sorted(path for path, one in self._fates.items() if one == fate))

        return SyncReport(
            scope=scope,
            exporter=self.export.name,
            output=str(self.tree.root),
            added=of("added"),
            updated=of("updated"),
            removed=tuple(sorted(self._removed)),
            unchanged=len(of("unchanged")),
            warnings=tuple(self.warnings),
            failed=tuple(
                FailedDocument(ref.component_id, ref.environment, error.message)
                for ref, error in sorted(self.failed.items())
            ),
            seconds=seconds,
            documents=tuple(self.fetched[ref] for ref in sorted(self.fetched)),
        )

    def _one(self, ref: DocumentRef, writes: _WriteGate) -> tuple[Fate, ExportedDocument]:
        document = self.export.document(ref)
        with writes:
            fate = self._put(ref.path, document.body)
        return fate, self._exported(document)

    def _exported(self, document: Document) -> ExportedDocument:
        release = self._releases.get(document.ref)
        announced = release.variant_id if release else None
        return ExportedDocument(
            document.ref,
            hashlib.sha256(document.body).hexdigest(),
            document.asked_at,
            document.name,
            document.variants,
            release,
            announced is None or any(one.id == announced for one in document.variants),
            len(document.body),
        )

    def _put(self, path: str, body: bytes) -> Fate:
        old = self.tree.read_if_there(path)
        if old == body:
            return "unchanged"
        self.tree.write(path, body)
        return "added" if old is None else "updated"

    def _take(self, done: Done[DocumentRef, tuple[Fate, ExportedDocument]]) -> None:
        ref, error = done.item, done.error
        if isinstance(error, DocumentError | Unreachable):
            if ref not in self.fetched:  # else what the first answer held is kept
                self.failed[ref] = error
            return
        if done.result is None:
            assert error is not None  # a piece of work ends with the one or the other
            raise error
        fate, self.fetched[ref] = done.result
        # A document that was asked for again is new, or changed, if it was so the first time.
        if self._fates.get(ref.path, "unchanged") == "unchanged":
            self._fates[ref.path] = fate
