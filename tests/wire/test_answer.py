"""HTTP answers from bytes, whole and broken, however they are cut on the way."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.wire.answer import MAX_HEAD_BYTES, Reader
from myop_cdn.wire.errors import Broken, TooMuch

if TYPE_CHECKING:
    from myop_cdn.wire.answer import Answer

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: a\r\nx-one: b\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;name=value\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)


def read(data: bytes, method: str = "GET", step: int = 65536, limit: int = 1000) -> Answer:
    pieces = iter([data[at : at + step] for at in range(0, len(data), step)])
    return Reader(lambda: next(pieces, b""), limit).read(method)


@given(st.integers(1, 200), st.sampled_from([PLAIN, CHUNKED]))
def test_an_answer_is_the_same_however_it_is_cut(step: int, data: bytes) -> None:
    answer = read(data, step=step)
    assert (answer.status, answer.body, answer.lasting) == (200, b"hello", True)


def test_names_are_lower_case_and_doubled_headers_are_joined() -> None:
    assert read(PLAIN).headers["x-one"] == "a, b"


@pytest.mark.parametrize(
    ("head", "method", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "HEAD", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "DELETE", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, "PUT", b"hello"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + CHUNKED, "GET", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "PUT", b""),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "PUT", b""),
    ],
)
def test_framing(head: bytes, method: str, body: bytes) -> None:
    answer = read(head, method)
    assert answer.body == body
    assert answer.lasting


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 204 No Content\r\n\r\nunasked",
    ],
)
def test_a_connection_that_can_not_be_used_again_is_told(data: bytes) -> None:
    assert not read(data).lasting


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        PLAIN[:-1],
        CHUNKED[:-1],
        CHUNKED[:-12],
        CHUNKED.replace(b"3\r\n", b"-3\r\n"),
        CHUNKED.replace(b"hel\r\n", b"hell\r\n"),
        CHUNKED.replace(b": chunked", b": gzip, chunked"),
        PLAIN.replace(b"X-One: a", b"Content-Length: 6"),
        PLAIN.replace(b"th: 5", b"th: -5"),
        PLAIN.replace(b"th: 5", b"th: 5x"),
        PLAIN.replace(b"th: 5", b"th: 1001"),
        PLAIN.replace(b"X-One: a", b"X-One : a"),
        PLAIN.replace(b"X-One: a", b" folded: a"),
        PLAIN.replace(b"X-One: a", b"no colon"),
        PLAIN.replace(b"HTTP/1.1", b"ICY"),
        PLAIN.replace(b"200", b"abc"),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 300,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001,
        b"x" * (MAX_HEAD_BYTES + 1),
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" * 101,
        CHUNKED[:-2] + b"Trailer: x\r\n" * 101,
    ],
)
def test_what_is_not_whole_is_no_answer(data: bytes) -> None:
    with pytest.raises((Broken, TooMuch)):
        read(data)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(data: bytes) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED[:45]):
        with suppress(Broken, TooMuch):
            read(start + data)
