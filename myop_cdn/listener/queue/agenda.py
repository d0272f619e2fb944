"""What the worker does next: a pure decision over what the journal knows. No I/O.

- Deliveries that wait are worked at once, merged, after a moment in which a burst settles.
- A document that failed is retried by itself, ever later, and then left to a full sync; it
  holds up nothing else.
- When a run fails as a whole (an outage), everything waits and is tried again together, ever
  later; a new delivery may try a little earlier. After some attempts every other one is a
  full sync: a full sync that is refused must not hold up the deliveries.
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

SETTLE = 0.25  # seconds without a new delivery before the pending ones are worked
SETTLE_MOST = 2.0  # seconds that a delivery waits for others at most
FIRST = 1.0  # seconds before the first retry
LONGEST = 15 * 60.0  # seconds between two retries at most
ATTEMPTS = 5  # retries before it is a full sync
EARLY = 5.0  # seconds after a failure at which a new delivery may try again
OVERDUE = 30.0  # seconds that a full sync lets deliveries go first
MERGED = 1000  # deliveries merged one by one; where more wait, a full sync does less work
POLL = 1.0  # seconds between two looks at the journal, which other processes write too


def backoff(attempts: int, random: Random) -> float:
    """Seconds to wait after the `attempts`-th failure in a row: doubling, with jitter."""
    longest = min(LONGEST, FIRST * 2.0 ** min(attempts - 1, 30))
    return longest * (0.5 + random.random() / 2)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The deliveries that wait: how many, and when the first and the last were received."""

    count: int
    oldest: float
    newest: float


@dataclass(frozen=True, slots=True)
class Retry:
    """A document that failed. due: None where only a full sync will try it again."""

    release: Release
    attempts: int
    due: float | None

    @property
    def ref(self) -> DocumentRef:
        """The document."""
        return self.release.ref


@dataclass(frozen=True, slots=True)
class Outage:
    """The last run failed as a whole: how often in a row, when, and when to try again."""

    attempts: int
    at: float
    until: float
    error: str


@dataclass(frozen=True, slots=True)
class FullDue:
    """A full sync that was asked for. since: when; after: not before; attempts: that failed."""

    reason: str
    since: float
    after: float
    attempts: int = 0

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


def choose(agenda: Agenda, now: float) -> Start | Wait:
    """What to do at `now`."""
    waiting, outage = agenda.waiting, agenda.outage
    if outage is not None:
        left = _left_of_outage(outage, waiting, now)
        if left > 0:
            return Wait(min(left, POLL))
        if outage.attempts >= ATTEMPTS and (outage.attempts - ATTEMPTS) % 2 == 0:
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
        if retry.due is not None and not 0 < retry.due - now <= LONGEST
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
    quiet = waiting.newest + SETTLE - now
    patience = waiting.oldest + SETTLE_MOST - now
    left = min(quiet, patience)
    return left if 0 < left <= SETTLE else 0.0
