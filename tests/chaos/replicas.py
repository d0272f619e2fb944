"""Several `serve` processes with one journal in PostgreSQL and one bucket, for a test.

Each finds the database through a cable of its own, which can be cut, and the bucket at a port of
its own, so that the bucket knows whose write is whose. A trigger of the database's notes who
held the lease from when on.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from myop_cdn.listener.queue.deliveries import listed
from myop_cdn.listener.queue.lanes import overview
from myop_cdn.listener.queue.postgres.queue import reading
from myop_cdn.sandbox import REHEARSAL_KEY
from tests.chaos.bucket import Bucket, Write
from tests.chaos.stand import free_port
from tests.listener.rig import PATH, signature, until
from tests.servers.cable import Cable

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from tests.chaos.stand import Stand
    from tests.servers.postgres import Postgres

DATABASE = "replicas"
PREFIX = "myop/"
_AUDIT = (
    "DROP TABLE IF EXISTS audit",
    "CREATE TABLE audit (holder text, at double precision)",
    (
        "CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO public.audit VALUES (NEW.holder, extract(epoch FROM clock_timestamp()));"
        " RETURN NEW; END $$"
    ),
    (
        "CREATE OR REPLACE TRIGGER note AFTER UPDATE ON myop_cdn.lease FOR EACH ROW"
        " WHEN (OLD.holder IS DISTINCT FROM NEW.holder OR OLD.token IS DISTINCT FROM NEW.token)"
        " EXECUTE FUNCTION note()"
    ),
)


@dataclass
class Replica:
    """One listener, which nothing but its journal and the bucket joins with the others."""

    name: str
    cable: Cable
    endpoint: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    stopped: list[int] = field(default_factory=list)

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

    def stop(self, pids: list[int]) -> None:
        """Let these of its processes do nothing."""
        self.stopped = pids
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let what was stopped go on."""
        for pid in self.stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.stopped = []

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

    def _listening(self) -> bool:
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

    def start(self, stand: Stand, url: str, *, wait: bool = True) -> None:
        """Start it. Its output folder is its own."""
        words = [sys.executable, "-m", "myop_cdn", "serve", "--port", str(self.port)]
        words += [*_destination(self.endpoint, self.folder), "--no-sync-at-start"]
        words += ["--deploy", f"s3://cdn/{PREFIX[:-1]}", "--full-sync-every", "0"]
        given = {**_environment(stand, self.folder), "MYOP_CDN_JOURNAL": url}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(words, env=given, stdout=log, stderr=log)
        if wait:
            until(self._listening, "serve")


def _destination(endpoint: str, folder: Path) -> list[str]:
    return ["--output", str(folder / "out"), "--endpoint-url", endpoint]


def _environment(stand: Stand, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(folder),
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-east-1",
        "MYOP_API_URL": stand.api.url,
        "MYOP_API_KEY": REHEARSAL_KEY,
        "MYOP_WEBHOOK_SECRET": stand.secret.decode(),
    }


