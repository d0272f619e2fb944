"""The suite that every queue passes: subclass `QueueContract` in a pytest module.

    class TestMyQueue(QueueContract):
        @pytest.fixture
        def rig(self, my_database):
            return MyRig(my_database)

A `QueueRig` opens queues on one place that was empty before the test.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from myop_cdn.listener.queue.agenda import MERGED, FullDue, Outage, Retry
from myop_cdn.listener.queue.base import (
    KEPT,
    Changes,
    Lane,
    LiveDocument,
    LiveQuery,
    Need,
    Record,
    RunEnd,
    Settlement,
)
from myop_cdn.model import DocumentRef, Release
from tests.listener.rig import PATIENCE, until, webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.errors import ListenerError
    from myop_cdn.listener.delivery import DeliveryStore
    from myop_cdn.listener.queue.base import DeliveryView, LaneState, Queue

A, B = DocumentRef("a", "prod"), DocumentRef("b", "prod")
NOW = 1_800_000_000.0
CDN, OTHER = Lane("s3://cdn"), Lane("file:///other")


class QueueRig(Protocol):
    """Opens queues on one place, and does to it what other processes do."""

    def open(
        self, lanes: Sequence[Lane], wall: Callable[[], float], sync_at_start: bool = False
    ) -> Queue:
        """A queue with these lanes, started, that has committed something."""

    def crash(self, queue: Queue) -> None:
        """End what a kill would end: the next `open` finds the place as a kill leaves it."""

    def settle(self, queue: Queue) -> None:
        """Wait until what was requested of it is done, or left."""

    def retry(self, delivery: str) -> bool:
        """What `deliveries retry` does."""

    def forget(self, delivery: str) -> bool:
        """What `deliveries forget` does."""


def record(name: str, *releases: str, **changes: Any) -> Record:
    """A delivery named `name`; without releases it announces `a/prod`."""
    body = webhook(*(releases or ("a/prod",)), name=name)
    values: dict[str, Any] = {
        "id": name,
        "sha256": hashlib.sha256(body).digest(),
        "received": NOW,
        "announced": NOW - 1,
        "peer": "1.2.3.4:5",
        "headers": {"user-agent": "ünïcode 日本"},
        "secret": 1,
        "event": "components.deployed",
        "kind": "incremental",
        "body": body,
        "state": "waiting",
        "once": False,
    }
    return Record(**{**values, **changes})


def store(queue: DeliveryStore, one: Record) -> str | None:
    """Store and wait for the commit; the earlier id, or raises."""
    answers: SimpleQueue[tuple[str | None, ListenerError | None]] = SimpleQueue()
    queue.store(one, lambda earlier, error: answers.put((earlier, error)))
    earlier, failure = answers.get(timeout=PATIENCE)
    if failure is not None:
        raise failure
    return earlier


def finish(
    queue: Queue,
    lane: Lane,
    *settlements: Settlement,
    refs: frozenset[DocumentRef] | None = frozenset(),
    journal: str | None = None,
    state: str = "done",
    **more: Any,
) -> int:
    """A run that ends with these settlements; its number. What is not given stays as it was."""
    run = queue.begin(lane.name, "incremental", "deliveries", len(settlements))
    position = max((one.seq for one in settlements), default=None)

    def decide(before: LaneState) -> Changes:
        end = RunEnd(run, state, 3, "why" if state != "done" else None, NOW + 2)  # type: ignore[arg-type]
        kept = {"outage": before.outage, "full": before.full, "next_full": before.next_full}
        return Changes(end, settlements, position, **{**kept, **more})

    found = journal or queue.batch(lane.name, 0).journal
    queue.finish(lane.name, found, refs, decide)
    return run


def waiting(queue: Queue, lane: Lane, most: int = 1000) -> list[str]:
    """The ids of the deliveries that wait in a lane."""
    return [one.id for one in queue.batch(lane.name, most).deliveries]


def seq(queue: Queue, lane: Lane, name: str) -> int:
    """The place of a delivery that waits in a lane."""
    return next(one.seq for one in queue.batch(lane.name, 1000).deliveries if one.id == name)


def view(queue: Queue, name: str) -> DeliveryView:
    """A delivery as an operator sees it."""
    return next(one for one in queue.deliveries(1000) if one.id == name)


def need(place: int, name: str, ref: DocumentRef, variant: str = "v1") -> Need:
    """What it takes for a delivery to be done."""
    return Need(place, name, Release(ref.component_id, ref.environment, variant, "e"), NOW - 1)


def retry_of(ref: DocumentRef, **changes: Any) -> Retry:
    """A document that failed."""
    release = Release(ref.component_id, ref.environment, "v1", "e")
    return replace(Retry(release, 2, NOW + 5, NOW, "404"), **changes)


class QueueContract:
    """What a queue promises; see `base.Queue`."""

    @pytest.fixture
    def queue(self, rig: QueueRig) -> Any:
        """A queue with two lanes at a moment that stands still."""
        made = rig.open([CDN, OTHER], lambda: NOW)
        yield made
        made.close()

    # -- deliveries

    def test_a_delivery_waits_in_every_lane_byte_for_byte_and_oldest_first(
        self, queue: Queue
    ) -> None:
        one, two = record("one"), record("two", "b/prod")
        assert (store(queue, one), store(queue, two)) == (None, None)
        for lane in (CDN, OTHER):
            found = queue.batch(lane.name, 1000).deliveries
            assert [(had.id, had.body, had.announced) for had in found] == [
                ("one", one.body, NOW - 1),
                ("two", two.body, NOW - 1),
            ]
            assert waiting(queue, lane, 1) == ["one"]
            agenda = queue.agenda(lane.name)
            assert agenda.waiting is not None
            assert (agenda.waiting.count, agenda.waiting.oldest) == (2, NOW)

    def test_a_body_that_was_taken_before_is_told_by_its_first_id(self, queue: Queue) -> None:
        first = record("first")
        assert store(queue, first) is None
        assert store(queue, replace(first, id="second")) == "first"
        assert waiting(queue, CDN) == ["first"]

    def test_of_equal_bodies_at_the_same_moment_one_is_taken(self, queue: Queue) -> None:
        twin, done = record("twin"), threading.Barrier(9)
        answers: list[str | None] = []

        def hand_in(number: int) -> None:
            answers.append(store(queue, replace(twin, id=f"twin{number}")))
            done.wait(PATIENCE)

        for number in range(8):
            threading.Thread(target=hand_in, args=(number,), daemon=True).start()
        done.wait(PATIENCE)
        (kept,) = waiting(queue, CDN)
        assert sorted(answers, key=str) == sorted([None, *[kept] * 7], key=str)

    def test_what_asks_for_nothing_waits_nowhere(self, queue: Queue) -> None:
        store(queue, record("other", state="ignored", kind="none"))
        assert waiting(queue, CDN) == []
        assert queue.agenda(CDN.name).waiting is None
        assert view(queue, "other").state == "ignored"

    def test_an_operator_sees_the_newest_first_with_what_was_announced(self, queue: Queue) -> None:
        store(queue, record("one", received=NOW - 9))
        store(queue, record("two", "a/prod=v2", "b/qa"))
        document = LiveDocument(A, "Café Ⅷ", "v2", "The second", NOW)
        queue.set_live(CDN.name, [document], [])
        two, one = queue.deliveries(2)
        assert ([two.id, one.id], [had.id for had in queue.deliveries(1)]) == (
            ["two", "one"],
            ["two"],
        )
        assert (one.received, one.announced, one.peer, one.secret) == (
            NOW - 9,
            NOW - 1,
            "1.2.3.4:5",
            1,
        )
        assert (one.state, one.size, one.attempts) == ("waiting", len(record("one").body), 0)
        assert [
            (named.release.component_id, named.name, named.variant_name) for named in two.releases
        ] == [("a", "Café Ⅷ", "The second"), ("b", "", "")]
        assert two.lacking == {CDN.name: None, OTHER.name: None}

    # -- settled

    def test_a_delivery_is_done_when_every_lane_has_done_it(self, queue: Queue) -> None:
        store(queue, record("one"))
        run = finish(queue, CDN, Settlement(seq(queue, CDN, "one"), "done"))
        half = view(queue, "one")
        assert (half.state, half.lacking, half.run) == ("waiting", {OTHER.name: None}, run)
        assert (waiting(queue, CDN), waiting(queue, OTHER)) == ([], ["one"])
        finish(queue, OTHER, Settlement(seq(queue, OTHER, "one"), "done", note="overtaken by two"))
        whole = view(queue, "one")
        assert (whole.state, whole.lacking, whole.note) == ("done", {}, "overtaken by two")
        assert (whole.finished, whole.attempts) == (NOW + 2, 2)

    def test_what_a_run_puts_back_waits_again_before_what_came_later(self, queue: Queue) -> None:
        store(queue, record("one"))
        store(queue, record("two"))
        finish(queue, CDN, Settlement(seq(queue, CDN, "one"), "waiting", error="down"))
        assert waiting(queue, CDN) == ["one", "two"]
        assert view(queue, "one").lacking == {CDN.name: "down", OTHER.name: None}
        assert "down" in (view(queue, "one").error or "")

    def test_what_is_open_comes_back_with_all_its_needs_where_one_of_them_is_in_question(
        self, queue: Queue
    ) -> None:
        for name in ("one", "two"):
            store(queue, record(name, "a/prod", "b/prod"))
        one, two = seq(queue, CDN, "one"), seq(queue, CDN, "two")
        needs = (need(one, "one", A), need(one, "one", B, "v2"))
        finish(
            queue,
            CDN,
            Settlement(one, "open", needs, error="a: 404"),
            Settlement(two, "open", (need(two, "two", B),)),
            retries=(retry_of(A),),
        )
        assert queue.state(CDN.name, frozenset({A})).needs == needs
        assert {had.delivery for had in queue.state(CDN.name, frozenset({B})).needs} == {
            "one",
            "two",
        }
        assert len(queue.state(CDN.name, None).needs) == 3
        assert queue.state(OTHER.name, None).needs == ()
        assert queue.agenda(CDN.name).retries == (retry_of(A),)
        assert (waiting(queue, CDN), view(queue, "one").lacking[CDN.name]) == ([], "a: 404")

    def test_a_delivery_is_failed_while_a_document_it_waits_for_is_given_up(
        self, queue: Queue
    ) -> None:
        store(queue, record("one"))
        place = seq(queue, CDN, "one")
        finish(queue, OTHER, Settlement(place, "done"))
        open_ = Settlement(place, "open", (need(place, "one", A),), error="404")
        finish(queue, CDN, open_, retries=(retry_of(A),))
        assert view(queue, "one").state == "retrying"
        finish(queue, CDN, open_, refs=frozenset({A}), retries=(retry_of(A, given_up=True),))
        assert view(queue, "one").state == "failed"
        finish(queue, CDN, Settlement(place, "done"), refs=frozenset({A}), resolved=(A,))
        assert (view(queue, "one").state, view(queue, "one").error) == ("done", None)
        assert queue.agenda(CDN.name).retries == ()

    def test_what_waits_for_a_full_sync_is_told_of(self, queue: Queue) -> None:
        store(queue, record("all", kind="full"))
        place = seq(queue, CDN, "all")
        finish(queue, CDN, Settlement(place, "open", full=True))
        assert queue.state(CDN.name, frozenset()).full_waiting == (place,)
        assert queue.state(OTHER.name, None).full_waiting == ()

    def test_hundreds_of_settlements_are_all_recorded(self, queue: Queue) -> None:
        for number in range(450):
            queue.store(record(f"r{number:03}"), lambda *_: None)
        until(lambda: len(waiting(queue, CDN)) == 450)
        found = queue.batch(CDN.name, 1000).deliveries
        finish(queue, CDN, *(Settlement(one.seq, "done") for one in found))
        finish(queue, OTHER, *(Settlement(one.seq, "done") for one in found))
        assert {one.state for one in queue.deliveries(1000)} == {"done"}
        assert (queue.overview().waiting, queue.agenda(CDN.name).waiting) == (0, None)

    def test_a_run_of_a_journal_that_was_replaced_settles_nothing(self, queue: Queue) -> None:
        store(queue, record("one"))
        finish(queue, CDN, Settlement(seq(queue, CDN, "one"), "done"), journal="another one's")
        assert waiting(queue, CDN) == ["one"]

    def test_a_decision_is_made_on_what_is_open_at_that_moment(self, queue: Queue) -> None:
        finish(queue, CDN, retries=(retry_of(A),), outage=Outage(2, NOW, NOW, NOW + 9, "down"))
        seen: list[LaneState] = []

        def decide(state: LaneState) -> Changes:
            seen.append(state)
            return Changes(RunEnd(0, "failed", 0, "x", NOW), (), None, outage=state.outage)

        changes = queue.finish(CDN.name, queue.batch(CDN.name, 0).journal, None, decide)
        assert changes.end.error == "x"
        assert seen[0].retries == {A: retry_of(A)}
        assert seen[0].outage == Outage(2, NOW, NOW, NOW + 9, "down")

    def test_of_thousands_of_retries_those_come_up_that_are_due_and_the_next_one(
        self, rig: QueueRig
    ) -> None:
        now = [NOW]
        queue = rig.open([CDN], lambda: now[0])
        moments: list[float | None] = [NOW + number for number in range(1500)]
        moments += [None, NOW + 1e9]  # left to full syncs; set by a clock that was far ahead
        refs = [DocumentRef(f"c{number}", "prod") for number in range(len(moments))]
        found = [retry_of(ref, due=due) for ref, due in zip(refs, moments, strict=True)]
        finish(queue, CDN, retries=tuple(found))
        dues = {retry.due for retry in queue.agenda(CDN.name).retries}
        assert dues == {NOW, NOW + 1, NOW + 1e9}
        now[0] = NOW + 1400
        assert len(queue.agenda(CDN.name).retries) == MERGED + 1
        assert len(queue.state(CDN.name, None).retries) == 1502
        (lane,) = queue.overview().lanes
        assert len(lane.agenda.retries) == 1502
        queue.close()

    # -- done again, forgotten

    def test_what_somebody_wants_done_again_waits_again_in_every_lane(
        self, rig: QueueRig, queue: Queue
    ) -> None:
        store(queue, record("one"))
        place = seq(queue, CDN, "one")
        finish(queue, OTHER, Settlement(place, "done"))
        lost = Settlement(place, "open", (need(place, "one", A),), error="404")
        finish(queue, CDN, lost, retries=(retry_of(A, given_up=True),))
        assert rig.retry("one")
        assert (waiting(queue, CDN), waiting(queue, OTHER)) == (["one"], ["one"])
        assert (view(queue, "one").state, view(queue, "one").error) == ("waiting", None)
        assert queue.state(CDN.name, None).retries == {}
        assert not rig.retry("nobody")

    def test_what_is_forgotten_leaves_nothing_but_its_hash(
        self, rig: QueueRig, queue: Queue
    ) -> None:
        one = record("one")
        store(queue, one)
        place = seq(queue, CDN, "one")
        lost = Settlement(place, "open", (need(place, "one", A),), error="404")
        finish(queue, CDN, lost, retries=(retry_of(A),))
        assert rig.forget("one")
        # A run that had it in hand ends after that.
        finish(queue, OTHER, replace(lost, needs=(need(place, "one", B),)))
        for lane in (CDN, OTHER):
            state = queue.state(lane.name, None)
            assert (state.needs, state.full_waiting, waiting(queue, lane)) == ((), (), [])
        assert (queue.state(CDN.name, None).retries, queue.deliveries(9)) == ({}, [])
        assert store(queue, replace(one, id="again")) == "one"
        assert not rig.forget("one")

    # -- full syncs, outages

    def test_a_full_sync_that_is_requested_is_due_in_every_lane_and_throttled(
        self, rig: QueueRig
    ) -> None:
        now = [NOW]
        queue = rig.open([CDN, OTHER], lambda: now[0])
        queue.request_full_sync("somebody asked", 600.0)
        until(lambda: queue.agenda(CDN.name).full)
        for lane in (CDN, OTHER):
            assert queue.agenda(lane.name).full == FullDue("somebody asked", NOW, NOW)
        finish(queue, CDN, full=None)
        now[0] += 599
        queue.request_full_sync("again", 600.0)
        rig.settle(queue)
        assert queue.agenda(CDN.name).full is None
        now[0] += 2
        queue.request_full_sync("again", 600.0)
        until(lambda: queue.agenda(CDN.name).full)
        # One that was due already keeps its place.
        assert queue.agenda(OTHER.name).full == FullDue("somebody asked", NOW, NOW)
        queue.close()

    def test_outages_and_what_is_due_are_kept_for_each_lane(self, queue: Queue) -> None:
        outage = Outage(3, NOW - 9, NOW, NOW + 60, "no such bucket")
        full = FullDue("schedule", NOW - 5, NOW + 30, 2, "refused", NOW - 1)
        finish(queue, CDN, state="failed", outage=outage, full=full, next_full=NOW + 3600)
        agenda = queue.agenda(CDN.name)
        assert (agenda.outage, agenda.full, agenda.next_full) == (outage, full, NOW + 3600)
        other = queue.agenda(OTHER.name)
        assert (other.outage, other.full) == (None, None)
        finish(queue, CDN, outage=None, full=None)
        assert (queue.agenda(CDN.name).outage, queue.agenda(CDN.name).full) == (None, None)

    def test_a_schedule_far_ahead_of_the_clock_is_corrected_at_the_start(
        self, rig: QueueRig
    ) -> None:
        daily = Lane(CDN.name, 86_400.0)
        queue = rig.open([daily], lambda: NOW)
        assert queue.agenda(daily.name).next_full == NOW + 86_400
        queue.close()
        queue = rig.open([daily], lambda: NOW - 10 * 86_400)
        assert queue.agenda(daily.name).next_full == NOW - 9 * 86_400
        queue.close()
        queue = rig.open([CDN], lambda: NOW)
        assert queue.agenda(CDN.name).next_full is None
        queue.close()

    # -- what is live

    def test_what_is_live_is_kept_for_each_lane(self, queue: Queue) -> None:
        a = LiveDocument(A, "The a", "v1", "One", NOW, NOW - 1, "delivery")
        b = LiveDocument(B, "The b", None, "", NOW)
        queue.set_live(CDN.name, [a, b], [])
        assert queue.live(CDN.name, None) == {A: a, B: b}
        assert queue.live(CDN.name, [A, DocumentRef("c", "qa")]) == {A: a}
        assert queue.live(OTHER.name, None) == {}
        newer = replace(a, variant_id="v2")
        queue.set_live(CDN.name, [newer], [B])
        assert queue.live(CDN.name, None) == {A: newer}

    def test_pages_of_what_is_live_miss_nothing_and_repeat_nothing(self, queue: Queue) -> None:
        refs = [DocumentRef(f"c{number}", env) for number in range(3) for env in ("prod", "qa")]
        for lane in (CDN, OTHER):
            queue.set_live(lane.name, [LiveDocument(ref, "x", "v", "", NOW) for ref in refs], [])
        after: tuple[str, str, str] | None = None
        seen = []
        for _ in range(4):
            for lane_name, document in queue.page(3, after):
                after = (document.ref.component_id, document.ref.environment, lane_name)
                seen.append(after)
        assert seen == sorted(
            (ref.component_id, ref.environment, lane.name) for ref in refs for lane in (CDN, OTHER)
        )
        assert queue.page(3, after) == []

    def test_components_are_found_by_what_they_are_called_and_counted(self, queue: Queue) -> None:
        names = ["Banner", "banner two", "100 %", "Éclair"]
        documents = [
            LiveDocument(DocumentRef(f"c{number}", env), name, "v", f"V {number}", NOW)
            for number, name in enumerate(names)
            for env in ("prod", "qa")
        ]
        queue.set_live(CDN.name, [*documents, LiveDocument(A, "Alone", "v", "", NOW)], [])
        queue.set_live(OTHER.name, [LiveDocument(B, "Elsewhere", "v", "", NOW)], [])

        def found(search: str = "", environment: str = "", **page: int) -> list[str]:
            result = queue.search(LiveQuery(CDN.name, search, environment, **page))
            assert result.components == 5
            assert dict(result.environments) == {"prod": 5, "qa": 4}
            ids = list(dict.fromkeys(one.ref.component_id for one in result.documents))
            assert len(ids) == min(result.matched, page.get("limit", 24))
            return ids

        assert set(found()) == {"a", "c0", "c1", "c2", "c3"}
        assert found(limit=2) + found(limit=2, offset=2) == found(limit=4)
        assert found("BANNER") == ["c0", "c1"]
        assert found("v 1") == ["c1"]
        assert found("c3") == ["c3"]
        assert found("%") == ["c2"]
        assert found("_") == found("' OR 1 --") == []
        assert "a" not in found(environment="qa")
        assert found("alone", "qa") == []

    def test_every_commit_changes_what_tells_of_changes(self, queue: Queue) -> None:
        seen = {queue.version()}
        store(queue, record("one"))
        seen.add(queue.version())
        queue.begin(CDN.name, "incremental", "deliveries", 1)
        queue.probe(9)  # after it, as one thread commits
        seen.add(queue.version())
        assert len(seen) == 3
        assert queue.version() in seen

    def test_a_delivery_can_be_looked_at_asked_for_again_and_forgotten(self, queue: Queue) -> None:
        one = record("one")
        store(queue, one)
        place = seq(queue, CDN, "one")
        for lane in (CDN, OTHER):
            finish(queue, lane, Settlement(place, "done"))
        found = queue.delivery("one")
        assert found is not None
        assert (found.state, found.body) == ("done", one.body)
        assert queue.retry("one")
        assert waiting(queue, CDN) == ["one"]
        assert queue.forget("one")
        assert queue.delivery("one") is None
        assert not queue.retry("one")
        assert not queue.forget("one")

    # -- runs and the whole

    def test_runs_are_numbered_and_told_with_their_end(self, queue: Queue) -> None:
        first = finish(queue, CDN)
        second = finish(queue, OTHER, state="failed")
        third = queue.begin(CDN.name, "full", "schedule", 7)
        assert first < second < third
        until(lambda: len(queue.runs(9)) == 3)
        going, failed, done = queue.runs(9)
        assert [one.run for one in (going, failed, done)] == [third, second, first]
        assert (going.lane, going.kind, going.reason) == (CDN.name, "full", "schedule")
        assert (going.state, going.ended, going.deliveries) == ("running", None, 7)
        assert (failed.lane, failed.state, failed.error) == (OTHER.name, "failed", "why")
        assert (done.state, done.uploaded, done.ended, done.error) == ("done", 3, NOW + 2, None)
        assert [one.run for one in queue.runs(1)] == [third]

    def test_the_overview_tells_what_is_open_in_all_and_in_each_lane(self, queue: Queue) -> None:
        store(queue, record("old", received=NOW - 60))
        store(queue, record("new"))
        finish(queue, CDN, Settlement(seq(queue, CDN, "old"), "done"))
        queue.set_live(CDN.name, [LiveDocument(A, "x", "v", "", NOW)], [])
        found = queue.overview()
        assert (found.waiting, found.oldest) == (2, NOW - 60)
        cdn, other = found.lanes
        assert (cdn.name, cdn.pending, cdn.last_success, cdn.documents) == (
            CDN.name,
            1,
            NOW + 2,
            1,
        )
        assert (other.name, other.pending, other.last_success, other.documents) == (
            OTHER.name,
            2,
            None,
            0,
        )

    def test_it_can_be_seen_that_something_can_be_committed(self, queue: Queue) -> None:
        queue.probe(PATIENCE)
        assert (queue.trouble, queue.notice) == (None, None)

    # -- its end, and the next start

    def test_an_end_in_order_leaves_what_waits_and_nothing_due(self, rig: QueueRig) -> None:
        queue = rig.open([CDN, OTHER], lambda: NOW)
        store(queue, record("one"))
        queue.begin(CDN.name, "incremental", "deliveries", 1)
        queue.close()
        queue = rig.open([CDN, OTHER], lambda: NOW)
        assert queue.agenda(CDN.name).full is None
        assert (waiting(queue, CDN), queue.runs(1)[0].state) == (["one"], "interrupted")
        last = queue.runs(1)[0].run
        assert queue.begin(CDN.name, "full", "start", 0) > last
        queue.close()

    def test_what_is_handed_in_before_the_end_is_committed(self, rig: QueueRig) -> None:
        queue = rig.open([CDN], lambda: NOW)
        answers: list[object] = []
        for number in range(50):
            queue.store(record(f"r{number}"), lambda *answer: answers.append(answer))
        queue.close()
        assert answers == [(None, None)] * 50
        queue = rig.open([CDN], lambda: NOW)
        assert len(waiting(queue, CDN)) == 50
        queue.close()

    def test_a_crash_loses_nothing_and_makes_a_full_sync_due(self, rig: QueueRig) -> None:
        queue = rig.open([CDN, OTHER], lambda: NOW)
        one = record("one")
        store(queue, one)
        rig.crash(queue)
        queue = rig.open([CDN, OTHER], lambda: NOW)
        for lane in (CDN, OTHER):
            full = queue.agenda(lane.name).full
            assert full is not None
            assert full.reason == "unclean exit"
            assert waiting(queue, lane) == ["one"]
        assert store(queue, replace(one, id="replayed")) == "one"
        queue.close()

    def test_a_full_sync_at_the_start_is_due_in_every_lane(self, rig: QueueRig) -> None:
        queue = rig.open([CDN, OTHER], lambda: NOW, sync_at_start=True)
        dues = [queue.agenda(lane.name).full for lane in (CDN, OTHER)]
        assert dues == [FullDue("start", NOW, NOW)] * 2
        queue.close()

    def test_a_lane_that_is_new_has_a_full_sync_due_and_not_what_is_done(
        self, rig: QueueRig
    ) -> None:
        queue = rig.open([CDN], lambda: NOW)
        store(queue, record("done"))
        finish(queue, CDN, Settlement(seq(queue, CDN, "done"), "done"))
        store(queue, record("new"))
        queue.close()
        queue = rig.open([CDN, OTHER], lambda: NOW)
        assert queue.agenda(CDN.name).full is None
        full = queue.agenda(OTHER.name).full
        assert full is not None
        assert full.reason == "a new destination"
        assert waiting(queue, OTHER) == ["new"]
        queue.close()

    def test_what_waited_only_for_a_lane_that_is_gone_is_done(self, rig: QueueRig) -> None:
        queue = rig.open([CDN, OTHER], lambda: NOW)
        store(queue, record("one"))
        place = seq(queue, CDN, "one")
        finish(queue, CDN, Settlement(place, "done"))
        lost = Settlement(place, "open", (need(place, "one", A),), error="404")
        finish(queue, OTHER, lost, retries=(retry_of(A),))
        queue.set_live(OTHER.name, [LiveDocument(B, "x", "v", "", NOW)], [])
        queue.close()
        queue = rig.open([CDN], lambda: NOW)
        assert (view(queue, "one").state, view(queue, "one").lacking) == ("done", {})
        assert ([one.name for one in queue.overview().lanes], queue.page(9, None)) == (
            [CDN.name],
            [],
        )
        queue.close()

    # -- forgetting

    def test_pruning_forgets_what_is_old_and_done_and_never_what_is_open(
        self, rig: QueueRig
    ) -> None:
        now = [NOW]
        queue = rig.open([CDN], lambda: now[0])
        for name in ("failed", "done", "also", "open"):
            store(queue, record(name))
        place = seq(queue, CDN, "failed")
        lost = Settlement(place, "open", (need(place, "failed", A),), error="404")
        finish(queue, CDN, lost, retries=(retry_of(A, given_up=True),))
        for name in ("done", "also"):
            finish(queue, CDN, Settlement(seq(queue, CDN, name), "done"))
        assert queue.prune(100) == 0
        now[0] += KEPT.total_seconds() + 1
        assert (queue.prune(1), queue.prune(100), queue.prune(100)) == (1, 1, 0)
        assert {one.id: one.state for one in queue.deliveries(9)} == {
            "open": "waiting",
            "failed": "failed",
        }
        queue.close()

    @pytest.mark.parametrize(("once", "known"), [(True, "first"), (False, None)])
    def test_a_hash_is_kept_for_ever_where_nothing_else_would_show_a_replay(
        self, rig: QueueRig, once: bool, known: str | None
    ) -> None:
        now = [NOW]
        queue = rig.open([CDN], lambda: now[0])
        first = record("first", once=once)
        store(queue, first)
        finish(queue, CDN, Settlement(seq(queue, CDN, "first"), "done"))
        now[0] += 100 * KEPT.total_seconds()
        queue.prune(100)
        assert store(queue, replace(first, id="second")) == known
        queue.close()
