"""The worker's decisions, without a clock and without a journal."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.listener.queue import agenda
from myop_cdn.listener.queue.agenda import (
    Agenda,
    FullDue,
    Outage,
    Retry,
    Start,
    Wait,
    Waiting,
    next_action,
)
from myop_cdn.model import Release

NOW = 1_000_000.0
SETTLED = Waiting(3, NOW - 10, NOW - 5)
RETRY = Retry(Release("a", "prod"), 2, NOW - 1, NOW - 9, "404")


def start(work: Agenda) -> Start:
    found = next_action(work, NOW)
    assert isinstance(found, Start)
    return found


def wait(work: Agenda) -> Wait:
    found = next_action(work, NOW)
    assert isinstance(found, Wait)
    return found


def test_nothing_to_do_is_a_wait_that_anything_new_ends() -> None:
    assert wait(Agenda()).wakeable


def test_what_waits_is_worked() -> None:
    found = start(Agenda(waiting=SETTLED))
    assert (found.full, found.waiting, found.reason) == (False, True, "deliveries")


@pytest.mark.parametrize("before", [None, NOW - agenda.BURST, NOW - 100])
def test_a_delivery_is_worked_at_once_when_nothing_is_running(before: float | None) -> None:
    assert start(Agenda(waiting=Waiting(1, NOW, NOW, before))).waiting


def test_a_burst_is_given_a_moment_to_end() -> None:
    found = wait(Agenda(waiting=Waiting(3, NOW - 0.2, NOW - 0.04)))
    assert found.seconds == pytest.approx(agenda.SETTLE - 0.04)
    alone = Waiting(1, NOW - 0.01, NOW - 0.01, NOW - 0.01 - agenda.BURST / 2)
    assert wait(Agenda(waiting=alone)).seconds == pytest.approx(agenda.SETTLE - 0.01)


@pytest.mark.parametrize("run", [0.001, 0.04, 0.3])
def test_eighty_deliveries_within_a_second_make_at_most_five_runs(run: float) -> None:
    """However long a run takes; the decisions are driven by a clock of their own."""
    arrivals = [NOW + number / 80 for number in range(80)]
    now, taken, runs = NOW, 0, 0
    while taken < len(arrivals):
        here = [moment for moment in arrivals if moment <= now]
        waiting = here[taken:]
        if not waiting:
            now = arrivals[taken]
            continue
        before = here[-2] if len(here) > 1 else None
        work = Agenda(waiting=Waiting(len(waiting), waiting[0], waiting[-1], before))
        action = next_action(work, now)
        if isinstance(action, Wait):
            now += action.seconds
            continue
        taken, runs, now = len(here), runs + 1, now + run
    assert runs <= 5


def test_a_burst_that_never_settles_is_worked_all_the_same() -> None:
    assert start(Agenda(waiting=Waiting(9, NOW - agenda.SETTLE_MOST, NOW))).waiting


def test_deliveries_go_before_a_full_sync_that_is_due() -> None:
    found = start(Agenda(waiting=SETTLED, full=FullDue("start", NOW - 1, NOW - 1)))
    assert not found.full


def test_a_full_sync_is_not_put_off_for_ever() -> None:
    overdue = FullDue("start", NOW - agenda.OVERDUE - 1, NOW - 40)
    found = start(Agenda(waiting=SETTLED, full=overdue))
    assert (found.full, found.waiting, found.reason) == (True, True, "start")


def test_a_full_sync_that_is_due_is_done_when_nothing_waits() -> None:
    assert start(Agenda(full=FullDue("start", NOW, NOW))).reason == "start"
    assert start(Agenda(next_full=NOW)).reason == "schedule"


def test_a_full_sync_is_not_done_before_its_time() -> None:
    wait(Agenda(full=FullDue("it failed", NOW, NOW + 5), next_full=NOW + 60))


def test_very_many_deliveries_are_one_full_sync() -> None:
    many = Waiting(agenda.MERGED + 1, NOW - 10, NOW - 5)
    assert start(Agenda(waiting=many)).full


def test_a_retry_is_done_when_it_is_due_and_with_what_waits() -> None:
    assert start(Agenda(retries=(RETRY,))).retries == (RETRY,)
    assert start(Agenda(waiting=SETTLED, retries=(RETRY,))).retries == (RETRY,)
    later = replace(RETRY, due=NOW + 5)
    wait(Agenda(retries=(later,)))
    assert start(Agenda(waiting=SETTLED, retries=(later,))).retries == ()


def test_what_is_left_to_a_full_sync_is_not_retried() -> None:
    wait(Agenda(retries=(replace(RETRY, due=None),)))


def test_an_outage_holds_everything_up_until_its_time() -> None:
    outage = Outage(3, NOW - 9, NOW - 2, NOW + 2, "the API is down")
    old = Waiting(2, NOW - 20, NOW - 10)
    assert not wait(Agenda(waiting=old, outage=outage)).wakeable
    assert start(Agenda(waiting=old, outage=Outage(3, NOW - 9, NOW - 4, NOW, ""))).waiting


def test_a_new_delivery_may_try_a_little_earlier_in_an_outage() -> None:
    outage = Outage(9, NOW - 99, NOW - agenda.EARLY - 1, NOW + 600, "")
    new = Waiting(1, NOW - 3, NOW - 3)
    start(Agenda(waiting=new, outage=outage))
    wait(Agenda(waiting=Waiting(1, NOW - 60, NOW - 60), outage=outage))


def test_after_some_attempts_an_outage_is_ended_by_a_full_sync() -> None:
    found = start(
        Agenda(waiting=SETTLED, outage=Outage(agenda.ATTEMPTS, NOW - 99, NOW - 9, NOW - 1, ""))
    )
    assert found.full
    assert found.waiting


@pytest.mark.parametrize("jump", [-(10**7), 10**7])
def test_a_clock_that_jumps_holds_nothing_up(jump: float) -> None:
    """Times that were noted before the jump are not a reason to wait after it."""
    moment = NOW + agenda.LONGEST / 2
    works = [
        Agenda(waiting=SETTLED),
        Agenda(retries=(replace(RETRY, due=moment),)),
        Agenda(waiting=SETTLED, outage=Outage(2, NOW, NOW, moment, "")),
        Agenda(full=FullDue("start", NOW, moment)),
    ]
    for work in works:
        assert isinstance(next_action(work, NOW + jump), Start)


@given(st.integers(1, 10_000), st.integers())
def test_backoff_grows_within_bounds(attempts: int, seed: int) -> None:
    seconds = agenda.backoff(attempts, Random(seed))
    assert agenda.FIRST / 2 <= seconds <= agenda.LONGEST
    most = agenda.backoff(attempts + 1, Random(seed))
    assert seconds <= most


MOMENTS = st.floats(0, 1e7)
WAITING = st.builds(Waiting, st.integers(1, 9), MOMENTS, MOMENTS)
OUTAGES = st.builds(Outage, st.integers(1, 9), MOMENTS, MOMENTS, MOMENTS, st.just("down"))
FULLS = st.builds(FullDue, st.just("start"), MOMENTS, MOMENTS)


@given(
    st.builds(
        Agenda,
        waiting=st.none() | WAITING,
        outage=st.none() | OUTAGES,
        full=st.none() | FULLS,
        next_full=st.none() | MOMENTS,
    )
)
def test_no_wait_is_longer_than_a_look_at_the_journal(work: Agenda) -> None:
    found = next_action(work, NOW)
    assert isinstance(found, Start) or 0 < found.seconds <= agenda.POLL
