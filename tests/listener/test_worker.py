"""Merging, retries and reconciliation, with a real journal and a publisher that is made up."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import LeaseLost, MyopCdnError, ProcessKilled, RefusedError
from myop_cdn.listener.queue import agenda, deliveries, lanes, outcome
from myop_cdn.listener.queue.journal import reading, writing
from myop_cdn.report import DeployReport, DestinationReport, FailedKey, PublishReport, Upload
from tests.listener.rig import Rig, failing, good, raising, refs, until, webhook

if TYPE_CHECKING:
    from collections.abc import Callable

    from myop_cdn.model import Scope

SETTLE = agenda.SETTLE


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that are as short as they can be."""
    monkeypatch.setattr(agenda, "FIRST", 0.02)
    monkeypatch.setattr(agenda, "EARLY", 0.02)
    monkeypatch.setattr(agenda, "SETTLE", 0.05)


def work(rig: Rig) -> agenda.Agenda:
    """What the journal has on the agenda of the rig's one destination."""
    with reading(rig.journal) as connection:
        return lanes.agenda(connection, "s3://b")


def settled(rig: Rig) -> bool:
    return all(state not in ("waiting", "retrying") for state in rig.states().values())


def test_what_waits_is_merged_into_one_run_and_the_newest_announcement_wins(rig: Rig) -> None:
    rig.publisher.gate.clear()
    rig.post(webhook("first/prod"))
    rig.publisher.entered.wait(20)
    rig.post(webhook("a/prod=old", "b/qa"))
    rig.post(webhook("a/prod=new"))
    rig.publisher.gate.set()
    until(lambda: len(rig.publisher.scopes) == 2 and settled(rig))
    second = rig.publisher.scopes[1]
    assert {(one.component_id, one.variant_id) for one in second.releases} == {
        ("a", "new"),
        ("b", "v1"),
    }


def test_the_signed_timestamp_decides_what_is_newest(rig: Rig) -> None:
    rig.publisher.gate.clear()
    rig.post(webhook("first/prod"))
    rig.publisher.entered.wait(20)
    rig.post(webhook("a/prod=new", age=0))
    rig.post(webhook("a/prod=old", age=60))
    rig.publisher.gate.set()
    until(lambda: len(rig.publisher.scopes) == 2)
    assert [one.variant_id for one in rig.publisher.scopes[1].releases] == ["new"]


def test_a_full_sync_supersedes_what_waits_beside_it(rig: Rig) -> None:
    rig.publisher.gate.clear()
    rig.post(webhook("first/prod"))
    rig.publisher.entered.wait(20)
    rig.post(webhook("a/prod"))
    rig.post(webhook(full=True))
    rig.publisher.gate.set()
    until(lambda: settled(rig) and rig.states())
    assert rig.publisher.kinds == ["incremental", "full"]


def test_a_burst_of_500_deliveries_costs_a_handful_of_runs(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.listener.rig import request

    # As it is in earnest: on a busy machine a burst has pauses.
    monkeypatch.setattr(agenda, "SETTLE", SETTLE)
    with rig.wire() as wire:
        for number in range(500):
            wire.send(request(webhook(f"c{number}/prod")))
        replies = [wire.reply() for _ in range(500)]
    assert all(reply and reply.status == 200 for reply in replies)
    until(lambda: settled(rig))
    assert set().union(*map(refs, rig.publisher.scopes)) == {f"c{n}/prod" for n in range(500)}
    assert len(rig.publisher.scopes) <= 10


def test_only_the_documents_that_failed_are_retried(rig: Rig) -> None:
    rig.publisher.answers = [failing("bad/prod")]
    rig.post(webhook("good/prod", "bad/prod"))
    until(lambda: len(rig.publisher.scopes) == 2 and settled(rig))
    assert [refs(scope) for scope in rig.publisher.scopes] == [
        {"good/prod", "bad/prod"},
        {"bad/prod"},
    ]
    assert set(rig.states().values()) == {"done"}
    # What a destination's log is to say about why.
    assert rig.publisher.deliveries == [tuple(rig.states())] * 2


def test_what_keeps_failing_is_given_up_shown_and_tried_on_until_it_heals(rig: Rig) -> None:
    rig.publisher.answers = [failing("bad/prod")] * 500
    name = rig.post(webhook("bad/prod", "good/prod")).json["delivery"]
    until(lambda: rig.states()[name] == "failed")
    (retry,) = work(rig).retries
    assert (retry.given_up, retry.attempts > agenda.ATTEMPTS) == (True, True)
    assert retry.due is not None
    said = [level for level, words, _ in rig.log.lines if words == "published in part"]
    assert said[0] == "warning"
    assert set(said[1:]) == {"info"}
    assert rig.log.text().count("a release is given up") == 1
    rig.publisher.answers.clear()
    until(lambda: rig.states()[name] == "done")
    assert set(rig.publisher.kinds) == {"incremental"}
    assert work(rig).retries == ()


def test_what_is_given_up_is_not_done_by_a_full_sync_that_does_not_publish_it(rig: Rig) -> None:
    rig.publisher.answers = [failing("bad/prod")] * 500
    name = rig.post(webhook("bad/prod")).json["delivery"]
    until(lambda: rig.states()[name] == "failed")
    full = rig.post(webhook(full=True)).json["delivery"]
    until(lambda: rig.states()[full] == "done")
    assert rig.states()[name] == "failed"


def test_what_fails_for_one_component_does_not_hold_up_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "FIRST", 300.0)
    rig.publisher.answers = [failing("bad/prod")]
    rig.post(webhook("bad/prod"))
    until(lambda: "retrying" in rig.states().values())
    reply = rig.post(webhook("good/prod"))
    until(lambda: rig.states()[reply.json["delivery"]] == "done")
    assert refs(rig.publisher.scopes[1]) == {"good/prod"}


