"""Who asks Azure: an account's key or a shared access signature, put onto a request.

The signature is that of "Authorize with Shared Key" in the REST API reference, for versions of
2015-02-21 and later; a test holds it against the SDK's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from myop_cdn.wire import dates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION = "2023-11-03"  # of the Blob service's API
_SIGNED = (
    "content-encoding", "content-language", "content-length", "content-md5", "content-type",
    "date", "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
)  # fmt: skip
_OWN = "x-ms-"


class Signer(Protocol):
    """Makes a request somebody's."""

    def sign(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str],
        headers: Mapping[str, str],
        length: int,
    ) -> tuple[str, dict[str, str]]:
        """The request's target and its headers.

        path: percent-encoded. fields: of the query. headers: as they are sent, without the
        body's length. length: of the body, in bytes.
        """


class SharedKey:
    """Signs with an account's key. key: in base64. clock: seconds since the epoch.

    Raises ValueError for a key that is no base64.
    """

    def __init__(self, account: str, key: str, clock: Callable[[], float] = time.time) -> None:
        self._account = account
        self._key = base64.b64decode(key, validate=True)
        self._clock = clock

    def sign(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str],
        headers: Mapping[str, str],
        length: int,
    ) -> tuple[str, dict[str, str]]:
        """See `Signer.sign`."""
        sent = {**headers, "x-ms-date": dates.written(self._clock()), "x-ms-version": VERSION}
        low = {name.lower(): value for name, value in sent.items()}
        if length:
            low["content-length"] = str(length)
        lines = [method, *(low.get(name, "") for name in _SIGNED)]
        lines += [f"{name}:{low[name]}" for name in sorted(low) if name.startswith(_OWN)]
        lines.append(f"/{self._account}{path}")
        lines += [f"{name}:{fields[name]}" for name in sorted(fields)]
        mac = hmac.digest(self._key, "\n".join(lines).encode(), hashlib.sha256)
        sent["Authorization"] = f"SharedKey {self._account}:{base64.b64encode(mac).decode()}"
        return _target(path, fields), sent


class SharedAccess:
    """Carries a shared access signature. token: a query, without its question mark.

    Raises ValueError for what can't be one.
    """

    def __init__(self, token: str) -> None:
        if re.fullmatch("[!-~]+", token) is None:
            raise ValueError("a signature with other characters than a URL's")
        self._token = token

    def sign(
        self,
        method: str,  # noqa: ARG002 - the token says what it is good for
        path: str,
        fields: Mapping[str, str],
        headers: Mapping[str, str],
        length: int,  # noqa: ARG002 - as above
    ) -> tuple[str, dict[str, str]]:
        """See `Signer.sign`."""
        target = _target(path, fields)
        joined = f"{target}{'&' if fields else '?'}{self._token}"
        return joined, {**headers, "x-ms-version": VERSION}


def _target(path: str, fields: Mapping[str, str]) -> str:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
    return f"{path}?{query}" if query else path
