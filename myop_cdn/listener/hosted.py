"""The listener behind somebody else's HTTP server: the same checks in the same order, and then the
same journal, or publishing within the request. Framing is left to that server.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from myop_cdn.errors import ListenerError, unexpected
from myop_cdn.listener.delivery import DeliveryHandler, NoCounts
from myop_cdn.listener.http.request import HttpError, Request
from myop_cdn.listener.http.response import Responder, Response
from myop_cdn.listener.queue import outcome
from myop_cdn.listener.worker import attempt
from myop_cdn.payload import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from myop_cdn.listener import Log, Publisher
    from myop_cdn.listener.delivery import Counts, DeliveryChecks
    from myop_cdn.listener.queue.base import Record

HEALTH = "/healthz"
_PATIENCE = 3600.0  # seconds; the server has its own limit, and so has whoever publishes


def request_of(method: str, path: str, fields: Iterable[tuple[str, bytes]]) -> Request:
    """A request that another server took, as this program's own would have it. fields: names in
    any case.
    """
    named = [(name.lower(), value) for name, value in fields]
    if not any(name in ("content-length", "transfer-encoding") for name, _ in named):
        named.append(("transfer-encoding", b"chunked"))  # its server knows where it ends
    return Request(method, path, 1, tuple(named))


class Receiver:
    """Answers what a server hands on. health: why deliveries can't be taken now, or None."""

    def __init__(
        self, handler: DeliveryHandler, max_body: int, health: Callable[[], str | None]
    ) -> None:
        self._handler = handler
        self._health = health
        self.max_body = max_body  # bytes that are to be read at the most, and one more

    def head(self, request: Request, peer: str) -> Response | None:
        """The answer of a request whose body need not be read, None for one that it takes."""
        if request.path == HEALTH and request.method in ("GET", "HEAD"):
            trouble = self._health()
            value = {"status": "ok" if trouble is None else "failed", "journal": trouble or "ok"}
            return Response.of(200 if trouble is None else 503, value)
        try:
            found = self._handler.head(request, peer)
        except HttpError as error:
            return self._refuse(peer, error.status, error.reason)
        return found if isinstance(found, Response) else None

    def body(self, request: Request, responder: Responder, body: bytes) -> None:
        """Take the body, as it came. The responder answers once, perhaps on another thread."""
        if len(body) > self.max_body:
            responder.answer(self._refuse(responder.peer, 413, "the body is too large"))
        elif (found := self._handler.body(responder, request, body)) is not None:
            responder.answer(found)

    def respond(self, request: Request, peer: str, read: Callable[[int], bytes]) -> Response:
        """The answer, waited for. read: the body, and no more of it than so many bytes."""
        response = self.head(request, peer)
        if response is not None:
            return response
        answers: SimpleQueue[Response] = SimpleQueue()
        self.body(request, Responder(peer, answers.put), read(self.max_body + 1))
        try:
            return answers.get(timeout=_PATIENCE)
        except Empty:
            return Response.error(503, "there is no answer yet")

    def _refuse(self, peer: str, status: int, reason: str) -> Response:
        self._handler.refused(peer, status, reason)
        return Response.error(status, reason)


class PublishingStore:
    """Stands where the journal would: a delivery is answered when it is published, by all of
    `publishers`, one at a time. Nothing is kept; what fails is the sender's to see.
    """

    def __init__(self, publishers: Sequence[Publisher], log: Log) -> None:
        self._publishers = publishers
        self._log = log
        self._thread = ThreadPoolExecutor(1, "publisher")

    def close(self) -> None:
        """Publish what was handed in, then end."""
        self._thread.shutdown()

    def store(
        self, record: Record, done: Callable[[str | None, ListenerError | None], None]
    ) -> None:
        """Publish what a delivery announces; `done` hears how it went."""
        self._thread.submit(self._publish, record, done)

    def request_full_sync(self, reason: str, throttle: float) -> None:  # noqa: ARG002 - DeliveryStore
        """Nobody is there to do it later."""
        self._log.warning("a full sync is needed: run 'publish --full'", reason=reason)

    def _publish(
        self, record: Record, done: Callable[[str | None, ListenerError | None], None]
    ) -> None:
        try:
            problems = [] if record.state == "ignored" else self._problems(record)
        except Exception as error:  # a defect: the sender is to be answered all the same
            problems = [unexpected(error).message]
        done(None, ListenerError("; ".join(problems)) if problems else None)

    def _problems(self, record: Record) -> list[str]:
        """What kept the release from which destination. One that fails keeps it from no other."""
        problems = []
        scope = parse(record.body).scope
        for publisher in self._publishers:
            found = outcome.of(attempt(publisher, scope, (record.id,)))
            if found.error is None:
                self._log.info("published", delivery=record.id, uploaded=found.uploaded)
            else:
                self._log.warning("publishing failed", delivery=record.id, error=found.error)
                problems.append(found.error)
        return problems


def publishing_receiver(
    checks: DeliveryChecks, store: PublishingStore, log: Log, counts: Counts | None = None
) -> Receiver:
    """What answers requests where a release is published within the one that announces it."""
    failure = "the release could not be published"
    handler = DeliveryHandler(checks, store, lambda: None, log, counts or NoCounts(), failure)
    return Receiver(handler, checks.rules.max_body, lambda: None)


def peer_of(address: object) -> str:
    """`host:port` of what servers give as the client's address."""
    if isinstance(address, (tuple, list)) and len(address) >= 2:
        return f"{address[0]}:{address[1]}"
    return str(address or "unknown")
