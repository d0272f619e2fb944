"""What a delivery has to be before it is stored, and what the sender is told.

The checks come in a fixed order: path, method, framing and length, signature, content. The
first three need no body, and neither does a signature that no body could match.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from myop_cdn.errors import ListenerError, PayloadError
from myop_cdn.listener.http.request import BodyReader, body_reader
from myop_cdn.listener.http.response import Response
from myop_cdn.listener.queue.deliveries import KEPT, Record
from myop_cdn.payload import parse
from myop_cdn.signature import check_age, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.listener import Log
    from myop_cdn.listener.http.protocol import Responder
    from myop_cdn.listener.http.request import Request
    from myop_cdn.listener.metrics import Metrics
    from myop_cdn.listener.queue.committer import Committer
    from myop_cdn.model import Delivery

SIGNATURE = "x-myop-signature"
# What helps to find out where a delivery came from. Never the signature.
_KEPT = ("content-type", "user-agent", "x-myop-event", "x-forwarded-for", "x-request-id")
_WORTH_A_LINE = (0, 401, 500, 503)  # of the refusals: the rest is the internet's noise
_MINUTE = 60.0
_WELL_FORMED = 71  # bytes of a signature header that some body could match


@dataclass(frozen=True, slots=True)
class Rules:
    """What is taken. max_body: bytes. max_age: of the signed timestamp, zero for any."""

    path: str = "/webhooks/myop"
    max_body: int = 1024 * 1024
    max_age: timedelta = timedelta(minutes=5)


class DeliveryHandler:
    """The server's handler for deliveries.

    secrets: replaced as a whole when they are read again. wake: called when there is work.
    """

    def __init__(
        self,
        rules: Rules,
        secrets: Sequence[bytes],
        committer: Committer,
        wake: Callable[[], None],
        log: Log,
        metrics: Metrics,
        wall: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: os.urandom(8).hex(),
    ) -> None:
        self._rules = rules
        self.secrets = tuple(secrets)
        self._committer = committer
        self._wake = wake
        self._log = log
        self._metrics = metrics
        self._wall = wall
        self._new_id = new_id
        self._refusals: dict[tuple[int, str], tuple[int, float]] = {}

    def head(self, request: Request, peer: str) -> Response | BodyReader:
        """The checks that need no body."""
        if request.path != self._rules.path:
            return self._refuse(peer, 404, "there is nothing here")
        if request.method != "POST":
            return self._refuse(peer, 405, "deliveries are POSTed", ("Allow", "POST"))
        reader = body_reader(request, self._rules.max_body)
        if reader is None:
            return self._refuse(peer, 411, "Content-Length is missing")
        signatures = request.values(SIGNATURE)
        if len(signatures) > 1:
            return self._refuse(peer, 401, "there is more than one signature")
        if not signatures or len(signatures[0]) != _WELL_FORMED:
            header = signatures[0] if signatures else None
            return self._refuse(peer, 401, _reason(verify(b"", header, self.secrets).reason))
        return reader

    def body(self, responder: Responder, request: Request, body: bytes) -> Response | None:
        """Verify, understand, and hand over to the journal; the answer comes after its commit."""
        verdict = verify(body, request.values(SIGNATURE)[0], self.secrets)
        if verdict.index is None:
            return self._refuse(responder.peer, 401, verdict.reason)
        try:
            delivery = parse(body)
        except PayloadError as error:
            self._metrics.refused(400, "the signed body is no payload")
            self._log.warning("refused a signed body", peer=responder.peer, error=error.message)
            return Response.error(400, error.message)
        now = self._wall()
        max_age = self._rules.max_age
        if delivery.timestamp is not None and max_age:
            problem = check_age(delivery.timestamp, max_age, datetime.fromtimestamp(now, UTC))
            if problem is not None:
                self._metrics.refused(401, "the signed timestamp is out of range")
                self._log.warning("refused a signed body", peer=responder.peer, error=problem)
                return Response.error(401, problem)
        record = self._record(responder.peer, request, body, delivery, verdict.index, now)
        self._committer.store(
            record, lambda earlier, error: self._stored(responder, record, earlier, error)
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

    def _refuse(self, peer: str, status: int, reason: str, *headers: tuple[str, str]) -> Response:
        self.refused(peer, status, reason)
        return Response.error(status, reason, *headers)

    def _record(
        self, peer: str, request: Request, body: bytes, delivery: Delivery, secret: int, now: float
    ) -> Record:
        kept = {
            name: value.decode("latin-1")[:200] for name, value in request.fields if name in _KEPT
        }
        work = delivery.scope.kind != "none"
        return Record(
            id=self._new_id(),
            sha256=hashlib.sha256(body).digest(),
            received=now,
            announced=_announced(delivery.timestamp, now),
            peer=peer,
            headers=kept,
            secret=secret,
            event=delivery.event,
            kind=delivery.scope.kind,
            body=body,
            state="waiting" if work else "ignored",
            # Nothing else would show that a body is a replay.
            once=delivery.timestamp is None or not timedelta(0) < self._rules.max_age < KEPT / 2,
        )

    def _stored(
        self, responder: Responder, record: Record, earlier: str | None, error: ListenerError | None
    ) -> None:
        """On the committer's thread, after the commit."""
        if error is not None:
            self._metrics.refused(503, "the delivery could not be stored")
            responder.answer(Response.error(503, "the delivery could not be stored"))
            return
        fate = "duplicate" if earlier else "ignored" if record.state == "ignored" else "accepted"
        value: dict[str, Any] = {"status": fate, "delivery": earlier or record.id}
        self._metrics.accepted(fate, record.secret)
        responder.answer(Response.of(200, value))
        if fate == "accepted":
            self._wake()
        self._log.info(
            fate,
            delivery=earlier or record.id,
            peer=record.peer,
            event=record.event,
            scope=record.kind,
            bytes=len(record.body),
            secret=record.secret,
        )


def _announced(timestamp: str | None, now: float) -> float:
    if timestamp is None:
        return now
    try:
        return datetime.fromisoformat(timestamp.upper()).timestamp()
    except (ValueError, OverflowError):
        return now  # --max-age is off, so nothing has checked it


def _reason(words: str) -> str:
    # The number of digits is the client's choice, and a metric must not have endless labels.
    return "the signature has not 64 hex digits" if "hex digits;" in words else words
