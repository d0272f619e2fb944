"""HTTP responses from bytes, whole and broken, however they are cut on the way."""

from __future__ import annotations

import gzip
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.transport.errors import ProtocolError, ResponseTooLarge
from myop_cdn.transport.response import MAX_HEAD_BYTES, Reader, Response, gunzip

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: a\r\nx-one: b\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;name=value\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)


def read(data: bytes, method: str = "GET", step: int = 65536, limit: int = 1000) -> Response:
    pieces = iter([data[at : at + step] for at in range(0, len(data), step)])
    return Reader(lambda: next(pieces, b""), limit).read(method)


@given(st.integers(1, 200), st.sampled_from([PLAIN, CHUNKED]))
def test_an_response_is_the_same_however_it_is_cut(step: int, data: bytes) -> None:
    response = read(data, step=step)
    assert (response.status, response.body, response.reusable) == (200, b"hello", True)


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
    response = read(head, method)
    assert response.body == body
    assert response.reusable


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
    assert not read(data).reusable


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
        PLAIN.replace(b"200", b"30\xb2"),  # a digit to Unicode, in Latin-1
        PLAIN.replace(b"200", b"2000"),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 300,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001,
        b"x" * (MAX_HEAD_BYTES + 1),
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" * 101,
        CHUNKED[:-2] + b"Trailer: x\r\n" * 101,
    ],
)
def test_what_is_not_whole_is_refused(data: bytes) -> None:
    with pytest.raises((ProtocolError, ResponseTooLarge)):
        read(data)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(data: bytes) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED[:45]):
        with suppress(ProtocolError, ResponseTooLarge):
            read(start + data)


def test_one_byte_at_a_time_takes_no_longer_for_each() -> None:
    """Chunks of one byte, all in the buffer at once: none of them copies the rest of it."""
    data = CHUNKED[:47] + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"
    began = time.process_time()
    assert len(read(data, step=len(data), limit=100_000).body) == 100_000
    assert time.process_time() - began < 5


def test_a_body_is_unpacked_from_all_its_members() -> None:
    packed = (
        gzip.compress(b"one ", mtime=0)
        + gzip.compress(b"", mtime=0)
        + gzip.compress(b"two" * 100_000, mtime=0)
    )
    assert gunzip(packed, 2**20) == b"one " + b"two" * 100_000
    assert gunzip(b"", 10) == b""


def test_a_body_that_grows_past_the_limit_is_not_unpacked_to_its_end() -> None:
    bomb = gzip.compress(b"\0" * 2**26, 9, mtime=0)
    with pytest.raises(ResponseTooLarge):
        gunzip(bomb, 2**20)
    assert len(gunzip(bomb, 2**26)) == 2**26


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"", mtime=0) * 50_000,  # each would copy what follows it
        gzip.compress(b"cut short", mtime=0)[:-1],
        gzip.compress(b"one", mtime=0) + b"rubbish",
        b"not gzip",
    ],
)
def test_what_is_not_a_few_whole_members_is_refused(packed: bytes) -> None:
    with pytest.raises(ProtocolError):
        gunzip(packed, 2**20)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("7", 7),
        (" 120 ", 120),
        ("9" * 40, 99_999_999),
        ("-1", 0),
        ("\xb2", 0),
        ("soon", 0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 50),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0),
    ],
)
def test_how_long_a_service_asks_to_be_left_alone(value: str, seconds: float) -> None:
    response = Response(503, {"retry-after": value} if value else {}, b"")
    assert response.retry_after(10) == seconds
