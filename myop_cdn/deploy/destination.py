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

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from myop_cdn.deploy.invalidation import Invalidations
from myop_cdn.deploy.log import (
    CHECKPOINT_EVERY,
    RECENT,
    Cause,
    Change,
    Checkpoint,
    Commit,
    Entry,
    State,
    View,
    describe,
    moment,
    new_id,
    written,
)
from myop_cdn.deploy.next_manifest import (
    ManifestThere,
    merged,
    older_than_there,
    with_names,
    with_others,
    without,
)
from myop_cdn.deploy.plan import (
    HELD,
    LATER,
    Rules,
    check_limit,
    check_manifest,
    make_plan,
    may_delete,
    needs_facts,
)
from myop_cdn.deploy.remote import RemoteObject, fingerprint, metadata_of
from myop_cdn.deploy.source import content_encoding, decoded, encoded
from myop_cdn.deploy.writes import AbortRun, Writer, run_all
from myop_cdn.document import Document
from myop_cdn.errors import (
    DocumentError,
    MyopCdnError,
    PreconditionFailed,
    RefusedError,
    StorageError,
)
from myop_cdn.manifest import Manifest
from myop_cdn.model import COMPONENTS, MANIFEST, DocumentRef
from myop_cdn.report import DestinationReport, FailedKey, Overtaken, Upload
from myop_cdn.storage.base import AclAware, Blob, Body, Headers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.plan import Plan
    from myop_cdn.deploy.source import LocalObject, Source
    from myop_cdn.deploy.target import Target
    from myop_cdn.progress import Progress
    from myop_cdn.storage.base import ObjectInfo

    AskAgain = Callable[[Collection[str]], Mapping[str, LocalObject]]

ROUNDS = 40  # each one lost means that somebody else got something through
LONGEST_PAUSE_SECONDS = 2.0
CORS = "CORS"
LOG = "the destination's log"
CACHED = (
    "Myop's answer holds another variant than was announced and published within the last ten "
    "minutes, so it is taken for a cached one"
)
CONDITIONS_IGNORED = (
    "the service ignores conditional writes, so it can't keep two deploys at once apart; "
    "run one at a time"
)
_MOST_FOREIGN_BYTES = 16 * 2**20  # an object that may be a document is read up to that size
_MOST_DESCRIBED = 100  # documents that are parsed to say which component they are of
_MOST_COMMITS = 10  # that are read to find the one which wrote a document


