"""What follows from a run: decided without a clock, a journal or a destination."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.errors import MyopCdnError
from myop_cdn.listener.queue import agenda, outcome
from myop_cdn.listener.queue.agenda import FullDue, Outage, Retry, Start
from myop_cdn.listener.queue.base import LaneState, LiveDocument, Need, Settlement
from myop_cdn.listener.queue.outcome import Clock, Taken, Work, decide, live_changes
from myop_cdn.model import DocumentRef, Release, Scope
from myop_cdn.report import DeployReport, DestinationReport, Overtaken, PublishReport
from tests.listener.rig import failing, good

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myop_cdn.listener.queue.base import Changes

NOW = 1_000_000.0
A, B = DocumentRef("a", "prod"), DocumentRef("b", "prod")
NOTHING = LaneState({}, (), (), None, None, None)
DOWN = MyopCdnError("the API is down", "wait")


def release(ref: DocumentRef, variant: str = "v1") -> Release:
    return Release(ref.component_id, ref.environment, variant)


def taken(seq: int, *releases: Release, announced: float = 0.0, full: bool = False) -> Taken:
    scope = Scope("full" if full else "incremental", releases)
    return Taken(seq, f"d{seq}", announced or float(seq), scope)


def work(*deliveries: Taken, full: bool = False, retries: tuple[Retry, ...] = ()) -> Work:
    scopes = [Scope("incremental", tuple(retry.release for retry in retries))]
    scopes += [found.scope for found in sorted(deliveries, key=lambda found: found.announced)]
    scopes += [Scope("full")] if full else []
    return Work(Start(full, "why", True, retries), Scope.merge(scopes), deliveries, "journal")


def need(seq: int, found: Release, announced: float = 0.0) -> Need:
    return Need(seq, f"d{seq}", found, announced or float(seq))


def after(
    done: Work,
    result: PublishReport | MyopCdnError,
    state: LaneState = NOTHING,
    known: Mapping[DocumentRef, LiveDocument] | None = None,
    now: float = NOW,
) -> Changes:
    """What follows at `now` from a run that began a second before."""
    clock = Clock(now - 1, now, Random(1), 0.0)
    return decide(7, outcome.of(result), done, state, known or {}, clock)


def states(changes: Changes) -> dict[int, str]:
    return {one.seq: one.state for one in changes.settlements}


def notes(changes: Changes) -> dict[int, str | None]:
    return {one.seq: one.note for one in changes.settlements}


def test_a_delivery_is_done_when_its_documents_hold_what_it_announced() -> None:
    run = work(taken(1, release(A)), taken(2, release(B)))
    changes = after(run, good(run.scope))
    assert states(changes) == {1: "done", 2: "done"}
    assert (changes.position, changes.retries, changes.end.state) == (2, (), "done")


def test_a_document_that_is_behind_leaves_its_delivery_open_and_no_other() -> None:
    run = work(taken(1, release(A, "v2"), release(B)), taken(2, release(B)))
    changes = after(run, good(run.scope, a="v1"))
    assert states(changes) == {1: "open", 2: "done"}
    (open_,) = [one for one in changes.settlements if one.state == "open"]
    assert open_.needs == (need(1, release(A, "v2")),)
    assert "announced was variant v2, Myop answers variant v1 still" in (open_.error or "")
    (retry,) = changes.retries
    assert (retry.ref, retry.behind, retry.given_up, retry.attempts) == (A, True, False, 1)
    assert NOW < (retry.due or 0) <= NOW + agenda.FIRST
    assert changes.end.state == "partly"


def test_what_was_announced_later_settles_what_was_announced_before() -> None:
    state = replace(
        NOTHING,
        needs=(need(1, release(A, "v2")),),
        retries={A: Retry(release(A, "v2"), 9, NOW, NOW - 60, "behind", behind=True)},
    )
    run = work(taken(2, release(A, "v3")))
    changes = after(run, good(run.scope), state)
    assert notes(changes) == {1: "overtaken by d2", 2: None}
    assert (set(states(changes).values()), changes.resolved) == ({"done"}, (A,))


def test_while_the_later_one_is_not_there_either_both_stay_open() -> None:
    state = replace(NOTHING, needs=(need(1, release(A, "v2")),))
    run = work(taken(2, release(A, "v3")))
    changes = after(run, good(run.scope, a="v1"), state)
    assert states(changes) == {1: "open", 2: "open"}
    assert [retry.release.variant_id for retry in changes.retries] == ["v3"]


def test_the_earlier_variant_is_no_answer_to_the_later_announcement() -> None:
    state = replace(NOTHING, needs=(need(1, release(A, "v2")),))
    run = work(taken(2, release(A, "v3")))
    assert states(after(run, good(run.scope, a="v2"), state)) == {1: "done", 2: "open"}


def test_the_signed_timestamp_and_not_the_arrival_says_what_is_later() -> None:
    known = {A: LiveDocument(A, "The a", "v3", "", NOW - 9, 20.0, "d1")}
    run = work(taken(2, release(A, "v2"), announced=10.0))
    changes = after(run, good(run.scope, a="v3"), known=known)
    assert (states(changes), notes(changes)) == ({2: "done"}, {2: "overtaken by d1"})


def test_a_document_that_failed_is_retried_and_its_delivery_says_why() -> None:
    run = work(taken(1, release(A), release(B)))
    changes = after(run, failing("a/prod")(run.scope))
    (open_,) = changes.settlements
    assert (open_.state, open_.needs) == ("open", (need(1, release(A)),))
    assert open_.error == f"{A.path}: 404"
    assert [(one.ref, one.behind, one.error) for one in changes.retries] == [(A, False, "404")]


def test_a_preview_that_failed_keeps_the_delivery_of_its_release_open() -> None:
    preview = DocumentRef("a", "preview")
    run = work(taken(1, release(A), release(DocumentRef("a", "qa"))), taken(2, release(B)))
    changes = after(run, failing("a/preview")(run.scope))
    assert states(changes) == {1: "open", 2: "done"}
    wanted = need(1, Release("a", "preview"))
    assert changes.settlements[0].needs == (wanted,)
    (retry,) = changes.retries
    assert retry.ref == preview
    state = replace(NOTHING, needs=(wanted,), retries={preview: retry})
    again = work(retries=(retry,))
    assert states(after(again, failing("a/preview")(again.scope), state)) == {1: "open"}
    healed = after(again, good(again.scope), state)
    assert (states(healed), healed.resolved) == ({1: "done"}, (preview,))


@pytest.mark.parametrize(
    ("attempts", "age", "behind", "given_up", "tried_on"),
    [
        (4, 60.0, False, False, True),
        (5, 60.0, False, True, True),  # the sixth failure in a row
        (99, 25 * 3600.0, False, True, False),
        (99, 3000.0, True, False, True),
        (99, 2 * 3600.0, True, True, True),
        (99, 25 * 3600.0, True, True, False),
    ],
)
def test_what_fails_on_is_given_up_but_tried_for_a_day_and_left_to_full_syncs_then(
    attempts: int, age: float, behind: bool, given_up: bool, tried_on: bool
) -> None:
    before = Retry(release(A, "v2"), attempts, NOW, NOW - age, "404", behind, False)
    state = replace(NOTHING, needs=(need(1, release(A, "v2")),), retries={A: before})
    run = work(retries=(before,))
    result = good(run.scope, a="v1") if behind else failing("a/prod")(run.scope)
    (retry,) = after(run, result, state).retries
    assert (retry.attempts, retry.since) == (attempts + 1, NOW - age)
    assert (retry.given_up, retry.due is not None) == (given_up, tried_on)


def test_a_release_that_the_index_does_not_name_is_not_done_by_a_full_sync() -> None:
    lost = Retry(release(A), 6, None, NOW - 10**6, "404", given_up=True)
    state = replace(NOTHING, needs=(need(1, release(A)),), retries={A: lost}, full_waiting=(2,))
    run = work(full=True)
    changes = after(run, good(run.scope), state)
    assert states(changes) == {1: "open", 2: "done"}
    assert changes.retries == (lost,)


def test_a_full_sync_that_holds_what_was_announced_heals_what_was_given_up() -> None:
    lost = Retry(release(A), 6, None, NOW - 10**6, "404", given_up=True)
    state = replace(NOTHING, needs=(need(1, release(A)),), retries={A: lost})
    result = good(Scope("incremental", (release(A),)))
    changes = after(work(full=True), result, state)
    assert (states(changes), changes.resolved, changes.retries) == ({1: "done"}, (A,), ())


def test_what_myop_was_not_asked_for_at_all_is_not_waited_for() -> None:
    """An environment that is not exported here."""
    run = work(taken(1, release(A)))
    nothing = replace(good(run.scope).sync, documents=())
    assert states(after(run, PublishReport(nothing))) == {1: "done"}


def test_what_another_run_has_overtaken_at_the_destination_is_done_and_says_so() -> None:
    run = work(taken(1, release(A)))
    there = DestinationReport("s3://b", overtaken=(Overtaken(A.path, "newer there"),))
    result = replace(good(run.scope), deploy=DeployReport(False, (there,)))
    changes = after(run, result)
    assert (states(changes), notes(changes)) == ({1: "done"}, {1: "newer there"})
    assert live_changes(outcome.of(result), run, (), {}, NOW) == ([], [])


def test_an_outage_puts_everything_back_and_keeps_what_is_open() -> None:
    state = replace(NOTHING, retries={A: Retry(release(A), 2, NOW, NOW, "404")})
    changes = after(work(taken(1, release(A)), taken(2, full=True)), DOWN, state)
    assert states(changes) == {1: "waiting", 2: "open"}
    changes = after(work(taken(1, release(A))), DOWN, state)
    assert states(changes) == {1: "waiting"}
    assert (changes.retries, changes.resolved) == ((), ())
    assert changes.outage is not None
    assert (changes.outage.attempts, changes.outage.error) == (1, "the API is down (wait)")
    again = after(work(taken(1, release(A))), DOWN, replace(state, outage=changes.outage))
    assert again.outage is not None
    assert (again.outage.attempts, again.outage.since) == (2, changes.outage.since)


def test_a_run_that_succeeds_ends_the_outage_and_what_waited_for_that_is_due_at_once() -> None:
    outage = Outage(5, NOW - 900, NOW - 60, NOW, "down")
    other = Retry(release(B), 3, NOW + 600, NOW - 900, "404")
    full = FullDue("schedule", NOW - 900, NOW + 600, 2, "down", NOW - 60)
    state = replace(NOTHING, retries={B: other}, outage=outage, full=full)
    run = work(taken(1, release(A)))
    changes = after(run, good(run.scope), state)
    assert changes.outage is None
    assert [(one.ref, one.due) for one in changes.retries] == [(B, NOW)]
    assert changes.full == replace(full, after=NOW)


def test_a_full_sync_that_fails_is_due_again_later_and_is_no_outage() -> None:
    due = FullDue("schedule", NOW - 60, NOW - 60, 2, "refused", NOW - 60)
    state = replace(NOTHING, full=due, full_waiting=(3,))
    run = work(taken(1, release(A)), taken(2, full=True), full=True)
    changes = after(run, MyopCdnError("too much would be removed"), state)
    assert states(changes) == {1: "waiting", 2: "open"}
    assert changes.outage is None
    assert changes.full is not None
    assert (changes.full.attempts, changes.full.since) == (3, NOW - 60)
    assert changes.full.after > NOW
    assert changes.full.error == "too much would be removed"


def test_very_many_deliveries_are_not_taken_by_a_run_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outcome, "MERGED", 2)
    run = work(*(taken(seq, release(A)) for seq in (1, 2, 3)), full=True)
    changes = after(run, DOWN)
    assert (changes.settlements, changes.position) == ((), None)
    assert changes.outage is not None


@pytest.mark.parametrize(("since", "is_left"), [(NOW - 60, False), (NOW - 0.5, True)])
def test_only_a_full_sync_that_was_asked_for_before_it_began_is_done(
    since: float, is_left: bool
) -> None:
    due = FullDue("somebody asked", since, since)
    changes = after(work(full=True), good(Scope("full")), replace(NOTHING, full=due))
    assert (changes.full == due, changes.full is None) == (is_left, not is_left)


def test_the_destination_as_a_whole_failing_leaves_nothing_published() -> None:
    run = work(taken(1, release(A)))
    for there in (
        DestinationReport("s3://b", error=MyopCdnError("no such bucket")),
        DestinationReport("s3://b", refused="too much"),
    ):
        result = replace(good(run.scope), deploy=DeployReport(False, (there,)))
        assert states(after(run, result)) == {1: "waiting"}
        assert live_changes(outcome.of(result), run, (), {}, NOW) == ([], [])


def test_what_to_do_about_a_destination_that_fails_is_told_with_it() -> None:
    """Whoever reads the log or a notice has no command that would say so."""
    there = DestinationReport("s3://b", error=MyopCdnError("s3://b: no such bucket", "create it"))
    result = replace(good(work(taken(1, release(A))).scope), deploy=DeployReport(False, (there,)))
    assert outcome.of(result).error == "s3://b: no such bucket (create it)"


# -- what is live


def live(run: Work, result: PublishReport, **known: Any) -> Any:
    before = {DocumentRef(name, "prod"): document for name, document in known.items()}
    return live_changes(outcome.of(result), run, (), before, NOW)


def test_what_is_live_comes_from_the_documents_and_not_from_what_was_announced() -> None:
    run = work(taken(1, release(A, "v2")))
    (document,), gone = live(run, good(run.scope, a="v1"))
    assert (document.name, document.variant_id, document.variant_name) == ("The a", "v1", "V1")
    assert (document.since, document.announced, gone) == (NOW, None, [])


def test_a_document_with_the_variant_it_had_is_live_since_then() -> None:
    had = LiveDocument(A, "The a", "v2", "V2", NOW - 99, 1.0, "d1")
    run = work(taken(5, release(A, "v2")))
    (document,), _ = live(run, good(run.scope), a=had)
    assert (document.since, document.announced, document.announced_by) == (NOW - 99, 5.0, "d5")


def test_a_document_that_was_there_before_is_live_since_it_came_there() -> None:
    run = work(taken(5, release(A, "v2")))
    there = DestinationReport("s3://b", unchanged=1, since={A.path: int(NOW) - 99})
    result = replace(good(run.scope, a="v2"), deploy=DeployReport(False, (there,)))
    (document,), _ = live(run, result)
    assert document.since == int(NOW) - 99
    had = LiveDocument(A, "The a", "v2", "V2", NOW - 10)
    assert live(run, result, a=had)[0][0].since == int(NOW) - 99
    had = replace(had, since=NOW - 1000)
    assert live(run, result, a=had)[0][0].since == NOW - 1000


def test_a_full_sync_lists_all_and_drops_what_is_gone_but_only_a_whole_one() -> None:
    had = LiveDocument(B, "The b", "v1", "", NOW - 99)
    result = good(Scope("incremental", (release(A),)))
    found, gone = live(work(full=True), result, b=had)
    assert ([one.ref for one in found], gone) == ([A], [B])
    _, gone = live(work(full=True), failing("c/prod")(Scope("full", (release(A),))), b=had)
    assert gone == []


def test_settlements_say_how_many_more_are_lacking() -> None:
    refs = [DocumentRef(f"c{number}", "prod") for number in range(3)]
    run = work(taken(1, *map(release, refs)))
    changes = after(run, failing("c0/prod", "c1/prod", "c2/prod")(run.scope))
    (found,) = changes.settlements
    assert isinstance(found, Settlement)
    assert found.error == f"{refs[0].path}: 404 and 2 more"
