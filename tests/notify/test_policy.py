"""What is told, and when: a pure function over events and a clock."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.notify.policy import Event, EventKind, Notice, Policy, Standings, decide

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS: tuple[EventKind, ...] = ("succeeded", "failed", "refused", "given_up", "drift")
POLICIES = st.builds(Policy, st.integers(1, 4), st.sampled_from([0.0, 10.0, 60.0]))


class Step(NamedTuple):
    """An event, or None for a look at the clock alone; and the seconds that passed before it."""

    event: tuple[EventKind, str] | None
    passed: float


STEPS = st.lists(
    st.builds(
        Step,
        st.none() | st.tuples(st.sampled_from(KINDS), st.sampled_from(["s3://a", "gs://b"])),
        st.sampled_from([0.0, 1.0, 5.0, 30.0, 100.0]),
    ),
    max_size=60,
)


def told(steps: Sequence[Step], policy: Policy) -> tuple[list[tuple[float, Notice]], Standings]:
    """Each notice with the moment it was told, and how all stand at the end."""
    standings, now = Standings(), 1000.0
    notices = []
    for event, passed in steps:
        now += passed
        happened = Event(event[0], event[1], at=now) if event else None
        standings, said = decide(standings, happened, now, policy)
        notices += [(now, one) for one in said]
    return notices, standings


def events(*kinds: EventKind, every: float = 1.0) -> list[Step]:
    return [Step((kind, "s3://a"), every) for kind in kinds]


FAILED: EventKind = "failed"
SUCCEEDED: EventKind = "succeeded"


def kinds(notices: Sequence[tuple[float, Notice]]) -> list[str]:
    return [notice.kind for _, notice in notices]


@given(STEPS, POLICIES)
def test_of_one_subject_there_is_at_most_one_notice_in_a_while_but_for_recoveries(
    steps: list[Step], policy: Policy
) -> None:
    notices, _ = told(steps, policy)
    for subject in ("s3://a", "gs://b"):
        at = [when for when, one in notices if one.subject == subject and one.kind != "recovered"]
        assert all(later - earlier >= policy.every for earlier, later in itertools.pairwise(at))


@given(STEPS, POLICIES)
def test_recovery_is_told_once_for_each_failure_that_was(steps: list[Step], policy: Policy) -> None:
    notices, _ = told(steps, policy)
    for subject in ("s3://a", "gs://b"):
        fails = False
        for _, one in notices:
            if one.subject == subject and one.kind == "recovered":
                assert fails
                fails = False
            elif one.subject == subject and one.kind != "drift":
                fails = True


@given(STEPS, POLICIES)
def test_a_failure_is_not_told_before_there_were_enough_in_a_row(
    steps: list[Step], policy: Policy
) -> None:
    for _, one in told(steps, policy)[0]:
        if one.kind == "failed":
            assert one.failures >= policy.after


@given(STEPS, st.sampled_from([0.0, 10.0, 60.0]))
def test_every_event_is_told_waits_or_is_counted(steps: list[Step], every: float) -> None:
    """With nothing to put up with first, no bad event gets lost."""
    notices, standings = told(steps, Policy(1, every))
    bad = sum(one.event is not None and one.event[0] != "succeeded" for one in steps)
    said = sum((one.kind != "recovered") + one.left_out for _, one in notices)
    waiting = sum((one.waiting is not None) + one.left_out for one in standings.subjects.values())
    assert bad == said + waiting


@given(STEPS, POLICIES)
def test_what_waits_is_told_when_the_while_is_over(steps: list[Step], policy: Policy) -> None:
    _, standings = told(steps, policy)
    waiting = {name for name, one in standings.subjects.items() if one.waiting}
    assert (standings.wake is not None) == bool(waiting)
    if standings.wake is not None:
        assert decide(standings, None, standings.wake - 0.001, policy)[1] == ()
    later, notices = decide(standings, None, 1e9, policy)
    assert {one.subject for one in notices} == waiting
    assert later.wake is None


@given(STEPS, POLICIES)
def test_a_subject_that_works_at_last_is_told_to_work(steps: list[Step], policy: Policy) -> None:
    more = [Step(("succeeded", name), 1.0) for name in ("s3://a", "gs://b")]
    notices, _ = told([*steps, *more], policy)
    for subject in ("s3://a", "gs://b"):
        states = [one.kind for _, one in notices if one.subject == subject]
        of_runs = [kind for kind in states if kind != "drift"]
        assert not of_runs or of_runs[-1] == "recovered"


def test_an_outage_is_told_once_and_then_its_end() -> None:
    steps = events(*[FAILED] * 20, SUCCEEDED, SUCCEEDED)
    notices, _ = told(steps, Policy(2, 3600.0))
    assert kinds(notices) == ["failed", "recovered"]
    assert notices[0][1].failures == 2
    recovered = notices[1][1]
    assert (recovered.failures, recovered.left_out) == (20, 18)


def test_one_failure_that_heals_is_not_told() -> None:
    assert told(events("failed", "succeeded", "failed", "succeeded"), Policy(2, 60.0))[0] == []


def test_a_long_outage_is_told_again_with_what_was_left_out() -> None:
    notices, _ = told(events(*[FAILED] * 25), Policy(2, 10.0))
    assert kinds(notices) == ["failed"] * 3
    assert [one.failures for _, one in notices] == [2, 12, 22]
    assert [one.left_out for _, one in notices] == [0, 9, 9]


def test_a_refusal_is_told_at_once_and_waits_before_lesser_things() -> None:
    assert kinds(told(events("refused"), Policy(3, 60.0))[0]) == ["refused"]
    steps = [*events("drift", "refused", "failed", "drift"), Step(None, 100.0)]
    notices, _ = told(steps, Policy(1, 60.0))
    assert kinds(notices) == ["drift", "refused"]
    assert notices[1][1].left_out == 2


def test_flapping_is_not_told_each_time() -> None:
    notices, _ = told(events(*[FAILED, SUCCEEDED] * 20), Policy(1, 3600.0))
    assert kinds(notices) == ["failed", "recovered"]


def test_a_clock_that_was_set_back_delays_a_notice_by_no_more_than_the_policy_s_time() -> None:
    policy = Policy(1, 60.0)
    standings, _ = decide(Standings(), Event("failed", "x"), 1e9, policy)
    standings, _ = decide(standings, Event("failed", "x"), 1000.0, policy)
    assert standings.wake == 1060.0


@given(STEPS, POLICIES)
def test_recovery_is_told_after_a_restart_too(steps: list[Step], policy: Policy) -> None:
    import json

    _, standings = told(steps, policy)
    again = Standings.load(json.loads(json.dumps(standings.dump())))
    for subject in ("s3://a", "gs://b"):
        before = standings.subjects.get(subject)
        fails = before is not None and before.is_told
        _, notices = decide(again, Event("succeeded", subject), 1e6, policy)
        assert [one.kind for one in notices] == (["recovered"] if fails else [])


@pytest.mark.parametrize("value", [None, [], {"x": 1}, {"x": ["a", 1, 2]}, {"x": [True, 1, 2]}])
def test_a_memory_that_is_none_is_an_empty_one(value: object) -> None:
    assert Standings.load(value).subjects == {}
