"""The head parser, without a socket."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.listener.http.request import HeadLimits, HttpError, Request, take_head

GOOD = b"POST /webhooks/myop?x=1 HTTP/1.1\r\nHost: here:3000\r\nX-A:  b c \r\nX-A: d\r\n\r\n"


def take(data: bytes, limits: HeadLimits | None = None) -> Request | None:
    return take_head(bytearray(data), limits or HeadLimits())


def status(data: bytes) -> int:
    with pytest.raises(HttpError) as error:
        take(data)
    return error.value.status


def test_a_head_is_taken_apart_and_cut_off_the_buffer() -> None:
    buffer = bytearray(GOOD + b"the body")
    request = take_head(buffer, HeadLimits())
    assert request is not None
    assert (request.method, request.path, request.minor) == ("POST", "/webhooks/myop", 1)
    assert request.values("x-a") == [b"b c", b"d"]
    assert buffer == b"the body"


def test_nothing_is_taken_before_the_empty_line() -> None:
    for end in range(len(GOOD)):
        buffer = bytearray(GOOD[:end])
        assert take_head(buffer, HeadLimits()) is None
        assert buffer == GOOD[:end]


def test_one_empty_line_before_the_request_is_passed_over() -> None:
    assert take(b"\r\n" + GOOD) is not None
    assert status(b"\r\n\r\n" + GOOD) == 400


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"POST",
        b"POST /",
        b"POST / HTTP/1.1 ",
        b" POST / HTTP/1.1",
        b"POST  / HTTP/1.1",
        b"POST\t/ HTTP/1.1",
        b"POST / x HTTP/1.1",
        b"POST / HTTP/1.10",
        b"POST / HTTP/11",
        b"POST / http/1.1",
        b"POST / HTTP/2.0",
        b"POST / HTTP/0.9",
        b"PO(ST / HTTP/1.1",
        b"POST /\x00 HTTP/1.1",
        b"POST /\xff HTTP/1.1",
        b"POST / HTTP/1.1\r",
        "POST / HTTP/¹.1".encode(),
    ],
)
def test_a_malformed_request_line_is_400(line: bytes) -> None:
    assert status(line + b"\r\nHost: here\r\n\r\n") == 400


@pytest.mark.parametrize(
    "line",
    [
        b"No colon",
        b": no name",
        b"Blank : before the colon",
        b"Blank\t: before the colon",
        b"Na\xefve: name",
        b"X-A: NUL \x00",
        b"X-A: bell \x07",
        b"X-A: delete \x7f",
        b"X-A: a bare\rCR",
        b" folded: line",
        b"\tfolded",
        b"X-A: 1\r\n folded",
        b"X-A: 1\r\n\tfolded",
        b"X-A: 1\r\n ",
        b"X-A: 1\nX-B: after a bare LF",
    ],
)
def test_a_malformed_field_is_400(line: bytes) -> None:
    assert status(b"POST / HTTP/1.1\r\nHost: here\r\n" + line + b"\r\n\r\n") == 400


def test_a_bare_lf_is_refused_without_waiting_for_the_end_of_the_head() -> None:
    assert status(b"POST / HTTP/1.1\n") == 400
    assert status(b"POST / HTTP/1.1\r\nHost: here\n\n") == 400


@pytest.mark.parametrize(
    "hosts", [[], ["a", "b"], ["a", "a"], ["a b"], ["a/b"], ["a@b"], ["ü"], ["a, b"]]
)
def test_http_1_1_needs_exactly_one_valid_host(hosts: list[str]) -> None:
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    data = f"POST / HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
    assert status(data) == 400


@pytest.mark.parametrize("host", ["", "here", "here:3000", "[::1]:3000", "a-b.example", "a%20b"])
def test_a_host_of_any_valid_form_is_taken(host: str) -> None:
    assert take(f"POST / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()) is not None


def test_http_1_0_needs_no_host_and_always_closes() -> None:
    request = take(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert request is not None
    assert request.wants_close


def test_a_higher_minor_version_is_read_as_1_1() -> None:
    request = take(b"GET / HTTP/1.9\r\nHost: a\r\n\r\n")
    assert request is not None
    assert request.minor == 1


@pytest.mark.parametrize(
    ("value", "closes"),
    [("close", True), ("keep-alive, Close", True), ("keep-alive", False), ("closed", False)],
)
def test_connection_close_is_found_among_the_options(value: str, closes: bool) -> None:
    request = take(f"GET / HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n".encode())
    assert request is not None
    assert request.wants_close is closes


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a/b?c", "/a/b"),
        ("http://here:3000/a?b", "/a"),
        ("HTTPS://here", "/"),
        ("*", ""),
        ("here:443", ""),
        ("ftp://here/a", ""),
        ("//a", "//a"),
    ],
)
def test_the_path_is_taken_from_the_origin_and_the_absolute_form(target: str, path: str) -> None:
    request = take(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert request is not None
    assert request.path == path


def test_a_head_over_the_limits_is_414_or_431() -> None:
    assert status(b"GET /" + b"a" * 9000) == 414
    assert status(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n") == 414
    assert status(b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000) == 431
    assert status(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 100 + b"\r\n") == 431


@given(st.binary(max_size=400))
def test_any_bytes_give_a_request_or_a_refusal(data: bytes) -> None:
    verdict = _verdict([data])
    assert not isinstance(verdict, int) or 400 <= verdict < 500


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=8))
def test_what_is_said_does_not_depend_on_how_it_arrives(noise: bytes, cuts: list[int]) -> None:
    """The verdict on a head is the same in one piece and in many."""
    data = b"POST / HTTP/1.1\r\nHost: a\r\nX: " + noise + b"\r\n\r\n"
    assert _verdict([data]) == _verdict(_pieces(data, cuts))


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def _verdict(pieces: list[bytes]) -> object:
    buffer = bytearray()
    try:
        for piece in pieces:
            buffer += piece
            if found := take_head(buffer, HeadLimits()):
                return found
    except HttpError as error:
        return error.status
    return None
