"""The queue in PostgreSQL: the contract, several listeners, and a database that goes away."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from myop_cdn.errors import InputError, LeaseLost, ListenerError
from myop_cdn.listener.queue import deliveries, lanes
from myop_cdn.listener.queue.agenda import Outage, Start, Wait, next_action
from myop_cdn.listener.queue.base import Changes, RunEnd, Settlement
from myop_cdn.listener.queue.postgres import schema
from myop_cdn.listener.queue.postgres.queue import PostgresQueue, reading, writing
from myop_cdn.listener.queue.postgres.session import check_url, translated, words_of
from tests.listener.queue.contract import (
    CDN,
    OTHER,
    A,
    QueueContract,
    record,
    seq,
    store,
    view,
    waiting,
)
from tests.listener.rig import PATIENCE, Lines, until
from tests.servers.cable import Cable
from tests.servers.postgres import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from myop_cdn.listener.queue.base import Lane, Queue, Record
    from tests.servers.postgres import Postgres

    Say = Callable[[str | None, ListenerError | None], None]

LANES = (CDN, OTHER)


class PostgresRig:
    """A database of its own for a test. Queues on it are replicas of one listener."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.url = server.empty("journal")
        self.log = Lines()
        self._opened: list[PostgresQueue] = []

    def open(
        self, lanes: Sequence[Lane], wall: Callable[[], float], sync_at_start: bool = False
    ) -> PostgresQueue:
        """The only one by now, that holds its lanes. What it does not serve nobody has for long."""
        queue = self.join(lanes, wall=wall, sync_at_start=sync_at_start)
        held(queue, *lanes)
        names = ", ".join(f"'{lane.name}'" for lane in lanes)
        self.execute(f"UPDATE myop_cdn.lease SET seen = '-infinity' WHERE lane NOT IN ({names})")
        queue.prune(0)
        return queue

    def join(self, lanes: Sequence[Lane] = LANES, url: str = "", **more: Any) -> PostgresQueue:
        """One more replica."""
        queue = PostgresQueue(url or self.url, lanes, self.log, **more)
        self._opened.append(queue)
        queue.start()
        return queue

    def crash(self, queue: Queue) -> None:
        """Its leases are not let go, and run out."""
        assert isinstance(queue, PostgresQueue)
        queue._leases.close(release=False)
        self.execute("UPDATE myop_cdn.lease SET expires = '-infinity'")

    def settle(self, queue: Queue) -> None:
        """A thread of its own does it."""
        assert isinstance(queue, PostgresQueue)
        until(lambda: not queue._requests, "what was requested")

    def retry(self, delivery: str) -> bool:
        """By another connection."""
        with writing(self.url) as connection:
            return deliveries.retry(connection, delivery)

    def forget(self, delivery: str) -> bool:
        """By another connection."""
        with writing(self.url) as connection:
            return deliveries.forget(connection, delivery)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Whatever an operator may do."""
        return self.server.execute(statement, database="journal")

    def end(self) -> None:
        """Close what is open; a second time does no harm."""
        for queue in self._opened:
            queue.close()


@pytest.fixture
def rig(postgres: Postgres) -> Iterator[PostgresRig]:
    """On tables that are not there yet."""
    made = PostgresRig(postgres)
    yield made
    made.end()


class TestPostgresQueue(QueueContract):
    """All of it."""


def holds(queue: Queue, lane: Lane) -> bool:
    """Whether it may work a lane now."""
    moment = queue.held_until(lane.name)
    return moment is None or moment > time.monotonic()


def held(queue: PostgresQueue, *lanes: Lane) -> PostgresQueue:
    """The same, as soon as it may work these lanes."""
    until(lambda: all(holds(queue, lane) for lane in lanes), "the leases")
    return queue


def refuses(queue: Queue, given: Record) -> None:
    """See that a delivery is refused now."""
    with pytest.raises(ListenerError):
        store(queue, given)


# -- several listeners


def test_the_same_body_at_two_replicas_is_one_delivery(rig: PostgresRig) -> None:
    one, two = rig.join(), rig.join()
    said: list[tuple[str, str | None]] = []

    def say(name: str) -> Say:
        return lambda earlier, error: said.append((name, repr(error) if error else earlier))

    for number in range(200):
        given = record(f"body {number}")
        for queue, name in ((one, f"1-{number}"), (two, f"2-{number}")):
            queue.store(replace(given, id=name), say(name))
    until(lambda: len(said) == 400)
    first = [name for name, earlier in said if earlier is None]
    assert len({name.partition("-")[2] for name in first}) == len(first) == 200
    assert sorted(waiting(one, CDN)) == sorted(first)


def test_whoever_has_taken_all_up_to_one_delivery_has_missed_none(rig: PostgresRig) -> None:
    """A row that is committed late never has a number below one that was seen before."""
    replicas = [rig.join() for _ in range(3)]
    said: list[ListenerError | None] = []
    for number in range(400):
        for place, queue in enumerate(replicas):
            queue.store(record(f"{place}-{number}"), lambda _, error: said.append(error))
    seen: set[int] = set()
    end = time.monotonic() + PATIENCE
    while len(said) < 1200 and time.monotonic() < end:
        found = {one.seq for one in replicas[0].batch(CDN.name, 5000).deliveries}
        assert found >= seen
        assert not seen or all(new > max(seen) for new in found - seen)
        seen = found
    assert (len(said), any(said)) == (1200, False)


def test_one_replica_holds_a_lane_and_another_takes_it_when_it_lets_go(rig: PostgresRig) -> None:
    one = held(rig.join(), CDN, OTHER)
    two = rig.join()
    assert not holds(two, CDN)
    one.let_go(CDN.name)
    held(two, CDN)
    assert (holds(two, OTHER), holds(one, CDN), holds(one, OTHER)) == (False, False, True)
    one.close()
    held(two, OTHER)
    assert two.agenda(CDN.name).full is None  # it was let go in order


def test_a_lease_runs_out_when_its_holder_is_gone(rig: PostgresRig) -> None:
    one = held(rig.join(), CDN, OTHER)
    store(one, record("d1"))
    one.begin(CDN.name, "incremental", "deliveries", 1)
    one._leases.close(release=False)
    two = rig.join([CDN])
    assert not holds(two, CDN)
    held(two, CDN)
    assert [found.state for found in two.runs(5)] == ["interrupted"]
    assert waiting(two, CDN) == ["d1"]


def test_a_holder_that_was_overtaken_is_fenced_off(rig: PostgresRig) -> None:
    one = held(rig.join(), CDN, OTHER)
    store(one, record("d1"))
    place, number = seq(one, CDN, "d1"), one.begin(CDN.name, "incremental", "deliveries", 1)
    journal = one.batch(CDN.name, 0).journal
    changes = Changes(RunEnd(number, "done", 1, None, 1.0), (Settlement(place, "done"),), place)
    # Between two looks of the holder's own: it does not know yet.
    with writing(rig.url) as connection:
        connection.execute("UPDATE lease SET holder = 'another', token = token + 1")
    for work in (
        lambda: one.set_live(CDN.name, [], [A]),
        lambda: one.finish(CDN.name, journal, None, lambda _: changes),
        lambda: one.begin(CDN.name, "incremental", "deliveries", 1),
    ):
        with pytest.raises(LeaseLost):
            work()
    assert waiting(one, CDN) == ["d1"]
    until(lambda: not holds(one, CDN), "the loss")


def test_a_listener_that_stalls_in_a_transaction_keeps_nobody_from_working(
    rig: PostgresRig,
) -> None:
    """Between statements that are sent without waiting, the server's own limit does not count."""
    import psycopg

    one = held(rig.join(), CDN)
    with suppress(psycopg.OperationalError), psycopg.connect(rig.url, autocommit=True) as other:
        with other.pipeline():
            other.execute("BEGIN")
            # Sent, and carried out, but nothing that would end the pipeline.
            lock = f"SELECT pg_advisory_xact_lock({schema.PROGRAM}, {schema.WORKING})"
            other.execute(lock.encode())
            other.pgconn.send_flush_request()
            other.pgconn.flush()
            taken = "SELECT 1 FROM pg_locks WHERE objid = 3 AND objsubid = 2 AND granted"
            until(lambda: rig.execute(taken), "the lock")
            assert one.begin(CDN.name, "incremental", "deliveries", 1)
        raise AssertionError("its session was not ended")


