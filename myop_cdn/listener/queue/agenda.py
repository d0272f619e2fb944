"""What a lane does next: a pure decision over what the journal knows of it. No I/O.

A lane is one destination with everything that waits for it. What holds up one lane holds up no
other.

- A delivery is worked at once where nothing is running. What arrives during a run is merged into
  the next one, and a burst is given a moment to end.
- A document that failed, or does not hold what was announced, is tried again by itself, ever
  later, for a day; it holds up nothing else.
- When a run fails as a whole (an outage), the lane waits and tries everything again together; a
  new delivery may try a little earlier. Now and then that attempt is a full sync.
- A full sync that is due comes after the deliveries that wait, but not much later. One that
  failed is tried again by itself, ever later.

Times are seconds since the epoch. Clocks jump, so no wait is ever longer than it could have
been when it was set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from myop_cdn.model import DocumentRef, Release

BURST = 0.03  # seconds between two deliveries under which they are a burst
SETTLE = 0.1  # seconds without a new delivery after which a burst has ended
SETTLE_MOST = 0.5  # seconds that a delivery waits for the end of a burst at most
FIRST = 1.0  # seconds before the first retry
LONGEST = 15 * 60.0  # seconds between two attempts of an outage, or of a full sync, at most
ATTEMPTS = 5  # failures after which a release counts as given up
EARLY = 5.0  # seconds after a failure at which a new delivery may try again
OVERDUE = 30.0  # seconds that a full sync lets deliveries go first
MERGED = 1000  # deliveries merged into one incremental run; where more wait, all is synced
POLL = 1.0  # seconds between two looks at the journal, which other processes write too

# A destination that comes back is to be noticed soon, one that is gone not to be hammered.
_OUTAGE_PAUSES = ((10 * 60.0, 8.0), (6 * 3600.0, 60.0))  # (age of the outage, longest pause)
_FULL_AMONG = 32  # of the attempts in a long outage one in so many is a full sync
BEHIND_CLOSELY = 3600.0  # seconds for which a document that is behind is asked for often
_BEHIND_PAUSE = 60.0  # seconds between two attempts in that time at most
RETRIED_FOR = 24 * 3600.0  # seconds for which a document is tried by itself
RETRY_LONGEST = 6 * 3600.0  # seconds between two of these attempts at most


def backoff(attempts: int, random: Random, longest: float = LONGEST) -> float:
    """Seconds to wait after the `attempts`-th failure in a row: doubling, with jitter."""
    pause = min(longest, FIRST * 2.0 ** min(attempts - 1, 30))
    return pause * (0.5 + random.random() / 2)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The deliveries that wait: how many, and when the first and the last were received.

    before: when the delivery before the last was received, waiting or not; None: there is none.
    """

    count: int
    oldest: float
    newest: float
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """A document that failed, or (behind) does not hold what was announced for it.

    since: of its first failure. due: None where only a full sync will try it again. given_up:
    whether it counts as lost until somebody looks at it; it may be tried all the same.
    """

    release: Release
    attempts: int
    due: float | None
    since: float
    error: str
    behind: bool = False
    given_up: bool = False

    @property
    def ref(self) -> DocumentRef:
        """The document."""
        return self.release.ref


def retry_after(
    before: Retry | None, release: Release, error: str, behind: bool, now: float, random: Random
) -> Retry:
    """The retry of a document that was not published at `now`, after the one `before`.

    One that was announced anew begins from the start.
    """
    if before is not None and before.release.variant_id != release.variant_id:
        before = None
    attempts = (before.attempts if before else 0) + 1
    since = min(before.since, now) if before else now
    age = now - since
    closely = behind and age < BEHIND_CLOSELY
    pause = backoff(attempts, random, _BEHIND_PAUSE if closely else RETRY_LONGEST)
    due = None if age > RETRIED_FOR else now + pause
    given_up = not closely if behind else attempts > ATTEMPTS
    return Retry(release, attempts, due, since, error, behind, given_up)


@dataclass(frozen=True, slots=True)
class Outage:
    """The last runs failed as a whole: how often in a row, since when, when the last, and when
    to try again.
    """

    attempts: int
    since: float
    at: float
    until: float
    error: str