class Replicas:
    """`count` replicas for the components of `stand`."""

    def __init__(
        self, stand: Stand, server: Postgres, count: int = 2, write_seconds: float = 0.02
    ) -> None:
        self.stand = stand
        self.server = server
        self.bucket = Bucket(write_seconds)
        self.accepted: set[str] = set()
        self.broken: list[str] = []
        self.posts: list[tuple[float, float, int]] = []  # when, seconds, status in the end
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        server.empty(DATABASE)
        self.all: list[Replica] = []
        for number in range(count):
            folder = stand.folder / f"replica-{number}"
            folder.mkdir()
            cable = self._stack.enter_context(Cable(server.port))
            where = self.bucket.listen(str(number))
            self.all.append(Replica(str(number), cable, where, free_port(), folder))

    def start(self, replica: Replica, *, wait: bool = True) -> None:
        """Start one."""
        replica.start(self.stand, self.server.url(DATABASE, replica.cable.port), wait=wait)

    def __enter__(self) -> Replicas:
        folder = self.stand.folder / "first"
        words = [sys.executable, "-m", "myop_cdn", "publish", f"s3://cdn/{PREFIX[:-1]}", "--full"]
        words += _destination(self.bucket.listen("first"), folder)
        subprocess.run(words, check=True, env=_environment(self.stand, folder), capture_output=True)
        self.bucket.writes.clear()
        for replica in self.all:
            self.start(replica)
        self.server.execute(*_AUDIT, database=DATABASE)
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopping.set()
        for replica in self.all:
            replica.go_on()
            if replica.running:
                replica.kill()
        for thread in self._threads:
            thread.join(30)
        self.bucket.close()
        self._stack.close()

    # -- load and a reader, on threads

    def load(self, chance: Random, lanes: int = 3, pause: float = 0.03) -> None:
        """Release and announce without end, at any of the replicas that takes it."""
        for lane in range(lanes):
            self._begin(self._load, lane, lanes, chance, pause)

    def watch(self) -> None:
        """Read what is at the bucket again and again, and note whatever is not whole."""
        self._begin(self._watch)

    def quiet(self) -> None:
        """No more load."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    def _begin(self, work: Any, *values: Any) -> None:
        self._threads.append(threading.Thread(target=work, args=values, daemon=True))
        self._threads[-1].start()

    def _load(self, lane: int, lanes: int, chance: Random, pause: float) -> None:
        for turn in range(1_000_000):
            if self._stopping.wait(pause):
                return
            self.announce(lane + lanes * (turn % (self.stand.components // lanes)), chance)

    def announce(self, number: int, chance: Random) -> bool:
        """Release a component anew and tell some replica, or another one where it does not take
        it, as a load balancer would.
        """
        body = self.stand.release(number)
        started, status = time.time(), 0
        for replica in chance.sample(self.all, len(self.all)):
            status, answer = replica.post(body, self.stand.secret, 2.0)
            if status == 200:
                self.accepted.add(answer["delivery"])
                break
        self.posts.append((started, time.time() - started, status))
        return status == 200

    def _watch(self) -> None:
        while not self._stopping.wait(0.02):
            manifest = self.bucket.read(f"{PREFIX}manifest.json")
            if manifest is None:
                continue
            for component in json.loads(manifest)["components"]:
                for environment in component["environments"]:
                    key = f"{PREFIX}components/{component['id']}/{environment}.json"
                    body = self.bucket.read(key)
                    try:
                        json.loads(body or b"")
                    except ValueError:
                        self.broken.append(key)

    # -- what is, and what was

    def holder(self) -> Replica | None:
        """The replica that holds the lease now."""
        rows = self.server.execute(
            "SELECT holder, expires > clock_timestamp() FROM myop_cdn.lease", database=DATABASE
        )
        return self._named(str(rows[0][0])) if rows and rows[0][1] else None

    def _named(self, holder: str) -> Replica | None:
        for replica in self.all:
            if holder and f"holder={holder}" in replica.log.read_text():
                return replica
        return None

    def holders(self) -> list[tuple[float, str | None]]:
        """Who held the lease from when on; None: nobody."""
        rows = self.server.execute("SELECT at, holder FROM audit ORDER BY at", database=DATABASE)
        names: dict[str, str | None] = {}
        found: list[tuple[float, str | None]] = []
        for at, holder in rows:
            name = str(holder)
            if name not in names:
                replica = self._named(name)
                names[name] = None if replica is None else replica.name
            found.append((float(str(at)), names[name]))
        return found

    def out_of_turn(self) -> list[tuple[Write, str | None]]:
        """The writes of replicas that did not hold the lease then, each with who did."""
        holders, place = self.holders(), 0
        found: list[tuple[Write, str | None]] = []
        for write in sorted(self.bucket.writes, key=lambda one: one.started):
            while place + 1 < len(holders) and holders[place + 1][0] <= write.started:
                place += 1
            at, name = holders[place]
            if at <= write.started and name not in (write.writer, None):
                found.append((write, name))
        return found

    def said(self) -> str:
        """The ends of their logs, and what is in the journal."""
        logs = [f"-- {one.name}\n{one.log.read_text()[-1500:]}" for one in self.all]
        with suppress(Exception):
            with reading(self.server.url(DATABASE)) as connection:
                logs.append(f"-- {overview(connection).lanes} at {time.time():.1f}")
            logs.append(f"-- {self.holders()[-3:]}, {self.posts[-3:]}, {self.bucket.writes[-2:]}")
        return "\n".join(logs)

    def first_claim_after(self, moment: float, *, not_by: str | None = None) -> float | None:
        """How long after `moment` another replica than that next took the lease."""
        return next(
            (
                at - moment
                for at, who in self.holders()
                if at > moment and who not in (None, not_by)
            ),
            None,
        )

    def first_write_after(self, moment: float, *, not_by: str | None = None) -> float | None:
        """How long after `moment` a document was next written, by another replica than that."""
        return next(
            (
                write.ended - moment
                for write in list(self.bucket.writes)
                if write.started > moment and write.writer != not_by
            ),
            None,
        )

    def published(self) -> dict[str, str]:
        """The variants that the bucket holds."""
        found = {}
        for name in self.stand.current:
            body = self.bucket.read(f"{PREFIX}components/{name}/production.json")
            if body is not None:
                found[name] = json.loads(body)["item"]["consume_variant"][0]["id"]
        return found

    def states(self) -> dict[str, str]:
        """The deliveries in the journal and their states."""
        with reading(self.server.url(DATABASE)) as connection:
            return {found.id: found.state for found in listed(connection, 100_000)}

    def settle(self, seconds: float = 90.0) -> None:
        """Announce each component once more, and wait until all that was accepted is published."""
        from random import Random

        for number in range(self.stand.components):
            until(lambda number=number: self.announce(number, Random(0)), "a 200")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(Exception):
                if self.published() == self.stand.current and not self._undone():
                    break
            time.sleep(0.2)
        assert self.published() == self.stand.current
        assert not self._undone()
        # Of deliveries the newest 10,000 are kept, of their hashes all.
        rows = self.server.execute("SELECT id FROM myop_cdn.seen", database=DATABASE)
        missing = self.accepted - {str(row[0]) for row in rows}
        assert not missing, f"accepted, but not in the journal: {missing}"

    def _undone(self) -> set[str]:
        return {name for name, state in self.states().items() if state not in ("done", "ignored")}
