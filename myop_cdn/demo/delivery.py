"""Deliveries as Myop sends them: a body, a signature, one POST, ten seconds at most."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from myop_cdn import signature
from myop_cdn.errors import MyopCdnError
from myop_cdn.payload import EVENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myop_cdn.model import Release

TIMEOUT_SECONDS = 10.0  # what Myop's sender waits


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver answered, and after how many seconds."""

    status: int
    seconds: float


def announce(releases: Sequence[Release], organization: str) -> bytes:
    """The webhook's body for these releases, stamped with the time."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    listed = [
        {
            "componentId": one.component_id,
            "variantId": one.variant_id,
            "environment": one.environment,
            "environmentId": one.environment_id,
        }
        for one in releases
    ]
    body = {
        "event": EVENT,
        "timestamp": now,
        "organizationId": organization,
        "data": {"releases": listed},
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def post(url: str, body: bytes, secret: bytes) -> Reply:
    """Send `body`, signed with `secret`, to `url`. Raises MyopCdnError without an answer."""
    parts = urlsplit(url)
    headers = {
        "Content-Type": "application/json",
        "X-Myop-Event": EVENT,
        "X-Myop-Signature": signature.sign(body, secret),
    }
    begun = time.monotonic()
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", parts.path, body, headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise MyopCdnError(f"the listener at {url} does not answer: {error}") from None
    finally:
        connection.close()
    return Reply(status, time.monotonic() - begun)
