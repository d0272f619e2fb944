"""The journal's file: a SQLite database in the state folder, opened so that a commit lasts.

Write-ahead log with `synchronous=FULL`: a transaction is on the disk when its COMMIT returns
(SQLite, "PRAGMA synchronous"). Deliveries that wait are simply rows in state `waiting`, and a
run changes them when it is done, so a kill at any moment leaves nothing to be repaired.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from myop_cdn.errors import ListenerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "journal.sqlite3"
VERSION = 2
BUSY = 2.0  # seconds to wait for another process's lock: well under the sender's ten

_DELIVERY = """
CREATE TABLE delivery (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  sha256 BLOB NOT NULL,
  received REAL NOT NULL,           -- seconds since the epoch
  announced REAL NOT NULL,          -- the signed timestamp, else when it was received
  peer TEXT NOT NULL,
  headers TEXT NOT NULL,            -- JSON; never the signature
  secret INTEGER NOT NULL,          -- which one matched
  event TEXT,
  kind TEXT NOT NULL,               -- full, incremental, none
  body BLOB NOT NULL,
  state TEXT NOT NULL,              -- over all lanes: waiting, retrying, failed, done, ignored
  attempts INTEGER NOT NULL DEFAULT 0,
  run INTEGER,
  error TEXT,
  finished REAL
);
CREATE INDEX delivery_waiting ON delivery (seq) WHERE state = 'waiting';
CREATE INDEX delivery_retrying ON delivery (seq) WHERE state = 'retrying';
-- Hashes outlive the deliveries: a body without a timestamp is taken once, ever.
CREATE TABLE seen (
  sha256 BLOB PRIMARY KEY,
  id TEXT NOT NULL,
  expires REAL                      -- null: never
) WITHOUT ROWID;
CREATE INDEX seen_expires ON seen (expires) WHERE expires IS NOT NULL;
CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  reason TEXT NOT NULL,
  started REAL NOT NULL,
  ended REAL,
  state TEXT NOT NULL,              -- running, done, partly, failed, interrupted
  deliveries INTEGER NOT NULL,
  uploaded INTEGER NOT NULL DEFAULT 0,
  error TEXT
);
"""
_LANES = """
ALTER TABLE delivery ADD COLUMN note TEXT;        -- by what it was overtaken
ALTER TABLE run ADD COLUMN lane TEXT NOT NULL DEFAULT '';
CREATE TABLE service (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  journal TEXT NOT NULL,            -- tells this journal from one that replaces it
  clean INTEGER NOT NULL,           -- whether the last process ended in order
  due TEXT,                         -- why a full sync is due in lanes that are still to come
  requested REAL                    -- when somebody last requested a full sync
);
-- A lane is one destination. What is above `position` is still to be taken by it; what was taken
-- and is not done there has a row in `todo`, and in `need` for each document that it waits for.
CREATE TABLE lane (
  name TEXT PRIMARY KEY,
  position INTEGER NOT NULL DEFAULT 0,
  full_reason TEXT, full_since REAL, full_after REAL,
  full_attempts INTEGER NOT NULL DEFAULT 0, full_error TEXT, full_failed REAL,
  outage_attempts INTEGER, outage_since REAL, outage_at REAL, outage_until REAL, outage_error TEXT,
  next_full REAL,
  last_success REAL
);
CREATE TABLE todo (
  seq INTEGER NOT NULL,
  lane TEXT NOT NULL,
  state TEXT NOT NULL,              -- waiting, open
  full INTEGER NOT NULL,            -- whether it waits for a full sync
  error TEXT,
  PRIMARY KEY (seq, lane)
) WITHOUT ROWID;
CREATE INDEX todo_lane ON todo (lane, state, seq);
CREATE TABLE need (
  lane TEXT NOT NULL,
  component TEXT NOT NULL,
  environment TEXT NOT NULL,
  seq INTEGER NOT NULL,
  delivery TEXT NOT NULL,
  variant TEXT,
  environment_id TEXT,
  announced REAL NOT NULL,
  PRIMARY KEY (lane, component, environment, seq)
) WITHOUT ROWID;
CREATE INDEX need_seq ON need (seq, lane);
CREATE TRIGGER delivery_gone AFTER DELETE ON delivery BEGIN
  DELETE FROM todo WHERE seq = old.seq;
  DELETE FROM need WHERE seq = old.seq;
