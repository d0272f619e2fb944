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

from myop_cdn.transport import (
    ConnectionFailed,
    Endpoint,
    Limits,
    NameUnresolved,
    NotTls,
    ProtocolError,
    ProxyFailed,
    ReadTimeout,
    ResponseTooLarge,
    Transport,
    TransportError,
    UntrustedCertificate,
)
from myop_cdn.transport import errors as transport_errors
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
        self.endpoint = Endpoint("http", "127.0.0.1", self._server.getsockname()[1])
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


def respond_all(sock: socket.socket, number: int) -> None:
    while sock.recv(65536):
        sock.sendall(OK)


def respond_once(sock: socket.socket, number: int) -> None:
    sock.recv(65536)
    sock.sendall(OK)


def test_a_connection_is_kept_and_used_again() -> None:
    with host(respond_all) as there:
        transport = Transport(there.endpoint)
        assert [transport.request("GET", "/", {}).body for _ in range(3)] == [b"ok"] * 3
        transport.close()
        assert there.connections == 1


def test_a_kept_connection_that_was_closed_is_replaced_at_once() -> None:
    with host(respond_once) as there:
        transport = Transport(there.endpoint)
        assert [transport.request("PUT", "/", {}, b"x").status for _ in range(3)] == [200] * 3
        assert there.connections == 3


def test_a_new_connection_that_is_closed_is_not_tried_for_ever() -> None:
    with host(lambda sock, number: None) as there, pytest.raises(ProtocolError):
        Transport(there.endpoint).request("GET", "/", {})


def test_a_refusal_before_the_body_was_read_is_heard() -> None:
    def refuse(sock: socket.socket, number: int) -> None:
        sock.recv(100)
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    with host(refuse) as there:
        assert Transport(there.endpoint).request("PUT", "/", {}, b"x" * 10_000_000).status == 403


def test_an_respond_cut_short_is_broken_and_its_connection_is_not_kept() -> None:
    def script(sock: socket.socket, number: int) -> None:
        sock.recv(65536)
        sock.sendall(OK[:-1] if number == 1 else OK)

    with host(script) as there:
        transport = Transport(there.endpoint)
        with pytest.raises(ProtocolError):
            transport.request("GET", "/", {})
        assert transport.request("GET", "/", {}).body == b"ok"


def test_silence_ends_after_its_time() -> None:
    done = threading.Event()

    def say_nothing(sock: socket.socket, number: int) -> None:
        done.wait(10)

    with host(say_nothing) as there:
        with pytest.raises(ReadTimeout):
            Transport(there.endpoint, Limits(silence_seconds=0.05)).request("GET", "/", {})
        done.set()


def test_a_handshake_that_is_cut_off_says_nothing_of_trust() -> None:
    def hang_up(sock: socket.socket, number: int) -> None:
        sock.recv(1)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass

    with host(hang_up) as there, pytest.raises(ConnectionFailed):
        Transport(Endpoint("https", "127.0.0.1", there.endpoint.port)).request("GET", "/", {})


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example"])
def test_a_name_that_can_be_none_has_no_address(name: str) -> None:
    with pytest.raises(NameUnresolved):
        Transport(Endpoint("http", name, 80)).request("GET", "/", {})


def test_tls_asks_who_is_there(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)

    def secured(sock: socket.socket, number: int) -> None:
        with suppress(ssl.SSLError), server.wrap_socket(sock, server_side=True) as safe:
            respond_all(safe, number)

    with host(secured) as there:
        endpoint = Endpoint("https", "127.0.0.1", there.endpoint.port)
        trusting = Transport(
            endpoint, context=lambda: ssl.create_default_context(cafile=certificate)
        )
        assert trusting.request("GET", "/", {}).body == b"ok"
        trusting.close()
        with pytest.raises(UntrustedCertificate):
            Transport(endpoint).request("GET", "/", {})
        other = Transport(
            Endpoint("https", "localhost", endpoint.port),
            context=lambda: ssl.create_default_context(cafile=certificate),
        )
        with pytest.raises(UntrustedCertificate):
            other.request("GET", "/", {})


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n",
    ],
)
def test_an_respond_that_drips_ends_at_the_deadline(head: bytes) -> None:
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
        transport = Transport(there.endpoint, clock=lambda: float(next(minutes)))
        with pytest.raises(ReadTimeout):
            transport.request("GET", "/", {})
        assert next(minutes) <= 60 * 8


