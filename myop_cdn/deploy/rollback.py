"""Take documents back to what they were as of a commit, by copies at the service.

    the log → what was there, and is → copies from history/ → manifest → removals → CDNs → commit

Neither Myop nor a key is needed. Each write is carried out only where what was seen is still
there. What was taken away is kept as well, so that a rollback can be taken back, and is held
back: a run that brings the same content again passes over it until another content comes, or
`rollback --resume`. Content that somebody publishes meanwhile is newer than the rollback's
request and stays; but the very content that was taken away is taken away again.

A rollback that is killed before its commit is completed by the next one to the same commit.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from myop_cdn.deploy.destination import Destination
from myop_cdn.deploy.history import Past, held_keys
from myop_cdn.deploy.invalidation import Invalidations
from myop_cdn.deploy.log import RECENT, Cause, Change, Commit, Entry, Hold, new_id, unreadable
from myop_cdn.deploy.next_manifest import put_manifest, with_names, without
from myop_cdn.deploy.outcome import Outcome
from myop_cdn.deploy.plan import check_limit
from myop_cdn.deploy.remote import fingerprint
from myop_cdn.deploy.writes import AbortRun, Keeper, Writer, attempts, run_all
from myop_cdn.errors import (
    InputError,
    MyopCdnError,
    PreconditionFailed,
    RefusedError,
)
from myop_cdn.model import COMPONENTS, MANIFEST, DocumentRef
from myop_cdn.moments import utc_now
from myop_cdn.report import DestinationReport, Overtaken, Upload, spoken, with_error
from myop_cdn.storage.base import Headers
from myop_cdn.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import datetime

    from myop_cdn.deploy.history import Selection
    from myop_cdn.deploy.log import State
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.target import Target
    from myop_cdn.report import Reason
    from myop_cdn.storage.base import ObjectInfo

NOT_KEPT = "the content to go back to is not kept any more"
_AGAIN = "roll back again when they have finished"
NEWER = "another content was published while this was being rolled back"


@dataclass(frozen=True, slots=True)
class RollbackReport:
    """What a rollback did. to: the commit it went back to, None for a resume. resumed: keys that
    are not held back any more. destination: as of a deploy; `uploaded` is what was put back.
    """

    dry_run: bool
    to: int | None
    destination: DestinationReport
    resumed: tuple[str, ...] = ()

    @property
    def error(self) -> MyopCdnError | None:
        """What went wrong, or None."""
        return self.destination.failure

    def summary(self) -> Summary:
        """The run for its readers."""
        return Summary("rollback", (self.destination.section(),), self.error, self.dry_run)

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn rollback --json`."""
        report = {
            "command": "rollback",
            "dryRun": self.dry_run,
            "to": None if self.to is None else str(self.to),
            "resumed": list(self.resumed),
            "destinations": [self.destination.to_json()],
        }
        return with_error(report, self.error)


@dataclass(frozen=True, slots=True)
class Step:
    """One document to take back. target: what it was, None: it was not there. logged: what it is
    by the log. taken: the SHA-256 to hold back; "" for the document's absence.
    """

    key: str
    target: Entry | None
    logged: Entry | None
    taken: str = ""

    @property
    def wanted(self) -> str:
        """The SHA-256 to go back to; "" for nothing."""
        return self.target.sha256 if self.target else ""


def roll_back(
    target: Target,
    to: str,
    selection: Selection,
    options: DeployOptions,
    now: Callable[[], datetime] = utc_now,
) -> RollbackReport:
    """Take the documents meant back to what they were as of `to`, a commit or a moment.

    A document whose past content is not kept any more is named as failed, the others are taken
    back; where that leaves nothing to do, all is refused. Raises InputError for an unknown commit
    or moment, StorageError where there is no log; what fails later is in the report.
    """
    past = Past.back_to(target.log, options.jobs, to, selection)
    number = past.resolve(to)
    return _Rollback(target, past, number, selection, options, now).run()