END;
CREATE TABLE retry (
  lane TEXT NOT NULL,
  component TEXT NOT NULL,
  environment TEXT NOT NULL,
  variant TEXT,
  environment_id TEXT,
  announced TEXT,                   -- the signed timestamp, ISO 8601
  attempts INTEGER NOT NULL,
  due REAL,                         -- null: left to full syncs
  since REAL NOT NULL,
  error TEXT NOT NULL,
  behind INTEGER NOT NULL,          -- it does not hold what was announced; else it failed
  given_up INTEGER NOT NULL,
  PRIMARY KEY (lane, component, environment)
) WITHOUT ROWID;
CREATE TABLE live (
  component TEXT NOT NULL,
  environment TEXT NOT NULL,
  lane TEXT NOT NULL,
  name TEXT NOT NULL,
  variant TEXT,
  variant_name TEXT NOT NULL,
  since REAL NOT NULL,
  announced REAL,
  announced_by TEXT,
  PRIMARY KEY (component, environment, lane)
) WITHOUT ROWID;
"""
# Version 1 knew no lanes: what it was retrying is worked anew, and what it called live was what
# had been announced.
_FROM_1 = """
DROP TABLE retry;
DROP TABLE live;
UPDATE delivery SET state = 'waiting' WHERE state = 'retrying';
"""
_FACTS_OF_1 = """
INSERT INTO service
  SELECT 1, lower(hex(randomblob(8))),
    coalesce((SELECT value FROM fact WHERE name = 'clean'), 'true') = 'true',
    (SELECT json_extract(value, '$.reason') FROM fact WHERE name = 'full_due'), NULL;
DROP TABLE fact;
"""

_DAMAGED = "is it damaged? serve sets such a file aside, and begins a new one"
_DAMAGE = {11, 26}  # SQLITE_CORRUPT, SQLITE_NOTADB
_PASSING = {5, 6, 13}  # SQLITE_BUSY, SQLITE_LOCKED, SQLITE_FULL
_IOERR = 10  # SQLITE_IOERR; to a reader also what a write-ahead log cut short looks like


def is_damage(error: BaseException) -> bool:
    """Whether the file itself is at fault, so that no later attempt can succeed."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error)
    return (code & 0xFF) in _DAMAGE


def is_passing(error: BaseException) -> bool:
    """Whether the error is one that goes away: a lock, or a disk that is full."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _PASSING


def is_unreadable(error: BaseException) -> bool:
    """Whether a reader met a file that is at fault, the write-ahead log included."""
    return is_damage(error) or (getattr(error, "sqlite_errorcode", 0) & 0xFF) == _IOERR


def open_journal(path: Path) -> sqlite3.Connection:
    """Open the journal for writing, making it if it is missing.

    Transactions are the caller's (no implicit BEGIN). Raises sqlite3.Error as it comes, also
    for a damaged file, and ListenerError for one that a newer version wrote.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        # Bodies are the sender's business: nobody else on the machine reads them. SQLite
        # gives its two other files the permissions of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        _sync_folder(path.parent)
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL").fetchone()
    connection.execute("PRAGMA synchronous=FULL")
    if sys.platform == "darwin":
        # fsync alone leaves the data in the drive's cache there.
        connection.execute("PRAGMA fullfsync=1")
        connection.execute("PRAGMA checkpoint_fullfsync=1")
    version = _version(connection)
    if version == 0:
        _execute(connection, _DELIVERY + _LANES)
        return
    answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise sqlite3.DatabaseError("database disk image is malformed")
    if version == 1:
        _execute(connection, _FROM_1 + _LANES + _FACTS_OF_1)


def _version(connection: sqlite3.Connection) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise ListenerError(
            f"the journal is of version {version}, this program's is {VERSION}",
            "a newer myop-cdn wrote it: upgrade, or give another --state-dir",
        )
    return version


def _execute(connection: sqlite3.Connection, statements: str) -> None:
    """All of it in one transaction, with the version: a kill leaves the old journal or the new."""
    connection.executescript(
        f"BEGIN IMMEDIATE; {statements} PRAGMA user_version={VERSION}; COMMIT;"
    )


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path, now: float) -> Path:
    """Give a damaged journal another name, so that a new one can be begun; returns the name."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    return target


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, for one look: all of it sees one moment, whatever is written
    meanwhile. Raises ListenerError when there is nothing.
    """
    _check_there(path)
    try:
        connection = connect_reader(path)
        try:
            connection.execute("BEGIN")
            _check_version(connection)
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ListenerError(f"can't read the journal {path}: {error}", _DAMAGED) from None


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction on the journal, beside a listener that may be running.

    Raises ListenerError when there is no journal, or it can't be written.
    """
    _check_there(path)
    try:
        connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            _check_version(connection)
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ListenerError(f"can't write the journal {path}: {error}", _DAMAGED) from None


def _check_there(path: Path) -> None:
    if not path.exists():
        raise ListenerError(
            f"there is no journal in {path.parent}", "give the --state-dir that serve was given"
        )


def _check_version(connection: sqlite3.Connection) -> None:
    if 0 < _version(connection) < VERSION:  # 0: it has no tables either, which the query tells
        raise ListenerError(
            "an older myop-cdn wrote the journal", "start serve once: it brings the journal up"
        )


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that can't change anything. Raises sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None)