def test_a_newer_announcement_replaces_a_retry(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "FIRST", 300.0)
    rig.publisher.answers = [failing("a/prod")]
    rig.post(webhook("a/prod=old"))
    until(lambda: "retrying" in rig.states().values())
    rig.post(webhook("a/prod=new"))
    until(lambda: settled(rig))
    assert [one.variant_id for one in rig.publisher.scopes[1].releases] == ["new"]


def test_a_run_that_fails_as_a_whole_is_done_again_until_it_succeeds(rig: Rig) -> None:
    rig.publisher.answers = [raising(MyopCdnError("the API is down", "wait"))] * 3
    rig.post(webhook("a/prod"))
    until(lambda: len(rig.publisher.scopes) == 4 and settled(rig))
    assert [refs(scope) for scope in rig.publisher.scopes] == [{"a/prod"}] * 4
    assert set(rig.states().values()) == {"done"}
    assert work(rig).outage is None


def test_a_run_whose_process_was_killed_is_done_again_at_once_but_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "FIRST", 300.0)
    rig.publisher.answers = [raising(ProcessKilled("the process ended early"))]
    rig.post(webhook("a/prod"))
    until(lambda: settled(rig))
    assert [refs(scope) for scope in rig.publisher.scopes] == [{"a/prod"}] * 2
    assert rig.publisher.deliveries == [tuple(rig.states())] * 2
    with reading(rig.journal) as connection:
        assert [run.state for run in lanes.runs(connection, 9)] == ["done"]
    # A run that gets its process killed by itself must not take all there is.
    rig.publisher.answers = [raising(ProcessKilled("the process ended early"))] * 9
    rig.post(webhook("b/prod"))
    outage = until(lambda: work(rig).outage)
    assert (outage.attempts, len(rig.publisher.scopes)) == (1, 4)


def test_a_run_that_lost_its_lease_says_nothing_of_the_destination_and_is_done_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "FIRST", 300.0)
    rig.publisher.answers = [raising(LeaseLost("another listener may publish there"))] * 3
    rig.post(webhook("a/prod"))
    until(lambda: settled(rig))
    assert [refs(scope) for scope in rig.publisher.scopes] == [{"a/prod"}] * 4
    assert work(rig).outage is None


def test_an_outage_ends_as_a_full_sync_that_covers_what_waited(rig: Rig) -> None:
    rig.publisher.answers = [raising(MyopCdnError("down"))] * agenda.ATTEMPTS
    rig.post(webhook("a/prod"))
    until(lambda: settled(rig) and len(rig.publisher.scopes) > agenda.ATTEMPTS)
    assert rig.publisher.kinds == ["incremental"] * agenda.ATTEMPTS + ["full"]
    assert refs(rig.publisher.scopes[-1]) == {"a/prod"}


def test_the_last_error_and_the_next_attempt_are_on_record(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "FIRST", 300.0)
    rig.publisher.answers = [raising(MyopCdnError("the API is down", "wait"))]
    rig.post(webhook("a/prod"))
    outage = until(lambda: work(rig).outage)
    assert outage.until > outage.at
    assert "the API is down" in outage.error
    with reading(rig.journal) as connection:
        (delivery,) = deliveries.listed(connection, 1)
    assert delivery.attempts == 1
    assert "the API is down" in (delivery.error or "")


def test_an_unexpected_error_below_is_only_a_failed_run(rig: Rig) -> None:
    def broken(scope: Scope) -> PublishReport:
        raise ZeroDivisionError

    rig.publisher.answers = [broken]
    rig.post(webhook("a/prod"))
    until(lambda: len(rig.publisher.scopes) == 2 and settled(rig))


