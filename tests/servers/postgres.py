"""A real PostgreSQL, as Debian ships it: its own data folder, 127.0.0.1 alone, a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

PASSWORD = "pg-password-of-the-tests"


@cache
def programs() -> Path | None:
    """The folder with `initdb` and `postgres`; None where PostgreSQL's server is not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


class Postgres:
    """A server that can be killed, stopped and started again with the same data."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self._folder = folder
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._words: list[str | Path] = []
        # It refuses to run as root.
        self._user = None if os.getuid() else pwd.getpwnam("nobody").pw_uid
        self.port = free_port()
        if self._user is not None:
            os.chown(folder, self._user, -1)
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        words: list[str | Path] = [
            "-D",
            self._data,
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
            "--pwfile",
            password,
        ]
        self._run("initdb", *words, "--no-locale", "-E", "UTF8", "--no-sync")
        self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _command(self, name: str, *words: str | Path) -> list[str]:
        where = programs()
        assert where is not None
        return [str(where / name), *map(str, words)]

    def _run(self, name: str, *words: str | Path) -> None:
        subprocess.run(
            self._command(name, *words), check=True, capture_output=True, user=self._user, cwd="/"
        )

    def start(self) -> Postgres:
        """Start it and wait until it answers."""
        words: list[str | Path] = [
            "-D",
            self._data,
            "-p",
            str(self.port),
            "-h",
            "127.0.0.1",
            "-k",
            "",
        ]
        words += ["-c", "max_connections=200", "-c", "shared_buffers=32MB"]
        # A kill takes nothing from the kernel's cache; a disk that is slow says nothing of us.
        words += ["-c", f"fsync={'on' if self._durable else 'off'}"]
        self._words = words
        self._begin()
        self.wait()
        return self

    def _begin(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("postgres", *self._words),
                stdout=log, stderr=log, user=self._user, cwd="/", start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        """Wait until it answers."""
        import psycopg

        end = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.admin_url, connect_timeout=2).close()
            except psycopg.Error:
                assert time.monotonic() < end, (self._folder / "log").read_text()[-2000:]
                time.sleep(0.05)
                if self._process is not None and self._process.poll() is not None:
                    self._begin()  # a process of the one before was not quite gone
            else:
                return

    def kill(self) -> None:
        """kill -9, the whole server."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(30)
        self._process = None

    def freeze(self) -> None:
        """Let nothing of it run, as if the machine had stopped; its kernel goes on."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)  # it is to start no other meanwhile
        # Its processes each have a session of their own.
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        for pid in sorted({int(word) for word in found.stdout.split()} | {self._process.pid}):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    @property
    def admin_url(self) -> str:
        """The server's own database, as its superuser."""
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def url(self, database: str, port: int | None = None) -> str:
        """A database's URL, with the password."""
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"

    def empty(self, name: str) -> str:
        """A database without the program's tables, made once for many tests; its URL."""
        if not self.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            self.execute(f'CREATE DATABASE "{name}"')
        self.execute(f'ALTER DATABASE "{name}" RESET ALL')
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database()"
            " AND pid != pg_backend_pid()",
            "DROP SCHEMA IF EXISTS myop_cdn CASCADE",
            database=name,
        )
        return self.url(name)

    def execute(self, *statements: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run statements by themselves; the rows of the last."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL for the whole session."""
    if programs() is None:
        pytest.fail("PostgreSQL's server is not installed (apt-get install postgresql)")
    with running() as server:
        yield server


@contextmanager
def running(*, durable: bool = False) -> Generator[Postgres]:
    """A running server; it is ended, and its data removed, at the end.

    durable: whether it waits for the disk, as one that is measured has to.
    """
    with tempfile.TemporaryDirectory(prefix="myop-pg-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Postgres(folder, durable=durable)
        try:
            yield server
        finally:
            server.stop()
