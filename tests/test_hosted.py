"""Myop's webhooks under gunicorn and uvicorn: the listener's checks behind their HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.sandbox import REHEARSAL_KEY
from tests.chaos.stand import Stand
from tests.listener.rig import PATH, signature, until, webhook
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.postgres import Postgres

SERVERS = {
    "gunicorn": ("gunicorn", "-w", "2", "--threads", "4", "myop_cdn.wsgi:app", "-b"),
    "uvicorn": ("uvicorn", "myop_cdn.asgi:app", "--port"),
}


@dataclass(frozen=True)
class Hosted:
    """An application that is being served."""

    stand: Stand
    port: int
    process: subprocess.Popen[bytes]

    def ask(
        self, method: str = "POST", path: str = PATH, body: bytes = b"", **headers: str
    ) -> tuple[int, Any]:
        """Status and JSON of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            connection.close()

    def post(self, body: bytes) -> tuple[int, Any]:
        """A signed delivery."""
        return self.ask(body=body, X_Myop_Signature=signature(body, self.stand.secret))


@contextmanager
def hosted(stand: Stand, server: str, **environment: str) -> Iterator[Hosted]:
    """The application under one of the servers, for the stand's API and a folder as CDN."""
    port = free_port()
    words = [sys.executable, "-m", *SERVERS[server]]
    words.append(f"127.0.0.1:{port}" if server == "gunicorn" else str(port))
    given = {
        **os.environ,
        "MYOP_API_URL": stand.api.url,
        "MYOP_API_KEY": REHEARSAL_KEY,
        "MYOP_WEBHOOK_SECRET": stand.secret.decode(),
        "MYOP_CDN_SERVE_DEPLOY": stand.cdn.as_uri(),
        "MYOP_CDN_SERVE_OUTPUT": str(stand.folder / "out"),
        "MYOP_CDN_SERVE_MAX_BODY": "4KiB",
        **environment,
    }
    with stand.log.open("ab") as log:
        process = subprocess.Popen(words, env=given, stdout=log, stderr=log, cwd=stand.folder)
    found = Hosted(stand, port, process)

    def is_up() -> bool:
        assert process.poll() is None, stand.log.read_text()[-2000:]
        try:
            return found.ask("GET", "/healthz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    try:
        until(is_up, server)
        yield found
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.mark.parametrize("server", SERVERS)
def test_without_a_journal_a_release_is_published_within_the_request(
    tmp_path: Path, server: str
) -> None:
    with Stand(tmp_path, components=3) as stand, hosted(stand, server) as app:
        body = stand.release(1)
        assert app.post(body)[0] == 200
        assert stand.published() == {"c1": stand.current["c1"]}
        # The same checks in the same order as those of `serve`.
        assert app.ask("GET", "/elsewhere")[0] == 404
        assert app.ask("GET", PATH)[0] == 405
        assert app.ask(body=body)[0] == 401
        assert app.ask(body=body, X_Myop_Signature=signature(body, b"another"))[0] == 401
        large = webhook("c1/production", padding="x" * 5000)
        assert app.post(large)[0] == 413
        stale = webhook("c1/production", age=3600)
        assert app.post(stale)[0] == 401
        assert app.post(b"[]")[0] == 400
        assert app.post(webhook("nobody/production"))[0] in (200, 503)
        before = stand.published()
        assert before == {"c1": stand.current["c1"]}


@pytest.mark.parametrize("server", SERVERS)
def test_with_a_journal_every_process_is_one_more_listener(
    tmp_path: Path, server: str, postgres: Postgres
) -> None:
    url = postgres.empty("hosted")
    with Stand(tmp_path, components=3) as stand:
        with hosted(
            stand, server, MYOP_CDN_JOURNAL=url, MYOP_CDN_SERVE_NO_SYNC_AT_START="1"
        ) as app:
            body = stand.release(1)
            status, answer = app.post(body)
            assert (status, answer["status"]) == (200, "accepted")
            again = app.post(body)
            assert again == (200, {"status": "duplicate", "delivery": answer["delivery"]})
            until(lambda: stand.published() == {"c1": stand.current["c1"]}, "the release")
        # The server ended in order: its leases are free.
        rows = postgres.execute("SELECT holder FROM myop_cdn.lease", database="hosted")
        assert rows == [("",)]


def test_an_application_without_a_destination_says_what_to_set(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "from myop_cdn.cli.hosted import receiver; receiver()"]
    ended = subprocess.run(words, capture_output=True, text=True, env={}, cwd=tmp_path)
    assert "MYOP_CDN_SERVE_DEPLOY" in ended.stderr