@pytest.mark.parametrize(
    "destination",
    [
        DestinationReport("s3://b", error=MyopCdnError("no such bucket")),
        DestinationReport("s3://b", refused="too many deletes"),
        DestinationReport("s3://b", failed=(FailedKey("manifest.json", "denied"),)),
    ],
)
def test_a_destination_that_fails_is_tried_again_with_everything(
    rig: Rig, destination: DestinationReport
) -> None:
    rig.publisher.answers = [
        lambda scope: PublishReport(good(scope).sync, DeployReport(False, (destination,)))
    ]
    rig.post(webhook("a/prod", "b/prod"))
    until(lambda: len(rig.publisher.scopes) == 2 and settled(rig))
    assert refs(rig.publisher.scopes[1]) == {"a/prod", "b/prod"}


def test_an_object_that_was_not_uploaded_is_retried_by_itself(rig: Rig) -> None:
    failed = DestinationReport(
        "s3://b",
        uploaded=(Upload("components/b/prod.json", "new"),),
        failed=(FailedKey("components/a/prod.json", "throttled"),),
    )
    rig.publisher.answers = [
        lambda scope: PublishReport(good(scope).sync, DeployReport(False, (failed,)))
    ]
    rig.post(webhook("a/prod", "b/prod"))
    until(lambda: len(rig.publisher.scopes) == 2 and settled(rig))
    assert refs(rig.publisher.scopes[1]) == {"a/prod"}
    assert rig.count("uploaded_objects") == 1