def test_what_a_run_under_an_earlier_lease_came_to_is_not_recorded_under_a_later_one(
    rig: PostgresRig,
) -> None:
    one = held(rig.join(), CDN)
    one.begin(CDN.name, "incremental", "deliveries", 1)
    earlier = one._leases.token(CDN.name)
    with writing(rig.url) as connection:
        connection.execute("UPDATE lease SET expires = '-infinity'")
    until(lambda: one._leases.token(CDN.name) > earlier, "the later lease")
    with pytest.raises(LeaseLost):
        one.set_live(CDN.name, [], [A])


def test_whoever_takes_a_lane_over_tries_at_once_what_failed_for_another(rig: PostgresRig) -> None:
    one = held(rig.join([CDN]), CDN)
    store(one, record("d1"))
    outage = Outage(3, 1.0, time.time(), time.time() + 600.0, "no route to the bucket")
    with writing(rig.url) as connection:
        lanes.set_outage(connection, CDN.name, outage)
    assert isinstance(next_action(one.agenda(CDN.name), time.time()), Wait)
    one.let_go(CDN.name)
    two = held(rig.join([CDN]), CDN)
    assert isinstance(next_action(two.agenda(CDN.name), time.time()), Start)
    assert (found := two.agenda(CDN.name).outage)
    assert found.attempts == 3