def outage_after(before: Outage | None, error: str, now: float, random: Random) -> Outage:
    """The outage after a run that failed as a whole at `now`."""
    attempts = (before.attempts if before else 0) + 1
    since = min(before.since, now) if before else now
    longest = next((most for age, most in _OUTAGE_PAUSES if now - since < age), LONGEST)
    return Outage(attempts, since, now, now + backoff(attempts, random, longest), error)


@dataclass(frozen=True, slots=True)
class FullDue:
    """A full sync that was asked for. since: when; after: not before; attempts: that failed, the
    last one with `error` at `failed`.
    """

    reason: str
    since: float
    after: float
    attempts: int = 0
    error: str | None = None
    failed: float | None = None

    @property
    def is_overdue_at(self) -> float:
        """From when on it takes the deliveries that wait along instead of letting them go first."""
        return float("inf") if self.attempts else self.since + OVERDUE


@dataclass(frozen=True, slots=True)
class Agenda:
    """All that a decision needs. next_full: by the schedule, None where there is none."""

    waiting: Waiting | None = None
    retries: tuple[Retry, ...] = ()
    outage: Outage | None = None
    full: FullDue | None = None
    next_full: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing yet: look again after so many seconds; if `wakeable`, when something comes in."""

    seconds: float
    wakeable: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """A run. full: everything; else what waits (if `waiting`) and these retries."""

    full: bool
    reason: str
    waiting: bool
    retries: tuple[Retry, ...] = ()


def next_action(agenda: Agenda, now: float) -> Start | Wait:
    """What to do at `now`."""
    waiting, outage = agenda.waiting, agenda.outage
    if outage is not None:
        left = _left_of_outage(outage, waiting, now)
        if left > 0:
            return Wait(min(left, POLL))
        if outage.attempts >= ATTEMPTS and (outage.attempts - ATTEMPTS) % _FULL_AMONG == 0:
            return Start(True, "earlier runs failed", waiting is not None)
    full = _full_reason(agenda, now)
    if waiting is not None:
        if full is not None and agenda.full is not None and now > agenda.full.is_overdue_at:
            return Start(True, full, True)
        if waiting.count > MERGED:
            return Start(True, "very many deliveries", True)
        left = _left_to_settle(waiting, now)
        if left > 0:
            return Wait(left)
        return Start(False, "deliveries", True, _due(agenda.retries, now))
    if full is not None:
        return Start(True, full, False)
    if due := _due(agenda.retries, now):
        return Start(False, "retry", False, due)
    return Wait(_until_next(agenda, now), wakeable=True)


def _until_next(agenda: Agenda, now: float) -> float:
    moments = [retry.due for retry in agenda.retries if retry.due is not None]
    moments += [agenda.full.after] if agenda.full is not None else []
    return min([POLL, *(moment - now for moment in moments if moment > now)])


def _due(retries: tuple[Retry, ...], now: float) -> tuple[Retry, ...]:
    # A clock set back must not make a retry wait for longer than any retry waits.
    return tuple(
        retry for retry in retries
        if retry.due is not None and not 0 < retry.due - now <= RETRY_LONGEST
    )  # fmt: skip


def _full_reason(agenda: Agenda, now: float) -> str | None:
    full = agenda.full
    if full is not None:
        return None if 0 < full.after - now <= LONGEST else full.reason
    if agenda.next_full is not None and agenda.next_full <= now:
        return "schedule"
    return None


def _left_of_outage(outage: Outage, waiting: Waiting | None, now: float) -> float:
    until = outage.until
    if waiting is not None and waiting.newest > outage.at:
        until = min(until, outage.at + EARLY)
    left = until - now
    return 0.0 if left > LONGEST else left


def _left_to_settle(waiting: Waiting, now: float) -> float:
    if waiting.count == 1 and not _follows_closely(waiting):
        return 0.0
    quiet = waiting.newest + SETTLE - now
    patience = waiting.oldest + SETTLE_MOST - now
    left = min(quiet, patience)
    return left if 0 < left <= SETTLE else 0.0


def _follows_closely(waiting: Waiting) -> bool:
    return waiting.before is not None and 0 <= waiting.newest - waiting.before < BURST
