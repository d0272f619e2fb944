"""AWS Signature Version 4 for S3 requests.

As the Amazon S3 API Reference has it ("Authenticating Requests: Using the Authorization
Header"). The AWS SDK's own signer gives the same signatures, which a test checks; it takes
several times as long, since it builds a request object first.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class Keys(NamedTuple):
    """What a request is signed with. token: of temporary credentials, None for others."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Keys({self.access_key}, ***)"


class Signer:
    """Signs requests to one host. Safe between threads.

    keys: called for each request, as temporary credentials change while a run lasts. clock:
    seconds since the epoch.
    """

    def __init__(
        self,
        host: str,
        region: str,
        keys: Callable[[], Keys],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._host = host
        self._region = region
        self._keys = keys
        self._clock = clock
        self._cached: tuple[str, str, hmac.HMAC] | None = None

    def sign(
        self, method: str, path: str, query: str, headers: Mapping[str, str], sha256: str
    ) -> dict[str, str]:
        """`headers` with those that sign them added.

        path, query: percent-encoded, the query's fields in order. sha256: the body's, in hex.
        """
        keys = self._keys()
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        signed = {**headers, "x-amz-content-sha256": sha256, "x-amz-date": moment}
        if keys.token:
            signed["x-amz-security-token"] = keys.token
        fields = [(name.lower(), " ".join(value.split())) for name, value in signed.items()]
        fields.append(("host", self._host))
        fields.sort()
        names = ";".join([name for name, _ in fields])
        lines = "".join([f"{name}:{value}\n" for name, value in fields])
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{sha256}"
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
        signing = self._key(keys.secret_key, moment[:8]).copy()
        signing.update(text.encode())
        signed["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signing.hexdigest()}"
        )
        return signed

    def _key(self, secret: str, day: str) -> hmac.HMAC:
        """The day's key, ready to be copied and used: making it anew takes three times as long."""
        cached = self._cached  # replaced as a whole, so never half of one and half of another
        if cached is not None and cached[:2] == (secret, day):
            return cached[2]
        key = f"AWS4{secret}".encode()
        for part in (day, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signing = hmac.new(key, digestmod="sha256")
        self._cached = (secret, day, signing)
        return signing
