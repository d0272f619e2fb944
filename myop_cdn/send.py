"""A test delivery: made, signed and sent to any receiver, as the dashboard's "Sync Now" does.

The faults that can be asked for are the ones a receiver has to stand. Sent over a plain
socket, since no HTTP library sends what is wrong on purpose.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from myop_cdn.errors import InputError, MyopCdnError
from myop_cdn.signature import sign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.model import Release

SENDER_WAITS = 10.0  # seconds; after that a delivery has failed for good (Myop's page)
EVENT = "components.deployed"
_STALE = timedelta(hours=1)
_OVERSIZED = 2 * 1024 * 1024  # bytes; twice what `serve` takes
_CHUNK = 1000  # bytes
_SHOWN = 2000  # bytes of an answer that are kept


@dataclass(frozen=True, slots=True)
class Faults:
    """What is to be wrong, or unusual, about a delivery."""

    bad_signature: bool = False
    stale: bool = False
    oversized: bool = False
    chunked: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A receiver's answer. seconds: from the first byte sent to the last received."""

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
    releases: Sequence[Release], faults: Faults, now: datetime, organization: str = "test"
) -> bytes:
    """A webhook's body in the form of Myop's page; without releases it asks for a full sync."""
    moment = now - _STALE if faults.stale else now
    timestamp = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data: dict[str, object] = {
        "releases": [
            {
                "componentId": release.component_id,
                "variantId": release.variant_id or "test",
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
    clock: Callable[[], float] = time.monotonic,
) -> Reply:
    """Send one delivery and wait for the answer, somewhat longer than the sender would.

    Raises InputError for a URL that is none, MyopCdnError when there is no answer.
    """
    faults = faults or Faults()
    parts = _parts(url)
    signature = sign(body, secret)
    if faults.bad_signature:
        # The right form, and a body's signature, only not this body's.
        signature = sign(body + b" ", secret)
    head = _head(parts.path, parts.query, parts.netloc.rpartition("@")[2], body, signature, faults)
    started = clock()
    try:
        with _connect(parts.scheme, parts.hostname or "", parts.port) as sock:
            # Refused before all of it was sent: the answer may be there still.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(head + (_chunks(body) if faults.chunked else body))
            answer = http.client.HTTPResponse(sock, method="POST")
            answer.begin()
            text = answer.read(_SHOWN).decode("utf-8", "replace").strip()
    except TimeoutError:
        raise MyopCdnError(
            f"no answer within {2 * SENDER_WAITS:.0f} s", "Myop gives up after 10 s"
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise MyopCdnError(
            f"the certificate of {parts.hostname} is not trusted: {error.verify_message}",
            "SSL_CERT_FILE names a file of certificates to trust",
        ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        raise MyopCdnError(
            f"no answer from {host}:{port}: {reason}",
            "check that the receiver runs, and that it listens at this address and port",
        ) from None
    return Reply(answer.status, answer.reason, text, clock() - started)


def _parts(url: str) -> SplitResult:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        if usable and url.isascii() and all(sign > " " for sign in url):
            return parts
    raise InputError("the URL is none of a receiver", "for instance http://host:3000/webhooks/myop")


def _connect(scheme: str, host: str, port: int | None) -> socket.socket:
    where = (host, port or (443 if scheme == "https" else 80))
    sock = socket.create_connection(where, timeout=2 * SENDER_WAITS)
    if scheme == "https":
        return ssl.create_default_context().wrap_socket(sock, server_hostname=host)
    return sock


def _head(path: str, query: str, host: str, body: bytes, signature: str, faults: Faults) -> bytes:
    target = (path or "/") + (f"?{query}" if query else "")
    framing = "Transfer-Encoding: chunked" if faults.chunked else f"Content-Length: {len(body)}"
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        f"X-Myop-Event: {EVENT}",
        f"X-Myop-Signature: {signature}",
        "User-Agent: myop-cdn-send",
        framing,
        "Connection: close",
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"


def _chunks(body: bytes) -> bytes:
    parts = [body[at : at + _CHUNK] for at in range(0, len(body), _CHUNK)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
