"""The tables in PostgreSQL, in a schema of their own, and how an older one is brought up.

A migration only ever adds: a program of the version before goes on working beside the new one
while replicas are replaced one by one. `version.readable` is the oldest program that still can;
raising it ends that, and is left to a release that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.errors import ListenerError

if TYPE_CHECKING:
    from myop_cdn.listener.queue.sql import Connection

SCHEMA = "myop_cdn"
VERSION = 1
# Keys of advisory locks; the first of each pair is this program's.
PROGRAM = 0x6D796F70
MIGRATING, STORING, WORKING = 1, 2, 3

# Text that is compared and ordered is compared byte by byte, as SQLite does it.
_FIRST = f"""
CREATE TABLE delivery (
  seq bigserial PRIMARY KEY,        -- in the order of commits: see store()
  id text NOT NULL UNIQUE,
  sha256 bytea NOT NULL,
  received double precision NOT NULL,
  announced double precision NOT NULL,
  peer text NOT NULL,
  headers text NOT NULL,
  secret integer NOT NULL,
  event text,
  kind text NOT NULL,
  body bytea NOT NULL,
  state text NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  run bigint,
  error text,
  note text,
  finished double precision
);
CREATE INDEX delivery_waiting ON delivery (seq) WHERE state = 'waiting';
CREATE INDEX delivery_retrying ON delivery (seq) WHERE state = 'retrying';
CREATE TABLE seen (sha256 bytea PRIMARY KEY, id text NOT NULL, expires double precision);
CREATE INDEX seen_expires ON seen (expires) WHERE expires IS NOT NULL;
CREATE TABLE run (
  id bigserial PRIMARY KEY,
  lane text NOT NULL,
  kind text NOT NULL,
  reason text NOT NULL,
  started double precision NOT NULL,
  ended double precision,
  state text NOT NULL,
  deliveries integer NOT NULL,
  uploaded integer NOT NULL DEFAULT 0,
  error text
);
CREATE INDEX run_running ON run (lane) WHERE state = 'running';
CREATE TABLE service (
  one integer PRIMARY KEY CHECK (one = 1),
  journal text NOT NULL,
  clean boolean NOT NULL,
  due text,
  requested double precision
);
CREATE TABLE lane (
  rowid serial,
  name text COLLATE "C" PRIMARY KEY,
  position bigint NOT NULL DEFAULT 0,
  full_reason text, full_since double precision, full_after double precision,
  full_attempts integer NOT NULL DEFAULT 0, full_error text, full_failed double precision,
  outage_attempts integer, outage_since double precision, outage_at double precision,
  outage_until double precision, outage_error text,
  next_full double precision,
  last_success double precision
);
-- Which listener works a lane, until when by this database's clock. token: fences off whoever
-- had it before. seen: when a listener last said that it serves the lane.
CREATE TABLE lease (
  lane text COLLATE "C" PRIMARY KEY,
  holder text NOT NULL DEFAULT '',
  token bigint NOT NULL DEFAULT 0,
  expires timestamptz NOT NULL DEFAULT '-infinity',
  seen timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE todo (
  seq bigint NOT NULL REFERENCES delivery ON DELETE CASCADE,
  lane text NOT NULL,
  state text NOT NULL,
  "full" boolean NOT NULL,
  error text,
  PRIMARY KEY (seq, lane)
);
CREATE INDEX todo_lane ON todo (lane, state, seq);
CREATE TABLE need (
  lane text NOT NULL,
  component text COLLATE "C" NOT NULL,
  environment text COLLATE "C" NOT NULL,
  seq bigint NOT NULL REFERENCES delivery ON DELETE CASCADE,
  delivery text NOT NULL,
  variant text,
  environment_id text,
  announced double precision NOT NULL,
  PRIMARY KEY (lane, component, environment, seq)
);
CREATE INDEX need_seq ON need (seq, lane);
CREATE TABLE retry (
  lane text NOT NULL,
  component text COLLATE "C" NOT NULL,
  environment text COLLATE "C" NOT NULL,
  variant text,
  environment_id text,
  announced text,
  attempts integer NOT NULL,
  due double precision,
  since double precision NOT NULL,
  error text NOT NULL,
  behind boolean NOT NULL,
  given_up boolean NOT NULL,
  PRIMARY KEY (lane, component, environment)
);
CREATE TABLE live (
  component text COLLATE "C" NOT NULL,
  environment text COLLATE "C" NOT NULL,
  lane text COLLATE "C" NOT NULL,
  name text NOT NULL,
  variant text,
  variant_name text NOT NULL,
  since double precision NOT NULL,
  announced double precision,
  announced_by text,
  PRIMARY KEY (component, environment, lane)
);
-- One statement to a batch, so that a listener that stalls holds no lock. The lock makes the
-- order of `seq` the order in which others see the rows: whoever has taken all up to one has
-- missed none. Gives the id of the delivery that each body came with first.
CREATE FUNCTION store(
  sha256s bytea[], ids text[], expires double precision[], received double precision[],
  announced double precision[], peers text[], headers text[], secrets integer[], events text[],
  kinds text[], bodies bytea[], states text[]
) RETURNS TABLE (hash bytea, first_id text) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock({PROGRAM}, {STORING});
  WITH fresh AS (
    INSERT INTO seen (sha256, id, expires) SELECT * FROM unnest(sha256s, ids, expires)
    ON CONFLICT DO NOTHING RETURNING seen.id
  )
  INSERT INTO delivery (sha256, id, received, announced, peer, headers, secret, event, kind, body,
    state)
  SELECT given.sha256, given.id, given.received, given.announced, given.peer, given.headers,
    given.secret, given.event, given.kind, given.body, given.state
  FROM unnest(sha256s, ids, received, announced, peers, headers, secrets, events, kinds, bodies,
    states) WITH ORDINALITY AS given (sha256, id, received, announced, peer, headers, secret, event,
    kind, body, state, place)
  JOIN fresh ON fresh.id = given.id
  ORDER BY place;
  RETURN QUERY SELECT seen.sha256, seen.id FROM seen WHERE seen.sha256 = ANY (sha256s);
END $$;
"""  # noqa: S608 - two numbers of this module's

# What brings a database from each version to the next.
MIGRATIONS = (_FIRST,)


def version(connection: Connection) -> tuple[int, int]:
    """The tables' version, and the oldest program that can use them; zeros where there are none."""
    # By the catalogue's rows: what to_regclass() says may be out of date after a wait for a lock.
    there = connection.execute(
        "SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE nspname = ? AND relname = 'version'",
        (SCHEMA,),
    ).fetchone()
    if not there[0]:
        return 0, 0
    found = connection.execute("SELECT number, readable FROM myop_cdn.version").fetchone()
    return (0, 0) if found is None else (int(found[0]), int(found[1]))


def check(number: int, readable: int) -> None:
    """Raise ListenerError where this program can't use tables of that version."""
    if readable > VERSION:
        raise ListenerError(
            f"the database's tables are of version {number}, this program's are {VERSION}",
            "a newer myop-cdn wrote them: upgrade this one",
        )


def migrate(connection: Connection) -> None:
    """Make the tables, or bring them up. Within a transaction; one program at a time."""
    connection.execute("SELECT pg_advisory_xact_lock(?, ?)", (PROGRAM, MIGRATING))
    number, readable = version(connection)  # somebody else may have been first
    check(number, readable)
    if number >= VERSION:
        return
    if not number:
        # Made by hand where the program's role may not.
        if not connection.execute(
            "SELECT count(*) FROM pg_namespace WHERE nspname = ?", (SCHEMA,)
        ).fetchone()[0]:
            connection.execute(f"CREATE SCHEMA {SCHEMA}")
        connection.execute(
            f"CREATE TABLE {SCHEMA}.version (number integer NOT NULL, readable integer NOT NULL)"
        )
        connection.execute(f"INSERT INTO {SCHEMA}.version VALUES (0, 1)")  # noqa: S608
    connection.execute(f"SET LOCAL search_path = {SCHEMA}")
    for step in MIGRATIONS[number:]:
        connection.execute(step)
    connection.execute("UPDATE version SET number = ?", (VERSION,))
