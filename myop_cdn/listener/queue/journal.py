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
VERSION = 1
BUSY = 2.0  # seconds to wait for another process's lock: well under the sender's ten

_SCHEMA = """
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
  state TEXT NOT NULL,              -- waiting, retrying, done, failed, ignored
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
CREATE TABLE retry (
  component TEXT NOT NULL,
  environment TEXT NOT NULL,
  variant TEXT,
  environment_id TEXT,
  attempts INTEGER NOT NULL,
  due REAL,                         -- null: left to the full sync that is due
  error TEXT NOT NULL,
  PRIMARY KEY (component, environment)
) WITHOUT ROWID;
CREATE TABLE live (
  component TEXT NOT NULL,
  environment TEXT NOT NULL,
  variant TEXT,
  since REAL NOT NULL,
  run INTEGER NOT NULL,
  PRIMARY KEY (component, environment)
) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_DAMAGE = {11, 26}  # SQLITE_CORRUPT, SQLITE_NOTADB
_PASSING = {5, 6, 13}  # SQLITE_BUSY, SQLITE_LOCKED, SQLITE_FULL


def is_damage(error: BaseException) -> bool:
    """Whether the file itself is at fault, so that no later attempt can succeed."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error)
    return (code & 0xFF) in _DAMAGE


def is_passing(error: BaseException) -> bool:
    """Whether the error is one that goes away: a lock, or a disk that is full."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _PASSING


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
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
    elif version != VERSION:
        raise ListenerError(
            f"the journal is of version {version}, this program's is {VERSION}",
            "a newer myop-cdn wrote it: upgrade, or give another --state-dir",
        )
    else:
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            raise sqlite3.DatabaseError("database disk image is malformed")


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
    """A connection that only reads, for one look. Raises ListenerError when there is nothing."""
    if not path.exists():
        raise ListenerError(
            f"there is no journal in {path.parent}", "give the --state-dir that serve was given"
        )
    connection = connect_reader(path)
    try:
        yield connection
    except sqlite3.Error as error:
        raise ListenerError(f"can't read the journal {path}: {error}") from None
    finally:
        connection.close()


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that can't change anything. Raises sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None)
