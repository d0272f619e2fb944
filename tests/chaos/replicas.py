"""Several `serve` processes with one journal in PostgreSQL and one folder as CDN, for a test."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from myop_cdn.listener.queue.deliveries import listed
from myop_cdn.listener.queue.postgres.queue import reading
from myop_cdn.sandbox import REHEARSAL_KEY
from tests.chaos.stand import Stand, free_port
from tests.listener.rig import PATH, signature, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.postgres import Postgres


@dataclass
class Replica:
    """One listener, which nothing but its journal joins with the others."""

    name: str
    url: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it said."""
        return self.folder / "serve.log"

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.process is not None and self.process.poll() is None

    def children(self) -> list[int]:
        """Its publishing processes."""
        if not self.running:
            return []
        assert self.process is not None
        words = ["ps", "-o", "pid=", "--ppid", str(self.process.pid)]
        found = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        return [int(word) for word in found.split()]

    def signal(self, number: int) -> None:
        """Send a signal to the listener alone."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def terminate(self) -> int:
        """End it in order; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def listening(self) -> bool:
        """Whether it answers requests."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 404
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def post(self, body: bytes, secret: bytes, timeout: float = 15) -> tuple[int, Any]:
        """Send a signed delivery; status and answer, 0 when there was none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", PATH, body, {"X-Myop-Signature": signature(body, secret)})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, f"{type(error).__name__}: {error}"
        finally:
            connection.close()


class Replicas:
    """`count` replicas of a listener for the components of `stand`."""

    def __init__(self, stand: Stand, server: Postgres, count: int = 2) -> None:
        self.stand = stand
        self.server = server
        self.url = server.empty("replicas")
        self.replicas: list[Replica] = []
        for number in range(count):
            folder = stand.folder / f"replica-{number}"
            folder.mkdir()
            self.replicas.append(Replica(str(number), self.url, free_port(), folder))

    def start(self, replica: Replica, *options: str) -> Replica:
        """Start one, and wait until it answers."""
        words = [sys.executable, "-m", "myop_cdn", "-v", "serve", "--port", str(replica.port)]
        # Its output folder is its own, and empty at first.
        words += ["--output", str(replica.folder / "out"), "--deploy", self.stand.cdn.as_uri()]
        given = {
            **os.environ,
            "HOME": str(replica.folder),
            "MYOP_API_URL": self.stand.api.url,
            "MYOP_API_KEY": REHEARSAL_KEY,
            "MYOP_WEBHOOK_SECRET": self.stand.secret.decode(),
            "MYOP_CDN_JOURNAL": replica.url,
        }
        with replica.log.open("ab") as log:
            replica.process = subprocess.Popen(
                [*words, *options], env=given, stdout=log, stderr=log
            )
        until(replica.listening, "serve")
        return replica

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *_: Any) -> None:
        for replica in self.replicas:
            if replica.running:
                with suppress(ProcessLookupError):
                    replica.signal(signal.SIGCONT)
                replica.kill()

    def states(self) -> dict[str, str]:
        """The deliveries in the journal and their states."""
        with reading(self.url) as connection:
            return {found.id: found.state for found in listed(connection, 10_000)}

    def holder(self) -> Replica | None:
        """The replica that holds the lease now, by the lines of its log."""
        said: list[tuple[float, Replica]] = []
        rows = self.server.execute(
            "SELECT holder, expires > clock_timestamp() FROM myop_cdn.lease", database="replicas"
        )
        if not rows or not rows[0][1]:
            return None
        for replica in self.replicas:
            if replica.log.exists() and f"holder={rows[0][0]}" in replica.log.read_text():
                said.append((0.0, replica))
        return said[0][1] if said else None
