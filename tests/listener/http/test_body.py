"""Framing and bodies, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.listener.http.request import BodyReader, ChunkedBody, HttpError, Request, body_reader

MOST = 1000


def reader(*fields: tuple[str, bytes], minor: int = 1) -> BodyReader | None:
    return body_reader(Request("POST", "/", minor, fields), MOST)


def refusal(*fields: tuple[str, bytes], minor: int = 1) -> int:
    with pytest.raises(HttpError) as error:
        reader(*fields, minor=minor)
    return error.value.status


def chunked(data: bytes) -> bytes | None:
    return ChunkedBody(MOST).take(bytearray(data))


def refused_with(body: BodyReader, data: bytes) -> int | None:
    try:
        body.take(bytearray(data))
    except HttpError as error:
        return error.status
    return None


def test_a_body_of_known_length_is_cut_off_the_buffer() -> None:
    found = reader(("content-length", b"3"))
    assert found is not None
    buffer = bytearray(b"ab")
    assert found.take(buffer) is None
    buffer += b"cd"
    assert found.take(buffer) == b"abc"
    assert buffer == b"d"


def test_no_framing_is_no_body() -> None:
    assert reader() is None


@pytest.mark.parametrize(
    "value",
    [b"", b"+3", b"-3", b"3 ", b" 3", b"3,3", b"3, 3", b"0x3", b"3.0", b"1_0", b"\xb2", b"three"],
)
def test_a_malformed_length_is_400(value: bytes) -> None:
    assert refusal(("content-length", value)) == 400


def test_two_lengths_are_400_even_if_they_agree() -> None:
    assert refusal(("content-length", b"3"), ("content-length", b"3")) == 400


def test_length_and_chunks_together_are_400() -> None:
    assert refusal(("content-length", b"3"), ("transfer-encoding", b"chunked")) == 400


@pytest.mark.parametrize(
    "value",
    [b"gzip", b"gzip, chunked", b"chunked, gzip", b"identity", b"chunked;q=1", b"xchunked", b""],
)
def test_any_coding_but_chunked_is_400(value: bytes) -> None:
    assert refusal(("transfer-encoding", value)) == 400


def test_two_codings_are_400() -> None:
    fields = (("transfer-encoding", b"chunked"), ("transfer-encoding", b"chunked"))
    assert refusal(*fields) == 400


def test_chunks_in_http_1_0_are_400() -> None:
    assert refusal(("transfer-encoding", b"chunked"), minor=0) == 400


@pytest.mark.parametrize("value", [b"1001", b"9" * 30])
def test_a_length_over_the_limit_is_413_before_anything_is_read(value: bytes) -> None:
    assert refusal(("content-length", value)) == 413


def test_chunks_are_put_together() -> None:
    assert chunked(b"3\r\nabc\r\n02;x=y\r\nde\r\n0\r\n\r\n") == b"abcde"
    assert chunked(b"0\r\n\r\n") == b""
    assert chunked(b"1\r\na\r\n0\r\nX-Trailer: 1\r\nY: 2\r\n\r\n") == b"a"


def test_what_follows_the_last_chunk_stays_in_the_buffer() -> None:
    buffer = bytearray(b"1\r\na\r\n0\r\n\r\nPOST")
    assert ChunkedBody(MOST).take(buffer) == b"a"
    assert buffer == b"POST"


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"x\r\n",
        b" 3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"3\nabc\r\n",
        b"3\r\nabc\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\rX",
        b"11111111111111111\r\n",
        b"3;" + b"x" * 300 + b"\r\n",
        b"3;\x00\r\nabc\r\n",
        b"0\r\nno trailer\r\n\r\n",
        b"0\r\n folded: trailer\r\n\r\n",
        b"0\r\nX: 1\n\r\n",
        b"0\r\nX: " + b"y" * 5000 + b"\r\n\r\n",
        b"a" * 400,
    ],
)
def test_malformed_chunks_are_400(data: bytes) -> None:
    with pytest.raises(HttpError) as error:
        chunked(data)
    assert error.value.status == 400


def test_chunks_over_the_limit_are_413_before_they_arrive() -> None:
    with pytest.raises(HttpError) as error:
        chunked(b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\n")
    assert error.value.status == 413


def test_a_body_that_is_nearly_all_framing_is_413() -> None:
    body = ChunkedBody(MOST)
    line = b"1;" + b"x" * 250 + b"\r\na\r\n"
    refused = [status for _ in range(900) if (status := refused_with(body, line))]
    assert refused[0] == 413


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=12), st.lists(st.integers(0, 900)))
def test_chunks_arrive_the_same_in_any_pieces(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\nrest"
    body, buffer, found, at = ChunkedBody(MOST), bytearray(), None, 0
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        buffer += data[at:cut]
        at = cut
        if found is None:
            found = body.take(buffer)
    assert found == b"".join(parts)
    assert buffer == b"rest"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_body_a_part_of_one_or_a_refusal(data: bytes) -> None:
    assert refused_with(ChunkedBody(MOST), data) in (None, 400, 413)
