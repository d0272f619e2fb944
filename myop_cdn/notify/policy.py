"""What is told of what happened, and when. Pure: events and a clock in, notices out.

Of each subject (a destination, say) failures are told once there were some in a row, what needs
somebody's hand at once; recovery is told where the failure was. Of one subject there is at most
one notice in a while, but for the recovery; the last that had to wait is told when that is over,
and what was left out before it is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

_FAILS = ("failed", "refused", "given_up")
EventKind = Literal["succeeded", "failed", "refused", "given_up", "drift"]
NoticeKind = Literal["failed", "refused", "given_up", "drift", "recovered", "test"]
# Which of two that have to wait is told: the first of these.
_WEIGHTS: dict[EventKind, int] = {"refused": 3, "given_up": 2, "failed": 1, "drift": 0}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to `subject`, a destination's URL or what else is published.

    kind: a run succeeded, failed, or was refused for safety; a release was given up; a full sync
    by the schedule found what no delivery had announced. at: in seconds since the epoch.
    """

    kind: EventKind
    subject: str
    message: str = ""
    hint: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody is told. failures: in a row. since: of the first of them, in seconds since the
    epoch. left_out: how many events were not told since the last notice of this subject.
    """

    kind: NoticeKind
    subject: str
    message: str
    hint: str
    at: float
    failures: int = 0
    since: float = 0.0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """after: how many failures in a row are told. every: seconds between two notices of one
    subject.
    """

    after: int = 2
    every: float = 3600.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How one subject stands.

    is_told: whether somebody was told that it fails, and not yet that it works again. quiet_until:
    no notice before that but a recovery. waiting: the event that is told then. left_out: see
    `Notice`, without the one that waits.
    """

    failures: int = 0
    since: float = 0.0
    is_told: bool = False
    quiet_until: float = float("-inf")
    waiting: Event | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Standings:
    """How all subjects stand."""

    subjects: Mapping[str, Standing] = field(default_factory=dict)

    @property
    def wake(self) -> float | None:
        """When `decide` has something to tell without another event; None for never."""
        waits = [one.quiet_until for one in self.subjects.values() if one.waiting]
        return min(waits, default=None)

    def dump(self) -> dict[str, list[float]]:
        """Those that were told to fail, to be read by `load` after a restart."""
        return {
            name: [one.failures, one.since, one.quiet_until]
            for name, one in self.subjects.items()
            if one.is_told
        }

    @classmethod
    def load(cls, value: object) -> Standings:
        """What `dump` gave; of anything else what can be made out of it."""
        subjects = {}
        for name, facts in value.items() if isinstance(value, dict) else ():
            numbers = facts if isinstance(facts, list) else []
            if len(numbers) == 3 and all(type(one) in (int, float) for one in numbers):
                failures, since, quiet = numbers
                subjects[str(name)] = Standing(int(failures), since, True, quiet)
        return cls(subjects)


def decide(
    standings: Standings, event: Event | None, now: float, policy: Policy
) -> tuple[Standings, tuple[Notice, ...]]:
    """What is told now, and how all stand then. event: None where only time has passed.

    now: in seconds since the epoch. A clock that was set back makes nobody wait longer than
    `policy.every`.
    """
    subjects = {
        name: replace(one, quiet_until=min(one.quiet_until, now + policy.every))
        for name, one in standings.subjects.items()
    }
    notices: list[Notice] = []
    if event is not None:
        before = subjects.get(event.subject, Standing())
        subjects[event.subject], notice = _after(before, event, now, policy)
        notices += [notice] if notice else []
    for name, standing in subjects.items():
        if standing.waiting is not None and now >= standing.quiet_until:
            subjects[name], notice = _told(standing, standing.waiting, now, policy)
            notices.append(notice)
    return Standings(subjects), tuple(notices)


def _after(
    standing: Standing, event: Event, now: float, policy: Policy
) -> tuple[Standing, Notice | None]:
    if event.kind == "succeeded":
        return _succeeded(standing, event)
    if event.kind in _FAILS:
        since = standing.since if standing.failures else event.at
        standing = replace(standing, failures=standing.failures + 1, since=since)
        if event.kind == "failed" and standing.failures < policy.after:
            return standing, None
    if now >= standing.quiet_until and standing.waiting is None:
        return _told(standing, event, now, policy)
    other = standing.waiting
    if other is None:
        return replace(standing, waiting=event), None
    weightier = _WEIGHTS[event.kind] >= _WEIGHTS[other.kind]
    waiting = event if weightier else other
    return replace(standing, waiting=waiting, left_out=standing.left_out + 1), None


def _succeeded(standing: Standing, event: Event) -> tuple[Standing, Notice | None]:
    waiting, left_out = standing.waiting, standing.left_out
    if waiting is not None and waiting.kind in _FAILS:
        waiting, left_out = None, left_out + 1  # it is over
    works = replace(standing, failures=0, waiting=waiting, left_out=left_out, is_told=False)
    if not standing.is_told:
        return works, None
    return replace(works, left_out=0), _notice("recovered", event, standing, left_out)


def _notice(kind: NoticeKind, event: Event, standing: Standing, left_out: int) -> Notice:
    facts = (kind, event.subject, event.message, event.hint, event.at)
    if kind == "drift":
        return Notice(*facts, 0, event.at, left_out)
    return Notice(*facts, standing.failures, standing.since, left_out)


def _told(standing: Standing, event: Event, now: float, policy: Policy) -> tuple[Standing, Notice]:
    assert event.kind != "succeeded"  # a success waits for nothing
    notice = _notice(event.kind, event, standing, standing.left_out)
    told = replace(
        standing,
        is_told=standing.is_told or event.kind in _FAILS,
        quiet_until=now + policy.every,
        waiting=None,
        left_out=0,
    )
    return told, notice
