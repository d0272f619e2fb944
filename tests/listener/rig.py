"""A real listener on a real socket with a real journal; only the publisher is made up."""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from myop_cdn.listener.http.sockets import Address, listen
from myop_cdn.listener.queue.base import Changes, RunEnd
from myop_cdn.listener.queue.deliveries import listed
from myop_cdn.listener.queue.journal import FILE, reading
from myop_cdn.listener.service import Listener, Settings
from myop_cdn.model import DocumentRef, ExportedDocument, Release, Scope, Variant
from myop_cdn.report import FailedDocument, PublishReport, SyncReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from myop_cdn.errors import MyopCdnError
    from myop_cdn.listener import Publisher
    from myop_cdn.listener.queue.base import LaneState
    from myop_cdn.notify.policy import Event
    from myop_cdn.progress import Progress

SECRET = b"the-signing-secret"
PATH = "/webhooks/myop"
PATIENCE = 20.0  # seconds; only a test that fails waits so long


def until(condition: Callable[..., Any], what: str = "it") -> Any:
    """Wait for a condition, within bounds, and return what it gave."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come about")


def webhook(*releases: str, full: bool = False, age: float = 0.0, **more: Any) -> bytes:
    """A body. releases: `component/environment` or `component/environment=variant`."""
    moment = datetime.now(UTC) - timedelta(seconds=age)
    listed = []
    for text in releases:
        where, _, variant = text.partition("=")
        component, environment = where.split("/")
        listed.append(
            {
                "componentId": component,
                "environment": environment,
                "variantId": variant or "v1",
                "environmentId": "e1",
            }
        )
    data: dict[str, Any] = {"releases": listed, **({"fullSync": True} if full else {})}
    timestamp = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    value = {"event": "components.deployed", "timestamp": timestamp, "data": data, **more}
    return json.dumps({key: cell for key, cell in value.items() if cell is not None}).encode()


def signature(body: bytes, secret: bytes = SECRET) -> str:
    """The header's value."""
    return "sha256=" + hmac.digest(secret, body, "sha256").hex()


def request(body: bytes, *headers: str, path: str = PATH, secret: bytes = SECRET) -> bytes:
    """A whole signed request."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: here",
        f"X-Myop-Signature: {signature(body, secret)}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Reply:
    """One answer off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Wire:
    """A raw connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self._buffer = b""

    def send(self, data: bytes) -> Wire:
        """Send bytes as they are; what the other side does not take any more is dropped."""
        with contextlib.suppress(OSError):
            self.sock.sendall(data)
        return self

    def reply(self, *, head_only: bool = False) -> Reply | None:
        """The next answer, or None when the other side closed first."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        length = 0 if head_only else int(headers.get("content-length", 0))
        while len(self._buffer) < length:
            if not self._more():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Reply(int(lines[0].split()[1]), headers, body)

    def closed(self) -> bool:
        """Whether the other side closes without another byte."""
        return not self._buffer and not self._more()

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            return False
        self._buffer += data
        return bool(data)

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FakePublisher:
    """Records what it is asked for. `answers` are used up one by one, then all goes well."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.deliveries: list[tuple[str, ...]] = []
        self.answers: list[Callable[[Scope], PublishReport]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(
        self, scope: Scope, progress: Progress | None = None, deliveries: tuple[str, ...] = ()
    ) -> PublishReport:
        """Record, wait at the gate, answer."""
        self.scopes.append(scope)
        self.deliveries.append(deliveries)
        self.entered.set()
        self.gate.wait(PATIENCE)
        if self.answers:
            return self.answers.pop(0)(scope)
        return good(scope)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the scopes so far."""
        return [scope.kind for scope in self.scopes]


def good(scope: Scope, **variants: str) -> PublishReport:
    """A report of a run in which all went well: each document holds what was announced.

    variants: by component, what its document holds instead.
    """
    documents = tuple(
        document(release, variants.get(release.component_id)) for release in scope.releases
    )
    return PublishReport(SyncReport(scope.kind, "api", "out", documents=documents))


def document(release: Release, variant: str | None = None) -> ExportedDocument:
    """What Myop answered for a release, its variant or another one."""
    holds = variant or release.variant_id or "v0"
    return ExportedDocument(
        release.ref,
        "0" * 64,
        None,
        f"The {release.component_id}",
        (Variant(holds, holds.title()),),
        release,
        release.variant_id in (None, holds),
    )


def holding(**variants: str) -> Callable[[Scope], PublishReport]:
    """An answer in which these components' documents hold these variants."""
    return lambda scope: good(scope, **variants)