def resume(
    target: Target,
    selection: Selection,
    options: DeployOptions,
    now: Callable[[], datetime] = utc_now,
) -> RollbackReport:
    """Hold the documents meant back no longer. Raises StorageError."""
    log, url = target.log, target.store.url
    began = time.monotonic()
    number = None
    for _ in attempts(url, "try again"):
        view = log.newest()
        _check_readable(view.number > 0 and view.newest is None, url)
        if view.is_empty:
            raise unreadable(log)
        keys = held_keys(view.state, selection)
        if not keys or options.dry_run:
            break
        holds = {key: one for key, one in view.state.holds.items() if key not in keys}
        cause = Cause("rollback", "resume")
        state = view.state._replace(holds=holds)
        commit = Commit(view.number + 1, new_id(), now(), cause, {}, state)
        if log.append(commit):
            number = str(commit.number)
            break
    there = Destination(target, options.jobs)
    with suppress(MyopCdnError, AbortRun):  # it is done: names are for people
        there.head(keys)
    entries = {key: there.known(key) for key in keys}
    names = {key: spoken(key, one.name) for key, one in entries.items() if one}
    report = DestinationReport(url, commit=number, seconds=time.monotonic() - began, names=names)
    return RollbackReport(options.dry_run, None, report, keys)


class _Rollback:
    def __init__(
        self,
        target: Target,
        past: Past,
        number: int,
        selection: Selection,
        options: DeployOptions,
        now: Callable[[], datetime],
    ) -> None:
        self.there = Destination(target, options.jobs)
        self.there.view = past.view
        self.past, self.number, self.selection = past, number, selection
        self.options, self.now = options, now
        self.kept: dict[str, ObjectInfo] = {}
        self.steps: dict[str, Step] = {}
        self.outcome = Outcome(warnings=list(past.warnings))
        self.ignores_conditions = past.view.state.ignores_conditions
        self.invalidations = Invalidations()

    def run(self) -> RollbackReport:
        began = time.monotonic()
        outcome, url = self.outcome, self.there.url
        try:
            self._roll_back()
        except RefusedError as error:
            refused = DestinationReport.refusing(url, error, tuple(outcome.warnings))
            report = replace(refused, seconds=time.monotonic() - began)
            return RollbackReport(self.options.dry_run, self.number, report)
        except AbortRun as end:
            outcome.error = end.cause
        except MyopCdnError as error:
            outcome.error = error
        if outcome.error is not None and outcome.changes and outcome.commit is None:
            self._try_commit()
        seconds = time.monotonic() - began
        sent = self.invalidations
        report = outcome.report(url, seconds, sent.paths, sent.failed, self._called)
        return RollbackReport(self.options.dry_run, self.number, report)

    def _called(self, key: str) -> str:
        step = self.steps.get(key)
        return self.outcome.called(key, self.there.known(key), step.logged if step else None)

    def _roll_back(self) -> None:
        self._check_log()
        todo = self._steps()
        self.there.head(todo)
        self._decide(todo)
        self._check()
        self._settle(self.steps.values())
        if self.outcome.changes or self.invalidations.still_owed(self.state.owed):
            self._invalidate()
            self._commit()
            if self.options.wait:
                self.invalidations.wait()

    @property
    def state(self) -> State:
        """What holds for the destination, as of the newest commit that was read."""
        return self.there.view.state

    # What is to be done

    def _check_log(self) -> None:
        _check_readable(self.past.view.newest is None, self.there.url)
        why = self.past.gap(self.number)
        if why is not None:
            raise RefusedError(
                f"what was there as of commit {self.number} is not known: {why}",
                "nothing was changed; choose a later commit ('history' lists them)",
            )
        for warning in self.past.unknown(self.selection):
            self.outcome.warn(warning)

    def _steps(self) -> dict[str, Step]:
        """Every document that a commit touched since, with what the last commit until then put
        there; where that one is cleared, with what was there before the first one since.
        """
        steps: dict[str, Step] = {}
        until: dict[str, Entry | None] = {}
        for commit in reversed(self.past.commits):
            for key, change in commit.changes.items():
                if commit.number <= self.number:
                    until[key] = change.after
                elif self.selection.has(key):
                    first = steps.get(key)
                    before = first.target if first else until.get(key, change.before)
                    steps[key] = Step(key, before, change.after)
        return steps

    def _decide(self, todo: Mapping[str, Step]) -> None:
        """Which documents differ from what they were, and what is kept of what they were, and
        are.
        """
        if self.past.older and any(map(self._is_unaccounted, todo.values())):
            self.past = Past.read(self.there.log, self.options.jobs)
        known = self.past.contents()
        for key, step in sorted(todo.items()):
            there = self._sha256(key)
            logged = step.logged.sha256 if step.logged else ""
            if there == step.wanted and logged == step.wanted:
                self.outcome.unchanged.add(key)
                continue
            # What a run would bring again: what is there where the log does not know it yet; older
            # content was put back by a rollback that has not committed, so then it is what the log
            # has, and after one that has, what that held.
            is_ours = key not in self.there.remote or self.there.remote[key].is_ours
            is_older = there in known.get(key, ())
            taken = there if there is not None and is_ours and not is_older else logged
            hold = self.state.holds.get(key)
            if hold is not None and hold.instead == taken:
                taken = hold.sha256
            self.steps[key] = replace(step, taken=taken)
        moving = [one for one in self.steps.values() if not self._is_there(one)]
        hashes = {one.wanted for one in moving} | {self._sha256(one.key) or "" for one in moving}
        log = self.there.log
        keys = [log.history_key(sha256) for sha256 in sorted(hashes - {""})]
        for done in run_all(log.store.head, keys, self.options.jobs, "history"):
            if done.error is not None:
                raise done.error
            if done.result is not None:
                self.kept[done.item.removeprefix(log.history_key(""))] = done.result
        for one in moving:
            if one.target and one.wanted not in self.kept:
                self.outcome.failed[one.key] = NOT_KEPT
                del self.steps[one.key]

    def _check(self) -> None:
        """Raise RefusedError where nothing can be done, or more would be deleted than may be."""
        there = self.there
        if self.outcome.failed and not self.steps:
            keys = sorted(self.outcome.failed)
            more = f"; nor is that of {len(keys) - 1} more documents" if len(keys) > 1 else ""
            raise RefusedError(
                f"{keys[0]}: {NOT_KEPT}{more}",
                "nothing was changed; choose a later commit, and see --history of publish",
            )
        gone = {key for key, one in self.steps.items() if not one.target and key in there.remote}
        if gone:
            listed = {one.key for one in there.store.list(f"{COMPONENTS}/")}
            documents = {key for key in listed if DocumentRef.of(key)}
            recent = self.state.removed_since(self.now() - RECENT)
            check_limit(gone, documents | gone, recent, self.options)
        if self.steps and self.ignores_conditions is None and not self.options.dry_run:
            same = there.log.store is there.store
            versions = [one.version for one in there.remote.values() if same and one.version]
            self.ignores_conditions = there.log.ignores_conditions(next(iter(versions), None))
        self.writer = self._writer(Headers())

    def _writer(self, headers: Headers) -> Writer:
        """What is kept already is not copied once more, unless it may be cleared any moment."""
        since = self.now() - RECENT / 2
        kept = [
            sha256 for sha256, one in self.kept.items() if one.modified and one.modified > since
        ]
        return Writer(
            self.there.store,
            self.there.log,
            headers,
            Keeper(self.there.store, self.there.log, kept=kept),
            unconditional=bool(self.ignores_conditions),
        )

    def _sha256(self, key: str) -> str | None:
        """Of what is there; "" for nothing, None where it can't be told without reading."""
        there = self.there.remote.get(key)
        return "" if there is None else there.sha256

    def _is_unaccounted(self, step: Step) -> bool:
        """Whether there is something else than the newest commits tell: older content, perhaps."""
        logged = step.logged.sha256 if step.logged else ""
        return self._sha256(step.key) not in (None, "", step.wanted, logged)

    def _is_there(self, step: Step) -> bool:
        return self._sha256(step.key) == step.wanted

    # Writing

    def _settle(self, steps: Iterable[Step]) -> None:
        """Put the documents back, then the manifest, then remove what was not there."""
        todo = list(steps)
        for _ in attempts(self.there.url, _AGAIN):
            conflicts = self._each(self._restore, [one for one in todo if one.target])
            removals = [one for one in todo if one.target is None]
            if not conflicts:
                self._settle_manifest()
                conflicts = self._each(self._remove, removals)
            if not conflicts:
                return
            todo = self._look_again([*conflicts, *(one.key for one in removals)])

    def _each(self, work: Callable[[Step], Change], steps: list[Step]) -> list[str]:
        """Do it for each of the steps; the keys that somebody else was first at."""
        conflicts = []
        for done in run_all(work, steps, self.options.jobs, "rollback"):
            key = done.item.key
            if done.result is not None:
                self._note(key, done.result)
            elif isinstance(done.error, PreconditionFailed):
                conflicts.append(key)
            elif done.error is not None:
                self.outcome.failed[key] = done.error.message
        return conflicts

    def _restore(self, step: Step) -> Change:
        assert step.target is not None  # the others are removed
        there = self.there.remote.get(step.key)
        if there is not None and self._is_there(step):
            return Change(step.logged, there.entry(step.wanted))
        before = self.writer.keep(step.key, there) if there else ""
        version = self.writer.restore(step.key, step.wanted, there.version if there else None)
        headers = self.kept[step.wanted].headers
        known = fingerprint(headers) if headers and self.there.store.keeps_headers else None
        since = there.since(step.target.variant) if there is not None else 0
        since = since or int(self.now().timestamp())
        after = step.target._replace(headers=known, version=version, since=since)
        return Change(there.entry(before) if there else None, after)

    def _remove(self, step: Step) -> Change:
        there = self.there.remote.get(step.key)
        if there is None:
            return Change(step.logged, None)
        before = self.writer.keep(step.key, there)
        # Whoever changed the manifest meanwhile may name it again.
        info = self.there.store.head(MANIFEST)
        is_seen = (info.version if info else None) == self.there.seen_manifest.version
        if not self.options.dry_run and not is_seen:
            raise PreconditionFailed(f"{self.there.url}: {MANIFEST} was changed by somebody else")
        self.writer.delete(step.key, there)
        return Change(there.entry(before), None)

    def _note(self, key: str, change: Change) -> None:
        outcome = self.outcome
        outcome.note(key, change)
        before, after = outcome.changes[key].before, change.after
        if after is None:
            outcome.deleted.add(key)
            return
        name = after.name or (before.name if before else "")
        label = before.label if before else ""
        reason: Reason = "content" if before else "new"
        outcome.uploads[key] = Upload(key, reason, name, label, after.label)

    def _look_again(self, keys: Collection[str]) -> list[Step]:
        """See these documents; those that are still to be taken back."""
        self.there.head(keys)
        todo = []
        for key in keys:
            step, there = self.steps[key], self._sha256(key)
            if there == step.wanted:
                entry = self.there.remote[key].entry(step.wanted) if there else None
                self._note(key, Change(step.logged, entry))
                if entry is None or step.logged is None:
                    todo.append(step)  # the manifest may not say so yet
            elif there in self._taken_away(step):
                todo.append(step)
            else:
                if key in self.outcome.changes:
                    self.outcome.forget(key)
                self.outcome.overtaken[key] = Overtaken(key, NEWER)
                del self.steps[key]
        return todo

    def _taken_away(self, step: Step) -> set[str]:
        """The contents (SHA-256; "" for none) that this rollback takes away whenever it sees
        them: what is held back, and what was there when it began.
        """
        change = self.outcome.changes.get(step.key)
        before = change.before if change else step.logged
        return {step.taken, before.sha256 if before else ""}

    def _settle_manifest(self) -> None:
        """Make the manifest name what was put back, and no longer what is going to be removed."""
        changes = self.outcome.changes
        back = [
            ref
            for key, one in changes.items()
            if one.after
            and (ref := DocumentRef.of(key))
            and (one.before is None or self.steps[key].logged is None)
        ]
        gone = {
            ref
            for key, step in self.steps.items()
            if step.target is None and (ref := DocumentRef.of(key))
        }
        if not back and not gone:
            return
        for _ in attempts(self.there.url, _AGAIN):
            there = self.there.read_manifest()
            if there.blob is None or there.manifest is None:
                if there.problem:
                    why = f"the destination's {MANIFEST} was left as it is: {there.problem}"
                    self.outcome.warn(why)
                return
            names = {ref.component_id: self.outcome.uploads[ref.path].name for ref in back}
            manifest = with_names(without(there.manifest, gone), back, names)
            if manifest.dump() == there.manifest.dump():
                return
            asked = self.there.manifest_facts().asked or 0
            writer, headers = self._writer(there.blob.headers), there.blob.headers
            try:
                put_manifest(manifest.dump(), asked, headers, self.there, self.outcome, writer)
            except PreconditionFailed:
                continue
            return

    # The CDNs and the log

    def _invalidate(self) -> None:
        there, hold = self.there, self.outcome.error is not None
        keys = self.outcome.changes.keys()
        self.invalidations.send(there.cdns, keys, self.state.owed, there.url, hold=hold)

    def _try_commit(self) -> None:
        """After an error: tell the log what was done all the same, so that it is held back."""
        try:
            self._invalidate()
            self._commit()
        except (MyopCdnError, AbortRun):
            return  # the error that is reported came first

    def _commit(self) -> None:
        if self.options.dry_run:
            return
        cause = Cause("rollback", str(self.number))
        for _ in attempts(self.there.url, _AGAIN):
            state, changes = self._next_state(), dict(self.outcome.changes)
            if not changes and state == self.state:
                return
            number = self.there.view.number + 1
            commit = Commit(number, new_id(), self.now(), cause, changes, state)
            if self.there.log.append(commit):
                self.outcome.commit = commit
                return
            self._catch_up()

    def _catch_up(self) -> None:
        """Read the commits that others wrote since, and settle what they touched."""
        newer = self.there.catch_up()
        touched = {key for commit in newer for key in commit.changes if key in self.steps}
        if touched and self.outcome.error is None:
            again = self._look_again(touched)
            if again:
                self._settle(again)
                self._invalidate()

    def _next_state(self) -> State:
        holds = dict(self.state.holds)
        for key, step in self.steps.items():
            if key not in self.outcome.changes:
                continue
            taken, hold = step.taken, holds.get(key)
            if hold is not None and hold.instead == taken:
                taken = hold.sha256  # another rollback had put there what this one took away
            if taken == step.wanted:
                holds.pop(key, None)  # it is back to what had been held back
            else:
                holds[key] = Hold(taken, step.wanted)
        ignores = self.state.ignores_conditions
        return self.state._replace(
            holds=holds,
            owed=self.invalidations.still_owed(self.state.owed),
            removed=self.state.removed_with(len(self.outcome.deleted), self.now()),
            ignores_conditions=self.ignores_conditions if ignores is None else ignores,
        )


def check_request(to: str | None, *, resumes: bool) -> None:
    """Raise InputError unless exactly one of the two is asked for."""
    if (to is None) is not resumes:
        raise InputError(
            "name either where to go back to (--to) or --resume",
            "'history' lists the commits",
        )


def _check_readable(is_damaged: bool, url: str) -> None:
    if is_damaged:
        raise RefusedError(
            f"{url}: the newest commit of the log can't be read",
            "nothing was changed; a full publish begins the log anew",
        )
