"""What a delivery has to be before it is stored, and what the sender is told.

`DeliveryChecks` decides, without I/O, so that any server can ask it; `DeliveryHandler` puts it
behind this program's own. The checks come in a fixed order: path, method, framing and length,
signature, content. The first three need no body, and neither does a signature that no body
could match.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from myop_cdn.errors import ListenerError, PayloadError
from myop_cdn.listener.http.request import BodyReader, body_reader
from myop_cdn.listener.http.response import Response
from myop_cdn.listener.queue.base import KEPT, Record
from myop_cdn.payload import parse
from myop_cdn.signature import check_age, parse_timestamp, verify
from myop_cdn.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from myop_cdn.listener import Log
    from myop_cdn.listener.http.request import Request
    from myop_cdn.listener.http.response import Responder

SIGNATURE = "x-myop-signature"
# What helps to find out where a delivery came from. Never the signature.
_KEPT = ("content-type", "user-agent", "x-myop-event", "x-forwarded-for", "x-request-id")
_WORTH_A_LINE = (0, 401, 500, 503)  # of the refusals: the rest is the internet's noise
_MINUTE = 60.0
_WELL_FORMED = 71  # bytes of a signature header that some body could match
# Seconds between two full syncs for what was authentic but refused: it may be a replay.
_MISSED_EVERY = 600.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What is taken. max_body: bytes. max_age: of the signed timestamp, zero for any."""

    path: str = "/webhooks/myop"
    max_body: int = 1024 * 1024
    max_age: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not taken.

    status: of HTTP. reason: one of a fixed set, for logs and metrics. detail: what the sender
    is told, where that is more. headers: of the answer. authentic: whether Myop signed it: then
    something was announced, and it will not be announced again.
    """

    status: int
    reason: str
    detail: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    authentic: bool = False


class DeliveryChecks:
    """From a request to a record or a refusal; no I/O.

    Ask `target`, then read the body within `rules.max_body`, then `signature`, then `content`.
    secrets: replaced as a whole when they are read again. wall: seconds since the epoch.
    """

    def __init__(
        self,
        rules: Rules,
        secrets: Sequence[bytes],
        wall: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: os.urandom(8).hex(),
    ) -> None:
        self.rules = rules
        self.secrets = tuple(secrets)
        self._wall = wall
        self._new_id = new_id

    def target(self, method: str, path: str) -> Refusal | None:
        """Whether anything can be delivered there."""
        if path != self.rules.path:
            return Refusal(404, "there is nothing here")
        if method != "POST":
            return Refusal(405, "deliveries are POSTed", headers=(("Allow", "POST"),))
        return None

    def signature(self, values: Sequence[bytes]) -> Refusal | None:
        """Whether the signature's header, of which there are `values`, could match some body."""
        if len(values) > 1:
            return Refusal(401, "there is more than one signature")
        if values and len(values[0]) == _WELL_FORMED:
            return None
        return Refusal(
            401, _reason(verify(b"", values[0] if values else None, self.secrets).reason)
        )

    def content(
        self, body: bytes, signature: bytes, peer: str, fields: Iterable[tuple[str, bytes]]
    ) -> Record | Refusal:
        """Verify, and only then understand.

        body: as it was sent, byte for byte. peer: for the record. fields: the request's, names
        in lower case.
        """
        verdict = verify(body, signature, self.secrets)
        if verdict.index is None:
            return Refusal(401, _reason(verdict.reason))
        try:
            delivery = parse(body)
        except PayloadError as error:
            return Refusal(400, "the signed body is not a payload", error.message, authentic=True)
        now = self._wall()
        timestamp, max_age = delivery.timestamp, self.rules.max_age
        if timestamp is not None and max_age:
            problem = check_age(timestamp, max_age, datetime.fromtimestamp(now, UTC))
            if problem is not None:
                return Refusal(401, "the signed timestamp is out of range", problem, authentic=True)
        announced = parse_timestamp(timestamp) if timestamp is not None else None
        return Record(
            id=self._new_id(),
            sha256=hashlib.sha256(body).digest(),
            received=now,
            announced=announced.timestamp() if announced is not None else now,
            peer=peer,
            headers={
                name: shown(value.decode("latin-1"), 200) for name, value in fields if name in _KEPT
            },
            secret=verdict.index,
            event=delivery.event,
            kind=delivery.scope.kind,
            body=body,
            state="ignored" if delivery.scope.kind == "none" else "waiting",
            # Nothing else would show that a body is a replay.
            once=timestamp is None or not timedelta(0) < max_age < KEPT / 2,
        )


