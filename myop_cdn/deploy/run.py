"""One destination's deploy, from the first look to the report.

    look → (Myop is asked) → plan → conditional writes → manifest → deletions → CDNs → commit

What Myop answers after the look is at least as new as what was seen there, and each document is
written only where that is still there. Where it is not, somebody else was there in between: the
document is looked at again, Myop is asked again, and it is written again, that one alone. So no
run writes an older document over a newer one. A commit that comes second reads the commits that
came between and settles what they touched: some services' versions are hashes of the content,
which can't tell that a document went and came back.

A deploy that can't ask Myop (it brings a folder) holds the moments of documents against each
other, where they are known; where they are not, it insists: the last whole tree to commit stays.
No lock is held, so a crash leaves nothing to clear: the next look at what was written finds it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from myop_cdn.deploy.commit import CONDITIONS_IGNORED, CommitWriter
from myop_cdn.deploy.deletions import Deletions
from myop_cdn.deploy.destination import Destination
from myop_cdn.deploy.invalidation import Invalidations
from myop_cdn.deploy.log import Change, Entry
from myop_cdn.deploy.next_manifest import NextManifest
from myop_cdn.deploy.outcome import Outcome
from myop_cdn.deploy.plan import Rules, make_plan, may_delete, needs_facts
from myop_cdn.deploy.remote import RemoteObject, fingerprint, metadata_of
from myop_cdn.deploy.source import Wanted, content_encoding
from myop_cdn.deploy.writes import AbortRun, Keeper, Writer, attempts, run_all
from myop_cdn.errors import MyopCdnError, PreconditionFailed, RefusedError, StorageError
from myop_cdn.model import MANIFEST, PREVIEW, DocumentRef
from myop_cdn.moments import utc_now
from myop_cdn.report import DestinationReport
from myop_cdn.storage.base import AclAware, Headers
from myop_cdn.workers import Beside

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from myop_cdn.deploy.log import Cause
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.plan import Plan
    from myop_cdn.deploy.planfile import PlannedDestination
    from myop_cdn.deploy.source import AskAgain, LocalObject, Source
    from myop_cdn.deploy.target import Target
    from myop_cdn.model import Release
    from myop_cdn.progress import Progress
    from myop_cdn.report import Upload

CORS = "CORS"
CACHED = (
    "Myop's answer holds another variant than was announced and published within the last ten "
    "minutes, so it is taken for a cached one"
)
_MOST_COMMITS = 10  # that are read to find the one which wrote a document


class Run:
    """The steps of one deploy at one destination, in their order: `look`, then `bring`."""

    def __init__(
        self,
        target: Target,
        options: DeployOptions,
        cause: Cause,
        progress: Progress,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.there = Destination(target, options.jobs)
        self._options = options
        self._cause = cause
        self._progress = progress
        self._now = now
        self._headers = Headers(
            cache_control=options.cache_control,
            content_encoding=content_encoding(options.encoding),
        )
        self._fingerprint = fingerprint(self._headers) if target.store.keeps_headers else None
        enabled = not (options.dry_run or options.history.keeps_nothing)
        self._keeper = Keeper(target.store, target.log, enabled=enabled)
        self._early: Beside[None] | None = None
        self._outcome = Outcome()
        self._invalidations = Invalidations()

    def look(self, refs: Sequence[DocumentRef] | None, releases: Sequence[Release] = ()) -> None:
        """See what is there: of these documents, or (None) of all. An error is kept for the
        report. What these releases replace, by all that can be seen, begins to be kept.
        """
        there = self.there
        try:
            if refs is None:
                there.look_at_all()
            else:
                there.look_at([ref.path for ref in refs])
        except MyopCdnError as error:
            self._outcome.error = error
            return
        replaced: dict[str, RemoteObject] = {}
        for one in releases:
            for ref in (one.ref, DocumentRef(one.component_id, PREVIEW)):
                seen = there.remote.get(ref.path)
                if seen is None or not seen.is_before(one):
                    break  # a preview is taken for replaced only beside its document
                replaced[ref.path] = seen
        if replaced and not self._options.dry_run:
            keep = partial(self._keeper.keep_early, replaced, self._options.jobs)
            self._early = Beside(keep, "keep")

    def close(self) -> None:
        """Wait for what was begun."""
        if self._early is not None:
            self._early.result()

    @property
    def error(self) -> MyopCdnError | None:
        """What has gone wrong with the destination as a whole so far."""
        return self._outcome.error

    def bring(self, source: Source, ask_again: AskAgain | None = None) -> DestinationReport:
        """Bring the destination up to the source. Whatever goes wrong there is in the report.

        ask_again: exports these documents (by key) once more and returns those that Myop has;
        None where Myop can't be asked.
        """
        self._wanted = Wanted(source, ask_again, self._options.jobs)
        self._outcome.lasting.update(source.broken)

        def settle() -> None:
            self.there.finish_look()
            enabled, note = may_delete(source, self._options)
            if note is not None:
                self._outcome.notes.append(note)
            self._begin(enabled)
            self._settle(source)

        return self._reported(settle)

    def planned(self) -> PlannedDestination:
        """What a dry run would have done, with what it saw there. Raises RefusedError where the
        service tells no versions.
        """
        from myop_cdn.deploy.planfile import PlannedDestination

        there, outcome, deletions = self.there, self._outcome, self._deletions
        uploads = tuple(outcome.uploads[key] for key in sorted(outcome.uploads) if key != MANIFEST)
        deleted = {
            key: there.remote[key].entry(there.remote[key].sha256 or "")
            for key in sorted(outcome.deleted)
        }
        seen: dict[str, str | None] = {}
        for key in (*(up.key for up in uploads), *deleted):
            seen[key] = there.remote[key].version if key in there.remote else None
        if MANIFEST in outcome.uploads:
            seen[MANIFEST] = there.seen_manifest.version
        if "" in seen.values():
            raise RefusedError(
                f"{there.url} does not tell the versions of its objects, so that nobody could "
                "tell later whether they are still those of the plan",
                "no plan was written; publish without one",
            )
        return PlannedDestination(
            there.url,
            seen,
            uploads,
            deleted,
            there.view.number,
            self._manifest.rehearsed,
            self._wanted.source.asked,
            tuple(sorted(deletions.gone)) if deletions.enabled else (),
        )

    def wanted(self, keys: Collection[str]) -> dict[str, LocalObject]:
        """Those of these documents that are wanted there."""
        return self._wanted.some(keys)

    def _reported(self, work: Callable[[], None]) -> DestinationReport:
        began = time.monotonic()
        outcome, url = self._outcome, self.there.url
        try:
            if outcome.error is None:
                work()
        except RefusedError as error:
            if not outcome.has_written:
                refused = DestinationReport.refusing(url, error, tuple(outcome.warnings))
                return replace(refused, seconds=time.monotonic() - began)
            outcome.error = StorageError(error.message, error.hint)
        except AbortRun as end:
            outcome.error = end.cause
        except MyopCdnError as error:
            outcome.error = error
        return outcome.report(
            url,
            time.monotonic() - began,
            self._invalidations.paths,
            self._invalidations.failed,
            self._called,
            self.there.since,
        )

    def _called(self, key: str) -> str:
        mine = self._wanted.some([key]).get(key)
        return self._outcome.called(key, self.there.known(key), mine.entry if mine else None)

    def _begin(self, deletes: bool) -> None:
        there, wanted, outcome, options = self.there, self._wanted, self._outcome, self._options
        self._deletions = deletions = Deletions(
            there, wanted, outcome, options, self._now, enabled=deletes
        )
        self._manifest = NextManifest(there, wanted, outcome, deletions, options, self._headers)
        self._commit = CommitWriter(
            there,
            wanted,
            outcome,
            deletions,
            self._invalidations,
            options,
            self._cause,
            self._now,
        )

    def _settle(self, source: Source) -> None:
        there, wanted = self.there, self._wanted
        todo = wanted.documents
        unlooked = set() if there.looked_at_all else todo.keys() - there.looked
        if unlooked or source.changed:
            todo = {**todo, **self._look_again(unlooked.union(source.changed))}
        for attempt in attempts(there.url, "publish again when they have finished"):
            plan = self._plan(todo)
            if attempt == 0:
                self._check(source, plan)
                if self._options.dry_run:
                    self._rehearse(plan)
                    return
                self._before(plan)
            conflicts = self._write(plan)
            if not conflicts and self._outcome.is_whole:
                conflicts = self._manifest.settle(self._writer) or self._delete()
            if not conflicts:
                self._invalidate()
                found = self._commit.write(self._catch_up)
                if found is None:
                    if self._options.wait:
                        self._invalidations.wait()
                    return
                conflicts = found
            todo = self._look_again(conflicts)

    # What others did meanwhile

    def _look_again(self, keys: Collection[str]) -> dict[str, LocalObject]:
        """See these documents, and then ask Myop for them: those that are to be settled."""
        keys = {*keys, *self._catch_up()}
        documents = keys - {MANIFEST}
        self.there.look_again(documents)
        if MANIFEST in keys:
            self.there.read_manifest()
        for key in documents:
            self._undo_if_held(key)
            self._forget_if_replaced(key)
        self._deletions.decide_again(documents)
        return self._wanted.export_again(documents)

    def _catch_up(self) -> set[str]:
        """Read the commits that others wrote since; the keys of theirs that matter here."""
        touched: dict[str, Change] = {}
        for commit in self.there.catch_up():
            touched |= commit.changes
        matter = {key for key, theirs in touched.items() if self._matters(key, theirs)}
        holds = self.there.view.state.holds
        for key, change in self._outcome.changes.items():
            hold = holds.get(key)
            if hold and change.after and change.after.sha256 == hold.sha256:
                matter.add(key)
        return matter

    def _matters(self, key: str, theirs: Change) -> bool:
        """Whether what another commit did to an object leaves something to be settled here."""
        wanted = self._wanted
        now = theirs.after.sha256 if theirs.after else ""
        mine = self._outcome.changes.get(key)
        if mine is not None and (key != MANIFEST or wanted.insists):
            return (mine.after.sha256 if mine.after else "") != now
        if not wanted.insists:
            return False
        if key == MANIFEST:
            return wanted.source.manifest is not None
        if key in wanted:
            return wanted[key].sha256 != now and key not in self._outcome.overtaken
        return bool(now) and self._deletions.matters(key)

    def _undo_if_held(self, key: str) -> None:
        """Take back what was written while somebody rolled it back: the content went and came
        back, which the service's version did not tell.
        """
        hold, there = self.there.view.state.holds.get(key), self.there.remote.get(key)
        change = self._outcome.changes.get(key)
        mine = change.after if change else None
        if hold is None or mine is None or there is None or hold.sha256 != mine.sha256:
            return
        if there.sha256 != mine.sha256:
            return
        if hold.instead:
            self._writer.restore(key, hold.instead, there.version)
        else:
            self._writer.delete(key, there)
        self.there.head([key])
        self._outcome.forget(key)

    def _forget_if_replaced(self, key: str) -> None:
        """Leave it to whoever replaced what was written here to tell the log: a commit of this
        run comes after theirs, and would say that the older content is there.
        """
        change, there = self._outcome.changes.get(key), self.there.remote.get(key)
        if change is None:
            return
        version = there.version if there else None
        if (change.after.version if change.after else None) != version:
            self._outcome.forget(key)

    # Planning

    def _plan(self, todo: Mapping[str, LocalObject]) -> Plan:
        rules = Rules(
            self._fingerprint,
            self.there.view.state.holds,
            self._wanted.insists,
            self._options.force,
            self._now(),
        )
        todo = self._inspect(todo, rules)
        plan = make_plan(todo, self.there.remote, rules)
        if plan.cached and not self._wanted.insists:
            # Asked once more; what still looks cached is left to a later run.
            todo = self._inspect({**todo, **self._wanted.export_cached(plan.cached)}, rules)
            plan = make_plan(todo, self.there.remote, rules)
        self._outcome.passes_over(plan, CACHED)
        for key in plan.unchanged:
            self._adopt(key)
        return plan

    def _inspect(self, some: Mapping[str, LocalObject], rules: Rules) -> Mapping[str, LocalObject]:
        """Find out what listing and log leave undecided; `some`, with MD5s where needed."""
        remote = self.there.remote
        some = self._wanted.with_md5s(some, remote)
        undecided = [
            key
            for key, mine in some.items()
            if (there := remote.get(key)) is not None
            and (not there.is_decided(mine, rules.headers) or needs_facts(mine, there, rules))
        ]
        if not undecided:
            return some
        self.there.head(undecided)
        return self._wanted.with_md5s(some, remote)

    def _adopt(self, key: str) -> None:
        """Take a document that is there as wanted, but that no commit tells of, into the next
        commit: a run was killed before it came to that, or another tool put it there.
        """
        there, view = self.there.remote[key], self.there.view
        before: Entry | None
        if view.objects is not None and key not in self.there.looked:
            before = view.objects.get(key)
            if before is not None and before.version in ("", there.version):
                return
        elif there.base is None or key in self._outcome.changes or not self._is_uncommitted(there):
            return
        else:
            before = None
        entry = there.entry(self._wanted[key].sha256)
        if before is None:
            # Nothing is known of what was there before, unless the object tells it.
            before = Entry(there.before) if there.before else (None if there.base else entry)
        self._outcome.adopted[key] = Change(before, self._wanted.told(key, entry))

    def _is_uncommitted(self, there: RemoteObject) -> bool:
        base, newest = there.base or 0, self.there.view.number
        if base > newest:
            return True  # the log is another one, or begins anew
        for number in range(base + 1, min(newest, base + _MOST_COMMITS) + 1):
            commit = self.there.log.commit(number)
            change = commit.changes.get(there.key) if commit else None
            if commit is None or (change and change.after and change.after.sha256 == there.sha256):
                return False  # or cleared, by a run that looked at everything
        return newest - base <= _MOST_COMMITS

    # What is refused, and what is said before anything is done

    def _check(self, source: Source, plan: Plan) -> None:
        """Raise RefusedError where safety forbids the plan."""
        if source.manifest is not None or any(up.reason == "new" for up in plan.uploads):
            self._manifest.check()
        if self._deletions.enabled:
            self._deletions.find()

    def _before(self, plan: Plan) -> None:
        """What is done once, after the plan was let through."""
        there, options, outcome = self.there, self._options, self._outcome
        for warning in (*there.view.warnings, self._repaired()):
            outcome.warn(warning)
        self._warn_of_access(plan)
        if options.cors_origins:
            try:
                if there.store.allow_origins(options.cors_origins):
                    outcome.warn(self._cors_note())
            except MyopCdnError as error:
                outcome.lasting[CORS] = error.sentence
        ignored = there.view.state.ignores_conditions
        some = next((one.version for one in there.remote.values() if one.version), None)
        writes = bool(plan.uploads or self._deletions.due)
        if ignored is None and some is not None and writes:
            ignored = not options.dry_run and self._commit.conditions_are_ignored(some)
        if ignored and writes:
            outcome.warn(CONDITIONS_IGNORED)
        self._commit.ignores_conditions = ignored
        self._writer = Writer(
            there.store,
            there.log,
            self._headers,
            self._keeper,
            unconditional=bool(ignored),
        )

    def _repaired(self) -> str | None:
        """What this run is going to mend of the log, in words; None where it is in order."""
        there = self.there
        if not there.looked_at_all:
            return None
        if there.view.objects is None:
            known = len(there.remote)
            return (
                f"the log begins anew with the {known} documents that are there" if known else None
            )
        untold = len(self._outcome.adopted) + len(there.drifted(self._outcome.changes))
        if not untold:
            return None
        return (
            f"documents that were changed without an entry in the log, and are in it now: {untold}"
        )

    def _warn_of_access(self, plan: Plan) -> None:
        """Say what a write would revoke: reading by ACL, a storage class."""
        remote, backend = self.there.remote, self.there.store.backend
        replaced = [up.key for up in plan.uploads if up.reason in ("content", "headers")]
        classes = {remote[key].storage_class for key in replaced} - {""}
        if classes and not self._options.storage_class:
            self._outcome.warn(
                f"objects of the storage class {', '.join(sorted(classes))} are replaced by ones "
                "of the usual class; --storage-class keeps it"
            )
        foreign = [key for key in replaced if remote[key].base is None]
        if self._options.acl or not foreign or not isinstance(backend, AclAware):
            return
        try:
            public = backend.is_public_by_acl(foreign[0])
        except MyopCdnError:
            return
        if public:
            self._outcome.warn(
                "objects that everybody may read by their ACL are replaced by ones without it; "
                "--acl public-read keeps that"
            )

    def _cors_note(self) -> str:
        origins = " ".join(self._options.cors_origins)
        added = "would be added" if self._options.dry_run else "was added"
        return f"{CORS}: a rule for {origins} {added}"

    def _rehearse(self, plan: Plan) -> None:
        """Note what would be done."""
        outcome = self._outcome
        self._before(plan)
        outcome.uploads = {up.key: up for up in self._wanted.named(plan.uploads)}
        outcome.unchanged -= outcome.uploads.keys()
        self._manifest.rehearse()
        outcome.deleted = set(self._deletions.due)
        self._invalidate()

    # Writing

    def _write(self, plan: Plan) -> set[str]:
        """Upload what is planned; the keys that somebody else was first at."""
        conflicts: set[str] = set()
        if not plan.uploads:
            return conflicts
        self._progress.start(f"uploading to {self.there.url}", len(plan.uploads))
        try:
            for done in run_all(self._put, plan.uploads, self._options.jobs, "put"):
                self._progress.step()
                if done.result is not None:
                    self._outcome.uploaded(done.item, done.result)
                elif isinstance(done.error, PreconditionFailed):
                    conflicts.add(done.item.key)
                elif done.error is not None:
                    self._outcome.failed[done.item.key] = done.error.message
        except AbortRun as end:
            self._outcome.error = end.cause
            return set()
        return conflicts

    def _put(self, upload: Upload) -> Change:
        key, number = upload.key, self.there.view.number
        body = self._wanted.body(key)
        mine, there = self._wanted[key], self.there.remote.get(key)
        before = ""
        if there is not None:
            before = self._writer.keep(key, there) if upload.reason == "content" else mine.sha256
        entry = mine.entry
        if there is not None and there.facts is not None:
            entry = _carried(entry, there.facts, mine.variants)
        since = there.since(entry.variant) if there is not None else 0
        entry = entry._replace(
            sha256=mine.sha256,
            headers=self._fingerprint,
            name=entry.name or upload.name,
            since=since or int(self._now().timestamp()),
        )
        metadata = metadata_of(entry, number, before)
        version = self._writer.put(key, body, metadata, there.version if there else None)
        after = entry._replace(version=version)
        self.there.remote[key] = RemoteObject(
            key,
            len(body.data),
            version,
            sha256=body.sha256,
            headers=self._fingerprint,
            facts=after,
            base=number,
            before=before,
            is_ours=True,
            was_asked=True,
        )
        return Change(there.entry(before) if there else None, after)

    def _delete(self) -> set[str]:
        """Delete what is due; the keys that somebody else was first at, or that are back at Myop.

        Whoever published one of them in between may have found it there as it was to be, and have
        done nothing. So Myop is asked once more when it is gone: what it has by then is put back,
        and who publishes it later finds that it is not there.
        """
        before = set(self._outcome.deleted)
        conflicts = self._deletions.carry_out(self._writer, self._progress)
        return conflicts | self._wanted.named_again(self._outcome.deleted - before)

    def _invalidate(self) -> None:
        outcome, there = self._outcome, self.there
        keys = {*outcome.uploads, *outcome.deleted, *outcome.touched}
        if there.cdns:
            keys |= outcome.adopted.keys() | there.drifted(outcome.changes)
            if there.looked_at_all and there.view.objects is None:
                # What changed without a commit is not known.
                keys |= {*there.remote, *([MANIFEST] if there.seen_manifest.blob else [])}
        hold = bool(outcome.lasting.keys() - {CORS}) or not outcome.is_whole
        self._invalidations.send(there.cdns, keys, there.view.state.owed, there.url, hold=hold)


def _carried(entry: Entry, facts: Entry, variants: Sequence[str]) -> Entry:
    """With what was announced for the document before, while it still holds that variant."""
    if entry.announced or not facts.announced or facts.variant not in variants:
        return entry
    return entry._replace(
        variant=facts.variant,
        variant_name=facts.variant_name,
        announced=facts.announced,
    )
