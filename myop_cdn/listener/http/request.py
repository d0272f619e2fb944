"""A request as it comes off the wire: bytes in, a `Request` and its body or a refusal out. No I/O.

Written to RFC 9112 ("HTTP/1.1") and RFC 9110 ("HTTP Semantics"), on the strict side wherever
they leave a choice. A request that two programs on the way could read in two ways is how one
is smuggled past a proxy, so every doubt is a 400 and the end of the connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, 5.6.2
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
# RFC 9110, 5.5: visible signs, blanks, tabs and bytes over 0x7f; no control character.
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*"
                    rb"[\x21-\x7e\x80-\xff])?)?)[ \t]*")  # fmt: skip
_HOST = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*")
_ABSOLUTE = re.compile(r"https?://[^/?#]*(/[^?#]*)?(\?[^#]*)?", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,32}")
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;" + _TEXT + rb")?")
_TRAILER = re.compile(_TOKEN + rb":" + _TEXT)
_CHUNK_LINE = 256  # bytes: a size and a short extension; nobody is known to send more
_TRAILERS = 4096  # bytes
# Bytes of framing that a body may have: so many, and one for so many of its own. Every chunk
# costs work, and nobody sends them of a few bytes but to make it.
_FRAMING, _SHARE = 16 * 1024, 8


class HttpError(Exception):
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
    their order, names in lower case. query: what follows the target's first question mark.
    """

    method: str
    path: str
    minor: int
    fields: tuple[tuple[str, bytes], ...]
    query: str = ""

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


def take_head(buffer: bytearray, limits: HeadLimits) -> Request | None:
    """Cut the next head off the front of `buffer`; None while it is not complete.

    Raises HttpError: 400 for what is malformed, 414 for a request line and 431 for a head that is
    too large. Nothing after the head is looked at.
    """
    # RFC 9112, 2.2: one empty line before the request line is passed over.
    if buffer.startswith(b"\r\n"):
        del buffer[:2]
    end = buffer.find(b"\r\n\r\n", 0, limits.head + 4)
    if end < 0:
        head = bytes(buffer[: limits.head + 4])
        # A client that ends its lines in LF alone never gets to the empty line looked for.
        if head.count(b"\n") != head.count(b"\r\n"):
            raise HttpError(400, "a line ends in a bare LF")
        if b"\r\n" not in head and len(head) > limits.line:
            raise HttpError(414, "the request line is too long")
        if len(head) > limits.head:
            raise HttpError(431, "the header fields are too large")
        return None
    lines = bytes(buffer[:end]).split(b"\r\n")
    del buffer[: end + 4]
    if len(lines[0]) > limits.line:
        raise HttpError(414, "the request line is too long")
    if len(lines) - 1 > limits.fields:
        raise HttpError(431, "too many header fields")
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise HttpError(400, "malformed request line")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise HttpError(400, "HTTP/1.1 is spoken here")
    fields = tuple(_field(line) for line in lines[1:])
    # RFC 9110, 2.5: a higher minor version is answered as the highest one spoken.
    query = target.partition(b"?")[2].decode("ascii")
    request = Request(method.decode("ascii"), _path(target), min(int(minor), 1), fields, query)
    _check_host(request)
    return request


