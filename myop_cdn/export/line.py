"""How one API is asked: straight, or through the environment's proxy."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from myop_cdn.wire import (
    NoConnection,
    Origin,
    Pool,
    TimedOut,
    TooMuch,
    Unanswered,
    Unresolved,
    Untrusted,
    WireError,
)
from myop_cdn.wire.proxies import proxy_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOOPBACK = ("localhost", "127.0.0.1", "::1")  # never through a proxy: it is this machine
_PORTS = {"http": 80, "https": 443}
_TROUBLES: dict[type[WireError], str] = {
    Unresolved: "has a name that can't be resolved",
    Unanswered: "took no connection in time",
    Untrusted: "has a certificate that can't be verified",
    NoConnection: "can't be reached",  # after those that it is the base of
    TimedOut: "did not answer in time",
}


class Trouble(Exception):
    """No answer. Its text completes a sentence: "api.example.com can't be reached"."""


class TooLong(Exception):
    """An answer with a longer body than is taken."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. headers: by lower-case name. body: decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """connections: how many are kept. read_seconds: of silence. max_bytes: of a body. clock:
    counts seconds.
    """

    connections: int
    read_seconds: float
    max_bytes: int
    clock: Callable[[], float] = time.monotonic


class Line(Protocol):
    """Connections to one host, kept between requests. Safe between threads."""

    def get(self, target: str, headers: Mapping[str, str], seconds: float) -> Reply:
        """The answer to `GET target`, redirects not followed, in so many seconds at the most.

        target: a path and a query, percent-encoded. Raises Trouble, TooLong.
        """

    def close(self) -> None:
        """Close the connections."""


def open_line(scheme: str, host: str, port: int | None, limits: Limits) -> Line:
    """A line to this host. Raises InputError for a proxy that is no URL."""
    origin = Origin(scheme, host, port or _PORTS[scheme])
    proxy = None if host in LOOPBACK else proxy_for(scheme, origin.netloc)
    if proxy is None and host.isascii():
        return Direct(origin, limits)
    from myop_cdn.export.library_line import LibraryLine

    return LibraryLine(f"{scheme}://{origin.netloc}", proxy, limits)


class Direct:
    """Straight to the host."""

    def __init__(self, origin: Origin, limits: Limits) -> None:
        self._limits = limits
        self._pool = Pool(
            origin,
            read_seconds=limits.read_seconds,
            max_body_bytes=limits.max_bytes,
            clock=limits.clock,
        )

    def get(self, target: str, headers: Mapping[str, str], seconds: float) -> Reply:
        """See `Line.get`."""
        try:
            answer = self._pool.ask("GET", target, headers, seconds=seconds)
        except TooMuch:
            raise TooLong from None
        except WireError as error:
            raise Trouble(_words(error)) from None
        body = answer.body
        if answer.headers.get("content-encoding", "").strip().lower() in ("gzip", "x-gzip"):
            body = unpacked(body, self._limits.max_bytes)
        return Reply(answer.status, answer.headers, body)

    def close(self) -> None:
        """See `Line.close`."""
        self._pool.close()


def unpacked(packed: bytes, max_bytes: int) -> bytes:
    """The bytes in one or more gzip members. Raises TooLong, Trouble."""
    body = b""
    while packed:
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            body += member.decompress(packed, max_bytes - len(body) + 1)
        except zlib.error:
            raise Trouble("sent a body that can't be decoded") from None
        if len(body) > max_bytes:
            raise TooLong
        if not member.eof:
            raise Trouble("broke the connection off")
        packed = member.unused_data
    return body


def _words(error: WireError) -> str:
    for kind, words in _TROUBLES.items():
        if isinstance(error, kind):
            return words
    return "broke the connection off"
