"""A plan carried out as it was written: everything that it says, and only where nothing moved.

    plan → look at what it touches → conditional writes → manifest → deletions → CDNs → commit

What others did elsewhere at the destination does not matter. What is there already as it was
planned is passed over, so that a run which was killed is completed by applying the plan again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.deploy.log import Change
from myop_cdn.deploy.plan import LATER, Plan
from myop_cdn.deploy.run import Run
from myop_cdn.deploy.source import Wanted
from myop_cdn.errors import MyopCdnError, PreconditionFailed, RefusedError
from myop_cdn.model import COMPONENTS, MANIFEST, DocumentRef
from myop_cdn.moments import written
from myop_cdn.report import DestinationReport, Overtaken, Upload

if TYPE_CHECKING:
    from collections.abc import Collection

    from myop_cdn.deploy.planfile import PlannedDestination
    from myop_cdn.deploy.source import Source

STALE = "what is there is no longer what the plan saw"


class ApprovedRun(Run):
    """What was planned for one destination: `check`, then `carry_out`."""

    def check(self, planned: PlannedDestination, source: Source) -> RefusedError | None:
        """Look at what the plan touches; why the plan must not be carried out, or None. Another
        error is kept for the report.

        source: at least the documents that are to be uploaded.
        """
        documents = {up.key: source.documents[up.key] for up in planned.uploads}
        self._planned = planned
        self._wanted = Wanted(source._replace(documents=documents), None, self._options.jobs)
        try:
            self.there.look_at([key for key in planned.seen if key != MANIFEST])
            self.there.finish_look()
            if MANIFEST in planned.seen:
                self.there.read_manifest()
            self._begin(self._options.delete)
            self._find_due()
        except RefusedError as error:
            return error
        except MyopCdnError as error:
            self._outcome.error = error
        return None

    def carry_out(self) -> DestinationReport:
        """Do it, after `check` has let it through. Whatever goes wrong is in the report."""
        return self._reported(self._carry_out)

    def _find_due(self) -> None:
        """What of the plan is still to be done. Raises RefusedError where something moved."""
        planned, deletions = self._planned, self._deletions
        done, due, moved = set(), set(), set()
        for key, seen in planned.seen.items():
            if self._is_done(key):
                done.add(key)
            elif self._version(key) == seen and not self._is_held(key):
                due.add(key)
            else:
                moved.add(key)
        if moved:
            raise self._stale(moved)
        self._take_over(done)
        self._plan_due = Plan(tuple(up for up in planned.uploads if up.key in due))
        self._manifest_is_due = MANIFEST in due
        marks, now = self.there.view.state.gone, written(self._now())
        away = [key for key in planned.gone if key not in planned.deleted]
        deletions.gone = {key: marks.get(key, now) for key in away}
        deletions.due = due & planned.deleted.keys()
        if deletions.due:
            listed = (one.key for one in self.there.store.list(f"{COMPONENTS}/"))
            deletions.among({key for key in listed if DocumentRef.of(key)})

    def _take_over(self, done: Collection[str]) -> None:
        """Tell the log of what an earlier run did of the plan, and was killed before it told."""
        for key in self._wanted.some(done):
            self._outcome.unchanged.add(key)
            self._adopt(key)
        deleted = self._planned.deleted.keys() & done
        if deleted:
            _, newer = self.there.log.since(self._planned.number)
            told = {key for commit in newer for key in commit.changes}
            for key in deleted - told:
                self._outcome.adopted[key] = Change(self._planned.deleted[key], None)

    def _carry_out(self) -> None:
        outcome, planned = self._outcome, self._planned
        self._before(self._plan_due)
        if self._options.dry_run:
            outcome.uploads = {up.key: up for up in self._plan_due.uploads}
            if self._manifest_is_due:
                outcome.uploads[MANIFEST] = Upload(MANIFEST, "manifest")
            outcome.deleted = set(self._deletions.due)
            self._invalidate()
            return
        beaten = self._write(self._plan_due)
        if not beaten and outcome.is_whole and self._manifest_is_due:
            try:
                self._manifest.put(planned.manifest or b"", planned.asked, self._writer)
            except PreconditionFailed:
                beaten = {MANIFEST}
        if not beaten and outcome.is_whole:
            beaten = self._deletions.carry_out(self._writer, self._progress)
        if beaten and not outcome.has_written:
            raise self._stale(beaten)
        outcome.failed |= dict.fromkeys(beaten, STALE)
        self._invalidate()
        while overlap := self._commit.write(self._catch_up):
            mine = outcome.changes.keys() & overlap
            self._look_again(overlap)
            for key in mine - outcome.changes.keys():
                outcome.overtaken[key] = Overtaken(key, LATER)
        if self._options.wait:
            self._invalidations.wait()

    def _version(self, key: str) -> str | None:
        if key == MANIFEST:
            return self.there.seen_manifest.version
        there = self.there.remote.get(key)
        return there.version if there else None

    def _is_done(self, key: str) -> bool:
        """Whether it is there, or gone, as it was planned."""
        planned, there = self._planned, self.there.remote.get(key)
        if key == MANIFEST:
            return planned.manifest is None or not self._manifest.differs(planned.manifest)
        if key not in self._wanted:
            return there is None
        same = there is not None and there.sha256 == self._wanted[key].sha256
        return same and there is not None and there.same_headers(self._fingerprint) is not False

    def _is_held(self, key: str) -> bool:
        """Whether a rollback holds back what the plan would bring there."""
        hold = self.there.view.state.holds.get(key)
        wanted = self._wanted[key].sha256 if key in self._wanted else ""
        return hold is not None and hold.sha256 == wanted

    def _stale(self, keys: Collection[str]) -> RefusedError:
        named = [self._called(key) for key in sorted(keys)]
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        return RefusedError(
            f"{STALE}: {', '.join(named[:3])}{more}",
            "nothing was changed; make a new plan, and have it approved",
        )