def _field(line: bytes) -> tuple[str, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        folded = line[:1] in (b" ", b"\t")
        raise HttpError(400, "folded header field" if folded else "malformed header field")
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
        raise HttpError(400, "exactly one Host is needed")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise HttpError(400, "malformed Host")


def body_reader(request: Request, most: int) -> BodyReader | None:
    """The reader for the body of `request`; None where no body was announced at all.

    most: the largest body that is taken, in bytes. Raises HttpError: 400 for framing that
    is malformed or ambiguous, 413 for a length over `most`.
    """
    lengths = request.values("content-length")
    codings = request.values("transfer-encoding")
    if codings:
        if lengths:
            raise HttpError(400, "both Content-Length and Transfer-Encoding")
        if request.minor == 0:
            raise HttpError(400, "Transfer-Encoding in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise HttpError(400, "no transfer coding but chunked is taken")
        return ChunkedBody(most)
    if not lengths:
        return None
    if len(lengths) > 1:
        raise HttpError(400, "more than one Content-Length")
    if not _LENGTH.fullmatch(lengths[0]):
        raise HttpError(400, "malformed Content-Length")
    length = int(lengths[0])
    if length > most:
        raise HttpError(413, "the body is too large")
    return LengthBody(length)


@dataclass(frozen=True, slots=True)
class LengthBody:
    """A body of a known length, in bytes. held: nothing, the buffer itself holds what came."""

    length: int
    held: int = 0

    def take(self, buffer: bytearray) -> bytes | None:
        """The body once all of it is there."""
        if len(buffer) < self.length:
            return None
        body = bytes(buffer[: self.length])
        del buffer[: self.length]
        return body


class ChunkedBody:
    """A body in chunks (RFC 9112, 7.1). Extensions and trailers are checked and dropped."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._read = 0  # bytes of the wire, framing and all
        self._body = bytearray()
        self._left = 0  # bytes of the chunk that is being read
        self._state = "size"
        self._trailers = 0

    @property
    def held(self) -> int:
        """How many bytes were put together."""
        return len(self._body)

    def take(self, buffer: bytearray) -> bytes | None:
        """The body once its last chunk and the trailers are there.

        Raises HttpError: 400 for a malformed chunk, 413 for a body over the limit or one
        that is nearly all framing.
        """
        at = 0
        while self._state != "end":
            then = self._step(buffer, at)
            if then is None:
                break
            self._read += then - at
            at = then
            if self._read - len(self._body) > _FRAMING + len(self._body) // _SHARE:
                raise HttpError(413, "the body is nearly all framing")
        del buffer[:at]
        return bytes(self._body) if self._state == "end" else None

    def _step(self, buffer: bytearray, at: int) -> int | None:
        """Go one step on; the new place in `buffer`, or None where bytes are missing."""
        if self._state == "data":
            part = buffer[at : at + self._left]
            if not part:
                return None
            self._body += part
            self._left -= len(part)
            if not self._left:
                self._state = "data end"
            return at + len(part)
        if self._state == "data end":
            if len(buffer) - at < 2 and b"\r\n".startswith(buffer[at:]):
                return None
            if buffer[at : at + 2] != b"\r\n":
                raise HttpError(400, "malformed chunk")
            self._state = "size"
            return at + 2
        line = self._line(buffer, at, _CHUNK_LINE if self._state == "size" else _TRAILERS)
        if line is None:
            return None
        if self._state == "size":
            self._start_chunk(line)
        else:
            self._trailer(line)
        return at + len(line) + 2

    def _line(self, buffer: bytearray, at: int, most: int) -> bytes | None:
        end = buffer.find(b"\n", at, at + most + 2)
        if end < 0:
            if len(buffer) - at > most:
                raise HttpError(400, "malformed chunk")
            return None
        line = bytes(buffer[at : end + 1])
        if not line.endswith(b"\r\n"):
            raise HttpError(400, "a line ends in a bare LF")
        return line[:-2]

    def _start_chunk(self, line: bytes) -> None:
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise HttpError(400, "malformed chunk")
        self._left = int(match[1], 16)
        if len(self._body) + self._left > self._most:
            raise HttpError(413, "the body is too large")
        self._state = "data" if self._left else "trailer"

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line) + 2
        if self._trailers > _TRAILERS:
            raise HttpError(400, "the trailers are too large")
        if not line:
            self._state = "end"
        elif not _TRAILER.fullmatch(line):
            raise HttpError(400, "malformed trailer")


BodyReader: TypeAlias = LengthBody | ChunkedBody  # takes one body off the front of a buffer
