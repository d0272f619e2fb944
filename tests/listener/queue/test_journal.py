"""The journal's file: one that an earlier version wrote is brought up, whatever it holds."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import ListenerError
from myop_cdn.listener.queue import journal, lanes
from myop_cdn.listener.queue.agenda import FullDue
from myop_cdn.listener.queue.base import Lane
from myop_cdn.listener.queue.deliveries import listed, store
from myop_cdn.listener.queue.sqlite import SqliteQueue
from tests.listener.queue.contract import record
from tests.listener.rig import PATIENCE, Lines

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0
CDN = Lane("s3://cdn")

# As version 0.1.0 made it.
VERSION_1 = """
CREATE TABLE delivery (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, sha256 BLOB NOT NULL, received REAL NOT NULL,
  announced REAL NOT NULL, peer TEXT NOT NULL, headers TEXT NOT NULL, secret INTEGER NOT NULL,
  event TEXT, kind TEXT NOT NULL, body BLOB NOT NULL, state TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, run INTEGER, error TEXT, finished REAL
);
CREATE INDEX delivery_waiting ON delivery (seq) WHERE state = 'waiting';
CREATE INDEX delivery_retrying ON delivery (seq) WHERE state = 'retrying';
CREATE TABLE seen (sha256 BLOB PRIMARY KEY, id TEXT NOT NULL, expires REAL) WITHOUT ROWID;
CREATE INDEX seen_expires ON seen (expires) WHERE expires IS NOT NULL;
CREATE TABLE run (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, reason TEXT NOT NULL, started REAL NOT NULL,
  ended REAL, state TEXT NOT NULL, deliveries INTEGER NOT NULL,
  uploaded INTEGER NOT NULL DEFAULT 0, error TEXT
);
CREATE TABLE retry (
  component TEXT NOT NULL, environment TEXT NOT NULL, variant TEXT, environment_id TEXT,
  attempts INTEGER NOT NULL, due REAL, error TEXT NOT NULL, PRIMARY KEY (component, environment)
) WITHOUT ROWID;
CREATE TABLE live (
  component TEXT NOT NULL, environment TEXT NOT NULL, variant TEXT, since REAL NOT NULL,
  run INTEGER NOT NULL, PRIMARY KEY (component, environment)
) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version=1;
"""
RECORDS = {state: record(state) for state in ("done", "failed", "retrying", "waiting", "ignored")}
DUE = {"reason": "somebody asked", "since": NOW - 60, "after": NOW - 60, "attempts": 0}


def write_version_1(path: Path, **facts: object) -> None:
    """A journal with a delivery in each state, as version 0.1.0 left it."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(VERSION_1)
    for state, one in RECORDS.items():
        connection.execute("INSERT INTO seen VALUES (?, ?, NULL)", (one.sha256, one.id))
        connection.execute(
            "INSERT INTO delivery VALUES (NULL, ?, ?, ?, ?, ?, '{}', 0, NULL, ?, ?, ?, 1, 1, NULL,"
            " NULL)",
            (one.id, one.sha256, NOW, NOW, "peer", one.kind, one.body, state),
        )
    connection.execute("INSERT INTO retry VALUES ('a', 'prod', 'v1', 'e', 2, NULL, '404')")
    connection.execute("INSERT INTO live VALUES ('a', 'prod', 'announced only', 1.0, 1)")
    connection.execute("INSERT INTO run VALUES (41, 'full', 'start', 1.0, 2.0, 'done', 1, 3, NULL)")
    for name, value in facts.items():
        connection.execute("INSERT INTO fact VALUES (?, ?)", (name, json.dumps(value)))
    connection.close()


def brought_up(path: Path) -> SqliteQueue:
    queue = SqliteQueue(path, [CDN], Lines(), lambda: NOW)
    queue.start()
    queue.probe(PATIENCE)
    return queue


def test_a_journal_of_version_1_keeps_its_deliveries_hashes_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "state" / journal.FILE
    write_version_1(path, clean=True, next_full=NOW + 5, outage={"attempts": 2})
    queue = brought_up(path)
    # What was being retried is worked anew, in the order it came in.
    assert [one.id for one in queue.batch(CDN.name, 9).deliveries] == ["retrying", "waiting"]
    assert {one.id: one.state for one in queue.deliveries(9)} == {
        "ignored": "ignored",
        "waiting": "waiting",
        "retrying": "waiting",
        "failed": "failed",
        "done": "done",
    }
    known: list[object] = []
    queue.store(replace(RECORDS["done"], id="again"), lambda *answer: known.append(answer))
    assert queue.begin(CDN.name, "full", "start", 0) == 42
    assert (queue.page(9, None), queue.agenda(CDN.name).full) == ([], None)
    queue.close()
    assert known == [("done", None)]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [({"clean": False}, "unclean exit"), ({"clean": True, "full_due": DUE}, "somebody asked")],
)
def test_what_was_due_in_version_1_is_due_after_it(
    tmp_path: Path, facts: dict[str, object], reason: str
) -> None:
    path = tmp_path / "state" / journal.FILE
    write_version_1(path, **facts)
    queue = brought_up(path)
    assert queue.agenda(CDN.name).full == FullDue(reason, NOW, NOW)
    queue.close()


def test_looking_into_a_journal_of_version_1_changes_nothing_and_says_what_to_do(
    tmp_path: Path,
) -> None:
    path = tmp_path / journal.FILE
    write_version_1(path)
    with pytest.raises(ListenerError) as error, journal.reading(path) as connection:
        listed(connection, 9)
    assert "start serve once" in error.value.hint
    with pytest.raises(ListenerError), journal.writing(path) as connection:
        lanes.runs(connection, 1)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_a_kill_while_it_is_brought_up_leaves_the_old_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / journal.FILE
    write_version_1(path, clean=True)
    monkeypatch.setattr(journal, "_FACTS_OF_1", "SELECT no_such_function();")
    with pytest.raises(sqlite3.Error):
        journal.open_journal(path)
    monkeypatch.undo()
    queue = brought_up(path)
    assert [one.id for one in queue.batch(CDN.name, 9).deliveries] == ["retrying", "waiting"]
    queue.close()


def test_a_look_sees_one_moment_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / journal.FILE
    connection = journal.open_journal(path)
    lanes.begin(connection, [CDN], NOW, None)
    store(connection, [record("d1")])
    with journal.reading(path) as look:
        before = lanes.overview(look)
        connection.execute("DELETE FROM delivery")
        assert before.waiting == 1
        assert lanes.overview(look) == before
    with journal.reading(path) as look:
        assert lanes.overview(look).waiting == 0
    connection.close()
