"""The body of an HTTP/1.1 request: how it is framed, and its bytes. No I/O.

RFC 9112, sections 6 and 7. A request whose length two programs could read in two ways is
how requests are smuggled past a proxy, so every doubt is a 400 and the end of the connection.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from myop_cdn.listener.http import TOKEN, WireError

if TYPE_CHECKING:
    from myop_cdn.listener.http import Request

_LENGTH = re.compile(rb"[0-9]{1,32}")
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;" + _TEXT + rb")?")
_TRAILER = re.compile(TOKEN + rb":" + _TEXT)
_CHUNK_LINE = 256  # bytes: a size and a short extension; nobody is known to send more
_TRAILERS = 4096  # bytes


class BodyReader(Protocol):
    """Takes one body off the front of a connection's buffer."""

    def take(self, buffer: bytearray) -> bytes | None:
        """The whole body once it has arrived, None before; raises WireError."""

    def held(self) -> int:
        """How many bytes of the body lie in the reader already."""


def body_reader(request: Request, most: int) -> BodyReader | None:
    """The reader for the body of `request`; None where no body was announced at all.

    most: the largest body that is taken, in bytes. Raises WireError: 400 for framing that
    is malformed or ambiguous, 413 for a length over `most`.
    """
    lengths = request.values("content-length")
    codings = request.values("transfer-encoding")
    if codings:
        if lengths:
            raise WireError(400, "both Content-Length and Transfer-Encoding")
        if request.minor == 0:
            raise WireError(400, "Transfer-Encoding in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise WireError(400, "no transfer coding but chunked is taken")
        return ChunkedBody(most)
    if not lengths:
        return None
    if len(lengths) > 1:
        raise WireError(400, "more than one Content-Length")
    if not _LENGTH.fullmatch(lengths[0]):
        raise WireError(400, "malformed Content-Length")
    length = int(lengths[0])
    if length > most:
        raise WireError(413, "the body is too large")
    return LengthBody(length)


class LengthBody:
    """A body of a known length, in bytes."""

    def __init__(self, length: int) -> None:
        self._length = length

    def take(self, buffer: bytearray) -> bytes | None:
        """The body once all of it is there. The buffer itself holds what came before."""
        if len(buffer) < self._length:
            return None
        body = bytes(buffer[: self._length])
        del buffer[: self._length]
        return body

    def held(self) -> int:
        """Nothing: the buffer holds it."""
        return 0


class ChunkedBody:
    """A body in chunks (RFC 9112, 7.1). Extensions and trailers are checked and dropped."""

    def __init__(self, most: int) -> None:
        self._most = most
        # One-byte chunks cost six bytes on the wire; whoever needs more is not a sender.
        self._wire_left = 8 * most + 64 * 1024
        self._body = bytearray()
        self._left = 0  # bytes of the chunk that is being read
        self._state = "size"
        self._trailers = 0

    def held(self) -> int:
        """How many bytes were put together."""
        return len(self._body)

    def take(self, buffer: bytearray) -> bytes | None:
        """The body once its last chunk and the trailers are there.

        Raises WireError: 400 for a malformed chunk, 413 for a body over the limit or one
        that is nearly all framing.
        """
        at = 0
        while self._state != "end":
            then = self._step(buffer, at)
            if then is None:
                break
            at = then
        del buffer[:at]
        self._wire_left -= at
        if self._wire_left < 0:
            raise WireError(413, "the body is too large")
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
                raise WireError(400, "malformed chunk")
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
                raise WireError(400, "malformed chunk")
            return None
        line = bytes(buffer[at : end + 1])
        if not line.endswith(b"\r\n"):
            raise WireError(400, "a line ends in a bare LF")
        return line[:-2]

    def _start_chunk(self, line: bytes) -> None:
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise WireError(400, "malformed chunk")
        self._left = int(match[1], 16)
        if len(self._body) + self._left > self._most:
            raise WireError(413, "the body is too large")
        self._state = "data" if self._left else "trailer"

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line) + 2
        if self._trailers > _TRAILERS:
            raise WireError(400, "the trailers are too large")
        if not line:
            self._state = "end"
        elif not _TRAILER.fullmatch(line):
            raise WireError(400, "malformed trailer")
