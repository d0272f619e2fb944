"""The journal's file and the thread that writes it: commits, refusals, damage."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.errors import ListenerError
from myop_cdn.listener.queue import deliveries, journal, lanes
from myop_cdn.listener.queue.base import KEPT_MOST, Lane, Record
from myop_cdn.listener.queue.committer import Committer
from tests.listener.rig import Lines, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from myop_cdn.listener.queue.agenda import FullDue


def record(name: str, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "id": name,
        "sha256": name.encode().ljust(32),
        "received": time.time(),
        "announced": 1.0,
        "peer": "127.0.0.1:1",
        "headers": {"user-agent": "Myop"},
        "secret": 0,
        "event": "components.deployed",
        "kind": "incremental",
        "body": b"\x00the body\xff",
        "state": "waiting",
        "once": False,
    }
    return Record(**{**values, **changes})


def prepare(connection: sqlite3.Connection, owed: str | None, first: bool) -> None:
    """As a queue does it."""
    if first:
        lanes.begin(connection, [Lane("cdn")], time.time(), owed)
    else:
        lanes.begin_again(connection, [Lane("cdn")], time.time(), owed)


class Store:
    """A committer that is used as the handler of deliveries does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = Lines()
        self.committer = Committer(path, self.log, prepare)
        self.committer.start()

    def store(self, one: Record) -> str | None:
        """Store and wait; the earlier id, or raises."""
        done = threading.Event()
        got: list[Any] = []

        def stored(earlier: str | None, error: Any) -> None:
            got.extend((earlier, error))
            done.set()

        self.committer.store(one, stored)
        assert done.wait(20)
        if got[1] is not None:
            raise got[1]
        earlier: str | None = got[0]
        return earlier

    def has_trouble(self) -> bool:
        """Whether it says that it can't write."""
        return self.committer.trouble is not None

    def rows(self) -> list[str]:
        """The ids in the journal, oldest first, read by another connection."""
        with journal.reading(self.path) as connection:
            return [found.id for found in reversed(deliveries.listed(connection, 10_000))]

    def full_due(self) -> FullDue | None:
        """The full sync that is due."""
        return self.committer.call(lambda connection: lanes.full_due(connection, "cdn"))

    def reason(self) -> str:
        """Why it is due."""
        due = self.full_due()
        assert due is not None
        return due.reason


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "state" / journal.FILE)
    yield made
    made.committer.close()


def test_what_is_reported_stored_is_there_for_everybody(store: Store) -> None:
    assert store.store(record("a")) is None
    assert store.rows() == ["a"]


def test_the_journal_is_written_through_to_the_disk(store: Store) -> None:
    modes = store.committer.call(
        lambda connection: (
            connection.execute("PRAGMA journal_mode").fetchone()[0],
            connection.execute("PRAGMA synchronous").fetchone()[0],
        )
    )
    assert modes == ("wal", 2)  # FULL


def test_nobody_else_may_read_the_journal(store: Store) -> None:
    store.store(record("a"))
    for file in store.path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


def test_bodies_are_kept_byte_for_byte(store: Store) -> None:
    body = bytes(range(256)) * 10
    store.store(record("a", body=body))
    with journal.reading(store.path) as connection:
        found = deliveries.found(connection, "a")
    assert found is not None
    assert found.body == body
    assert found.headers == {"user-agent": "Myop"}


def test_the_same_body_is_stored_once_and_named_by_its_first_id(store: Store) -> None:
    assert store.store(record("a", sha256=b"1" * 32)) is None
    assert store.store(record("b", sha256=b"1" * 32)) == "a"
    assert store.rows() == ["a"]


def test_the_same_body_twice_in_one_commit_is_stored_once(store: Store) -> None:
    twins = [record("a", sha256=b"1" * 32), record("b", sha256=b"1" * 32), record("c")]
    earlier = store.committer.call(lambda connection: deliveries.store(connection, twins))
    assert earlier == [None, "a", None]
    assert store.rows() == ["a", "c"]


def test_deliveries_that_arrive_together_share_commits(store: Store) -> None:
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    gate = threading.Event()
    blocker = threading.Thread(target=lambda: store.committer.call(lambda _: gate.wait(20)))
    store.committer.call(lambda connection: connection.set_trace_callback(count))
    blocker.start()
    stored: list[Any] = []
    for number in range(200):
        store.committer.store(record(f"r{number:03}"), lambda *result: stored.append(result))
    gate.set()
    until(lambda: len(stored) == 200)
    blocker.join()
    assert commits <= 5
    assert store.rows() == [f"r{number:03}" for number in range(200)]


def test_a_job_that_fails_takes_nothing_else_down(store: Store) -> None:
    with pytest.raises(ListenerError):
        store.committer.call(lambda connection: connection.execute("SELECT * FROM nowhere"))
    assert store.store(record("a")) is None


def test_a_journal_that_is_locked_refuses_and_a_full_sync_is_due_after_that(store: Store) -> None:
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ListenerError):
        store.store(record("a"))
    other.execute("ROLLBACK")
    other.close()
    assert store.reason() == "a delivery could not be stored"
    assert store.store(record("b")) is None
    assert store.rows() == ["b"]


def test_a_full_disk_refuses_and_a_full_sync_is_due_after_that(store: Store) -> None:
    pages = store.committer.call(
        lambda connection: connection.execute("PRAGMA page_count").fetchone()[0]
    )
    store.committer.call(
        lambda connection: connection.execute(f"PRAGMA max_page_count={pages}").fetchone()
    )
    with pytest.raises(ListenerError, match="full"):
        store.store(record("a", body=b"x" * 100_000))
    assert store.has_trouble()
    store.committer.call(
        lambda connection: connection.execute("PRAGMA max_page_count=1000000").fetchone()
    )
    assert store.full_due() is not None
    assert not store.has_trouble()
    assert store.store(record("a")) is None