def test_a_run_that_was_given_up_with_its_lease_is_interrupted_when_the_next_begins(
    rig: PostgresRig,
) -> None:
    queue = held(rig.join([CDN]), CDN)
    for _ in range(2):
        queue.begin(CDN.name, "incremental", "deliveries", 1)
    assert [run.state for run in queue.runs(5)] == ["running", "interrupted"]


def test_a_replica_wakes_when_another_one_stored_something(rig: PostgresRig) -> None:
    one, woken = rig.join(), threading.Event()
    held(one, CDN, OTHER)
    store(one, record("d1"))
    until(lambda: one._leases._newest, "a look")
    one._wake = woken.set
    store(rig.join(), record("d2"))
    until(woken.is_set, "the waking")


def test_a_replica_that_knows_fewer_destinations_takes_none_away(rig: PostgresRig) -> None:
    one = held(rig.join(), CDN, OTHER)
    store(one, record("d1"))
    two = rig.join([CDN])
    two.prune(100)
    assert [lane.name for lane in two.overview().lanes] == [CDN.name, OTHER.name]


def test_a_delivery_that_can_t_be_stored_keeps_no_other_out(rig: PostgresRig) -> None:
    queue = rig.join()
    said: dict[str, ListenerError | None] = {}

    def say(name: str) -> Say:
        return lambda _, error: said.update({name: error})

    with writing(rig.url):  # so that they come together
        for one in (record("d1"), record("d2", secret=1 << 40), record("d3", event="a\0b\ud800")):
            queue.store(one, say(one.id))
    until(lambda: len(said) == 3, "the answers")
    assert (said["d1"], said["d3"]) == (None, None)
    assert said["d2"] is not None
    assert view(queue, "d3").event == "a\ufffdb?"


# -- a database that goes away


def test_a_database_that_is_killed_is_a_refusal_and_comes_back_by_itself(
    rig: PostgresRig,
) -> None:
    queue = held(rig.join(), CDN, OTHER)
    store(queue, record("d1"))
    rig.server.kill()
    try:
        refuses(queue, record("lost 1"))
        refuses(queue, record("lost 2"))
        assert queue.trouble
        with pytest.raises(ListenerError):
            queue.probe(1.0)
    finally:
        rig.server.start()
    until(lambda: queue.trouble is None, "the database")
    assert store(queue, record("d2")) is None
    # Myop does not send the others again: a full sync brings what they announced.
    due = until(lambda: queue.agenda(CDN.name).full, "the full sync")
    assert due.reason == "a delivery could not be stored"
    assert waiting(queue, CDN) == ["d1", "d2"]


def test_what_is_owed_at_the_end_is_not_forgotten(rig: PostgresRig) -> None:
    queue = held(rig.join(), CDN, OTHER)
    queue._owe()
    queue.close()
    full = rig.join().agenda(CDN.name).full
    assert full is not None
    assert full.reason == "a delivery could not be stored"


def test_a_database_that_is_away_at_the_start_is_waited_for(rig: PostgresRig) -> None:
    rig.server.kill()
    try:
        queue = rig.join()
        refuses(queue, record("lost"))
    finally:
        rig.server.start()
    until(lambda: queue.trouble is None, "the database")
    assert store(queue, record("d1")) is None
    held(queue, CDN, OTHER)


def test_a_commit_whose_answer_was_lost_is_answered_as_what_it_was(
    rig: PostgresRig,
) -> None:
    """The cable is cut between the server's commit and its answer."""
    with Cable(rig.server.port) as cable:
        queue = rig.join(url=rig.server.url("journal", cable.port))
        store(queue, record("d1"))
        cable.cut_answers_with(b"d2")  # the server has done it, and nobody hears of it
        assert store(queue, given := record("d2")) is None
        assert waiting(queue, CDN) == ["d1", "d2"]
        assert store(queue, replace(given, id="d3")) == "d2"