def test_the_hurry_before_a_deadline_is_over_for_the_next_request() -> None:
    waits: list[float | None] = []

    def late_the_second_time(sock: socket.socket, number: int) -> None:
        for _ in range(2):
            sock.recv(65536)
            sock.sendall(OK)

    with host(late_the_second_time) as there:
        transport = Transport(there.endpoint, Limits(silence_seconds=50))
        for seconds in (20.0, None):
            transport.request("GET", "/", {}, seconds=seconds)
            waits.append(transport._idle[0].gettimeout())
        assert there.connections == 1
    assert waits[0] is not None
    assert waits[0] <= 20
    assert waits[1] == 50


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectionFailed):
        Transport(Endpoint("http", "127.0.0.1", port)).request("GET", "/", {})


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb"])
def test_a_line_break_never_gets_into_a_request(value: str) -> None:
    transport = Transport(Endpoint("http", "127.0.0.1", 1))
    with pytest.raises(ValueError, match="line break"):
        transport.request("GET", "/", {"X-Header": value})
    with pytest.raises(ValueError, match="line break"):
        transport.request("GET", value, {})


def test_the_host_header_has_the_port_where_it_is_not_the_scheme_s_own() -> None:
    assert Endpoint("https", "s3.example.com", 443).netloc == "s3.example.com"
    assert Endpoint("http", "s3.example.com", 443).netloc == "s3.example.com:443"
    assert Endpoint("http", "::1", 80).netloc == "[::1]"


def test_a_port_that_speaks_plain_http_is_not_taken_for_a_certificate_s_trouble() -> None:
    def bad_request(sock: socket.socket, number: int) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while sock.recv(65536):
                pass

    with host(bad_request) as there:
        transport = Transport(Endpoint("https", "127.0.0.1", there.endpoint.port))
        with pytest.raises(NotTls) as caught:
            transport.request("GET", "/", {})
        assert there.connections == 1
    assert not caught.value.temporary
    assert "http://" in caught.value.hint


def test_the_silence_after_a_long_upload_may_last_longer() -> None:
    """Much of the body is still on its way when the last byte of it was handed over."""
    heard: list[float | None] = []

    class Watched(Transport):
        def _send(self, sock: socket.socket, exchange: object) -> None:
            super()._send(sock, exchange)  # type: ignore[arg-type]
            heard.append(sock.gettimeout())

    def respond(sock: socket.socket, number: int) -> None:
        left = 0
        while data := sock.recv(65536):
            left = int(data.split(b"Content-Length: ")[1].split(b"\r\n")[0]) - len(
                data.partition(b"\r\n\r\n")[2]
            )
            while left > 0:
                left -= len(sock.recv(65536))
            sock.sendall(OK)

    with host(respond) as there:
        transport = Watched(there.endpoint, Limits(silence_seconds=7))
        for size in (10, 160 * 1024):
            transport.request("PUT", "/", {}, b"x" * size)
            heard.append(transport._idle[0].gettimeout())
    assert heard == [7, 7, 7, 17]


def test_after_a_silence_no_other_connection_of_before_is_used() -> None:
    def silent_in_the_end(sock: socket.socket, number: int) -> None:
        while data := sock.recv(65536):
            if b"GET /silence" in data:
                sock.recv(1)
                return
            sock.sendall(OK)

    with host(silent_in_the_end) as there:
        transport = Transport(there.endpoint, Limits(silence_seconds=0.2))
        first = transport._connect()
        transport.request("GET", "/", {})
        transport._idle.append(first)
        with pytest.raises(ReadTimeout):
            transport.request("GET", "/silence", {})
        assert transport._idle == []
        assert transport.request("GET", "/", {}).body == b"ok"
        assert there.connections == 3


