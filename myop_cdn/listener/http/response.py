"""What the listener answers: short JSON, and nothing about the program that runs here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JSON_TYPE = "application/json"
_JSON = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. headers: besides those that every answer has."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, status: int, value: dict[str, Any], *headers: tuple[str, str]) -> Response:
        """An answer whose body is `value` as JSON."""
        body = _JSON(value).encode() + b"\n"
        return cls(status, body, headers=headers)

    @classmethod
    def error(cls, status: int, reason: str, *headers: tuple[str, str]) -> Response:
        """A refusal, with its reason in words."""
        return cls.of(status, {"status": "rejected", "error": reason}, *headers)

    def encode(self, *, close: bool, head_only: bool = False, now: float) -> bytes:
        """The bytes on the wire. now: seconds since the epoch, for `Date` (RFC 9110, 6.6.1)."""
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Date: {_date(int(now))}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        if close:
            lines.append("Connection: close")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head if head_only else head + self.body


@dataclass(frozen=True, slots=True)
class Responder:
    """A request that is being worked on. peer: who sent it. answer: takes the answer, once and
    from any thread; a client that has left meanwhile gets none.
    """

    peer: str
    answer: Callable[[Response], None]


@lru_cache(2)  # thousands of answers share a second
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
