"""An HTTP/1.1 answer from bytes. No I/O: a function that brings more bytes is given.

Framing as RFC 9112, section 6.3 has it: no body for HEAD, 204 and 304; else chunked; else
Content-Length; else until the connection ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from myop_cdn.wire.errors import Broken, TooMuch

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD_BYTES = 64 * 1024
_MAX_LINE = 256  # of a chunk's size, and of a trailer
_MAX_EXTRAS = 100  # trailers, and answers before the final one


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. headers: by lower-case name. lasting: the connection can be used again."""

    status: int
    headers: dict[str, str]
    body: bytes
    lasting: bool = True


class Reader:
    """Reads one answer. more: brings the next bytes, b"" at the end of the connection.

    limit: the most bytes that a body may have.
    """

    def __init__(self, more: Callable[[], bytes], limit: int) -> None:
        self._more = more
        self._limit = limit
        self._buffer = b""

    def read(self, method: str) -> Answer:
        """The answer to a request of this method. Raises Broken, TooMuch."""
        status, headers, is_old = self._head()
        for _ in range(_MAX_EXTRAS):
            if not 100 <= status < 200:
                break
            status, headers, is_old = self._head()
        if status < 200:
            raise Broken("no final answer")
        lasting = not is_old and "close" not in headers.get("connection", "").lower()
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif "transfer-encoding" in headers:
            if headers["transfer-encoding"].strip().lower() != "chunked":
                raise Broken("a transfer encoding that nobody asked for")
            body = self._chunked()
        elif "content-length" in headers:
            body = self._exactly(_length(headers["content-length"]))
        else:
            body, lasting = self._rest(), False
        # Bytes that nobody asked for would be taken for the next answer.
        return Answer(status, headers, body, lasting and not self._buffer)

    def _head(self) -> tuple[int, dict[str, str], bool]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise Broken("a head without an end")
            self._fill()
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdigit():
            raise Broken("not HTTP")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name[-1] in " \t" or name[0] in " \t":
                raise Broken("a header that is none")
            name, value = name.lower(), value.strip()
            if name in headers:
                # Two lengths that differ are how one answer is smuggled into another.
                if name == "content-length" and headers[name] != value:
                    raise Broken("two lengths")
                value = value if name == "content-length" else f"{headers[name]}, {value}"
            headers[name] = value
        return int(rest[:3]), headers, version == "HTTP/1.0"

    def _fill(self) -> None:
        data = self._more()
        if not data:
            raise Broken("the connection ended early")
        self._buffer += data

    def _exactly(self, size: int) -> bytes:
        if size > self._limit:
            raise TooMuch("a body that is too long")
        pieces = [self._buffer[:size]]
        self._buffer = self._buffer[size:]
        left = size - len(pieces[0])
        while left > 0:
            data = self._more()
            if not data:
                raise Broken("the connection ended early")
            pieces.append(data[:left])
            self._buffer = data[left:]
            left -= len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_LINE:
                raise Broken("a chunk without a size")
            self._fill()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _chunked(self) -> bytes:
        pieces: list[bytes] = []
        total = 0
        while True:
            text = self._line().partition(b";")[0].strip()
            if not text or text.strip(b"0123456789abcdefABCDEF"):
                raise Broken("a chunk without a size")
            size = int(text, 16)
            if size == 0:
                break
            total += size
            if total > self._limit:
                raise TooMuch("a body that is too long")
            pieces.append(self._exactly(size))
            if self._line():
                raise Broken("a chunk without an end")
        for _ in range(_MAX_EXTRAS):  # trailers
            if not self._line():
                return b"".join(pieces)
        raise Broken("trailers without an end")

    def _rest(self) -> bytes:
        pieces, data = [], self._buffer
        total = 0
        self._buffer = b""
        while data or (data := self._more()):
            total += len(data)
            if total > self._limit:
                raise TooMuch("a body that is too long")
            pieces.append(data)
            data = b""
        return b"".join(pieces)


def _length(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise Broken("a length that is none")
    return int(text)