def test_a_body_in_pieces_is_sent_chunked() -> None:
    got: list[bytes] = []

    def note(sock: socket.socket, number: int) -> None:
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += sock.recv(65536)
        got.append(data)
        sock.sendall(OK)

    with host(note) as there:
        assert Transport(there.endpoint).request("POST", "/", {}, [b"abc", b"", b"d"]).body == b"ok"
    assert got[0].endswith(b"\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
    assert b"Content-Length" not in got[0]


def test_a_body_past_the_limit_is_not_read() -> None:
    with host(respond_all) as there, pytest.raises(ResponseTooLarge):
        Transport(there.endpoint).request("GET", "/", {}, body_limit=1)


def test_errors_tell_a_sentence_and_whether_to_try_again() -> None:
    kinds = [kind for kind in vars(transport_errors).values() if isinstance(kind, type)]
    assert len(kinds) > 10
    for kind in kinds:
        error = kind("detail")
        assert isinstance(error, TransportError)
        assert error.phrase
        assert error.temporary in (True, False)


class ProxyHost(Host):
    """A host that notes the heads it gets, tunnels nowhere, and answers as it is told."""

    def __init__(self, answer: bytes) -> None:
        self.heads: list[bytes] = []

        def script(sock: socket.socket, number: int) -> None:
            while data := sock.recv(65536):
                self.heads.append(data)
                sock.sendall(answer)

        super().__init__(script)

    @property
    def netloc(self) -> str:
        return self.endpoint.netloc


@pytest.fixture
def proxy() -> Iterator[ProxyHost]:
    running = ProxyHost(OK)
    yield running
    running.close()


def test_plain_http_by_a_proxy_names_the_whole_url(
    proxy: ProxyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://user%40x:pa%3Ass@{proxy.netloc}")
    transport = Transport(Endpoint("http", "api.example", 8080))
    assert transport.request("GET", "/a?b", {}).body == b"ok"
    transport.request("PUT", "/a", {}, b"")
    first, second = (head.decode().split("\r\n") for head in proxy.heads)
    assert first[:2] == ["GET http://api.example:8080/a?b HTTP/1.1", "Host: api.example:8080"]
    # base64 of user@x:pa:ss
    assert "Proxy-Authorization: Basic dXNlckB4OnBhOnNz" in first
    # A proxy's own copy may be older; with a PUT the header would be kept by the service.
    assert "Cache-Control: no-cache" in first
    assert "Cache-Control: no-cache" not in second
    assert proxy.connections == 2  # tinyproxy takes one request of each


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "password"),
        (b"HTTP/1.0 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "refused, 403"),
        (b"rubbish\r\n\r\n", "no answer to CONNECT"),
    ],
)
def test_a_tunnel_that_is_refused_is_the_proxy_s_doing(
    answer: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ProxyHost(answer)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:hidden@{there.netloc}")
    try:
        with pytest.raises(ProxyFailed, match=words) as caught:
            Transport(Endpoint("https", "api.example", 443)).request("GET", "/", {})
    finally:
        there.close()
    assert there.heads[0].startswith(b"CONNECT api.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpoaWRkZW4=" in there.heads[0]
    assert there.netloc in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "dXNl" not in str(caught.value)


def test_a_proxy_that_wants_a_password_for_plain_http_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = ProxyHost(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
    monkeypatch.setenv("http_proxy", there.netloc)
    try:
        with pytest.raises(ProxyFailed, match="password"):
            Transport(Endpoint("http", "api.example", 80)).request("GET", "/", {})
    finally:
        there.close()


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    with pytest.raises(ProxyFailed, match=f"127.0.0.1:{port} can't be reached"):
        Transport(Endpoint("https", "api.example", 443)).request("GET", "/", {})