class Destination:
    """The steps of one deploy at one destination, with what they share."""

    def __init__(
        self,
        target: Target,
        options: DeployOptions,
        cause: Cause,
        progress: Progress,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store = target.store
        self.log = target.log
        self.cdns = target.cdns
        self.is_folder = target.is_folder
        self.options = options
        self.cause = cause
        self.progress = progress
        self.now = now
        self.headers = Headers(
            cache_control=options.cache_control,
            content_encoding=content_encoding(options.encoding),
        )
        self.fingerprint = fingerprint(self.headers) if self.store.keeps_headers else None
        # What is there:
        self.remote: dict[str, RemoteObject] = {}
        self.view = View()
        self.manifest: ManifestThere | None = None
        self.first_manifest: Manifest | None = None
        self.contested = False  # somebody else changed the manifest meanwhile
        self.looked_at_all = False
        self.looked: set[str] = set()  # at these documents one by one
        self.between: list[Commit] = []  # by others, after the first look
        # What is to be:
        self.source: Source | None = None
        self.wanted: dict[str, LocalObject] = {}
        self.ask_again: AskAgain | None = None
        self.deletes = False
        self.due: set[str] = set()
        self.gone: dict[str, str] = {}  # since when
        self.theirs: set[str] = set()  # documents that Myop does not have any more
        # What came of it:
        self.changes: dict[str, Change] = {}
        self.uploads: dict[str, Upload] = {}
        self.adopted: dict[str, Change] = {}
        self.unchanged: set[str] = set()
        self.overtaken: dict[str, Overtaken] = {}
        self.deleted: set[str] = set()
        self.failed: dict[str, str] = {}
        self.lasting: dict[str, str] = {}
        self.invalidations = Invalidations()
        self.ignores_conditions: bool | None = None
        self.warnings: list[str] = []
        self.error: MyopCdnError | None = None
        self.commit: Commit | None = None

    # The look

    def look(self, refs: Sequence[DocumentRef] | None) -> None:
        """See what is there: of these documents, or (None) of all. An error is kept for the
        report.
        """
        try:
            if refs is None:
                self._look_at_all()
            else:
                self._look_at([ref.path for ref in refs])
        except MyopCdnError as error:
            self.error = error

    def _look_at(self, keys: Sequence[str]) -> None:
        def look(key: str | None) -> ObjectInfo | View | None:
            return self.log.newest() if key is None else self.store.head(key)

        for done in run_all(look, [None, *keys], self.options.jobs + 1, "look"):
            if done.error is not None:
                raise done.error
            if isinstance(done.result, View):
                self.view = done.result
            elif done.item is not None:
                self.looked.add(done.item)
                self._saw(done.item, done.result)

    def _look_at_all(self) -> None:
        with ThreadPoolExecutor(3, "look") as pool:
            objects = pool.submit(self.store.list, f"{COMPONENTS}/")
            log = pool.submit(self.log.everything, self.options.jobs)
            manifest = pool.submit(self._read_manifest)
            listed = [one for one in objects.result() if DocumentRef.of(one.key) is not None]
            unversioned = [one.key for one in listed if not one.version]
            self._head(unversioned)
            self.view = log.result()
            self.first_manifest = manifest.result().manifest
        entries, as_of = self.view.objects or {}, self.view.as_of
        for one in listed:
            if one.version:
                seen = RemoteObject.of(one, hash_is_proof=not self.is_folder)
                self.remote[one.key] = seen.with_entry(entries.get(one.key), as_of.get(one.key))
        self.looked_at_all = True

    def _head(self, keys: Collection[str]) -> None:
        for done in run_all(self.store.head, keys, self.options.jobs, "head"):
            if done.error is not None:
                raise done.error
            self._saw(done.item, done.result)

    def _saw(self, key: str, info: ObjectInfo | None) -> None:
        if info is None:
            self.remote.pop(key, None)
        else:
            self.remote[key] = RemoteObject.of(info, hash_is_proof=not self.is_folder)

    def _read_manifest(self) -> ManifestThere:
        """Read the manifest that is there."""
        there = ManifestThere.of(self.store.get(MANIFEST))
        # When it was asked for matters to a folder that may be old; whose it is, where it is none.
        if there.blob is not None and (self.ask_again is None or there.problem):
            info = self.store.head(MANIFEST)
            if info is not None and info.version == there.blob.version:
                seen = RemoteObject.of(info, hash_is_proof=not self.is_folder)
                asked = seen.facts.asked if seen.facts else 0
                there = replace(there, is_ours=seen.is_ours, asked=asked)
        self.manifest = there
        return there

    # The work

    def bring(self, source: Source, ask_again: AskAgain | None = None) -> DestinationReport:
        """Bring the destination up to the source. Whatever goes wrong there is in the report.

        ask_again: exports these documents (by key) once more and returns those that Myop has;
        None where Myop can't be asked.
        """
        began = time.monotonic()
        self.source, self.ask_again = source, ask_again
        self.wanted = dict(source.documents)
        self.lasting = dict(source.broken)
        try:
            if self.error is None:
                self._settle(source)
        except RefusedError as error:
            if not self._has_written:
                refused = DestinationReport.refusing(self.store.url, error, tuple(self.warnings))
                return replace(refused, seconds=time.monotonic() - began)
            self.error = StorageError(error.message, error.hint)
        except AbortRun as end:
            self.error = end.cause
        except MyopCdnError as error:
            self.error = error
        return self._report(time.monotonic() - began)

    @property
    def _has_written(self) -> bool:
        return bool(self.uploads or self.deleted)

    @property
    def _is_whole(self) -> bool:
        return not self.failed and self.error is None

    def _settle(self, source: Source) -> None:
        self.deletes, note = may_delete(source, self.options)
        self._warn(note)
        todo = dict(self.wanted)
        unlooked = {key for key in todo if not self.looked_at_all and key not in self.looked}
        if unlooked or source.changed:
            todo |= self._look_again(unlooked.union(source.changed))
        for attempt in range(ROUNDS):
            if attempt:
                self._pause(attempt)
            plan = self._plan(todo)
            if attempt == 0:
                self._check(source, plan)
                if self.options.dry_run:
                    self._rehearse(plan, source)
                    return
                self._before(plan)
            conflicts = self._write(plan)
            if not conflicts and self._is_whole:
                conflicts = self._settle_manifest(source) or self._delete()
            if not conflicts:
                self._invalidate()
                found = self._commit()
                if found is None:
                    if self.options.wait:
                        self.invalidations.wait()
                    return
                conflicts = found
            todo = self._look_again(conflicts)
        raise StorageError(
            f"{self.store.url}: others kept publishing there, {ROUNDS} times over",
            "publish again when they have finished",
        )

    def _look_again(self, keys: Collection[str]) -> dict[str, LocalObject]:
        """See these documents, and then ask Myop for them: those that are to be settled."""
        keys = {*keys, *self._catch_up()}
        documents = keys - {MANIFEST}
        self._head(documents)
        self.looked |= documents
        if MANIFEST in keys:
            self._read_manifest()
        for key in documents:
            self._undo_if_held(key)
        if self.ask_again is None:
            self._decide_deletions_again(documents)
            return {key: self.wanted[key] for key in documents if key in self.wanted}
        answers = self.ask_again(documents) if documents else {}
        for key in documents - answers.keys():
            self.theirs.add(key)
            self.wanted.pop(key, None)
        self.due -= documents  # somebody else put it there meanwhile: it is not gone
        self.wanted |= answers
        return dict(answers)

    def _catch_up(self) -> set[str]:
        """Read the commits that others wrote since; the keys of theirs that matter here."""
        number, newer = self.log.since(self.view.number)
        if number <= self.view.number:
            return set()
        self.between += newer
        newest = newer[-1] if newer and newer[-1].number == number else None
        state = self.log.state_of(newest) if newest else self.view.state
        self.view = replace(self.view, newest=newest, number=number, state=state)
        touched: dict[str, Change] = {}
        for commit in newer:
            touched |= commit.changes
        matter = {key for key, theirs in touched.items() if self._matters(key, theirs)}
        for key, change in self.changes.items():
            hold = state.holds.get(key)
            if hold and change.after and change.after.sha256 == hold.sha256:
                matter.add(key)
        return matter

    def _matters(self, key: str, theirs: Change) -> bool:
        """Whether what another commit did to an object leaves something to be settled here."""
        now = theirs.after.sha256 if theirs.after else ""
        mine = self.changes.get(key)
        if mine is not None and (key != MANIFEST or self._insists()):
            return (mine.after.sha256 if mine.after else "") != now
        if not self._insists() or self.source is None:
            return False
        if key == MANIFEST:
            return self.source.manifest is not None
        wanted, ref = self.wanted.get(key), DocumentRef.of(key)
        if wanted is not None:
            return wanted.sha256 != now and key not in self.overtaken
        return bool(now and self.deletes and ref and self.options.wants(ref.environment))

    def _insists(self) -> bool:
        """Whether this is a folder that somebody wants there as a whole."""
        return self.ask_again is None

    def _undo_if_held(self, key: str) -> None:
        """Take back what was written while somebody rolled it back: the content went and came
        back, which the service's version did not tell.
        """
        hold, change, there = self.view.state.holds.get(key), self.changes.get(key), self.remote
        mine = change.after if change else None
        if hold is None or mine is None or hold.sha256 != mine.sha256 or key not in there:
            return
        if there[key].sha256 != mine.sha256:
            return
        if hold.instead:
            self.writer.restore(key, hold.instead, there[key].version)
        else:
            self.writer.delete(key, there[key])
        self._head([key])
        del self.changes[key]
        self.uploads.pop(key, None)

    def _decide_deletions_again(self, keys: Iterable[str]) -> None:
        """Which of the documents that others touched a whole tree insists on taking away."""
        for key in keys:
            if key in self.wanted or not self.deletes or self.source is None:
                continue
            there, ref = self.remote.get(key), DocumentRef.of(key)
            is_later = there and there.facts and there.facts.asked > self.source.asked > 0
            if there and ref and self.options.wants(ref.environment) and not is_later:
                self.due.add(key)
            else:
                self.due.discard(key)

    # Planning

    def _rules(self) -> Rules:
        return Rules(
            self.fingerprint,
            self.view.state.holds,
            self.ask_again is None,
            self.options.force,
            self.now(),
        )

    def _plan(self, todo: Mapping[str, LocalObject]) -> Plan:
        rules = self._rules()
        todo = self._inspect(todo, rules)
        plan = make_plan(todo, self.remote, rules)
        if plan.cached and self.ask_again is not None:
            # Asked once more; what still looks cached is left to a later run.
            answers = dict(self.ask_again(plan.cached))
            self.wanted |= answers
            todo = self._inspect({**todo, **answers}, rules)
            plan = make_plan(todo, self.remote, rules)
        for key in plan.cached:
            self.overtaken[key] = Overtaken(key, CACHED)
        for one in plan.overtaken:
            self.overtaken[one.key] = one
        for key in plan.unchanged:
            self.overtaken.pop(key, None)
            self._adopt(key)
        self.unchanged |= {*plan.unchanged}
        return plan

    def _inspect(
        self, wanted: Mapping[str, LocalObject], rules: Rules
    ) -> Mapping[str, LocalObject]:
        """Find out what listing and log leave undecided; `wanted`, its MD5s where needed."""
        wanted = self._with_md5s(wanted)
        asked = [
            key
            for key, mine in wanted.items()
            if (there := self.remote.get(key)) is not None
            and (not there.is_decided(mine, rules.headers) or needs_facts(mine, there, rules))
        ]
        if not asked:
            return wanted
        self._head(asked)
        return self._with_md5s(wanted)

    def _with_md5s(self, wanted: Mapping[str, LocalObject]) -> Mapping[str, LocalObject]:
        keys = [
            key
            for key, mine in wanted.items()
            if (there := self.remote.get(key)) is not None and there.lacks_md5(mine)
        ]
        if not keys:
            return wanted
        hashed = dict(wanted)
        for done in run_all(lambda key: self._body(key).md5, keys, self.options.jobs, "hash"):
            # A file that can't be read any more stays undecided: its upload will say why.
            if done.error is None:
                hashed[done.item] = replace(wanted[done.item], md5=done.result)
                if done.item in self.wanted:
                    self.wanted[done.item] = hashed[done.item]
        return hashed

    def _body(self, key: str) -> Body:
        assert self.source is not None  # there is one when there is something to do
        return self.source.body(self.wanted[key])

    def _adopt(self, key: str) -> None:
        """Take a document that is there as wanted, but that no commit tells of, into the next
        commit: a run was killed before it came to that, or another tool put it there.
        """
        there = self.remote[key]
        sha256 = self.wanted[key].sha256
        entry = there.entry(sha256)
        before: Entry | None
        if self.view.objects is not None and key not in self.looked:
            known = self.view.objects.get(key)
            if known is not None and known.version in ("", there.version):
                return
            before = known
        elif there.base is None or key in self.changes or not self._is_uncommitted(there):
            return
        else:
            before = None
        if before is None:
            # Nothing is known of what was there before, unless the object tells it.
            before = Entry(there.before) if there.before else (None if there.base else entry)
        self.adopted[key] = Change(before, entry)

    def _is_uncommitted(self, there: RemoteObject) -> bool:
        base = there.base or 0
        if base > self.view.number:
            return True  # the log is another one, or begins anew
        for number in range(base + 1, min(self.view.number, base + _MOST_COMMITS) + 1):
            commit = self.log.commit(number)
            change = commit.changes.get(there.key) if commit else None
            if commit is None or (change and change.after and change.after.sha256 == there.sha256):
                return False  # or cleared, by a run that looked at everything
        return self.view.number - base <= _MOST_COMMITS

    # What is refused, and what is said before anything is done

    def _check(self, source: Source, plan: Plan) -> None:
        """Raise RefusedError where safety forbids the plan."""
        if source.manifest is not None or any(up.reason == "new" for up in plan.uploads):
            self._check_manifest(source)
        if self.deletes:
            self._find_deletions(source)
            there = {key for key in self.remote if key in self.wanted or key in self.gone}
            recent = self.view.state.removed_since(self.now() - RECENT)
            check_limit(self.due, there, recent, self.options)

    def _check_manifest(self, source: Source) -> None:
        there = self.manifest or self._read_manifest()
        known = (self.view.objects or {}).get(MANIFEST)
        if there.problem and not there.is_ours and known is None:
            raise RefusedError(
                f"{self.store.url} holds a {MANIFEST} that is not Myop's ({there.problem})",
                f"nothing was changed; give the documents a prefix of their own: "
                f"{self.store.url}/myop",
            )
        if source.manifest is not None and there.manifest is not None:
            own = with_others(source.manifest, there.manifest, self.options)
            if not self._manifest_is_later(there, source):
                check_manifest(there.refs.difference(own.all_refs()), there.refs, self.options)

    def _find_deletions(self, source: Source) -> None:
        """Which documents are gone from the tree, since when, and which of them are due."""
        gone = []
        for key in sorted(self.remote):
            ref = DocumentRef.of(key)
            if ref and key not in self.wanted and self.options.wants(ref.environment):
                gone.append(key)
        ours = self._ours(gone)
        for key in ours:
            there = self.remote[key]
            hold = self.view.state.holds.get(key)
            if hold is not None and not hold.sha256:
                self.overtaken[key] = Overtaken(key, HELD)
            elif self.ask_again is None and there.facts and there.facts.asked > source.asked > 0:
                self.overtaken[key] = Overtaken(key, LATER)
            else:
                self.gone[key] = self.view.state.gone.get(key) or written(self.now())
        deadline = self.now() - self.options.delete_after
        self.due = {key for key, since in self.gone.items() if _is_before(since, deadline)}

    def _ours(self, keys: Sequence[str]) -> list[str]:
        """Those of these objects that this tool put there: its log or their metadata says so,
        or they parse as Myop's documents (another tool brought them, `aws s3 sync` for one).
        """
        unsure = [key for key in keys if not self.remote[key].is_ours or self._insists()]
        self._head([key for key in unsure if not self.remote[key].facts])
        foreign = set()

        def is_document(key: str) -> bool:
            ref = DocumentRef.of(key)
            assert ref is not None  # only such keys are asked about
            if self.remote[key].size > _MOST_FOREIGN_BYTES:
                return False
            blob = self.store.get(key)
            try:
                return blob is not None and bool(Document.parse(ref, decoded(blob)))
            except (DocumentError, StorageError):
                return False

        asked = [key for key in keys if key in self.remote and not self.remote[key].is_ours]
        for done in run_all(is_document, asked, self.options.jobs, "get"):
            if done.error is not None:
                raise done.error
            if not done.result:
                foreign.add(done.item)
        return [key for key in keys if key in self.remote and key not in foreign]

    def _before(self, plan: Plan) -> None:
        """What is done once, after the plan was let through."""
        for warning in self.view.warnings:
            self._warn(warning)
        self._warn_of_access(plan)
        if self.options.cors_origins:
            try:
                if self.store.allow_origins(self.options.cors_origins):
                    self._warn(self._cors_note())
            except MyopCdnError as error:
                self.lasting[CORS] = describe(error)
        ignored = self.view.state.ignores_conditions
        some = next((one.version for one in self.remote.values() if one.version), None)
        if ignored is None and some is not None and (plan.uploads or self.due):
            ignored = not self.options.dry_run and self._conditions_are_ignored(some)
        if ignored and (plan.uploads or self.due):
            self._warn(CONDITIONS_IGNORED)
        self.ignores_conditions = ignored
        self.writer = Writer(
            self.store,
            self.log,
            self.headers,
            keeps_history=not self.options.history.keeps_nothing,
            unconditional=bool(ignored),
        )

    def _conditions_are_ignored(self, version: str | None) -> bool:
        if self.log.store is not self.store:
            version = None  # of another service
        return self.log.ignores_conditions(version)

    def _warn_of_access(self, plan: Plan) -> None:
        """Say what a write would revoke: reading by ACL, a storage class."""
        replaced = [up.key for up in plan.uploads if up.reason in ("content", "headers")]
        classes = {self.remote[key].storage_class for key in replaced} - {""}
        if classes and not self.options.storage_class:
            self._warn(
                f"objects of the storage class {', '.join(sorted(classes))} are replaced by ones "
                "of the usual class; --storage-class keeps it"
            )
        backend = self.store.backend
        foreign = [key for key in replaced if self.remote[key].base is None]
        if self.options.acl or not foreign or not isinstance(backend, AclAware):
            return
        try:
            public = backend.is_public_by_acl(foreign[0])
        except MyopCdnError:
            return
        if public:
            self._warn(
                "objects that everybody may read by their ACL are replaced by ones without it; "
                "--acl public-read keeps that"
            )

    def _cors_note(self) -> str:
        origins = " ".join(self.options.cors_origins)
        added = "would be added" if self.options.dry_run else "was added"
        return f"{CORS}: a rule for {origins} {added}"

    def _rehearse(self, plan: Plan, source: Source) -> None:
        """Note what would be done."""
        self._before(plan)
        self.uploads = {up.key: up for up in self._named(plan.uploads)}
        self.unchanged -= self.uploads.keys()
        data, problem = self._next_manifest(source)
        if problem:
            self.failed[MANIFEST] = problem
        elif data is not None and self._differs(data):
            self.uploads[MANIFEST] = Upload(MANIFEST, "manifest")
        elif data is not None:
            self.unchanged.add(MANIFEST)
        self.deleted = set(self.due)
        self._invalidate()

    # Writing

    def _write(self, plan: Plan) -> set[str]:
        """Upload what is planned; the keys that somebody else was first at."""
        conflicts: set[str] = set()
        if not plan.uploads:
            return conflicts
        uploads = self._named(plan.uploads)
        self.progress.start(f"uploading to {self.store.url}", len(uploads))
        try:
            for done in run_all(self._put, uploads, self.options.jobs, "put"):
                self.progress.step()
                key = done.item.key
                if done.result is not None:
                    self.uploads.setdefault(key, done.item)
                    self.overtaken.pop(key, None)
                    self.failed.pop(key, None)
                    self.unchanged.discard(key)
                    self._note(key, done.result)
                elif isinstance(done.error, PreconditionFailed):
                    conflicts.add(key)
                elif done.error is not None:
                    self.failed[key] = done.error.message
        except AbortRun as end:
            self.error = end.cause
            return set()
        return conflicts

    def _put(self, upload: Upload) -> Change:
        key, mine, there = upload.key, self.wanted[upload.key], self.remote.get(upload.key)
        body = self._body(key)
        before = ""
        if there is not None:
            before = self.writer.keep(key, there) if upload.reason == "content" else mine.sha256
        entry = replace(mine.entry, headers=self.fingerprint)
        if there is not None and there.facts is not None:
            entry = _carried(entry, there.facts, mine.variants)
        entry = replace(entry, name=entry.name or upload.name)
        metadata = metadata_of(entry, self.view.number, before)
        version = self.writer.put(key, body, metadata, there.version if there else None)
        after = replace(entry, version=version)
        self.remote[key] = RemoteObject(
            key,
            len(body.data),
            version,
            sha256=body.sha256,
            headers=self.fingerprint,
            facts=after,
            base=self.view.number,
            before=before,
            is_ours=True,
            was_asked=True,
        )
        return Change(there.entry(before) if there else None, after)

    def _note(self, key: str, change: Change) -> None:
        """Remember a change, on top of what this run changed there before."""
        earlier = self.changes.get(key)
        self.changes[key] = replace(change, before=earlier.before) if earlier else change
        self.adopted.pop(key, None)

    def _named(self, uploads: Sequence[Upload]) -> Sequence[Upload]:
        """With the components' names where the folder's note does not have them."""
        nameless = [up.key for up in uploads if not self.wanted[up.key].entry.name]
        if not nameless or self.source is None:
            return uploads
        manifest = self.source.manifest
        names = {one.id: one.name for one in manifest.entries} if manifest else {}
        for key in nameless:
            mine, ref = self.wanted[key], DocumentRef.of(key)
            said = self.source.described(key) if len(nameless) <= _MOST_DESCRIBED else None
            name = names.get(ref.component_id, "") if ref else ""
            entry = replace(said or mine.entry, sha256=mine.sha256, asked=mine.entry.asked)
            self.wanted[key] = replace(mine, entry=replace(entry, name=entry.name or name))
        entries = {up.key: self.wanted[up.key].entry for up in uploads}
        return [
            replace(up, name=entries[up.key].name or up.name, after=entries[up.key].label)
            for up in uploads
        ]

    # The manifest

    def _manifest_is_later(self, there: ManifestThere, source: Source) -> bool:
        """Whether the manifest there knows more than a folder that was exported before."""
        may_be_old = self.ask_again is None and not self.options.force
        return may_be_old and there.manifest is not None and there.asked > source.asked > 0

    def _next_manifest(self, source: Source) -> tuple[bytes | None, str | None]:
        """The manifest to put (None: leave it), or why it has to be withheld."""
        if source.broken:
            return None, None
        gone = {ref for key in self.due if (ref := DocumentRef.of(key))}
        if source.manifest is not None:
            there = self.manifest or self._read_manifest()
            if not self._manifest_is_later(there, source):
                return self._own_manifest(source, source.manifest, there)
        listed = self._to_be_listed()
        if not listed and not gone:
            return None, None
        there = self.manifest or self._read_manifest()
        if there.blob is None:
            return None, None
        if there.manifest is None:
            self._warn(f"the destination's {MANIFEST} was left as it is: {there.problem}")
            return None, None
        names = {
            ref.component_id: self.wanted[ref.path].entry.name
            for ref in listed
            if ref.path in self.wanted
        }
        manifest = with_names(without(there.manifest, gone), listed, names)
        if manifest is there.manifest:
            return decoded(there.blob), None
        return manifest.dump(), None

    def _own_manifest(
        self, source: Source, own: Manifest, there: ManifestThere
    ) -> tuple[bytes | None, str | None]:
        """A whole tree's own manifest, with what others added meanwhile."""
        present = {*self.remote, *self.uploads}
        lost = [key for key in source.missing if key not in present]
        if lost:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            return None, (
                f"not uploaded: it names {lost[0]}{more}, which is neither in the tree "
                "nor at the destination"
            )
        manifest = with_others(own, there.manifest, self.options) if there.manifest else own
        absent = {
            ref
            for ref in manifest.all_refs()
            if ref.path in self.theirs or (ref.path not in present and ref.path in self.overtaken)
        }
        if self.ask_again is not None and self.contested:
            manifest = merged(manifest, self.first_manifest, there.manifest, absent)
        else:
            manifest = without(manifest, absent)
        return (source.manifest_data if manifest is own else manifest.dump()), None

    def _to_be_listed(self) -> list[DocumentRef]:
        """The documents of this run that a manifest may lack: they were not there before, or
        nobody knows whether the run that brought them came to the manifest.
        """
        new = [key for key, one in self.changes.items() if one.before is None and one.after]
        keys = sorted({*new, *self.adopted})
        if self.options.dry_run:
            keys = sorted({*keys, *(up.key for up in self.uploads.values() if up.reason == "new")})
        return [ref for key in keys if (ref := DocumentRef.of(key))]

    def _settle_manifest(self, source: Source) -> set[str]:
        """Put the manifest where it has to be another; the documents that have to be settled
        again before it can be true.
        """
        for attempt in range(ROUNDS):
            if attempt:
                self._pause(attempt)
            data, problem = self._next_manifest(source)
            if problem:
                self.failed[MANIFEST] = problem
            if data is None or not self._differs(data):
                if data is not None:
                    self.unchanged.add(MANIFEST)
                return set()
            try:
                self._put_manifest(data, source)
            except PreconditionFailed:
                seen = self.manifest.refs if self.manifest else set()
                self.contested = True
                there = self._read_manifest()
                if self.ask_again is not None and source.manifest is not None:
                    away = {ref.path for ref in seen.difference(there.refs)} & self.wanted.keys()
                    if away:
                        return away
                continue
            except MyopCdnError as error:
                self.failed[MANIFEST] = error.message
            return set()
        raise StorageError(f"{self.store.url}: {MANIFEST} was changed {ROUNDS} times over")

    def _differs(self, data: bytes) -> bool:
        there = self.manifest
        if there is None or there.blob is None:
            return True
        same_headers = self.fingerprint in (None, fingerprint(there.blob.headers))
        return there.blob.data != encoded(data, self.options.encoding) or not same_headers

    def _put_manifest(self, data: bytes, source: Source) -> None:
        there = self.manifest or ManifestThere()
        if there.blob is not None and source.manifest is not None and MANIFEST not in self.uploads:
            self._warn(older_than_there(source.manifest, there))
        body = Body.of(encoded(data, self.options.encoding))
        asked = source.asked
        if source.manifest is None or self._manifest_is_later(there, source):
            new = [one.after.asked for one in self.changes.values() if one.after]
            asked = max(there.asked, 0, *new)
        entry = Entry(body.sha256, headers=self.fingerprint, asked=asked)
        metadata = metadata_of(entry, self.view.number, "")
        version = self.writer.put(MANIFEST, body, metadata, there.version)
        before = Entry(Body.of(there.blob.data).sha256) if there.blob else None
        self._note(MANIFEST, Change(before, replace(entry, version=version)))
        same = there.blob is not None and there.blob.data == body.data
        self.uploads.setdefault(MANIFEST, Upload(MANIFEST, "headers" if same else "manifest"))
        self.unchanged.discard(MANIFEST)
        blob = Blob(body.data, version, self.headers)
        self.manifest = ManifestThere(blob, Manifest.parse(data), "", True, asked)

    # Deletions

    def _delete(self) -> set[str]:
        """Delete what is due; the keys that somebody else was first at."""
        due = sorted(self.due - self.deleted)
        if not due:
            return set()
        check_limit(
            self.due | self.deleted,
            {key for key in self.remote if key in self.wanted or key in self.gone} | self.deleted,
            self.view.state.removed_since(self.now() - RECENT),
            self.options,
        )
        # Whoever named one of them again meanwhile has it: a manifest is never to name in vain.
        info = self.store.head(MANIFEST)
        if (info.version if info else None) != (self.manifest.version if self.manifest else None):
            named = {ref.path for ref in self._read_manifest().refs}
            if again := named.intersection(due):
                return again
        conflicts: set[str] = set()
        self.progress.start(f"deleting at {self.store.url}", len(due))
        try:
            for done in run_all(self._delete_one, due, self.options.jobs, "delete"):
                self.progress.step()
                if done.result is not None:
                    self.deleted.add(done.item)
                    self.remote.pop(done.item, None)
                    self._note(done.item, done.result)
                elif isinstance(done.error, PreconditionFailed):
                    conflicts.add(done.item)
                elif done.error is not None:
                    self.failed[done.item] = done.error.message
        except AbortRun as end:
            self.error = end.cause
            return set()
        return conflicts

    def _delete_one(self, key: str) -> Change:
        there = self.remote[key]
        sha256 = self.writer.keep(key, there)
        self.writer.delete(key, there)
        return Change(there.entry(sha256), None)

    # The CDNs and the log

    def _invalidate(self) -> None:
        keys = {*self.uploads, *self.deleted}
        if self.cdns:
            keys |= self.adopted.keys() | self._drifted()
        hold = bool(self.lasting.keys() - {CORS}) or not self._is_whole
        self.invalidations.send(self.cdns, keys, self.view.state.owed, self.store.url, hold=hold)

    def _drifted(self) -> set[str]:
        """Keys that changed without a commit, as far as a look at everything tells."""
        if not self.looked_at_all:
            return set()
        if self.view.objects is None:
            return {*self.remote, *([MANIFEST] if self.manifest and self.manifest.blob else [])}
        return {
            key for key in self.view.objects if key != MANIFEST and self._is_missing(key)
        } - self.deleted

    def _is_missing(self, key: str) -> bool:
        return key not in self.remote and key not in self.changes

    def _commit(self) -> set[str] | None:
        """Tell the log. None: it knows all, or had nothing to be told; else the documents that
        others touched since they were looked at, and that have to be settled before.
        """
        try:
            for attempt in range(ROUNDS):
                if attempt:
                    self._pause(attempt)
                commit = self._next_commit()
                if commit is None:
                    break
                if self.log.append(commit):
                    self.commit = commit
                    break
                conflicts = self._catch_up()
                if conflicts and self.error is None:
                    return conflicts
            else:
                self.failed[LOG] = "others kept publishing there"
            if self.commit is not None and self.looked_at_all and self._is_whole:
                self._tend_log(self.commit)
        except MyopCdnError as error:
            if self.error is None:
                self.failed[LOG] = error.message
        return None

    def _next_commit(self) -> Commit | None:
        """The commit to write now, None where there is nothing to tell."""
        changes = {**self.adopted, **self.changes}
        if self.looked_at_all and self.view.objects is not None:
            for key, entry in self.view.objects.items():
                if key != MANIFEST and self._is_missing(key):
                    changes.setdefault(key, Change(entry, None))
        state = self._next_state(self.view.state)
        anew = self.view.number == 0 or (self.looked_at_all and self.view.objects is None)
        takes_over = self.view.objects is None or self.view.old
        begins = self.looked_at_all and takes_over and self.error is None
        nothing_there = not (self.remote or (self.manifest and self.manifest.blob))
        if not changes and state == self.view.state and (not begins or nothing_there):
            return None
        if state.ignores_conditions is None:
            some = next((one.after.version for one in changes.values() if one.after), None)
            state = replace(state, ignores_conditions=self._conditions_are_ignored(some))
            if state.ignores_conditions:
                self._warn(CONDITIONS_IGNORED)
        number = self.view.number + 1
        return Commit(number, new_id(), self.now(), self.cause, changes, state, anew)

    def _next_state(self, before: State) -> State:
        """What the next commit carries: what the newest does, and what this run did."""
        holds = dict(before.holds)
        for key, change in self.changes.items():
            hold = holds.get(key)
            if hold and (change.after.sha256 if change.after else "") != hold.sha256:
                del holds[key]
        gone = dict(before.gone)
        if self.deletes and self._is_whole:
            gone = {key: at for key, at in gone.items() if not self._was_exported(key)}
            gone |= {key: at for key, at in self.gone.items() if key not in self.deleted}
        removed = before.removed
        if self.deleted:
            now = self.now()
            since = (now - RECENT).timestamp()
            kept = tuple(one for one in removed if one[0] > since)
            removed = (*kept, (int(now.timestamp()), len(self.deleted)))
        ignores = before.ignores_conditions
        return State(
            holds,
            self.invalidations.still_owed(before.owed),
            gone,
            removed,
            self.ignores_conditions if ignores is None else ignores,
        )

    def _was_exported(self, key: str) -> bool:
        ref = DocumentRef.of(key)
        return ref is None or self.options.wants(ref.environment)

    def _tend_log(self, commit: Commit) -> None:
        """Write a checkpoint where that is due, and clear what is not to be kept any longer."""
        view, base = self.view, self.view.checkpoint or 0
        whole = view.objects is not None
        begins = not whole and (view.number > 0 or bool(self.remote.keys() - commit.changes.keys()))
        if not (view.old or begins or commit.number - base >= CHECKPOINT_EVERY):
            return
        kept = self.log.clear(commit, self.options.history, self.options.jobs, view.kept)
        self.log.write_checkpoint(Checkpoint(commit.number, self._objects(commit), kept))
        if view.old:
            self.log.drop_old_ledger()

    def _objects(self, commit: Commit) -> dict[str, Entry]:
        """All objects as of this run's commit."""
        objects = dict(self.view.objects or {})
        for key, there in self.remote.items():
            known = objects.get(key)
            mine = self.wanted.get(key)
            sha256 = there.sha256 or (mine.sha256 if mine and key in self.unchanged else "")
            if sha256 and (known is None or known.version != there.version):
                objects[key] = there.entry(sha256)
        for one in (*self.between, commit):
            for key, change in one.changes.items():
                if change.after is None:
                    objects.pop(key, None)
                else:
                    objects[key] = change.after
        return objects

    # The report

    def _pause(self, attempt: int) -> None:
        longest = min(LONGEST_PAUSE_SECONDS, 0.05 * 2.0**attempt)
        time.sleep(longest * random.random())  # noqa: S311 - spreads retries, keeps no secret

    def _warn(self, warning: str | None) -> None:
        if warning and warning not in self.warnings:
            self.warnings.append(warning)

    def _report(self, seconds: float) -> DestinationReport:
        failed = {**self.lasting, **self.failed}
        everything = [FailedKey(key, why) for key, why in failed.items()]
        everything += self.invalidations.failed
        return DestinationReport(
            self.store.url,
            uploaded=tuple(self.uploads[key] for key in sorted(self.uploads)),
            unchanged=len(self.unchanged - self.uploads.keys()),
            deleted=tuple(sorted(self.deleted - self.uploads.keys())),
            failed=tuple(sorted(everything, key=lambda one: one.key)),
            invalidated=tuple(sorted(set(self.invalidations.paths))),
            warnings=tuple(self.warnings),
            seconds=seconds,
            overtaken=tuple(self.overtaken[key] for key in sorted(self.overtaken)),
            commit=str(self.commit.number) if self.commit else None,
            error=self.error,
        )


def _is_before(text: str, deadline: datetime) -> bool:
    try:
        return moment(text) <= deadline
    except ValueError:
        return False


def _carried(entry: Entry, facts: Entry, variants: Sequence[str]) -> Entry:
    """With what was announced for the document before, while it still holds that variant."""
    if entry.announced or not facts.announced or facts.variant not in variants:
        return entry
    return replace(
        entry,
        variant=facts.variant,
        variant_name=facts.variant_name,
        announced=facts.announced,
    )
