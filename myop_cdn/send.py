"""A test delivery: made, signed and sent to any receiver, as the dashboard's "Sync Now" does.

The faults that can be asked for are the ones a receiver has to stand.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from myop_cdn.errors import InputError, MyopCdnError
from myop_cdn.moments import written
from myop_cdn.payload import EVENT
from myop_cdn.signature import sign
from myop_cdn.text import shown_url
from myop_cdn.transport import Limits, ReadTimeout, Transport, TransportError
from myop_cdn.transport.endpoint import is_this_machine, parse_url, refuse_plain_http

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.model import Release

SENDER_WAITS = 10.0  # seconds; after that a delivery has failed for good (Myop's page)
_STALE = timedelta(hours=1)
_OVERSIZED = 2 * 1024 * 1024  # bytes; twice what `serve` takes
_CHUNK = 1000  # bytes
_SHOWN = 2000  # bytes of a response that are kept
_MAX_RESPONSE = 1 << 20  # bytes
_HINTS: dict[type[TransportError], str] = {
    ReadTimeout: "Myop's sender gives up after 10 s; a receiver should answer first, then work",
}


@dataclass(frozen=True, slots=True)
class Faults:
    """What is to be wrong, or unusual, about a delivery."""

    bad_signature: bool = False
    stale: bool = False
    oversized: bool = False
    chunked: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryResponse:
    """What a receiver answered. body: its beginning. seconds: until its last byte."""

    status: int
    reason: str
    body: str
    seconds: float

    @property
    def in_time(self) -> bool:
        """Whether the sender would still have been there."""
        return self.seconds < SENDER_WAITS

    @property
    def accepted(self) -> bool:
        """Whether the sender's page would show a success."""
        return 200 <= self.status < 300 and self.in_time


def body_of(
    releases: Sequence[Release],
    faults: Faults | None = None,
    *,
    now: datetime,
    organization: str = "test",
) -> bytes:
    """A webhook's body in the form of Myop's page; without releases it asks for a full sync.

    A release without a variant names none: a receiver that waits for the one that was announced
    would wait for ever for one that was made up.
    """
    faults = faults or Faults()
    timestamp = written(now - _STALE if faults.stale else now)
    data: dict[str, object] = {
        "releases": [
            {
                "componentId": release.component_id,
                **({"variantId": release.variant_id} if release.variant_id else {}),
                "environment": release.environment,
                "environmentId": release.environment_id or "test",
            }
            for release in releases
        ]
    }
    if not releases:
        data["fullSync"] = True
    if faults.oversized:
        data["padding"] = "x" * _OVERSIZED
    value = {"event": EVENT, "timestamp": timestamp, "organizationId": organization, "data": data}
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def post(
    url: str,
    body: bytes,
    secret: bytes,
    faults: Faults | None = None,
    *,
    allow_http: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> DeliveryResponse:
    """Send one delivery and wait for the response, somewhat longer than the sender would.

    allow_http: whether it may go to another machine unencrypted. Raises InputError for a URL
    that is not one, or not allowed; MyopCdnError when there is no response.
    """
    faults = faults or Faults()
    try:
        endpoint, target = parse_url(url)
    except ValueError as error:
        raise InputError(
            f"{shown_url(url)!r} is not the URL of a receiver: {error}",
            "for instance http://localhost:3000/webhooks/myop",
        ) from None
    refuse_plain_http(endpoint, "the delivery", allowed=allow_http)
    # The wrong signature has the right form: it is another body's.
    signature = sign(body + b" " if faults.bad_signature else body, secret)
    headers = {
        "Content-Type": "application/json",
        "X-Myop-Event": EVENT,
        "X-Myop-Signature": signature,
        "Connection": "close",
    }
    pieces = [body[at : at + _CHUNK] for at in range(0, len(body), _CHUNK)]
    limits = Limits(
        silence_seconds=2 * SENDER_WAITS, total_seconds=2 * SENDER_WAITS, body_bytes=_MAX_RESPONSE
    )
    started = clock()
    transport = Transport(endpoint, limits, proxied=not is_this_machine(endpoint.host), clock=clock)
    try:
        response = transport.request("POST", target, headers, pieces if faults.chunked else body)
    except TransportError as error:
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        raise MyopCdnError(
            f"no answer from {host}:{endpoint.port}: it {error.phrase}",
            error.hint
            or _HINTS.get(
                type(error),
                "check that the receiver runs, and that it listens at this address and port",
            ),
        ) from None
    finally:
        transport.close()
    text = response.body[:_SHOWN].decode("utf-8", "replace").strip()
    return DeliveryResponse(response.status, response.reason, text, clock() - started)
