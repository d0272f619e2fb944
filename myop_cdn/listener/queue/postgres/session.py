"""A connection to PostgreSQL: bounded in time whatever happens, with its errors in plain words.

Where the other side is gone, a call must not hang: the server limits each statement
(`statement_timeout`), the kernel each packet that is not acknowledged (`tcp_user_timeout`), and
a watchdog what is left, such as a server process that was stopped: it shuts the socket.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from myop_cdn.errors import InputError, ListenerError, how_to_install
from myop_cdn.listener.queue.postgres import schema
from myop_cdn.text import line, shown_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import psycopg

    from myop_cdn.listener.queue.sql import Rows

SCHEMES = ("postgresql://", "postgres://")
# Where libpq finds a password, as it reads a URL.
_PASSWORDS = re.compile(r"://[^:/@]*:([^/@]*)@|[?&](?:ssl)?password=([^&]*)")
_CONNECT = 2  # seconds to each host; libpq takes no less
_STALLED = 2.0  # seconds that a transaction may wait for its listener, which holds locks meanwhile
_LOOK = 0.2  # seconds between two looks of the watchdog
_GRACE = 0.5  # seconds beyond the server's own limit after which the socket is shut
# What holds where the URL says nothing else. Names as libpq has them (PostgreSQL's manual,
# "Parameter Key Words").
_DEFAULTS: dict[str, Any] = {
    "connect_timeout": _CONNECT,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 4000,  # milliseconds
}
# What the environment or a service file may say too; a parameter that is given outranks them.
_NAMED = {
    "application_name": ("PGAPPNAME", "myop-cdn"),
    # After a failover the server that takes writes.
    "target_session_attrs": ("PGTARGETSESSIONATTRS", "read-write"),
}


def check_url(url: str, *, password_is_public: bool = False) -> None:
    """Raise InputError for a URL that libpq would not take, or where psycopg is not installed.

    password_is_public: whether the URL stands where others can read it, so that it must hold no
    password.
    """
    if not url.lower().startswith(SCHEMES):
        raise InputError(
            f"the journal {shown_url(url)} is not a URL of PostgreSQL",
            "postgresql://user@host:5432/database",
        )
    psycopg = _psycopg()
    try:
        found = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        words = _hidden(str(error), url)
        raise InputError(
            f"the journal {shown_url(url)} is not a URL of PostgreSQL: {words}"
        ) from None
    if not re.fullmatch(r"[0-9,]*", str(found.get("port") or "")):
        # It may be a part of the password, and libpq would quote it.
        raise InputError(
            f"the journal {shown_url(url)} is not a URL of PostgreSQL",
            "write / @ : ? # and % in a user's name or password as %2F %40 %3A %3F %23 and %25",
        )
    if password_is_public and found.get("password"):
        raise InputError(
            "a password in --journal can be read in the list of processes",
            "give it with PGPASSWORD, PGPASSFILE, a service file or MYOP_CDN_JOURNAL",
        )


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        if getattr(error, "name", None) not in ("psycopg", None):
            raise
        raise InputError(
            "a journal in PostgreSQL needs psycopg, which is not installed",
            how_to_install("psycopg[binary]"),
        ) from None
    return psycopg


class Session:
    """One connection, with the house's statements (see `sql`). For one thread at a time.

    Each statement is a transaction of its own outside of `transaction`. A call that fails raises
    psycopg.Error as it comes; `is_lost` tells whether the connection went with it.
    """

    def __init__(self, connection: psycopg.Connection[Any], seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._guard = threading.Lock()
        self._busy: float | None = None
        self._warned = ""
        connection.add_notice_handler(self._notice)

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> Rows:
        """Run one statement; without values it may be several."""
        with self._watched():
            if not values:
                return cast("Rows", self._connection.execute(statement.encode()))
            return cast("Rows", self._connection.execute(translated(statement), values))

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> None:
        """Run one statement for each of `rows`, without waiting for each answer."""
        given = list(rows)
        if given:
            with self._watched(), self._connection.cursor() as cursor:
                cursor.executemany(translated(statement), given)

    @contextlib.contextmanager
    def transaction(self, begin: str = "BEGIN") -> Iterator[Session]:
        """All statements within are one transaction; an error takes it back."""
        self.execute(begin)
        try:
            yield self
        except BaseException:
            with contextlib.suppress(_psycopg().Error):
                if not self.is_lost:
                    self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    @property
    def is_lost(self) -> bool:
        """Whether the connection can't be used any more."""
        return bool(self._connection.closed)

    def is_hung_up(self) -> bool:
        """Whether the server has hung up while nothing was asked of it. No round trip."""
        if self.is_lost:
            return True
        # An idle server says nothing, so what can be read is its end.
        return bool(select.select([self._connection.fileno()], [], [], 0)[0])

    def warning(self) -> str:
        """What the server warned of since the last time somebody looked."""
        found, self._warned = self._warned, ""
        return found

    def close(self) -> None:
        """Close; never raises."""
        with self._guard:
            self._busy = None
            with contextlib.suppress(Exception):
                self._connection.close()

    def _notice(self, notice: Any) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warned = str(notice.message_primary)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        with self._guard:
            self._busy = time.monotonic() + self._seconds + _GRACE
        _WATCHDOG.watch(self)
        try:
            yield
        finally:
            with self._guard:
                self._busy = None

    def cut(self, now: float) -> None:
        """Shut the socket where a statement has taken far too long."""
        with self._guard:
            if self._busy is None or now < self._busy:
                return
            self._busy = None
            with contextlib.suppress(Exception):
                copy = socket.socket(fileno=os.dup(self._connection.fileno()))
                with copy:
                    copy.shutdown(socket.SHUT_RDWR)


