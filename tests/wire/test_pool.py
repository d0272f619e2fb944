"""Connections that are kept, closed under one's hands, refused and never answered."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from myop_cdn.wire import Broken, NoConnection, Origin, Pool, TimedOut, Unresolved, Untrusted
from tests.listener.certificate import make as make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Host:
    """Answers each connection with `script`; remembers the heads that arrived on each."""

    def __init__(self, script: Callable[[socket.socket, int], None]) -> None:
        self._script = script
        self._server = socket.create_server(("127.0.0.1", 0))
        self.origin = Origin("http", "127.0.0.1", self._server.getsockname()[1])
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            number = self.connections
            threading.Thread(target=self._one, args=(sock, number), daemon=True).start()

    def _one(self, sock: socket.socket, number: int) -> None:
        with sock:
            self._script(sock, number)

    def close(self) -> None:
        self._server.close()


@contextmanager
def host(script: Callable[[socket.socket, int], None]) -> Iterator[Host]:
    running = Host(script)
    try:
        yield running
    finally:
        running.close()


def answer_all(sock: socket.socket, number: int) -> None:
    while sock.recv(65536):
        sock.sendall(OK)


def answer_once(sock: socket.socket, number: int) -> None:
    sock.recv(65536)
    sock.sendall(OK)


def test_a_connection_is_kept_and_used_again() -> None:
    with host(answer_all) as there:
        pool = Pool(there.origin)
        assert [pool.ask("GET", "/", {}).body for _ in range(3)] == [b"ok"] * 3
        pool.close()
        assert there.connections == 1


def test_a_kept_connection_that_was_closed_is_replaced_at_once() -> None:
    with host(answer_once) as there:
        pool = Pool(there.origin)
        assert [pool.ask("PUT", "/", {}, b"x").status for _ in range(3)] == [200] * 3
        assert there.connections == 3


def test_a_new_connection_that_is_closed_is_not_tried_for_ever() -> None:
    with host(lambda sock, number: None) as there, pytest.raises(Broken):
        Pool(there.origin).ask("GET", "/", {})


def test_a_refusal_before_the_body_was_read_is_heard() -> None:
    def refuse(sock: socket.socket, number: int) -> None:
        sock.recv(100)
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    with host(refuse) as there:
        assert Pool(there.origin).ask("PUT", "/", {}, b"x" * 10_000_000).status == 403


def test_an_answer_cut_short_is_broken_and_its_connection_is_not_kept() -> None:
    def script(sock: socket.socket, number: int) -> None:
        sock.recv(65536)
        sock.sendall(OK[:-1] if number == 1 else OK)

    with host(script) as there:
        pool = Pool(there.origin)
        with pytest.raises(Broken):
            pool.ask("GET", "/", {})
        assert pool.ask("GET", "/", {}).body == b"ok"


def test_silence_ends_after_its_time() -> None:
    done = threading.Event()

    def say_nothing(sock: socket.socket, number: int) -> None:
        done.wait(10)

    with host(say_nothing) as there:
        with pytest.raises(TimedOut):
            Pool(there.origin, read_seconds=0.05).ask("GET", "/", {})
        done.set()


def test_a_handshake_that_is_cut_off_says_nothing_of_trust() -> None:
    def hang_up(sock: socket.socket, number: int) -> None:
        sock.recv(1)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass

    with host(hang_up) as there, pytest.raises(NoConnection):
        Pool(Origin("https", "127.0.0.1", there.origin.port)).ask("GET", "/", {})


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example"])
def test_a_name_that_can_be_none_has_no_address(name: str) -> None:
    with pytest.raises(Unresolved):
        Pool(Origin("http", name, 80)).ask("GET", "/", {})


def test_tls_asks_who_is_there(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)

    def secured(sock: socket.socket, number: int) -> None:
        with suppress(ssl.SSLError), server.wrap_socket(sock, server_side=True) as safe:
            answer_all(safe, number)

    with host(secured) as there:
        origin = Origin("https", "127.0.0.1", there.origin.port)
        trusting = Pool(origin, lambda: ssl.create_default_context(cafile=certificate))
        assert trusting.ask("GET", "/", {}).body == b"ok"
        trusting.close()
        with pytest.raises(Untrusted):
            Pool(origin).ask("GET", "/", {})
        other = Pool(
            Origin("https", "localhost", origin.port),
            lambda: ssl.create_default_context(cafile=certificate),
        )
        with pytest.raises(Untrusted):
            other.ask("GET", "/", {})


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n",
    ],
)
def test_an_answer_that_drips_ends_at_the_deadline(head: bytes) -> None:
    """The clock goes a minute on with each look at it: no byte is waited for that long."""

    def drip(sock: socket.socket, number: int) -> None:
        sock.recv(65536)
        sock.sendall(head)
        with suppress(OSError):
            for _ in range(500):
                sock.sendall(b"x")
                time.sleep(0.001)

    minutes = itertools.count(0, 60)
    with host(drip) as there:
        pool = Pool(there.origin, clock=lambda: float(next(minutes)))
        with pytest.raises(TimedOut):
            pool.ask("GET", "/", {})
        assert next(minutes) <= 60 * 8


def test_the_hurry_before_a_deadline_is_over_for_the_next_request() -> None:
    with host(answer_all) as there:
        pool = Pool(there.origin, read_seconds=50)
        pool.ask("GET", "/", {}, seconds=20)
        assert pool._idle[0].gettimeout() == 50
        assert pool.ask("GET", "/", {}).body == b"ok"
        assert there.connections == 1


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NoConnection):
        Pool(Origin("http", "127.0.0.1", port)).ask("GET", "/", {})


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb"])
def test_a_line_break_never_gets_into_a_request(value: str) -> None:
    pool = Pool(Origin("http", "127.0.0.1", 1))
    with pytest.raises(ValueError, match="line break"):
        pool.ask("GET", "/", {"X-Header": value})
    with pytest.raises(ValueError, match="line break"):
        pool.ask("GET", value, {})


def test_the_host_header_has_the_port_where_it_is_not_the_scheme_s_own() -> None:
    assert Origin("https", "s3.example.com", 443).netloc == "s3.example.com"
    assert Origin("http", "s3.example.com", 443).netloc == "s3.example.com:443"
    assert Origin("http", "::1", 80).netloc == "[::1]"