def test_a_commit_whose_answer_was_lost_for_good_is_refused_and_harmless(
    rig: PostgresRig,
) -> None:
    with Cable(rig.server.port) as cable:
        queue = rig.join(url=rig.server.url("journal", cable.port))
        store(queue, record("d1"))
        cable.cut_answers_with(b"d2", for_good=True)
        refuses(queue, given := record("d2"))
        cable.mend()
        until(lambda: queue.trouble is None, "the database")
        assert waiting(queue, CDN) == ["d1", "d2"]  # it was stored all the same
        assert store(queue, replace(given, id="d3")) == "d2"


def test_a_database_that_does_not_answer_is_a_refusal_in_bounded_time(
    rig: PostgresRig,
) -> None:
    queue = held(rig.join(), CDN, OTHER)
    rig.server.freeze()
    try:
        refuses(queue, record("d1"))
        refuses(queue, record("d2"))
    finally:
        rig.server.thaw()
    until(lambda: queue.trouble is None, "the database")
    assert store(queue, record("d3")) is None
    held(queue, CDN, OTHER)


# -- what a database has to be


def test_a_database_that_answers_before_the_disk_has_it_is_refused(
    rig: PostgresRig,
) -> None:
    rig.execute("ALTER DATABASE journal SET synchronous_commit = off")
    with pytest.raises(ListenerError, match="synchronous_commit is off"):
        rig.join()


def test_an_older_program_goes_on_beside_tables_that_a_newer_one_added_to(
    rig: PostgresRig,
) -> None:
    old = rig.join()
    rig.execute("ALTER TABLE myop_cdn.delivery ADD COLUMN more text")
    rig.execute("UPDATE myop_cdn.version SET number = 99")
    assert store(old, record("d1")) is None
    assert store(rig.join(), record("d2")) is None
    rig.execute("UPDATE myop_cdn.version SET readable = 99")
    with pytest.raises(ListenerError, match="of version 99"):
        rig.join()


def test_replicas_that_start_at_once_make_the_tables_once(
    rig: PostgresRig,
) -> None:
    errors: list[BaseException] = []

    def start() -> None:
        try:
            rig.join()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert rig.execute("SELECT number FROM myop_cdn.version") == [(schema.VERSION,)]


def test_a_role_that_may_not_make_the_tables_is_told_so(rig: PostgresRig) -> None:
    rig.server.execute(
        "DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN PASSWORD 'guest-password'"
    )
    url = rig.url.replace(f"postgres:{PASSWORD}", "guest:guest-password")
    with pytest.raises(ListenerError, match="permission denied") as caught:
        rig.join(url=url)
    assert "guest-password" not in str(caught.value) + caught.value.hint


def test_a_wrong_password_is_told_at_once_and_not_repeated(rig: PostgresRig) -> None:
    wrong = rig.url.replace(PASSWORD, "a-wrong-password")
    for work in (lambda: rig.join(url=wrong), lambda: reading(wrong).__enter__()):
        with pytest.raises(ListenerError, match="authentication failed") as caught:
            work()
        assert "a-wrong-password" not in f"{caught.value} {caught.value.hint} {rig.log.text()}"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql://host/db?no_such_word=1", "no_such_word"),
        ("postgresql://u:s3cr3t@host:99x/db?bad=1", "is not a URL of PostgreSQL"),
        ("postgresql://host/db?password=s3cr3t%zz", "is not a URL of PostgreSQL"),
        ("postgresql://u:s3cr3t/more@host/db", "is not a URL of PostgreSQL"),
    ],
)
def test_a_url_that_libpq_would_not_take_is_named_without_its_password(url: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        check_url(url)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("password", ["a[b", "a%5Bb", "[s3cr3t]"])
def test_whatever_a_password_holds_an_error_can_be_told_without_it(password: str) -> None:
    url = f"postgresql://u:{password}@127.0.0.1:1/db"
    check_url(url)
    told = words_of(ValueError(f"no way in with {unquote(password)} or {password}"), url)
    assert told == "no way in with *** or ***"


def test_statements_are_translated_to_psycopg_s_marks() -> None:
    found = translated("SELECT a FROM t WHERE b = ? AND c = :lane LIMIT :most")
    assert found == b"SELECT a FROM t WHERE b = %s AND c = %(lane)s LIMIT %(most)s"
    assert translated("SELECT ?::text[]") == b"SELECT %s::text[]"
