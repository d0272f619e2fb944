"""The head of an HTTP/1.1 request: bytes in, a `Request` or a refusal out. No I/O.

Written to RFC 9112 ("HTTP/1.1") and RFC 9110 ("HTTP Semantics"), on the strict side wherever
they leave a choice: what two programs on the way could read in two ways is refused. The body
is read by `body.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, 5.6.2
_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
# RFC 9110, 5.5: visible signs, blanks, tabs and bytes over 0x7f; no control character.
_FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*"
                    rb"[\x21-\x7e\x80-\xff])?)?)[ \t]*")  # fmt: skip
_HOST = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*")
_ABSOLUTE = re.compile(r"https?://[^/?#]*(/[^?#]*)?(\?[^#]*)?", re.IGNORECASE)


class WireError(Exception):
    """Bytes that this server does not take for a request. Never leaves the listener.

    status: the HTTP status to answer with before closing. reason: in a few words, without
    anything that the client sent.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How much head is read before the request is refused, in bytes and in fields."""

    head: int = 16 * 1024
    line: int = 8 * 1024  # RFC 9112, 3: at least 8000 octets for a request line
    fields: int = 100


@dataclass(frozen=True, slots=True)
class Request:
    """The head of one request.

    path: the target's path as it was sent, without the query; empty where the target is
    neither of the origin nor of the absolute form. minor: the 0 or 1 of HTTP/1.x. fields: in
    their order, names in lower case.
    """

    method: str
    path: str
    minor: int
    fields: tuple[tuple[str, bytes], ...]

    def values(self, name: str) -> list[bytes]:
        """The values of every field line called `name` (lower case), in their order."""
        return [value for field, value in self.fields if field == name]

    @property
    def wants_close(self) -> bool:
        """Whether the client will send no further request on this connection.

        HTTP/1.0's keep-alive is not offered: it was never specified well.
        """
        if self.minor == 0:
            return True
        options = b",".join(self.values("connection")).lower()
        return any(option.strip() == b"close" for option in options.split(b","))


class HeadParser:
    """The heads of one connection's requests, one after another."""

    def __init__(self, limits: HeadLimits | None = None) -> None:
        self._limits = limits or HeadLimits()

    def take(self, buffer: bytearray) -> Request | None:
        """Cut the next head off the front of `buffer`; None while it is not complete.

        Raises WireError: 400 for what is malformed, 414 for a request line and 431 for a
        head that is too large. Nothing after the head is looked at.
        """
        # RFC 9112, 2.2: one empty line before the request line is passed over.
        if buffer.startswith(b"\r\n"):
            del buffer[:2]
        end = buffer.find(b"\r\n\r\n", 0, self._limits.head + 4)
        if end < 0:
            self._check_partial(buffer)
            return None
        lines = bytes(buffer[:end]).split(b"\r\n")
        del buffer[: end + 4]
        if len(lines[0]) > self._limits.line:
            raise WireError(414, "the request line is too long")
        if len(lines) - 1 > self._limits.fields:
            raise WireError(431, "too many header fields")
        return _request(lines)

    def _check_partial(self, buffer: bytearray) -> None:
        head = bytes(buffer[: self._limits.head + 4])
        # A client that ends its lines in LF alone never gets to the empty line looked for.
        if head.count(b"\n") != head.count(b"\r\n"):
            raise WireError(400, "a line ends in a bare LF")
        if b"\r\n" not in head and len(head) > self._limits.line:
            raise WireError(414, "the request line is too long")
        if len(head) > self._limits.head:
            raise WireError(431, "the header fields are too large")


def _request(lines: list[bytes]) -> Request:
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise WireError(400, "malformed request line")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise WireError(400, "HTTP/1.1 is spoken here")
    fields = tuple(_field(line) for line in lines[1:])
    # RFC 9110, 2.5: a higher minor version is answered as the highest one spoken.
    request = Request(method.decode("ascii"), _path(target), min(int(minor), 1), fields)
    _check_host(request)
    return request


def _field(line: bytes) -> tuple[str, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        folded = line[:1] in (b" ", b"\t")
        raise WireError(400, "folded header field" if folded else "malformed header field")
    return match[1].decode("ascii").lower(), match[2]


def _path(target: bytes) -> str:
    text = target.decode("ascii")
    if text.startswith("/"):
        return text.partition("?")[0]
    # RFC 9112, 3.2.2: a server must take the absolute form.
    match = _ABSOLUTE.fullmatch(text)
    return (match[1] or "/") if match else ""


def _check_host(request: Request) -> None:
    # RFC 9112, 3.2: 400 where HTTP/1.1 has no Host, and for more than one or an invalid one.
    hosts = request.values("host")
    if len(hosts) > 1 or (not hosts and request.minor):
        raise WireError(400, "exactly one Host is needed")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise WireError(400, "malformed Host")
