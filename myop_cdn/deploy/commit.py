"""What one deploy tells the destination's log: a commit, and a checkpoint where one is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.deploy.log import (
    CHECKPOINT_EVERY,
    Change,
    Checkpoint,
    Commit,
    State,
    new_id,
)
from myop_cdn.deploy.writes import attempts
from myop_cdn.errors import MyopCdnError
from myop_cdn.model import DocumentRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from myop_cdn.deploy.deletions import Deletions
    from myop_cdn.deploy.destination import Destination
    from myop_cdn.deploy.invalidation import Invalidations
    from myop_cdn.deploy.log import Cause, Entry
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.outcome import Outcome
    from myop_cdn.deploy.source import Wanted

LOG = "the destination's log"
CONDITIONS_IGNORED = (
    "the service ignores conditional writes, so it can't keep two deploys at once apart; "
    "run one at a time"
)


class CommitWriter:
    """Writes one run's commit. ignores_conditions: as `State` has it, where this run found out."""

    def __init__(
        self,
        there: Destination,
        wanted: Wanted,
        outcome: Outcome,
        deletions: Deletions,
        invalidations: Invalidations,
        options: DeployOptions,
        cause: Cause,
        now: Callable[[], datetime],
    ) -> None:
        self.ignores_conditions: bool | None = None
        self._there = there
        self._wanted = wanted
        self._outcome = outcome
        self._deletions = deletions
        self._invalidations = invalidations
        self._options = options
        self._cause = cause
        self._now = now

    def write(self, settle: Callable[[], set[str]]) -> set[str] | None:
        """Tell the log. None: it knows all, or had nothing to be told; else the documents that
        others touched since they were looked at, and that have to be settled before.

        settle: reads what others committed meanwhile, and returns such documents. What goes wrong
        is in the outcome.
        """
        outcome = self._outcome
        try:
            for _ in attempts(self._there.url):
                commit = self._next()
                if commit is None:
                    break
                if self._there.log.append(commit):
                    outcome.commit = commit
                    break
                conflicts = settle()
                if conflicts and outcome.error is None:
                    return conflicts
            if outcome.commit is not None and self._there.looked_at_all and outcome.is_whole:
                self._tend_log(outcome.commit)
        except MyopCdnError as error:
            if outcome.error is None:
                outcome.failed[LOG] = error.message
        return None

    def conditions_are_ignored(self, version: str | None) -> bool:
        """Try whether the service ignores conditions. version: of some object there, or None.

        Raises StorageError.
        """
        log = self._there.log
        return log.ignores_conditions(version if log.store is self._there.store else None)

    def _next(self) -> Commit | None:
        """The commit to write now, None where there is nothing to tell."""
        there, outcome = self._there, self._outcome
        view = there.view
        changes = {**outcome.adopted, **outcome.changes}
        for key in there.drifted(outcome.changes):
            changes.setdefault(key, Change((view.objects or {})[key], None))
        state = self._next_state(view.state)
        anew = view.number == 0 or (there.looked_at_all and view.objects is None)
        takes_over = view.objects is None or view.old
        begins = there.looked_at_all and takes_over and outcome.error is None
        nothing_there = not (there.remote or there.seen_manifest.blob)
        if not changes and state == view.state and (not begins or nothing_there):
            return None
        if state.ignores_conditions is None:
            some = next((one.after.version for one in changes.values() if one.after), None)
            self.ignores_conditions = self.conditions_are_ignored(some)
            if self.ignores_conditions:
                outcome.warn(CONDITIONS_IGNORED)
            state = self._next_state(view.state)
        return Commit(view.number + 1, new_id(), self._now(), self._cause, changes, state, anew)

    def _next_state(self, before: State) -> State:
        """What the next commit carries: what the newest does, and what this run did."""
        outcome, deletions = self._outcome, self._deletions
        holds = dict(before.holds)
        for key, change in outcome.changes.items():
            hold = holds.get(key)
            if hold and (change.after.sha256 if change.after else "") != hold.sha256:
                del holds[key]
        gone = dict(before.gone)
        if deletions.enabled and outcome.is_whole:
            gone = {key: at for key, at in gone.items() if not self._was_exported(key)}
            gone |= {key: at for key, at in deletions.gone.items() if key not in outcome.deleted}
        ignores = before.ignores_conditions
        return State(
            holds,
            self._invalidations.still_owed(before.owed),
            gone,
            before.removed_with(len(outcome.deleted), self._now()),
            self.ignores_conditions if ignores is None else ignores,
        )

    def _was_exported(self, key: str) -> bool:
        ref = DocumentRef.of(key)
        return ref is None or self._options.wants(ref.environment)

    def _tend_log(self, commit: Commit) -> None:
        """Write a checkpoint where that is due, and clear what is not to be kept any longer."""
        log, view, remote = self._there.log, self._there.view, self._there.remote
        whole = view.objects is not None
        begins = not whole and (view.number > 0 or bool(remote.keys() - commit.changes.keys()))
        since = commit.number - (view.checkpoint or 0)
        if not (view.old or begins or since >= CHECKPOINT_EVERY):
            return
        kept = log.clear(commit, self._options.history, self._options.jobs, view.kept)
        log.write_checkpoint(Checkpoint(commit.number, self._objects(commit), kept))
        if view.old:
            log.drop_old_ledger()

    def _objects(self, commit: Commit) -> dict[str, Entry]:
        """All objects as of this run's commit."""
        there = self._there
        objects = dict(there.view.objects or {})
        for key, seen in there.remote.items():
            known = objects.get(key)
            is_wanted = key in self._outcome.unchanged and key in self._wanted
            sha256 = seen.sha256 or (self._wanted[key].sha256 if is_wanted else "")
            if sha256 and (known is None or known.version != seen.version):
                known = objects[key] = seen.entry(sha256)
            if is_wanted and known is not None:
                objects[key] = self._wanted.told(key, known)
        for one in (*there.between, commit):
            for key, change in one.changes.items():
                if change.after is None:
                    objects.pop(key, None)
                else:
                    objects[key] = change.after
        return objects
