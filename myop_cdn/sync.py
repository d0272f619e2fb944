"""A scope, an exporter and a tree in; an exported tree and a report out."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from myop_cdn import names
from myop_cdn.cases import check_cases
from myop_cdn.document import describe
from myop_cdn.errors import DocumentError, ExportError, RefusedError, TreeError, Unreachable
from myop_cdn.export.gate import Gate
from myop_cdn.model import MANIFEST, PREVIEW, DeleteLimit, DocumentRef
from myop_cdn.progress import Silent
from myop_cdn.report import FailedDocument, SyncReport
from myop_cdn.workers import each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from myop_cdn.errors import MyopCdnError
    from myop_cdn.export import Export, Exporter
    from myop_cdn.manifest import Manifest
    from myop_cdn.model import Scope
    from myop_cdn.progress import Progress
    from myop_cdn.tree import Tree
    from myop_cdn.workers import Done

ASK_AGAIN_SECONDS = 5.0
ASK_AGAIN_PAUSE = 0.5

Fate = Literal["added", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How to sync.

    jobs: documents asked for at once. environments: only these (`preview` is one of the
    names); empty for all. max_delete: what a full sync may remove. sleep: waits for so many
    seconds, clock: counts them.
    """

    jobs: int = 16
    environments: frozenset[str] = frozenset()
    max_delete: DeleteLimit = field(default_factory=DeleteLimit)
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
    (nothing was changed), InputError (names that the file system can't tell apart),
    ExportError (no index, a rejected key, an API that answers nothing), TreeError.
    """
    options, progress = options or SyncOptions(), progress or Silent()
    if scope.kind == "none":
        return left_alone(tree)
    started = options.clock()
    with tree.writing(), exporter.open(scope) as export:
        run = _Run(export, tree, options, progress)
        if scope.kind == "full":
            _full(run, scope)
        else:
            _incremental(run, scope)
        return run.report(scope.kind, options.clock() - started)


def left_alone(tree: Tree) -> SyncReport:
    """The report of a sync that had nothing to do."""
    return SyncReport("none", "api", str(tree.root))


def _full(run: _Run, scope: Scope) -> None:
    index = run.export.index()
    if run.options.environments:
        _warn_unknown(run, index)
        index = index.only(run.options.environments)
    wanted = index.refs()
    if run.options.wants(PREVIEW):
        wanted += index.previews()
    existing = run.tree.refs()
    check_cases(run.tree, [*existing, *wanted])
    gone = sorted(set(existing).difference(wanted))
    _check_removal(run.options.max_delete, len(gone), len(existing), len(wanted))
    old = _old_manifest(run)
    if old and old.organization and index.organization not in (None, old.organization):
        run.warnings.append(
            f"the index is of organization {names.shown(index.organization or '')}, the tree was "
            f"of {names.shown(old.organization)}: is it the right API key?"
        )
    run.fetch(wanted)
    run.ask_again(scope)
    if run.failed:
        run.warnings.append(
            "documents failed: nothing was removed, and the manifest is the old one"
        )
        return
    run.remove(gone)
    new = index.stamped(datetime.now(UTC))
    run.put_manifest(old if old is not None and new.says_the_same(old) else new)


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
    wanted: dict[DocumentRef, None] = {}
    for release in scope.releases:
        if run.options.wants(release.environment):
            wanted[release.ref] = None
            if run.options.wants(PREVIEW):
                wanted[DocumentRef(release.component_id, PREVIEW)] = None
    check_cases(run.tree, [*run.tree.refs(), *wanted])
    run.fetch(list(wanted))
    run.ask_again(scope)
    if manifest is not None:
        fetched = [(ref, run.fetched[ref].name) for ref in wanted if ref in run.fetched]
        run.put_manifest(manifest.with_documents(fetched))


def _warn_unknown(run: _Run, index: Manifest) -> None:
    known = {environment for entry in index.entries for environment in entry.environments or ()}
    for name in sorted(run.options.environments - known - {PREVIEW}):
        listed = ", ".join(names.shown(one) for one in sorted(known)) or "none"
        run.warnings.append(
            f"no component has an environment {names.shown(name)}; there are: {listed}"
        )


def _check_removal(limit: DeleteLimit, gone: int, total: int, wanted: int) -> None:
    if wanted == 0 and gone and limit.is_default:
        raise RefusedError(
            f"Myop's index names nothing to export, but the folder holds {total} documents",
            "is it the right API key and --environment? --max-delete 100% removes them all",
        )
    if not limit.allows(gone, total):
        raise RefusedError(
            f"{gone} of {total} documents would be removed; the limit is {limit}",
            "is it the right API key and --environment? If so, raise --max-delete",
        )


def _ends_a_run(error: MyopCdnError | None) -> bool:
    """Whether no document can be had, or kept, after this."""
    return error is not None and not isinstance(error, DocumentError | Unreachable)


@dataclass(frozen=True, slots=True)
class _Fetched:
    """What is remembered of a document: not its body, which is on disk."""

    name: str
    variant_ids: tuple[str, ...]


class _Run:
    """One run's work and what came of it."""

    def __init__(
        self, export: Export, tree: Tree, options: SyncOptions, progress: Progress
    ) -> None:
        self.export = export
        self.tree = tree
        self.options = options
        self.warnings: list[str] = []
        self.failed: dict[DocumentRef, ExportError] = {}
        self.fetched: dict[DocumentRef, _Fetched] = {}
        self._fates: dict[str, Fate] = {}
        self._removed: list[str] = []
        self._progress = progress

    def fetch(self, refs: Sequence[DocumentRef]) -> None:
        """Fetch and write these documents. Raises what no document can be had after."""
        self._progress.start("fetching", len(refs))
        writes = Gate()

        def one(ref: DocumentRef) -> tuple[Fate, _Fetched]:
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

    def ask_again(self, scope: Scope) -> None:
        """Ask for up to five seconds for those documents that hold another variant than was
        announced; then keep what there is, with a warning.
        """
        announced = {
            release.ref: release.variant_id
            for release in scope.releases
            if release.variant_id is not None and release.ref in self.fetched
        }
        deadline = self.options.clock() + ASK_AGAIN_SECONDS
        told = False
        while stale := [ref for ref in announced if not self._holds(ref, announced[ref])]:
            if not self.export.asks_again or self.options.clock() >= deadline:
                break
            if not told:
                self._progress.note(f"asking again for what was announced: {len(stale)}")
                told = True
            self.options.sleep(ASK_AGAIN_PAUSE)
            self.fetch(stale)
        for ref in sorted(stale):
            self.warnings.append(
                f"{describe(ref)}: announced was variant {names.shown(announced[ref])}, the "
                "document holds another; a later release may have overtaken it"
            )

    def remove(self, refs: Iterable[DocumentRef]) -> None:
        """Take these documents away."""
        for ref in refs:
            self.tree.remove(ref.path)
            self._removed.append(ref.path)

    def put_manifest(self, manifest: Manifest) -> None:
        """Write the manifest, unless it is there as it is."""
        self._fates[MANIFEST] = self._put(MANIFEST, manifest.dump())

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
        )

    def _one(self, ref: DocumentRef, writes: Gate) -> tuple[Fate, _Fetched]:
        document = self.export.document(ref)
        with writes:
            fate = self._put(ref.path, document.body)
        return fate, _Fetched(document.name, document.variant_ids)

    def _put(self, path: str, body: bytes) -> Fate:
        old = self.tree.read_if_there(path)
        if old == body:
            return "unchanged"
        self.tree.write(path, body)
        return "added" if old is None else "updated"

    def _take(self, done: Done[DocumentRef, tuple[Fate, _Fetched]]) -> None:
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

    def _holds(self, ref: DocumentRef, variant_id: str) -> bool:
        return variant_id in self.fetched[ref].variant_ids
