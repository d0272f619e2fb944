"""Connections to one host, kept between requests, taken and given back by many threads."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

from myop_cdn import __version__
from myop_cdn.transport.certificates import VARIABLES, trusting_context
from myop_cdn.transport.endpoint import find_proxy
from myop_cdn.transport.errors import (
    ConnectionFailed,
    ConnectTimeout,
    NameUnresolved,
    NotTls,
    ProtocolError,
    ProxyFailed,
    ReadTimeout,
    TlsFailed,
    TransportError,
    UntrustedCertificate,
)
from myop_cdn.transport.response import Reader

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence

    from myop_cdn.transport.endpoint import Endpoint, Proxy
    from myop_cdn.transport.response import Response

_AGENT = f"myop-cdn/{__version__}"
_RECEIVE = 64 * 1024
_SMALL = 16 * 1024  # bytes that are sent in one piece with the head
_PIECE = 64 * 1024  # of a body, each with the time of silence for itself
# OpenSSL's reasons when the first bytes that come are no TLS record.
_NO_TLS = {
    "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL",
    "WRONG_VERSION_NUMBER",
}  # fmt: skip


class Limits(NamedTuple):
    """Seconds, and bytes of a response's body.

    connect_seconds: for a connection, its TLS handshake, and each step of them through a proxy.
    silence_seconds: without a byte of the response, or of room for the request's. Whoever takes
    an upload may have much of it still to carry on: `slowest` bytes a second are added for the
    body that was sent. total_seconds: for a request and its whole response.
    """

    connect_seconds: float = 5.0
    silence_seconds: float = 10.0
    total_seconds: float = 300.0
    slowest: int = 16 * 1024
    body_bytes: int = 64 * 2**20


class Transport:
    """Requests to `endpoint`, over connections that are kept until closed. Safe between threads.

    The environment's proxy is used where it wants one, unless not `proxied`. variables: those
    that name certificates to trust (`certificates.py`), read at the first https connection.
    context: makes the TLS context in their place. clock: counts seconds. Raises InputError for a
    proxy that is not one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        limits: Limits | None = None,
        variables: Sequence[str] = VARIABLES,
        context: Callable[[], ssl.SSLContext] | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        proxied: bool = True,
    ) -> None:
        self.endpoint = endpoint
        self._proxy = find_proxy(endpoint) if proxied else None
        self._limits = limits or Limits()
        self._make_context = context or (lambda: trusting_context(variables))
        self._context: ssl.SSLContext | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Sequence[bytes] = b"",
        body_limit: int | None = None,
        seconds: float | None = None,
    ) -> Response:
        """The response to one request, whatever its status, redirects not followed.

        target: a path and a query, percent-encoded. headers: without Host and the body's length.
        body: a sequence of pieces is sent chunked. body_limit: bytes of the response's, seconds:
        until its last byte; None for those of `Limits`.

        Made again once, at once, where a kept connection turns out to have been closed by the
        other side meanwhile: so for requests only that may be made twice. Raises TransportError;
        ValueError for what can't be written into a request.
        """
        head = self._head(method, target, headers, body)
        exchange = _Exchange(
            method,
            head,
            body if isinstance(body, bytes) else _chunked(body),
            self._limits.body_bytes if body_limit is None else body_limit,
            self._clock() + (self._limits.total_seconds if seconds is None else seconds),
        )
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                return self._exchange(kept, exchange)
            except _Closed:
                pass
        try:
            return self._exchange(self._connect(), exchange)
        except _Closed:
            raise ProtocolError("closed without a response") from None

    def close(self) -> None:
        """Close the connections that nobody uses at the moment."""
        with self._lock:
            idle, self._idle = self._idle, []
        for kept in idle:
            kept.close()

    def _head(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | Sequence[bytes]
    ) -> bytes:
        sent = {"User-Agent": _AGENT, **headers}
        if self._proxy is not None and self.endpoint.scheme == "http":
            target = self.endpoint.url + target
            if self._proxy.authorization:
                sent["Proxy-Authorization"] = self._proxy.authorization
            # tinyproxy hands a second request on to a server that has gone, and says nothing.
            sent["Connection"] = "close"
            if method in ("GET", "HEAD"):  # a proxy's copy may be older than what is there
                sent.setdefault("Cache-Control", "no-cache")
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.endpoint.netloc}"]
        lines.extend(f"{name}: {value}" for name, value in sent.items())
        if not isinstance(body, bytes):
            lines.append("Transfer-Encoding: chunked")
        elif body or method in ("PUT", "POST"):
            lines.append(f"Content-Length: {len(body)}")
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
            raise ValueError("a line break in a header")
        return text.encode("latin-1") + b"\r\n\r\n"

    def _exchange(self, sock: socket.socket, exchange: _Exchange) -> Response:
        silence = self._limits.silence_seconds + len(exchange.body) // self._limits.slowest
        began = False

        def more() -> bytes:
            nonlocal began
            _allow(sock, min(silence, exchange.deadline - self._clock()))
            data = sock.recv(_RECEIVE)
            began = began or bool(data)
            return data

        try:
            self._send(sock, exchange)
            response = Reader(more, exchange.body_limit).read(exchange.method)
        except TimeoutError:
            sock.close()
            self.close()  # the others were made to the same host, which may have been replaced
            raise ReadTimeout from None
        except (OSError, ProtocolError) as error:
            sock.close()
            if not began:
                raise _Closed from None
            raise error if isinstance(error, ProtocolError) else ProtocolError(str(error)) from None
        except BaseException:
            sock.close()
            raise
        is_relayed = self._proxy is not None and self.endpoint.scheme == "http"
        if response.reusable and not is_relayed:
            with self._lock:
                self._idle.append(sock)
        else:
            sock.close()
        if response.status == 407 and self._proxy is not None:
            raise _refused(self._proxy, response)
        return response

    def _send(self, sock: socket.socket, exchange: _Exchange) -> None:
        _allow(sock, self._limits.silence_seconds)
        try:
            # One piece where it is small: one packet, one system call.
            if len(exchange.body) < _SMALL:
                sock.sendall(exchange.head + exchange.body)
                return
            sock.sendall(exchange.head)
            view = memoryview(exchange.body)
            for at in range(0, len(view), _PIECE):
                if self._clock() > exchange.deadline:
                    raise TimeoutError
                sock.sendall(view[at : at + _PIECE])
        except (BrokenPipeError, ConnectionResetError):
            pass  # a server that refuses before it has read all: its response says why

    def _connect(self) -> socket.socket:
        endpoint, proxy = self.endpoint, self._proxy
        secure = endpoint.scheme == "https"
        context = self._tls() if secure else None
        try:
            if proxy is None:
                sock = _dial(endpoint.host, endpoint.port, self._limits.connect_seconds)
            else:
                sock = _dial(proxy.host, proxy.port, self._limits.connect_seconds)
        except ConnectionFailed as error:
            if proxy is not None:
                raise ProxyFailed(f"{proxy.netloc} {error.phrase}") from None
            raise
        try:
            if proxy is not None and secure:
                self._tunnel(sock, proxy)
            if context is not None:
                return _secured(sock, context, endpoint.host)
        except BaseException:
            sock.close()
            raise
        return sock

    def _tls(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = self._make_context()
            return self._context

    def _tunnel(self, sock: socket.socket, proxy: Proxy) -> None:
        endpoint = self.endpoint
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        lines = [f"CONNECT {host}:{endpoint.port} HTTP/1.1", f"Host: {host}:{endpoint.port}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        deadline = self._clock() + 2 * self._limits.connect_seconds

        def more() -> bytes:
            if self._clock() > deadline:
                raise TimeoutError
            return sock.recv(_RECEIVE)

        try:
            sock.sendall("\r\n".join(lines).encode("ascii") + b"\r\n\r\n")
            response = Reader(more, _RECEIVE).read("CONNECT")
        except (OSError, TransportError):  # which a timeout is, too
            raise ProxyFailed(f"{proxy.netloc} gave no answer to CONNECT") from None
        if not 200 <= response.status < 300:
            raise _refused(proxy, response)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One request as it is sent, and what is taken in return. deadline: by the clock."""

    method: str
    head: bytes
    body: bytes
    body_limit: int
    deadline: float


class _Closed(TransportError):
    """The connection ended before a byte of the response came."""


def _refused(proxy: Proxy, response: Response) -> ProxyFailed:
    why = "it wants a user and a password" if response.status == 407 else "it refused"
    return ProxyFailed(f"{proxy.netloc}: {why}, {response.status}")


def _chunked(pieces: Sequence[bytes]) -> bytes:
    parts = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]
    return b"".join(parts) + b"0\r\n\r\n"


def _allow(sock: socket.socket, seconds: float) -> None:
    """Let the next read or write take so long. Raises TimeoutError where no time is left."""
    if seconds <= 0:
        raise TimeoutError
    if sock.gettimeout() != seconds:  # setting it is a system call
        sock.settimeout(seconds)


def _dial(host: str, port: int, seconds: float) -> socket.socket:
    try:
        # As bytes, which typeshed does not know of, a name needs no codec that takes 3 ms to load.
        name = cast("str", host.encode()) if host.isascii() else host
        sock = socket.create_connection((name, port), seconds)
    except (socket.gaierror, UnicodeError):  # the latter for what can't be a name
        raise NameUnresolved from None
    except TimeoutError:
        raise ConnectTimeout from None
    except OSError as error:
        raise ConnectionFailed(str(error)) from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _secured(sock: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    import ssl

    try:
        return context.wrap_socket(sock, server_hostname=host)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        # Whoever stands before the service is busy or going down: that says nothing of trust.
        raise ConnectionFailed(str(error)) from None
    except ssl.SSLCertVerificationError as error:
        raise UntrustedCertificate(error.verify_message) from None
    except ssl.SSLError as error:
        if error.reason in _NO_TLS:
            raise NotTls from None
        raise TlsFailed(error.reason or "no reason given") from None
    except TimeoutError:
        raise ConnectTimeout from None
    except (OSError, ValueError) as error:  # the latter for a host that can't be named in TLS
        raise ConnectionFailed(str(error)) from None
