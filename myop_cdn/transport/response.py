"""An HTTP/1.1 response from bytes. No I/O: a function that brings more bytes is given.

Framing as RFC 9112, section 6.3 has it: no body for HEAD, 204 and 304; else chunked; else
Content-Length; else until the connection ends.
"""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, NamedTuple

from myop_cdn.transport import dates
from myop_cdn.transport.errors import ProtocolError, ResponseTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_HEAD_BYTES = 64 * 1024
_MAX_LINE = 256  # of a chunk's size, and of a trailer
_MAX_EXTRAS = 100  # trailers, and responses before the final one
_MAX_MEMBERS = 100  # of a gzip body; servers send one
_PIECE = 64 * 1024


class Response(NamedTuple):
    """A whole response. headers: by lower-case name. reusable: the connection can be used again."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    reason: str = ""
    reusable: bool = True

    def retry_after(self, now: float | None = None) -> float:
        """The seconds that `Retry-After` asks for, which may also hold a date; 0 without one.

        now: in seconds since the epoch, None for this moment.
        """
        value = self.headers.get("retry-after", "").strip()
        if _is_number(value):
            return float(value[:8])
        moment = dates.read(value)
        if moment is None:
            return 0.0
        return max(0.0, moment.timestamp() - (time.time() if now is None else now))

    def decoded(self, limit: int) -> Response:
        """The same with the body as it was before its `Content-Encoding: gzip`.

        Raises ResponseTooLarge for one of more than `limit` bytes, ProtocolError for a body that
        is cut short or not gzip.
        """
        encoding = self.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("gzip", "x-gzip"):
            return self
        return self._replace(body=gunzip(self.body, limit))


def gunzip(packed: bytes, limit: int) -> bytes:
    """The bytes in one or more gzip members, in time linear in both lengths.

    Raises ResponseTooLarge for more than `limit` bytes, ProtocolError for what is cut short, is
    not gzip, or has more members than any server sends.
    """
    pieces: list[bytes] = []
    left = limit
    member = zlib.decompressobj(16 + zlib.MAX_WBITS)
    members = 1
    for at in range(0, len(packed), _PIECE):
        piece = packed[at : at + _PIECE]
        while piece:
            if member.eof:
                members += 1
                if members > _MAX_MEMBERS:
                    raise ProtocolError("too many gzip members")
                member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                data = member.decompress(piece, left + 1)
            except zlib.error:
                raise ProtocolError("a body that can't be decoded") from None
            left -= len(data)
            if left < 0:
                raise ResponseTooLarge
            pieces.append(data)
            piece = member.unused_data if member.eof else member.unconsumed_tail
    if packed and not member.eof:
        raise ProtocolError("a gzip body cut short")
    return b"".join(pieces)


class Reader:
    """Reads one response. more: brings the next bytes, b"" at the end of the connection.

    limit: the most bytes that a body may have.
    """

    def __init__(self, more: Callable[[], bytes], limit: int) -> None:
        self._more = more
        self._limit = limit
        self._buffer = b""
        self._at = 0  # where in the buffer reading goes on

    def read(self, method: str) -> Response:
        """The response to a request of this method. Raises ProtocolError, ResponseTooLarge."""
        status, reason, headers, is_old = self._head()
        for _ in range(_MAX_EXTRAS):
            if not 100 <= status < 200:
                break
            status, reason, headers, is_old = self._head()
        if status < 200:
            raise ProtocolError("no final response")
        reusable = not is_old and "close" not in headers.get("connection", "").lower()
        if method == "HEAD" or status in (204, 304) or (method == "CONNECT" and status < 300):
            body = b""
        elif "transfer-encoding" in headers:
            if headers["transfer-encoding"].strip().lower() != "chunked":
                raise ProtocolError("a transfer encoding that nobody asked for")
            body = self._chunked()
        elif "content-length" in headers:
            body = self._exactly(_length(headers["content-length"]))
        else:
            body, reusable = self._rest(), False
        # Bytes that nobody asked for would be taken for the next response.
        return Response(status, headers, body, reason, reusable and self._at == len(self._buffer))

    def _head(self) -> tuple[int, str, dict[str, str], bool]:
        while (end := self._buffer.find(b"\r\n\r\n", self._at)) < 0:
            if len(self._buffer) - self._at > MAX_HEAD_BYTES:
                raise ProtocolError("a head without an end")
            self._fill()
        first, *lines = self._buffer[self._at : end].decode("latin-1").split("\r\n")
        self._at = end + 4
        version, _, rest = first.partition(" ")
        code, _, reason = rest.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or len(code) != 3 or not _is_number(code):
            raise ProtocolError("not HTTP")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name[-1] in " \t" or name[0] in " \t":
                raise ProtocolError("a malformed header")
            name, value = name.lower(), value.strip()
            if name in headers:
                # Two lengths that differ are how one response is smuggled into another.
                if name == "content-length" and headers[name] != value:
                    raise ProtocolError("two lengths")
                value = value if name == "content-length" else f"{headers[name]}, {value}"
            headers[name] = value
        return int(code), reason, headers, version == "HTTP/1.0"

    def _fill(self) -> None:
        data = self._more()
        if not data:
            raise ProtocolError("the connection ended early")
        self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
        self._at = 0

    def _exactly(self, size: int) -> bytes:
        if size > self._limit:
            raise ResponseTooLarge
        first = self._buffer[self._at : self._at + size]
        self._at += len(first)
        left = size - len(first)
        if not left:
            return first
        pieces = [first]
        while left > 0:
            self._fill()
            piece = self._buffer[:left]
            self._at = len(piece)
            left -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n", self._at)) < 0:
            if len(self._buffer) - self._at > _MAX_LINE:
                raise ProtocolError("a chunk without a size")
            self._fill()
        line = self._buffer[self._at : end]
        self._at = end + 2
        return line

    def _chunked(self) -> bytes:
        pieces: list[bytes] = []
        total = 0
        while True:
            text = self._line().partition(b";")[0].strip()
            if not text or len(text) > 16 or text.strip(b"0123456789abcdefABCDEF"):
                raise ProtocolError("a chunk without a size")
            size = int(text, 16)
            if size == 0:
                break
            total += size
            if total > self._limit:
                raise ResponseTooLarge
            pieces.append(self._exactly(size))
            if self._line():
                raise ProtocolError("a chunk without an end")
        for _ in range(_MAX_EXTRAS):  # trailers
            if not self._line():
                return b"".join(pieces)
        raise ProtocolError("trailers without an end")

    def _rest(self) -> bytes:
        pieces = [self._buffer[self._at :]]
        self._at = len(self._buffer)
        total = len(pieces[0])
        while total <= self._limit and (data := self._more()):
            total += len(data)
            pieces.append(data)
        if total > self._limit:
            raise ResponseTooLarge
        return b"".join(pieces)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()  # others have digits too, "²" among them


def _length(text: str) -> int:
    if not _is_number(text) or len(text) > 15:
        raise ProtocolError("a malformed length")
    return int(text)
