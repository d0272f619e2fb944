"""The whole loop for a test: Myop's API from a folder, a real `serve` process, a folder as CDN."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from myop_cdn.listener.queue.deliveries import listed
from myop_cdn.listener.queue.journal import FILE, reading
from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from tests.listener.rig import PATH, SECRET, request, signature, until, webhook

if TYPE_CHECKING:
    from pathlib import Path


class Stand:
    """Components `c0`, `c1`, … in `production`, each release a new variant of one of them."""

    def __init__(
        self,
        folder: Path,
        components: int = 12,
        latency: float = 0.0,
        fail_rate: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.folder = folder
        self.tree = folder / "myop"
        self.cdn = folder / "cdn"
        self.destination = self.cdn.as_uri()
        self.state = folder / "state"
        self.log = folder / "serve.log"
        self.components = components
        self.process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self._made = 0
        self.current = {f"c{number}": "v0" for number in range(components)}
        for name in self.current:
            self._write(name)
        self.index(components)
        self.api = Sandbox(
            self.tree, latency=timedelta(seconds=latency), fail_rate=fail_rate, seed=seed
        )

    def __enter__(self) -> Stand:
        self.api.__enter__()
        return self

    def __exit__(self, *ending: Any) -> None:
        if self.process is not None:
            self.kill()
        self.api.__exit__(*ending)

    def _write(self, name: str) -> None:
        variant = {"id": self.current[name], "name": "x", "loader": {"HTML": "<p>" + "x" * 3000}}
        item = {"id": name, "name": name, "organizationId": "o", "consume_variant": [variant]}
        text = json.dumps({"version": "1", "item": item}, indent=2)
        for environment in ("production", "preview"):
            file = self.tree / "components" / name / f"{environment}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_suffix(".new")
            temporary.write_text(text)
            temporary.replace(file)

    def index(self, components: int) -> None:
        """Have Myop's index name the first `components` alone."""
        names = list(self.current)[:components]
        entries = [{"id": name, "name": name, "environments": ["production"]} for name in names]
        manifest = {"version": 1, "exportedAt": "2026-01-01T00:00:00.000Z", "organization": "o"}
        temporary = self.tree / "manifest.new"
        temporary.write_text(json.dumps({**manifest, "components": entries}, indent=2))
        temporary.replace(self.tree / "manifest.json")

    def release(self, number: int) -> bytes:
        """Release a new variant of a component in Myop; the webhook's body."""
        name = f"c{number % self.components}"
        self._made += 1
        self.current[name] = f"v{self._made}"
        self._write(name)
        return webhook(f"{name}/production={self.current[name]}")

    def start(
        self, *options: str, wait: bool = True, **environment: Any
    ) -> subprocess.Popen[bytes]:
        """Start `serve` with these further options."""
        words = [sys.executable, "-m", "myop_cdn", "serve", "--port", str(self.port)]
        words += ["--state-dir", str(self.state), "--output", str(self.folder / "out")]
        words += ["--deploy", self.destination, *options]
        given = {
            **os.environ,
            "MYOP_API_URL": self.api.url,
            "MYOP_API_KEY": REHEARSAL_KEY,
            "MYOP_WEBHOOK_SECRET": SECRET.decode().replace(" ", "-"),
            **environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(words, env=given, stdout=log, stderr=log)
        if wait:
            until(self.listening, "serve")
        return self.process

    def listening(self) -> bool:
        """Whether requests are answered; fails when the process has ended.

        A connection alone tells nothing: a child that a killed listener was about to start holds
        its sockets for another moment.
        """
        assert self.process is not None
        assert self.process.poll() is None, self.ending()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 404
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def ending(self) -> str:
        """What there is to say about a process that does not answer as it should."""
        assert self.process is not None
        return f"exit code {self.process.poll()}; {self.log.read_text()[-1500:]}"

    def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def terminate(self, number: int = signal.SIGTERM) -> int:
        """Ask the process to end; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def post(self, body: bytes, **headers: str) -> tuple[int, Any]:
        """Send a signed delivery; status and answer, 0 when there was none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            signed = {"X-Myop-Signature": signature(body, self.secret), **headers}
            connection.request("POST", PATH, body, signed)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, f"{type(error).__name__}: {error}"
        finally:
            connection.close()

    @property
    def secret(self) -> bytes:
        """The signing secret in force; blanks would separate several."""
        return SECRET.replace(b" ", b"-")

    def request(self, body: bytes) -> bytes:
        """A whole signed request."""
        return request(body, secret=self.secret)

    def states(self) -> dict[str, str]:
        """The deliveries in the journal and their states."""
        with reading(self.state / FILE) as connection:
            return {found.id: found.state for found in listed(connection, 10_000)}

    def all_done(self, deliveries: set[str]) -> bool:
        """Whether these, and all others, have been worked."""
        states = self.states()
        missing = deliveries - set(states)
        assert not missing, f"accepted, but not in the journal: {missing}"
        return all(state in ("done", "ignored") for state in states.values())

    def published(self) -> dict[str, str]:
        """The variants that the CDN serves. Fails when a file is not whole."""
        found = {}
        for file in (self.cdn / "components").glob("*/production.json"):
            document = json.loads(file.read_bytes())
            found[file.parent.name] = document["item"]["consume_variant"][0]["id"]
        return found

    def check_whole(self) -> None:
        """Fail when any file at the destination can't be read to its end."""
        for file in self.cdn.rglob("*.json"):
            json.loads(file.read_bytes())

    def resident(self) -> int:
        """The process's resident memory in bytes; 0 where it can't be told."""
        assert self.process is not None
        try:
            text = (__import__("pathlib").Path(f"/proc/{self.process.pid}/statm")).read_text()
        except OSError:
            return 0
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A port that nobody listens on now.

    Below those that kernels hand out by themselves: between a kill and the next start nobody
    else must come by it.
    """
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


# Each is handed out once, and another process of this suite begins somewhere else.
_PORTS = iter(range(10_000 + os.getpid() * 37 % 10_000, 30_000))


def settle(seconds: float) -> None:
    """Let time pass; nothing is concluded from how much."""
    time.sleep(seconds)
