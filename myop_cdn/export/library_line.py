"""The line through a proxy: urllib3, which knows the ways of proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from myop_cdn.errors import InputError
from myop_cdn.export.line import Reply, TooLong, Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myop_cdn.export.line import Limits

CONNECT_SECONDS = 10.0
_PIECE = 64 * 1024  # bytes; what is packed grows a thousandfold at most
_TROUBLES: dict[type[HTTPError], str] = {
    NameResolutionError: "has a name that can't be resolved",
    ProxyError: "can't be reached through the environment's proxy",
    SSLError: "has a certificate that can't be verified",
    NewConnectionError: "can't be reached",  # before its base class
    ConnectTimeoutError: "took no connection in time",
    ReadTimeoutError: "did not answer in time",
    ProtocolError: "broke the connection off",
    DecodeError: "sent a body that can't be decoded",
}


class LibraryLine:
    """See `Line`. base: the host's URL. proxy: its URL, whose scheme may be missing; None for
    none.
    """

    def __init__(self, base: str, proxy: str | None, limits: Limits) -> None:
        self._base = base
        self._limits = limits
        self._timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=limits.read_seconds)
        self._pool = _pool(base.partition(":")[0], proxy, limits.connections)

    def get(self, target: str, headers: Mapping[str, str], seconds: float) -> Reply:
        """See `Line.get`. The library has no limit for the whole of an answer's head."""
        deadline = self._limits.clock() + seconds
        try:
            response = self._pool.request(
                "GET",
                self._base + target,
                headers=headers,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            body = self._read(response, deadline)
        except HTTPError as error:
            raise Trouble(_words(error)) from None
        named = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, named, body)

    def close(self) -> None:
        """See `Line.close`."""
        self._pool.clear()

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        """The decoded body, the connection given back. Raises Trouble past the deadline."""
        pieces: list[bytes] = []
        left = self._limits.max_bytes + 1
        try:
            # As it comes: `read` would wait for all of it, however slowly that is.
            while left > 0 and (piece := response.read1(min(left, _PIECE))):
                pieces.append(piece)
                left -= len(piece)
                if self._limits.clock() > deadline:
                    raise Trouble("did not answer in time")
        except BaseException:
            response.close()
            raise
        if left <= 0:
            response.close()
            raise TooLong
        response.release_conn()
        return b"".join(pieces)


def _pool(scheme: str, proxy: str | None, connections: int) -> urllib3.PoolManager:
    if proxy is None:
        return urllib3.PoolManager(num_pools=2, maxsize=connections)
    try:
        url = proxy if "://" in proxy else f"http://{proxy}"
        return urllib3.ProxyManager(url, num_pools=2, maxsize=connections)
    except (HTTPError, ValueError):
        raise InputError(f"the proxy of the environment is no URL ({scheme}_proxy)") from None


def _words(error: HTTPError) -> str:
    for kind, words in _TROUBLES.items():
        if isinstance(error, kind):
            return words
    return f"could not be asked ({type(error).__name__})"
