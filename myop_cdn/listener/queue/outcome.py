"""What a run came to, and what follows from it for a lane: done, retried, or left open. Pure.

A delivery is done in a lane when each document that it announced holds there what was announced,
or what was announced later for the same document; or when a run that looked at everything has
been through, for one that asked for that.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from myop_cdn.errors import ExitCode, MyopCdnError, RefusedError
from myop_cdn.listener.queue import agenda
from myop_cdn.listener.queue.agenda import MERGED, FullDue, Retry
from myop_cdn.listener.queue.base import Changes, LiveDocument, Need, RunEnd, Settlement
from myop_cdn.model import PREVIEW, DocumentRef, Release, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from myop_cdn.listener.queue.agenda import Start
    from myop_cdn.listener.queue.base import LaneState, RunState
    from myop_cdn.model import ExportedDocument, Variant
    from myop_cdn.report import DestinationReport, PublishReport

_NOT_NAMED = "Myop's index does not name it"


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery that a run takes along. announced: seconds since the epoch."""

    seq: int
    id: str
    announced: float
    scope: Scope

    @property
    def needs(self) -> tuple[Need, ...]:
        """What it takes for it to be done."""
        return tuple(
            Need(self.seq, self.id, release, self.announced) for release in self.scope.releases
        )


@dataclass(frozen=True, slots=True)
class Work:
    """A run that has been put together: for these deliveries, of this journal. scope: of all of
    them and the retries that are due.
    """

    start: Start
    scope: Scope
    deliveries: tuple[Taken, ...] = ()
    journal: str = ""

    @property
    def refs(self) -> frozenset[DocumentRef] | None:
        """The documents in question; None for all."""
        if self.scope.kind == "full":
            return None
        return frozenset(release.ref for release in self.scope.releases)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    whole: whether it failed as such, so that nothing in it counts as published. failed: the
    documents that did not get there, each with its error. published: those that did. overtaken:
    those that were left as they are because the destination holds what is newer, each with why.
    gone: the paths that were removed. changed: the documents whose content is another than before
    the run. refused: whether the run was refused for safety. since: when what was there already
    came there, in seconds since 1970, where a destination tells.
    """

    state: RunState
    whole: bool = False
    failed: Mapping[DocumentRef, str] = field(default_factory=dict)
    published: Mapping[DocumentRef, ExportedDocument] = field(default_factory=dict)
    overtaken: Mapping[DocumentRef, str] = field(default_factory=dict)
    gone: tuple[DocumentRef, ...] = ()
    error: str | None = None
    warnings: tuple[str, ...] = ()
    uploaded: int = 0
    changed: frozenset[DocumentRef] = frozenset()
    refused: bool = False
    since: Mapping[DocumentRef, float] = field(default_factory=dict)


def of(result: PublishReport | MyopCdnError) -> Outcome:
    """The outcome of what a publisher returned or raised."""
    if isinstance(result, MyopCdnError):
        return Outcome(
            "failed", True, error=result.sentence, refused=isinstance(result, RefusedError)
        )
    sync = result.sync
    destinations = result.deploy.destinations if result.deploy else ()
    failed = {DocumentRef(one.component_id, one.environment): one.error for one in sync.failed}
    overtaken: dict[DocumentRef, str] = {}
    error = None
    for destination in destinations:
        error = error or _error_of(destination)
        for key in destination.failed:
            if ref := DocumentRef.of(key.key):
                failed.setdefault(ref, key.error)
        for passed in destination.overtaken:
            if ref := DocumentRef.of(passed.key):
                overtaken[ref] = passed.reason
    outcome = Outcome(
        "done",
        failed=failed,
        published={
            document.ref: document
            for document in sync.documents
            if document.ref not in failed and document.ref not in overtaken
        },
        overtaken=overtaken,
        gone=tuple(ref for path in sync.removed if (ref := DocumentRef.of(path))),
        warnings=_warnings(result),
        uploaded=sum(len(one.uploaded) for one in destinations),
        changed=_changed(result),
        refused=isinstance(result.error, RefusedError),
        since={
            ref: float(moment)
            for destination in destinations
            for key, moment in destination.since.items()
            if (ref := DocumentRef.of(key))
        },
    )
    if error is None and result.exit_code not in (ExitCode.DONE, ExitCode.PARTLY):
        error = "the publish did not succeed" if result.error is None else result.error.message
    if error is not None:
        return replace(outcome, state="failed", whole=True, error=error)
    behind = {document.ref: _behind(document) for document in sync.behind}
    open_ = {**{ref: behind[ref] for ref in behind if ref in outcome.published}, **failed}
    if not open_:
        return outcome
    ref, words = next(iter(open_.items()))
    more = f" and {len(open_) - 1} more" if len(open_) > 1 else ""
    return replace(outcome, state="partly", error=f"{ref.path}: {words}{more}")


def _changed(result: PublishReport) -> frozenset[DocumentRef]:
    sync, destinations = result.sync, result.deploy.destinations if result.deploy else ()
    paths = [*sync.added, *sync.updated, *sync.removed]
    if destinations:
        paths = [key for one in destinations for key in one.deleted]
        paths += [
            up.key for one in destinations for up in one.uploaded if up.reason in ("new", "content")
        ]
    return frozenset(ref for path in paths if (ref := DocumentRef.of(path)))


def _warnings(result: PublishReport) -> tuple[str, ...]:
    destinations = result.deploy.destinations if result.deploy else ()
    return (
        *result.sync.warnings,
        *(f"{one.url}: {warning}" for one in destinations for warning in one.warnings),
    )


def _error_of(destination: DestinationReport) -> str | None:
    """What keeps a destination as a whole from holding what was published."""
    if destination.error is not None:
        said = destination.error.sentence  # with what to do: it is read in logs and notices
        return said if destination.url in said else f"{destination.url}: {said}"
    if destination.refused is not None:
        return f"{destination.url}: refused: {destination.refused}"
    for key in destination.failed:
        if DocumentRef.of(key.key) is None:
            return f"{destination.url}: {key.key}: {key.error}"
    return None


def _behind(document: ExportedDocument, release: Release | None = None) -> str:
    announced = release or document.release
    wanted = announced.variant_id if announced else None
    holds = ", ".join(variant.id for variant in document.variants) or "none"
    return f"announced was variant {wanted}, Myop answers variant {holds} still"


# -- what is live


def live_changes(
    outcome: Outcome,
    work: Work,
    needs: Iterable[Need],
    known: Mapping[DocumentRef, LiveDocument],
    now: float,
) -> tuple[list[LiveDocument], list[DocumentRef]]:
    """What a lane publishes now that it did not before, and what it does not publish any more.

    known: what it published before, of the documents of the run.
    """
    if outcome.whole:
        return [], []
    met = _newest_met(outcome, [*needs, *(n for taken in work.deliveries for n in taken.needs)])
    documents = []
    for ref, document in outcome.published.items():
        before = known.get(ref)
        variant = _variant(document, met.get(ref))
        found = LiveDocument(
            ref,
            document.name,
            variant.id if variant else None,
            variant.name if variant else "",
            min(now, outcome.since.get(ref, now)),
        )
        if before is not None and before.variant_id == found.variant_id:
            found = replace(found, since=min(before.since, found.since))
        newest = met.get(ref)
        if newest is not None:
            found = replace(found, announced=newest.announced, announced_by=newest.delivery)
        if before is not None and (before.announced or 0) > (found.announced or 0):
            found = replace(found, announced=before.announced, announced_by=before.announced_by)
        if found != before:
            documents.append(found)
    gone = set(outcome.gone)
    if work.scope.kind == "full" and outcome.published and not outcome.failed:
        gone |= {ref for ref in known if ref not in outcome.published}
    return documents, sorted((gone & set(known)) - set(outcome.overtaken))


def _newest_met(outcome: Outcome, needs: Iterable[Need]) -> dict[DocumentRef, Need]:
    met: dict[DocumentRef, Need] = {}
    for need in needs:
        ref = need.release.ref
        document = outcome.published.get(ref)
        if document is None or not _holds(document, need.release):
            continue
        if ref not in met or need.announced >= met[ref].announced:
            met[ref] = need
    return met


def _variant(document: ExportedDocument, need: Need | None) -> Variant | None:
    wanted = need.release.variant_id if need else None
    if wanted is None and document.release is not None:
        wanted = document.release.variant_id
    found = [variant for variant in document.variants if variant.id == wanted]
    return next(iter(found or document.variants), None)


def _holds(document: ExportedDocument, release: Release) -> bool:
    if release.variant_id is None:
        return True
    return any(variant.id == release.variant_id for variant in document.variants)


# -- what follows


@dataclass(frozen=True, slots=True)
class Clock:
    """What a decision needs of the world: the moment, chance, and the schedule (0: none)."""

    started: float
    now: float
    random: Random
    full_every: float


def decide(
    run: int,
    outcome: Outcome,
    work: Work,
    state: LaneState,
    known: Mapping[DocumentRef, LiveDocument],
    clock: Clock,
) -> Changes:
    """What follows from a run. known: what the lane had published before it."""
    end = RunEnd(run, outcome.state, outcome.uploaded, outcome.error, clock.now)
    if outcome.whole:
        return _after_failure(end, work, state, clock)
    return _Judge(end, outcome, work, state, known, clock).changes()


def _after_failure(end: RunEnd, work: Work, state: LaneState, clock: Clock) -> Changes:
    """The run failed as such: everything in it is to be done again.

    A delivery that asks for a full sync is from now on the business of the one that is due: put
    back among those that wait, it would be worked at once, again and again, and the others with
    it.
    """
    error = end.error or ""
    is_full = work.scope.kind == "full"
    fulls = [taken for taken in work.deliveries if is_full and taken.scope.kind == "full"]
    others = [taken for taken in work.deliveries if not (is_full and taken.scope.kind == "full")]
    settlements = [
        *(Settlement(one.seq, "open", one.needs, full=True, error=error) for one in fulls),
        *(Settlement(one.seq, "waiting", error=error) for one in others),
    ]
    if len(work.deliveries) > MERGED:
        settlements = []  # they have not been taken, so they wait as they are
    outage, full, note = state.outage, state.full, ""
    if is_full:
        attempts = (full.attempts if full else 0) + 1
        delay = agenda.backoff(attempts, clock.random)
        since, reason = (full.since, full.reason) if full else (clock.started, work.start.reason)
        full = FullDue(reason, since, clock.now + delay, attempts, error, clock.now)
        note = f"a full sync, attempt {attempts + 1}, in {delay:.0f}s"
    if not is_full or len(work.deliveries) > MERGED or (others and outage is not None):
        outage = agenda.outage_after(outage, error, clock.now, clock.random)
        note = f"attempt {outage.attempts + 1} in {outage.until - clock.now:.0f}s"
    position = max((found.seq for found in settlements), default=None)
    next_full = state.next_full
    return Changes(
        end, tuple(settlements), position, outage=outage, full=full, next_full=next_full, note=note
    )


def _previews(needs: Iterable[Need], failed: Iterable[DocumentRef]) -> list[Need]:
    """The previews that failed of what a delivery announced: they are published with it."""
    needed = {need.release.ref for need in needs}
    missing = {ref for ref in failed if ref.environment == PREVIEW} - needed
    return [
        replace(need, release=Release(need.release.component_id, PREVIEW))
        for need in {need.release.component_id: need for need in needs}.values()
        if DocumentRef(need.release.component_id, PREVIEW) in missing
    ]


class _Judge:
    """Holds what was announced against what was published."""

    def __init__(
        self,
        end: RunEnd,
        outcome: Outcome,
        work: Work,
        state: LaneState,
        known: Mapping[DocumentRef, LiveDocument],
        clock: Clock,
    ) -> None:
        self._end = end
        self._outcome = outcome
        self._work = work
        self._state = state
        self._known = known
        self._clock = clock
        self._is_full = work.scope.kind == "full"
        self._announced = {release.ref: release for release in work.scope.releases}
        taken = {found.seq for found in work.deliveries}
        self._needs: dict[int, list[Need]] = {found.seq: [] for found in work.deliveries}
        earlier = [need for need in state.needs if need.seq not in taken]
        for need in [*earlier, *(need for found in work.deliveries for need in found.needs)]:
            self._needs.setdefault(need.seq, []).append(need)
        for needs in self._needs.values():
            needs += _previews(needs, outcome.failed)
        self._full = {seq for seq in state.full_waiting if seq not in taken}
        self._full |= {found.seq for found in work.deliveries if found.scope.kind == "full"}
        self._newest: dict[DocumentRef, Need] = {}
        for needs in self._needs.values():
            for need in needs:
                newest = self._newest.get(need.release.ref)
                if newest is None or need.announced >= newest.announced:
                    self._newest[need.release.ref] = need
        self._met = _newest_met(outcome, [n for needs in self._needs.values() for n in needs])

    def changes(self) -> Changes:
        """All of it."""
        outcome, work, clock = self._outcome, self._work, self._clock
        retries, resolved = self._retries()
        full, next_full = self._state.full, self._state.next_full
        if self._is_full:
            if full is not None and full.since <= clock.started:
                full = None
            if clock.full_every > 0:
                spread = 0.9 + 0.2 * clock.random.random()
                next_full = clock.now + clock.full_every * spread
        elif full is not None and full.attempts and self._state.outage is not None:
            full = replace(full, after=clock.now)  # what kept it from being done may be over
        by_ref = {retry.ref: retry for retry in retries}
        settlements = tuple(
            self._settlement(seq, by_ref)
            for seq in sorted({*self._needs, *(self._full if self._is_full else ())})
        )
        note = None
        if retries and outcome.error:
            given_up = sum(retry.given_up for retry in retries)
            dues = [retry.due for retry in retries if retry.due is not None]
            note = f"a retry in {max(0.0, min(dues) - clock.now):.0f}s" if dues else "a full sync"
            note += f"; given up: {given_up}" if given_up else ""
        position = max((found.seq for found in work.deliveries), default=None)
        return Changes(
            self._end,
            settlements,
            position,
            tuple(retries),
            tuple(resolved),
            None,
            full,
            next_full,
            note,
        )

    def _retries(self) -> tuple[list[Retry], list[DocumentRef]]:
        """The documents that are to be tried again, and those that need it no more."""
        before, clock = self._state.retries, self._clock
        tried = set(self._announced)
        if self._is_full:
            tried |= set(before)
        retries: list[Retry] = []
        for ref in sorted(tried | set(self._outcome.failed)):
            release = self._release(ref)
            if (error := self._outcome.failed.get(ref)) is not None:
                retries.append(
                    agenda.retry_after(
                        before.get(ref), release, error, False, clock.now, clock.random
                    )
                )
            elif (need := self._newest.get(ref)) is not None and not self._is_met(need):
                retries.append(self._not_met(ref, release))
        resolved = tried - {retry.ref for retry in retries}
        # What was due before an outage is due again after it.
        if self._state.outage is not None:
            open_ = {retry.ref for retry in retries} | resolved
            retries += [
                replace(retry, due=clock.now)
                for ref, retry in before.items()
                if ref not in open_ and retry.due is not None
            ]
        return retries, sorted(resolved)

    def _not_met(self, ref: DocumentRef, release: Release) -> Retry:
        before, clock = self._state.retries.get(ref), self._clock
        document = self._outcome.published.get(ref)
        if document is not None:
            error = _behind(document, release)
            return agenda.retry_after(before, release, error, True, clock.now, clock.random)
        if before is not None and before.release.variant_id == release.variant_id:
            return before  # a full sync tells nothing of it: its own schedule goes on
        return Retry(release, 0, clock.now, clock.now, _NOT_NAMED)

    def _release(self, ref: DocumentRef) -> Release:
        """What was announced last for a document: of the open deliveries, else as retried."""
        retry = self._state.retries.get(ref)
        if (release := self._announced.get(ref)) is not None:
            return release
        if (need := self._newest.get(ref)) is not None:
            return need.release
        return retry.release if retry else Release(ref.component_id, ref.environment)

    def _is_met(self, need: Need) -> bool:
        return self._answer(need) is not None

    def _answer(self, need: Need) -> str | None:
        """None while a need is not met; else "" or by what it was overtaken."""
        ref = need.release.ref
        if ref in self._outcome.failed:
            return None
        if ref in self._outcome.overtaken:
            return self._outcome.overtaken[ref]
        if (document := self._outcome.published.get(ref)) is not None:
            if _holds(document, need.release):
                return ""
            later = self._met.get(ref)
            if later is not None and later.announced >= need.announced:
                return f"overtaken by {later.delivery}"
        known = self._known.get(ref)
        if known is not None and known.announced is not None and known.announced > need.announced:
            return f"overtaken by {known.announced_by}"
        if document is not None or self._is_full:
            return None
        # Not asked for at all, as its environment is not exported; or another need's document.
        return "" if ref in self._announced else None

    def _settlement(self, seq: int, retries: Mapping[DocumentRef, Retry]) -> Settlement:
        answers = [(need, self._answer(need)) for need in self._needs.get(seq, [])]
        open_ = tuple(need for need, answer in answers if answer is None)
        full = seq in self._full and not self._is_full
        notes = sorted({answer for _, answer in answers if answer})
        note = "; ".join(notes) or None
        if not open_ and not full:
            return Settlement(seq, "done", note=note)
        error = None
        for need in open_:
            ref = need.release.ref
            retry = retries.get(ref) or self._state.retries.get(ref)
            if retry is not None:
                more = f" and {len(open_) - 1} more" if len(open_) > 1 else ""
                error = f"{ref.path}: {retry.error}{more}"
                break
        return Settlement(seq, "open", open_, full, note, error)
