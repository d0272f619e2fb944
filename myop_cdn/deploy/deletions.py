"""Which documents one deploy deletes: whose they are, since when they are gone, and the doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.deploy.log import RECENT, Change
from myop_cdn.deploy.plan import HELD, LATER, check_limit
from myop_cdn.deploy.source import decoded
from myop_cdn.deploy.writes import AbortRun, run_all
from myop_cdn.document import Document
from myop_cdn.errors import DocumentError, PreconditionFailed, StorageError
from myop_cdn.model import MANIFEST, DocumentRef
from myop_cdn.moments import moment, written
from myop_cdn.report import Overtaken

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from myop_cdn.deploy.destination import Destination
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.outcome import Outcome
    from myop_cdn.deploy.source import Wanted
    from myop_cdn.deploy.writes import Writer
    from myop_cdn.progress import Progress

_MOST_FOREIGN_BYTES = 16 * 2**20  # an object that may be a document is read up to that size


class Deletions:
    """The deletions of one run. Nothing is due unless `enabled`.

    gone: documents that the tree does not have any more, and since when (ISO 8601). due: those of
    them that are to be deleted now.
    """

    def __init__(
        self,
        there: Destination,
        wanted: Wanted,
        outcome: Outcome,
        options: DeployOptions,
        now: Callable[[], datetime],
        *,
        enabled: bool,
    ) -> None:
        self.enabled = enabled
        self.gone: dict[str, str] = {}
        self.due: set[str] = set()
        self._there = there
        self._wanted = wanted
        self._outcome = outcome
        self._options = options
        self._now = now
        self._among: set[str] | None = None

    def among(self, documents: set[str]) -> None:
        """Hold what is due against these, all documents there. Raises RefusedError."""
        self._among = documents
        self._check_limit(self.due)

    def find(self) -> None:
        """Find out which documents are gone from the tree, since when, and which of them are due.

        Raises RefusedError where that is more than may be deleted, StorageError.
        """
        there, wanted = self._there, self._wanted
        gone = [key for key in sorted(there.remote) if key not in wanted and self._may_go(key)]
        for key in self._ours(gone):
            hold = there.view.state.holds.get(key)
            if hold is not None and not hold.sha256:
                self._outcome.overtaken[key] = Overtaken(key, HELD)
            elif wanted.insists and self._is_later(key):
                self._outcome.overtaken[key] = Overtaken(key, LATER)
            else:
                self.gone[key] = there.view.state.gone.get(key) or written(self._now())
        deadline = self._now() - self._options.delete_after
        self.due = {key for key, since in self.gone.items() if _is_before(since, deadline)}
        self._check_limit(self.due)

    def decide_again(self, keys: Collection[str]) -> None:
        """Which of the documents that others touched are to be deleted: where Myop can be asked,
        none, as they are not gone; else those that a whole tree insists on taking away.
        """
        if not self._wanted.insists:
            self.due.difference_update(keys)
            return
        for key in keys:
            if key in self._wanted or not self.enabled:
                continue
            if key in self._there.remote and self._may_go(key) and not self._is_later(key):
                self.due.add(key)
            else:
                self.due.discard(key)

    def matters(self, key: str) -> bool:
        """Whether a document that somebody else put there would have to go."""
        return self.enabled and self._may_go(key)

    def carry_out(self, writer: Writer, progress: Progress) -> set[str]:
        """Delete what is due; the keys that somebody else was first at. Raises RefusedError where
        it has become more than may be deleted, StorageError.
        """
        there, outcome = self._there, self._outcome
        due = sorted(self.due - outcome.deleted)
        if not due:
            return set()
        self._check_limit(self.due | outcome.deleted)
        # Whoever named one of them again meanwhile has it: a manifest is never to name in vain.
        info = there.store.head(MANIFEST)
        if (info.version if info else None) != there.seen_manifest.version:
            named = {ref.path for ref in there.read_manifest().refs}
            if again := named.intersection(due):
                return again
        conflicts: set[str] = set()
        progress.start(f"deleting at {there.url}", len(due))

        def delete(key: str) -> Change:
            seen = there.remote[key]
            sha256 = writer.keep(key, seen)
            writer.delete(key, seen)
            return Change(seen.entry(sha256), None)

        try:
            for done in run_all(delete, due, self._options.jobs, "delete"):
                progress.step()
                if done.result is not None:
                    outcome.deleted.add(done.item)
                    there.remote.pop(done.item, None)
                    outcome.note(done.item, done.result)
                elif isinstance(done.error, PreconditionFailed):
                    conflicts.add(done.item)
                elif done.error is not None:
                    outcome.failed[done.item] = done.error.message
        except AbortRun as end:
            outcome.error = end.cause
            return set()
        return conflicts

    def _may_go(self, key: str) -> bool:
        ref = DocumentRef.of(key)
        return ref is not None and self._options.wants(ref.environment)

    def _is_later(self, key: str) -> bool:
        """Whether what is there was exported after the folder was."""
        facts = self._there.remote[key].facts
        return facts is not None and facts.asked > self._wanted.source.asked > 0

    def _check_limit(self, gone: Collection[str]) -> None:
        deleted = self._outcome.deleted
        here = self._among
        if here is None:
            here = {key for key in self._there.remote if key in self._wanted or key in self.gone}
        recent = self._there.view.state.removed_since(self._now() - RECENT)
        check_limit(gone, here | deleted, recent, self._options)

    def _ours(self, keys: Sequence[str]) -> list[str]:
        """Those of these objects that this tool put there: its log or their metadata says so,
        or they parse as Myop's documents (another tool brought them, `aws s3 sync` for one).
        """
        remote, store = self._there.remote, self._there.store
        unsure = [key for key in keys if not remote[key].is_ours or self._wanted.insists]
        self._there.head([key for key in unsure if not remote[key].facts])
        foreign = set()

        def is_document(key: str) -> bool:
            ref = DocumentRef.of(key)
            assert ref is not None  # only such keys are asked about
            if remote[key].size > _MOST_FOREIGN_BYTES:
                return False
            blob = store.get(key)
            try:
                return blob is not None and bool(Document.parse(ref, decoded(blob)))
            except (DocumentError, StorageError):
                return False

        unknown = [key for key in keys if key in remote and not remote[key].is_ours]
        for done in run_all(is_document, unknown, self._options.jobs, "get"):
            if done.error is not None:
                raise done.error
            if not done.result:
                foreign.add(done.item)
        return [key for key in keys if key in remote and key not in foreign]


def _is_before(text: str, deadline: datetime) -> bool:
    try:
        return moment(text) <= deadline
    except ValueError:
        return False