def raising(error: MyopCdnError) -> Callable[[Scope], PublishReport]:
    """An answer that is an error."""

    def answer(scope: Scope) -> PublishReport:
        raise error

    return answer


def failing(*paths: str) -> Callable[[Scope], PublishReport]:
    """An answer in which these documents (`component/environment`) failed."""

    def answer(scope: Scope) -> PublishReport:
        sync = good(scope).sync
        named = [path.split("/") for path in paths]
        failed = tuple(FailedDocument(component, where, "404") for component, where in named)
        gone = {f"components/{path}.json" for path in paths}
        documents = tuple(one for one in sync.documents if one.ref.path not in gone)
        return PublishReport(replace(sync, failed=failed, documents=documents))

    return answer


def refs(scope: Scope) -> set[str]:
    """The documents that a scope names, as `component/environment`."""
    found = {release.ref for release in scope.releases}
    return {
        f"{ref.component_id}/{ref.environment}" for ref in found if isinstance(ref, DocumentRef)
    }


@dataclass
class Lines:
    """A log that keeps its lines."""

    lines: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def debug(self, message: str, **fields: object) -> None:
        """Keep it."""
        self.lines.append(("debug", message, fields))

    def info(self, message: str, **fields: object) -> None:
        """Keep it."""
        self.lines.append(("info", message, fields))

    def warning(self, message: str, **fields: object) -> None:
        """Keep it."""
        self.lines.append(("warning", message, fields))

    def text(self) -> str:
        """All of it."""
        return "\n".join(f"{level} {message} {fields}" for level, message, fields in self.lines)


class Rig:
    """A listener in this process. Restarted with `again`, its state folder kept."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = Settings(folder / "state", **{"sync_at_start": False, **settings})
        self.publisher = FakePublisher()
        self.publishers: dict[str, Publisher] = {"s3://b": self.publisher}
        self.log = Lines()
        self.secrets: Callable[[], tuple[bytes, ...]] = lambda: (SECRET,)
        self.tls: Any = None
        self.files: tuple[Path, ...] = ()
        self.wall: Callable[[], float] = time.time
        self.tell: Callable[[Event], None] | None = None
        self.address: tuple[str, int] = ("", 0)
        self.listener: Listener
        self._thread: threading.Thread

    def start(self) -> Rig:
        """Listen on a free port."""
        sockets = listen(Address("127.0.0.1", 0))
        self.address = sockets[0].getsockname()
        self.listener = Listener(
            self.settings,
            sockets,
            self.secrets,
            self.publishers,
            self.log,
            self.tls,
            self.files,
            self.wall,
            self.tell,
        )
        self._thread = threading.Thread(target=self.listener.run, daemon=True)
        self._thread.start()
        assert self.listener.ready.wait(PATIENCE)
        return self

    def stop(self) -> None:
        """Drain and wait for the end."""
        self.listener.terminate()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def again(self) -> Rig:
        """Stop, then start with the same state folder."""
        self.stop()
        return self.start()

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.settings.state_dir / FILE

    @contextlib.contextmanager
    def journal_busy(self) -> Iterator[None]:
        """While this lasts, whatever is to be committed waits."""
        entered, gate = threading.Event(), threading.Event()

        def decide(state: LaneState) -> Changes:
            entered.set()
            gate.wait(PATIENCE)
            end = RunEnd(0, "partly", 0, None, 0.0)
            return Changes(
                end, (), None, outage=state.outage, full=state.full, next_full=state.next_full
            )

        queue, lane = self.listener.queue, next(iter(self.publishers))
        busy = threading.Thread(target=queue.finish, args=(lane, "", frozenset(), decide))
        busy.start()
        assert entered.wait(PATIENCE)
        try:
            yield
        finally:
            gate.set()
            busy.join(PATIENCE)

    def count(self, name: str, **labels: str) -> float | None:
        """A counter of the listener's, None where nothing was counted."""
        registry = self.listener.metrics.registry
        return registry.get_sample_value(f"myop_cdn_{name}_total", labels)

    def states(self) -> dict[str, str]:
        """The deliveries and their states."""
        with reading(self.journal) as connection:
            return {found.id: found.state for found in listed(connection, 1000)}

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def wire(self) -> Wire:
        """A new connection."""
        return Wire(socket.create_connection(self.address, timeout=PATIENCE))

    def post(self, body: bytes, *headers: str, **more: Any) -> Reply:
        """Send one signed delivery on a new connection."""
        with self.wire() as wire:
            reply = wire.send(request(body, *headers, **more)).reply()
        assert reply is not None
        return reply

    def say(self, data: bytes) -> Reply | None:
        """Send bytes on a new connection and take the first answer."""
        with self.wire() as wire:
            return wire.send(data).reply()