def test_a_full_sync_that_keeps_failing_does_not_hold_up_deliveries(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that has shrunk is refused each time; releases go out all the same."""
    monkeypatch.setattr(agenda, "OVERDUE", 0.1)
    rig = make_rig(sync_at_start=True)

    def refusing(scope: Scope) -> PublishReport:
        if scope.kind == "full":
            raise RefusedError("too much would be removed")
        return good(scope)

    rig.publisher.answers = [refusing] * 500
    rig.start()
    until(lambda: rig.publisher.kinds.count("full") >= 3)
    for number in range(3):
        name = rig.post(webhook(f"c{number}/prod")).json["delivery"]
        until(lambda name=name: rig.states()[name] == "done")


def test_an_outage_in_which_full_syncs_are_refused_ends_for_the_deliveries(rig: Rig) -> None:
    def refusing(scope: Scope) -> PublishReport:
        if scope.kind == "full":
            raise RefusedError("too much would be removed")
        return good(scope)

    down = raising(MyopCdnError("down"))
    rig.publisher.answers = [down] * (agenda.ATTEMPTS + 1) + [refusing] * 500
    rig.post(webhook("a/prod"))
    until(lambda: settled(rig) and rig.states())
    kinds = rig.publisher.kinds
    assert "incremental" in kinds[kinds.index("full") :]


def test_a_scheduled_full_sync_that_fails_is_not_tried_without_a_pause(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "FIRST", 300.0)
    rig = make_rig(full_every=timedelta(seconds=0.05))
    rig.publisher.answers = [raising(MyopCdnError("down"))] * 500
    rig.start()
    due = until(lambda: work(rig).full)
    assert due.attempts == 1
    rig.post(webhook("a/prod"))
    until(lambda: len(rig.publisher.scopes) == 2)
    assert rig.publisher.kinds == ["full", "incremental"]


def test_a_full_sync_is_done_at_the_start_after_what_was_waiting(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(sync_at_start=True, grace=timedelta(0)).start()
    until(lambda: rig.publisher.kinds == ["full"])
    rig.publisher.gate.clear()
    rig.publisher.entered.clear()
    rig.post(webhook("a/prod"))
    rig.publisher.entered.wait(20)
    rig.post(webhook("b/prod"))
    rig.stop()
    rig.publisher.scopes.clear()
    rig.publisher.gate.set()
    rig.start()
    until(lambda: len(rig.publisher.scopes) == 2)
    assert rig.publisher.kinds == ["incremental", "full"]
    assert refs(rig.publisher.scopes[0]) == {"a/prod", "b/prod"}


def test_an_orderly_restart_without_sync_at_start_does_nothing(rig: Rig) -> None:
    rig.post(webhook("a/prod"))
    until(lambda: settled(rig) and rig.states())
    rig.again()
    rig.post(webhook("b/prod"))
    until(lambda: len(rig.publisher.scopes) == 2)
    assert rig.publisher.kinds == ["incremental", "incremental"]


def test_an_unclean_exit_makes_a_full_sync_due(rig: Rig) -> None:
    rig.stop()
    with writing(rig.journal) as connection:
        connection.execute("UPDATE service SET clean = 0")
    rig.start()
    until(lambda: rig.publisher.kinds == ["full"])


def test_a_full_sync_comes_round_with_the_schedule(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(full_every=timedelta(seconds=0.05)).start()
    until(lambda: len(rig.publisher.scopes) >= 3)
    assert set(rig.publisher.kinds) == {"full"}


def test_a_schedule_that_was_noted_by_a_clock_far_ahead_is_corrected(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(full_every=timedelta(hours=1)).start()
    rig.stop()
    with writing(rig.journal) as connection:
        connection.execute("UPDATE lane SET next_full = 1e12")
    rig.start()
    until(lambda: (work(rig).next_full or 1e12) < 1e11)


def test_duplicates_are_answered_200_and_not_worked_again_even_after_a_restart(rig: Rig) -> None:
    body = webhook("a/prod")
    first = rig.post(body)
    until(lambda: settled(rig))
    second = rig.post(body)
    rig.again()
    third = rig.post(body)
    assert [reply.status for reply in (first, second, third)] == [200] * 3
    assert second.json == third.json == {"status": "duplicate", "delivery": first.json["delivery"]}
    rig.post(webhook("b/prod"))
    until(lambda: len(rig.publisher.scopes) == 2)
    assert refs(rig.publisher.scopes[1]) == {"b/prod"}


def test_a_body_without_a_timestamp_is_taken_once(rig: Rig) -> None:
    body = webhook("a/prod", timestamp=None)
    assert rig.post(body).json["status"] == "accepted"
    rig.again()
    assert rig.post(body).json["status"] == "duplicate"


def test_a_delivery_is_done_again_when_somebody_asks_for_it(rig: Rig) -> None:
    name = rig.post(webhook("a/prod")).json["delivery"]
    until(lambda: settled(rig))
    with writing(rig.journal) as connection:
        assert deliveries.retry(connection, name)
    until(lambda: len(rig.publisher.scopes) == 2 and settled(rig))
    assert refs(rig.publisher.scopes[1]) == {"a/prod"}


def test_a_delivery_that_is_forgotten_is_not_worked_but_its_replay_is_known(rig: Rig) -> None:
    rig.publisher.gate.clear()
    rig.post(webhook("first/prod"))
    rig.publisher.entered.wait(20)
    body = webhook("a/prod")
    name = rig.post(body).json["delivery"]
    with writing(rig.journal) as connection:
        assert deliveries.forget(connection, name)
    rig.publisher.gate.set()
    until(lambda: settled(rig))
    assert rig.post(body).json["status"] == "duplicate"
    assert len(rig.publisher.scopes) == 1


def test_very_many_deliveries_become_one_full_sync(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "MERGED", 20)
    monkeypatch.setattr(lanes, "MERGED", 20)
    monkeypatch.setattr(outcome, "MERGED", 20)
    rig.publisher.gate.clear()
    rig.post(webhook("first/prod"))
    rig.publisher.entered.wait(20)
    for number in range(30):
        rig.post(webhook(f"c{number}/prod"))
    rig.publisher.gate.set()
    until(lambda: settled(rig))
    assert rig.publisher.kinds == ["incremental", "full"]


def test_what_is_live_is_known_per_component_and_environment_and_since_when(rig: Rig) -> None:
    rig.post(webhook("a/prod=one"))
    until(lambda: settled(rig) and rig.states())
    rig.post(webhook("a/prod=two", "b/qa"))
    until(lambda: settled(rig) and len(rig.publisher.scopes) == 2)
    page = rig.listener.queue.page(10, None)
    assert [(one.ref.component_id, one.ref.environment, one.variant_id) for _, one in page] == [
        ("a", "prod", "two"),
        ("b", "qa", "v1"),
    ]


def test_a_full_delivery_that_fails_is_not_tried_again_without_a_pause(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination that is gone fails fast; that must not become a loop against Myop's API."""
    monkeypatch.setattr(agenda, "FIRST", 300.0)
    rig.publisher.answers = [raising(MyopCdnError("no such bucket"))] * 500
    name = rig.post(webhook(full=True)).json["delivery"]
    due = until(lambda: work(rig).full)
    assert due.attempts == 1
    assert rig.states()[name] == "retrying"
    # A release that comes meanwhile is tried by itself: the worker has looked at its agenda.
    rig.post(webhook("a/prod"))
    until(lambda: work(rig).outage)
    assert rig.publisher.kinds == ["full", "incremental"]


def test_a_full_delivery_that_fails_holds_up_no_other_and_is_done_by_the_next_full_sync(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "FIRST", 2.0)
    rig.publisher.answers = [raising(RefusedError("too much would be removed"))]
    asked = rig.post(webhook(full=True)).json["delivery"]
    until(lambda: work(rig).full)
    released = rig.post(webhook("a/prod")).json["delivery"]
    until(lambda: rig.states()[released] == "done")
    assert rig.states()[asked] == "retrying"
    until(lambda: rig.states()[asked] == "done")
    assert rig.publisher.kinds == ["full", "incremental", "full"]
