"""Requests as a browser makes them for a page of another origin, redirects told, not hidden."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from myop_cdn.document import Document
from myop_cdn.errors import DocumentError
from myop_cdn.text import shown, shown_url
from myop_cdn.transport import (
    Endpoint,
    Limits,
    ProtocolError,
    ReadTimeout,
    Transport,
    TransportError,
    gunzip,
)
from myop_cdn.transport.endpoint import PORTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myop_cdn.model import DocumentRef
    from myop_cdn.transport import Response

MAX_BODY_BYTES = 32 * 2**20  # the largest real document has 641 KB
MAX_REDIRECTS = 3
_LIMITS = Limits(
    connect_seconds=10.0, silence_seconds=20.0, total_seconds=30.0, body_bytes=MAX_BODY_BYTES
)
_REDIRECTS = (301, 302, 303, 307, 308)
_ATTEMPTS = 2  # as browsers do where a connection fails


@dataclass(frozen=True, slots=True)
class Hop:
    """A redirect: its status, and where it leads (absolute, for people)."""

    status: int
    url: str


@dataclass(frozen=True, slots=True)
class Visit:
    """What came of one request: the last response, its content unpacked, or why none came.

    response: None where `error` says why, in words. hops: the redirects on the way. content: the
    body without its Content-Encoding; None where that is unknown or broken. layers: how often
    the content was packed with gzip, `Content-Encoding` or not. is_cut: the body ended early.
    """

    response: Response | None
    hops: tuple[Hop, ...] = ()
    content: bytes | None = None
    layers: int = 0
    error: str = ""
    is_cut: bool = False

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers, by lower-case name."""
        return self.response.headers if self.response else {}

    @property
    def encodings(self) -> tuple[str, ...]:
        """What `Content-Encoding` names, without identity."""
        names = self.headers.get("content-encoding", "").lower().split(",")
        return tuple(one for one in (name.strip() for name in names) if one not in ("", "identity"))

    @property
    def summary(self) -> str:
        """What came, in a word or two."""
        if self.response is None:
            return self.error
        return f"{self.response.status} {shown(self.response.reason, 40)}".strip()

    def holds(self, ref: DocumentRef) -> bool:
        """Whether this is a document of that component."""
        if self.response is None or self.response.status != 200 or self.content is None:
            return False
        try:
            Document.parse(ref, self.content)
        except DocumentError:
            return False
        return True


class Browser:
    """Asks one CDN, and where it redirects to. Safe between threads.

    origin: the page's.
    """

    def __init__(self, endpoint: Endpoint, origin: str) -> None:
        self.endpoint = endpoint
        self._headers = {
            "Accept": "*/*",
            "Accept-Encoding": "gzip",
            "Origin": origin,
            "Referer": f"{origin}/",
            "Sec-Fetch-Dest": "empty",
            "Sec-Fetch-Mode": "cors",
            "Sec-Fetch-Site": "cross-site",
        }
        self._lock = threading.Lock()
        self._transports = {endpoint: Transport(endpoint, _LIMITS)}

    def close(self) -> None:
        """Close the connections."""
        for transport in self._transports.values():
            transport.close()

    def get(self, target: str, *, past_cache: bool = False, origin: str | None = None) -> Visit:
        """What `GET target` comes to, redirects followed, a few at the most."""
        headers = dict(self._headers)
        if past_cache:
            headers["Cache-Control"] = "no-cache"
        if origin is not None:
            headers["Origin"] = origin
        endpoint, hops = self.endpoint, list[Hop]()
        while True:
            try:
                response = self._request(endpoint, target, headers)
            except TransportError as error:
                is_cut = isinstance(error, ProtocolError)
                said = f"{endpoint.netloc} {error.phrase}"
                return Visit(None, tuple(hops), error=said, is_cut=is_cut)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not location:
                return _visit(response, tuple(hops))
            url = urljoin(endpoint.url + target, location)
            hops.append(Hop(response.status, shown_url(url)))
            there = _parsed(url)
            if there is None or len(hops) > MAX_REDIRECTS:
                return Visit(response, tuple(hops))
            endpoint, target = there

    def _request(self, endpoint: Endpoint, target: str, headers: Mapping[str, str]) -> Response:
        with self._lock:
            if endpoint not in self._transports:
                self._transports[endpoint] = Transport(endpoint, _LIMITS)
            transport = self._transports[endpoint]
        for attempt in range(_ATTEMPTS):
            try:
                response = transport.request("GET", target, headers)
            except TransportError as error:
                took_long = isinstance(error, ReadTimeout)
                if took_long or not error.temporary or attempt + 1 == _ATTEMPTS:
                    raise
            else:
                if response.status < 500 or attempt + 1 == _ATTEMPTS:
                    return response
        raise AssertionError("the last attempt returns or raises")


def _visit(response: Response, hops: tuple[Hop, ...]) -> Visit:
    """The response unpacked as far as that goes: twice packed content is unpacked twice."""
    visit = Visit(response, hops)
    if any(name not in ("gzip", "x-gzip") for name in visit.encodings):
        return visit
    content: bytes = response.body
    layers = 0
    try:
        while content[:2] == b"\x1f\x8b" and layers < 3:
            content = gunzip(content, MAX_BODY_BYTES)
            layers += 1
    except TransportError:
        return Visit(response, hops, None, layers + 1, is_cut=True)
    return Visit(response, hops, content, layers)


def _parsed(url: str) -> tuple[Endpoint, str] | None:
    """Whom to ask and for what; None where a redirect leads to no http(s) URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None or parts.scheme not in PORTS or "@" in parts.netloc:
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or not parts.hostname.isascii():
        return None
    if any(sign <= " " or sign == "\x7f" for sign in target):
        return None
    return Endpoint(parts.scheme, parts.hostname, port), target