class _Watchdog:
    """Looks at busy sessions now and then, on one thread for all."""

    def __init__(self) -> None:
        self._sessions: set[Session] = set()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, session: Session) -> None:
        """Look at a session from now on, until it is closed."""
        if session in self._sessions and self._thread is not None:
            return
        with self._guard:
            self._sessions.add(session)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK)
            with self._guard:
                found = list(self._sessions)
                if not found:
                    self._thread = None
                    return
            now = time.monotonic()
            for session in found:
                session.cut(now)
            with self._guard:
                self._sessions -= {session for session in found if session.is_lost}


_WATCHDOG = _Watchdog()


def connect(url: str, seconds: float) -> Session:
    """A new connection, fit for use. seconds: that a statement may take.

    Raises psycopg.Error where the server can't be reached or refuses, ListenerError where its
    tables or settings don't do.
    """
    psycopg = _psycopg()
    given = psycopg.conninfo.conninfo_to_dict(url)
    known = dict(_DEFAULTS)
    if "service" not in given and not os.environ.get("PGSERVICE"):
        known |= {name: os.environ.get(named) or value for name, (named, value) in _NAMED.items()}
    connection = psycopg.connect(
        psycopg.conninfo.make_conninfo(**{**known, **given}), autocommit=True, prepare_threshold=3
    )
    _clean_text(connection)
    session = Session(connection, seconds)
    try:
        _prepare(session, seconds)
    except BaseException:
        session.close()
        raise
    return session


def _clean_text(connection: psycopg.Connection[Any]) -> None:
    """Text of others may hold what no text of PostgreSQL does: a NUL, half a character."""
    from psycopg.types.string import StrDumper, StrDumperUnknown

    for kind in (StrDumper, StrDumperUnknown):  # the last is the usual one, as in psycopg itself
        made = type(kind.__name__, (kind,), {"dump": lambda _, text: _clean(text)})
        connection.adapters.register_dumper(str, made)


def _clean(text: str) -> bytes:
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace")


def _prepare(session: Session, seconds: float) -> None:
    limits = {
        "search_path": schema.SCHEMA,
        "statement_timeout": f"{seconds * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{_STALLED * 1000:.0f}",
        "client_min_messages": "warning",
        # So that the server, too, sees soon that nobody is there.
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "2",
        "tcp_user_timeout": "4000",
    }
    settings = ", ".join(
        f"set_config('{name}', '{value}', false)" for name, value in limits.items()
    )
    found = session.execute(
        f"SELECT {settings}, current_setting('synchronous_commit'), current_setting('fsync')"
    ).fetchone()
    if found[-2] == "off":
        raise ListenerError(
            "the database answers before a delivery is on its disk: synchronous_commit is off",
            "switch it on for this role: ALTER ROLE … SET synchronous_commit = on",
        )
    number, readable = schema.version(session)
    schema.check(number, readable)
    if number < schema.VERSION:
        with session.transaction():
            schema.migrate(session)


@lru_cache(512)
def translated(statement: str) -> bytes:
    """A statement of the house's with psycopg's marks. Its text holds no other `?` and no `%`."""
    marked = re.sub(r"(?<![:\w]):([a-z]+)", r"%(\1)s", statement)
    return marked.replace("?", "%s").encode()


def words_of(error: BaseException, url: str) -> str:
    """What is wrong, on one line and without a password."""
    if isinstance(error, ListenerError):
        return str(error)
    text = " ".join(str(error).split()) or type(error).__name__
    return line(_hidden(text, url), 300)


def _hidden(text: str, url: str) -> str:
    for given in re.findall(_PASSWORDS, url):
        for password in {*given, *map(unquote, given)} - {""}:
            text = text.replace(password, "***")
    return text