class DeliveryStore(Protocol):
    """Where deliveries go: the queue, or what stands in its place."""

    def store(
        self, record: Record, done: Callable[[str | None, ListenerError | None], None]
    ) -> None:
        """See `Queue.store`."""

    def request_full_sync(self, reason: str, throttle: float) -> None:
        """See `Queue.request_full_sync`."""


class Counts(Protocol):
    """Who counts what came of requests; see `Metrics`."""

    def accepted(self, fate: str, secret: int) -> None:
        """A delivery was answered 200."""

    def refused(self, status: int, reason: str) -> None:
        """A request was refused."""


class NoCounts:
    """Nobody does."""

    def accepted(self, fate: str, secret: int) -> None:
        """A delivery was answered 200."""

    def refused(self, status: int, reason: str) -> None:
        """A request was refused."""


class DeliveryHandler:
    """The server's handler for deliveries. wake: called when there is work. failure: what the
    sender is told where a delivery can't be taken.
    """

    def __init__(
        self,
        checks: DeliveryChecks,
        queue: DeliveryStore,
        wake: Callable[[], None],
        log: Log,
        metrics: Counts,
        failure: str = "the delivery could not be stored",
    ) -> None:
        self._failure = failure
        self._checks = checks
        self._queue = queue
        self._wake = wake
        self._log = log
        self._metrics = metrics
        self._refusals: dict[tuple[int, str], tuple[int, float]] = {}

    def head(self, request: Request, peer: str) -> Response | BodyReader:
        """The checks that need no body."""
        refusal = self._checks.target(request.method, request.path)
        if refusal is None:
            reader = body_reader(request, self._checks.rules.max_body)
            if reader is not None:
                refusal = self._checks.signature(request.values(SIGNATURE))
                if refusal is None:
                    return reader
            else:
                refusal = Refusal(411, "Content-Length is missing")
        return self._refuse(peer, refusal)

    def body(self, responder: Responder, request: Request, body: bytes) -> Response | None:
        """Check, and hand over to the journal; the answer comes after its commit."""
        signature = request.values(SIGNATURE)[0]
        found = self._checks.content(body, signature, responder.peer, request.fields)
        if isinstance(found, Refusal):
            return self._refuse(responder.peer, found)
        self._queue.store(
            found, lambda earlier, error: self._stored(responder, found, earlier, error)
        )
        return None

    def refused(self, peer: str, status: int, reason: str) -> None:
        """A request was refused; the log is told of the first of a kind in each minute."""
        self._metrics.refused(status, reason)
        seen, since = self._refusals.get((status, reason), (0, 0.0))
        now = time.monotonic()
        if status in _WORTH_A_LINE and (not seen or now - since > _MINUTE):
            self._refusals[status, reason] = (1, now)
            more = {"since_the_last_line": seen} if seen > 1 else {}
            # Not a warning: anybody on the internet can have it written.
            self._log.info("refused", peer=peer, status=status, reason=reason, **more)
        else:
            self._refusals[status, reason] = (seen + 1, since)
            self._log.debug("refused", peer=peer, status=status, reason=reason)

    def _refuse(self, peer: str, refusal: Refusal) -> Response:
        detail = refusal.detail or refusal.reason
        if refusal.authentic:
            self._metrics.refused(refusal.status, refusal.reason)
            self._log.warning("refused a signed body", peer=peer, error=detail)
            self._queue.request_full_sync("a signed delivery was refused", _MISSED_EVERY)
        else:
            self.refused(peer, refusal.status, refusal.reason)
        return Response.error(refusal.status, detail, *refusal.headers)

    def _stored(
        self,
        responder: Responder,
        record: Record,
        earlier: str | None,
        error: ListenerError | None,
    ) -> None:
        """On the committer's thread, after the commit."""
        if error is not None:
            self._metrics.refused(503, self._failure)
            responder.answer(Response.error(503, self._failure))
            return
        fate = "duplicate" if earlier else "ignored" if record.state == "ignored" else "accepted"
        self._metrics.accepted(fate, record.secret)
        responder.answer(Response.of(200, {"status": fate, "delivery": earlier or record.id}))
        if fate == "accepted":
            self._wake()
        self._log.info(
            fate,
            delivery=earlier or record.id,
            peer=record.peer,
            event=record.event,
            scope=record.kind,
            bytes=len(record.body),
            # Not `secret`: values of fields by such names are hidden.
            signed_with=record.secret,
        )


def _reason(words: str) -> str:
    # The number of digits is the client's choice, and a metric must not have endless labels.
    return "the signature does not have 64 hex digits" if "hex digits;" in words else words
