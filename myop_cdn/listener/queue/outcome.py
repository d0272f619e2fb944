"""What a run came to, and what follows from it: done, retried, or left to a full sync."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from myop_cdn.errors import ExitCode, MyopCdnError
from myop_cdn.listener.queue import agenda, runs
from myop_cdn.listener.queue.agenda import FullDue, Outage, Retry
from myop_cdn.model import DocumentRef, Release, Scope

if TYPE_CHECKING:
    import sqlite3
    from random import Random

    from myop_cdn.listener.queue.agenda import Start
    from myop_cdn.report import DestinationReport, PublishReport


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    failed: the documents that did not get there, each with its error. whole: whether the run
    failed as such, so that nothing in it counts as published.
    """

    state: str  # done, partly, failed
    whole: bool
    failed: dict[DocumentRef, str]
    error: str | None
    report: PublishReport | None
    uploaded: int = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the report has to say besides."""
        if self.report is None:
            return ()
        destinations = self.report.deploy.destinations if self.report.deploy else ()
        return (
            *self.report.sync.warnings,
            *(f"{one.url}: {warning}" for one in destinations for warning in one.warnings),
        )


def of(result: PublishReport | MyopCdnError) -> Outcome:
    """The outcome of what a publisher returned or raised."""
    if isinstance(result, MyopCdnError):
        words = f"{result.message} ({result.hint})" if result.hint else result.message
        return Outcome("failed", True, {}, words, None)
    destinations = result.deploy.destinations if result.deploy else ()
    uploaded = sum(len(one.uploaded) for one in destinations)
    failed = {
        DocumentRef(one.component_id, one.environment): one.error for one in result.sync.failed
    }
    for destination in destinations:
        trouble = _trouble(destination)
        if trouble is not None:
            return Outcome("failed", True, {}, trouble, result, uploaded)
        for key in destination.failed:
            ref = DocumentRef.of(key.key)
            assert ref is not None  # what is no document is trouble of the whole
            failed.setdefault(ref, key.error)
    if failed:
        ref, error = next(iter(failed.items()))
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        return Outcome("partly", False, failed, f"{ref.path}: {error}{more}", result, uploaded)
    if result.exit_code != ExitCode.DONE:
        return Outcome("failed", True, {}, "the publish did not succeed", result, uploaded)
    return Outcome("done", False, {}, None, result, uploaded)


def _trouble(destination: DestinationReport) -> str | None:
    """What keeps a destination as a whole from holding what was published."""
    if destination.error is not None:
        message = destination.error.message
        return message if destination.url in message else f"{destination.url}: {message}"
    if destination.refused is not None:
        return f"{destination.url}: refused: {destination.refused}"
    for key in destination.failed:
        if DocumentRef.of(key.key) is None:
            return f"{destination.url}: {key.key}: {key.error}"
    return None


def _is_full(scope: Scope | None) -> bool:
    """Whether a delivery asks for a full sync by itself; unknown of one among very many."""
    return scope is not None and scope.kind == "full"


class Recorder:
    """Writes a run's outcome and all that follows from it, in one transaction."""

    def __init__(
        self,
        run: int,
        scope: Scope,
        start: Start,
        started: float,
        now: float,
        full_every: float,
        random: Random,
    ) -> None:
        self._run = run
        self._scope = scope
        self._start = start
        self._started = started
        self._now = now
        self._full_every = full_every
        self._random = random

    def record(
        self,
        connection: sqlite3.Connection,
        ended: Outcome,
        deliveries: list[tuple[int, Scope | None]],
    ) -> str | None:
        """Record `ended` for these deliveries: (seq, scope), the scope None where unknown.

        Returns what happens next, in words, where the run failed.
        """
        runs.end(connection, self._run, ended.state, ended.uploaded, ended.error, self._now)
        if ended.whole:
            return self._failed(connection, ended, deliveries)
        self._after_outage(connection)
        self._remember_live(connection, ended)
        if self._scope.kind == "full":
            self._full_done(connection)
        given_up, note = self._retries(connection, ended)
        self._settle(connection, ended, deliveries, given_up)
        return note

    def _failed(
        self,
        connection: sqlite3.Connection,
        ended: Outcome,
        deliveries: list[tuple[int, Scope | None]],
    ) -> str:
        """The run failed as such: everything in it is to be done again.

        A delivery that asks for a full sync is from now on the business of the one that is
        due: put back among those that wait, it would be worked at once, again and again, and
        the others with it.
        """
        if self._scope.kind != "full":
            self._put_back(connection, ended, deliveries, "waiting")
            return self._outage(connection, ended)
        fulls = [one for one in deliveries if _is_full(one[1])]
        others = [one for one in deliveries if not _is_full(one[1])]
        self._put_back(connection, ended, fulls, "retrying")
        self._put_back(connection, ended, others, "waiting")
        note = self._full_failed(connection)
        very_many = any(scope is None for _, scope in others)
        if very_many or (others and runs.fact(connection, "outage") is not None):
            note = self._outage(connection, ended)
        return note

    def _put_back(
        self,
        connection: sqlite3.Connection,
        ended: Outcome,
        deliveries: list[tuple[int, Scope | None]],
        state: str,
    ) -> None:
        seqs = [seq for seq, _ in deliveries]
        runs.settle(connection, seqs, state, self._run, ended.error, self._now)

    def _full_failed(self, connection: sqlite3.Connection) -> str:
        due = runs.full_due(connection)
        attempts = (due.attempts if due else 0) + 1
        delay = agenda.backoff(attempts, self._random)
        since, reason = (due.since, due.reason) if due else (self._started, self._start.reason)
        runs.set_full_due(connection, FullDue(reason, since, self._now + delay, attempts))
        return f"a full sync, attempt {attempts + 1}, in {delay:.0f}s"

    def _outage(self, connection: sqlite3.Connection, ended: Outcome) -> str:
        before = runs.fact(connection, "outage")
        attempts = (before["attempts"] if before else 0) + 1
        delay = agenda.backoff(attempts, self._random)
        outage = Outage(attempts, self._now, self._now + delay, ended.error or "")
        runs.set_fact(connection, "outage", asdict(outage))
        return f"attempt {attempts + 1} in {delay:.0f}s"

    def _after_outage(self, connection: sqlite3.Connection) -> None:
        if runs.fact(connection, "outage") is not None:
            runs.set_fact(connection, "outage", None)
            connection.execute("UPDATE retry SET due = ? WHERE due IS NOT NULL", (self._now,))

    def _retries(
        self, connection: sqlite3.Connection, ended: Outcome
    ) -> tuple[set[DocumentRef], str | None]:
        """Note what failed for a later attempt; the documents that are given up."""
        before = {retry.ref: retry for retry in runs.retries(connection)}
        announced = {release.ref: release for release in self._scope.releases}
        covered = set(before) if self._scope.kind == "full" else set(announced)
        runs.drop_retries(connection, covered - set(ended.failed))
        given_up: set[DocumentRef] = set()
        note: str | None = None
        for ref, error in ended.failed.items():
            attempts = (before[ref].attempts if ref in before else 0) + 1
            if attempts > agenda.ATTEMPTS + 1:
                given_up.add(ref)
                note = note or "given up until the next full sync"
                continue
            delay = agenda.backoff(attempts, self._random)
            left_to_full = attempts > agenda.ATTEMPTS
            if left_to_full:
                runs.make_full_due(
                    connection, "a delivery was given up", self._now, self._now + delay
                )
            release = announced.get(ref) or Release(ref.component_id, ref.environment)
            due = None if left_to_full else self._now + delay
            runs.set_retry(connection, Retry(release, attempts, due), error)
            note = f"{'a full sync' if left_to_full else 'a retry'} in {delay:.0f}s"
        runs.drop_retries(connection, given_up)
        return given_up, note

    def _settle(
        self,
        connection: sqlite3.Connection,
        ended: Outcome,
        deliveries: list[tuple[int, Scope | None]],
        given_up: set[DocumentRef],
    ) -> None:
        open_refs = {retry.ref for retry in runs.retries(connection)}
        fates: dict[str, list[int]] = {"done": [], "retrying": [], "failed": []}
        for seq, scope in deliveries:
            if _is_full(scope) and self._scope.kind != "full":
                continue  # it goes on waiting for the full sync that is due
            refs = {release.ref for release in scope.releases} if scope else set()
            if refs & given_up:
                fates["failed"].append(seq)
            elif refs & open_refs:
                fates["retrying"].append(seq)
            else:
                fates["done"].append(seq)
        for state, seqs in fates.items():
            error = None if state == "done" else ended.error
            runs.settle(connection, seqs, state, self._run, error, self._now)

    def _full_done(self, connection: sqlite3.Connection) -> None:
        due = runs.fact(connection, "full_due")
        if due and due["since"] <= self._started:
            runs.set_fact(connection, "full_due", None)
        if self._full_every > 0:
            spread = 0.9 + 0.2 * self._random.random()
            runs.set_fact(connection, "next_full", self._now + self._full_every * spread)

    def _remember_live(self, connection: sqlite3.Connection, ended: Outcome) -> None:
        assert ended.report is not None  # only a whole failure has none
        sync = ended.report.sync
        failed = set(ended.failed)
        announced = {release.ref: release for release in self._scope.releases}
        refs = {ref for path in (*sync.added, *sync.updated) if (ref := DocumentRef.of(path))}
        releases = [
            announced.get(ref) or Release(ref.component_id, ref.environment)
            for ref in sorted((refs | set(announced)) - failed)
        ]
        runs.set_live(connection, releases, self._run, self._now)
        runs.drop_live(connection, [ref for path in sync.removed if (ref := DocumentRef.of(path))])