@pytest.mark.parametrize("junk", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 4096])
def test_a_damaged_journal_is_set_aside_at_the_start(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / journal.FILE
    path.write_bytes(junk)
    store = Store(path)
    assert store.reason() == "the journal was damaged"
    assert store.store(record("a")) is None
    aside = [file for file in tmp_path.iterdir() if ".damaged-" in file.name]
    assert [file.read_bytes() for file in aside] == [junk]
    assert "set aside" in store.log.text()
    store.committer.close()


def test_a_journal_that_is_damaged_while_it_is_used_is_set_aside(store: Store) -> None:
    for number in range(50):
        store.store(record(f"r{number}", body=b"x" * 4000))
    store.committer.call(lambda connection: connection.execute("SELECT 1"))
    with sqlite3.connect(store.path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    size = store.path.stat().st_size
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    for number in range(3):
        try:
            store.store(record(f"s{number}"))
        except ListenerError:
            continue
    assert store.store(record("last")) is None
    assert "last" in store.rows()


def test_two_journals_that_are_damaged_at_once_get_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / journal.FILE
    names = set()
    for content in (b"1", b"2", b"3"):
        path.write_bytes(content)
        names.add(journal.set_aside(path, 1_000_000_000.0).name)
    assert len(names) == 3


def test_a_journal_that_was_deleted_is_begun_anew(store: Store) -> None:
    store.store(record("a"))
    for file in list(store.path.parent.iterdir()):
        file.unlink()
    assert store.store(record("b")) is None
    assert store.rows() == ["b"]
    assert store.reason() == "a file of the journal was removed or replaced"


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / journal.FILE
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(ListenerError, match="99"):
        Committer(path, Lines(), prepare).start()
    assert path.exists()


def test_a_folder_that_can_t_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ListenerError):
        Committer(tmp_path / "file" / journal.FILE, Lines(), prepare).start()


def test_the_history_is_kept_within_its_limits_but_never_loses_open_work(store: Store) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        made = [record(f"r{n}", state="done") for n in range(KEPT_MOST + 50)]
        deliveries.store(connection, [record("open"), *made])
        deliveries.store(connection, [record("old", state="done", received=1.0)])

    store.committer.call(fill)
    store.committer.call(lambda connection: deliveries.prune(connection, time.time()))
    kept = store.committer.call(
        lambda connection: connection.execute("SELECT count(*) FROM delivery").fetchone()[0]
    )
    assert kept <= KEPT_MOST + 1
    with journal.reading(store.path) as connection:
        assert deliveries.found(connection, "open") is not None
        assert deliveries.found(connection, "old") is None


def test_the_hash_of_a_body_without_a_timestamp_is_kept_for_ever(store: Store) -> None:
    day = 86400.0
    store.store(record("a", sha256=b"1" * 32, once=True, received=1.0, state="done"))
    store.store(record("b", sha256=b"2" * 32, once=False, received=1.0, state="done"))
    store.committer.call(lambda connection: deliveries.prune(connection, 1000 * day))
    assert store.store(record("c", sha256=b"1" * 32)) == "a"
    assert store.store(record("d", sha256=b"2" * 32)) is None


@pytest.mark.parametrize("suffixes", [("-wal",), ("-wal", "-shm")])
def test_a_log_that_is_removed_while_it_is_used_is_found_by_the_next_commit(
    store: Store, suffixes: tuple[str, ...]
) -> None:
    """SQLite would go on writing to it, and nobody would ever read that."""
    store.store(record("before"))
    for suffix in suffixes:
        store.path.with_name(store.path.name + suffix).unlink()
    assert store.store(record("after")) is None
    assert store.rows() == ["after"]
    assert store.reason() == "a file of the journal was removed or replaced"
    assert store.committer.notice is not None
    (kept,) = store.path.parent.glob("*.damaged-*Z")
    with sqlite3.connect(kept) as connection:
        ids = connection.execute("SELECT id FROM delivery").fetchall()
    connection.close()
    assert ids == [("before",)]


def test_a_log_that_a_checkpoint_has_emptied_is_as_it_should_be(store: Store) -> None:
    store.store(record("a"))
    with sqlite3.connect(store.path) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    other.close()
    assert store.store(record("b")) is None
    assert store.rows() == ["a", "b"]
    assert store.committer.notice is None


def test_a_journal_that_no_reader_can_read_is_set_aside(store: Store) -> None:
    for number in range(50):
        store.store(record(f"r{number}", body=b"x" * 4000))
    log = store.path.with_name(store.path.name + "-wal")
    with log.open("r+b") as file:
        file.truncate(5000)
    error = None
    try:
        reader = journal.connect_reader(store.path)
        reader.execute("SELECT id, body FROM delivery").fetchall()
    except sqlite3.Error as found:
        error = found
    assert error is not None
    store.committer.suspect(error)
    assert store.store(record("after")) is None
    assert store.rows() == ["after"]
    assert store.full_due() is not None
    assert "set aside" in store.log.text() or store.committer.notice is not None


def test_that_a_process_has_begun_is_known_where_its_log_gets_lost(tmp_path: Path) -> None:
    path = tmp_path / journal.FILE
    first = Store(path)
    first.committer.call(lambda connection: lanes.end_clean(connection, 1.0))
    first.committer.close()
    second = Store(path)
    second.store(record("a"))
    copy = tmp_path / "copy" / journal.FILE
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())  # as after a kill, its log gone
    second.committer.close()
    third = Store(copy)
    assert third.reason() == "unclean exit"
    third.committer.close()
