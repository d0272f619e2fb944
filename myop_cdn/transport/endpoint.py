"""Whom to ask, and by way of which proxy: URLs taken apart, and the environment's say.

HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY are read as curl reads them: lower case wins over
upper case, no exception is made for this machine. On macOS and Windows the system's settings
count where the environment names no proxy.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import sys
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from myop_cdn.errors import InputError

PORTS = {"http": 80, "https": 443}
_PATH = re.compile(r"[\w/.~%!$&'()*+,;=:@-]*", re.ASCII)

_WITH_PORT = re.compile(r"(\[[^]]*\]|[^:]*):([0-9]{1,5})")


class Endpoint(NamedTuple):
    """scheme: http or https. host: a name or an address, an IPv6 one without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """As the Host header has it: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.netloc}"


def parse_base_url(url: str) -> tuple[Endpoint, str]:
    """The host, and the percent-encoded path without a slash at its end, of a base URL.

    Raises ValueError, whose text does not show the URL, for what is not a plain http(s) URL: one
    with a user, a query or a fragment among them.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = host if host.isascii() else host.encode("idna").decode()
        port = parts.port if parts.port is not None else PORTS.get(parts.scheme, 0)
    except ValueError:  # which a UnicodeError is, too
        raise ValueError("not a URL") from None
    if parts.scheme not in PORTS or not host or not port:
        raise ValueError("not an http(s) URL with a host")
    if "@" in parts.netloc or parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError("a URL with a user, a query or a fragment")
    if _PATH.fullmatch(parts.path) is None or re.search(r"[\s\x00-\x1f]", url):
        raise ValueError("a URL with characters that need percent-encoding")
    return Endpoint(parts.scheme, host, port), parts.path.rstrip("/")


def parse_url(url: str) -> tuple[Endpoint, str]:
    """The host, and the path with the query, of the URL of one resource.

    Raises ValueError as `parse_base_url` does, but takes a query.
    """
    plain, question, query = url.partition("?")
    endpoint, path = parse_base_url(plain)
    if not all(" " < sign <= "~" and sign not in '"<>#' for sign in query):
        raise ValueError("a URL with a query whose characters need percent-encoding")
    # The slash at a path's end is the receiver's business.
    return endpoint, (path + "/" * plain.endswith("/") or "/") + question + query


def refuse_plain_http(endpoint: Endpoint, what: str, *, allowed: bool) -> None:
    """Raise InputError where `what` (in words) would go to another machine unencrypted."""
    if endpoint.scheme == "https" or allowed or is_this_machine(endpoint.host):
        return
    raise InputError(
        f"{what} would go to {endpoint.netloc} over plain HTTP, for everybody on the way to read",
        "write https://, or allow it with --allow-http",
    )


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine by its very name or address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. authorization: the header's value, "" for none; never shown."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @property
    def netloc(self) -> str:
        """Host and port, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def find_proxy(endpoint: Endpoint) -> Proxy | None:
    """The proxy that the environment wants between; None for none.

    Raises InputError where the environment's URL of a proxy is not one.
    """
    named = _named(f"{endpoint.scheme}_proxy") or _named("all_proxy")
    if named is None:
        return _of_the_system(endpoint) if sys.platform in ("darwin", "win32") else None
    variable, url = named
    exceptions = _named("no_proxy")
    if exceptions is not None and _is_excepted(endpoint, exceptions[1]):
        return None
    return _parse(variable, url)


def _named(variable: str) -> tuple[str, str] | None:
    for name in (variable, variable.upper()):
        # A CGI server hands a request's `Proxy` header on as HTTP_PROXY.
        forged = name == "HTTP_PROXY" and "REQUEST_METHOD" in os.environ
        if not forged and (value := os.environ.get(name, "").strip()):
            return name, value
    return None


def _is_excepted(endpoint: Endpoint, exceptions: str) -> bool:
    host = endpoint.host.lower().rstrip(".")
    for entry in re.split(r"[,\s]+", exceptions.lower()):
        with_port = _WITH_PORT.fullmatch(entry)
        if with_port and int(with_port[2]) != endpoint.port:
            continue
        name = with_port[1] if with_port else entry
        if name == "*":
            return True
        name = name.strip("[]").removeprefix("*").strip(".")
        if name and (host == name or host.endswith(f".{name}")):
            return True
        if "/" in name and _is_within(host, name):
            return True
    return False


def _is_within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _of_the_system(endpoint: Endpoint) -> Proxy | None:
    from urllib.request import getproxies, proxy_bypass

    url = getproxies().get(endpoint.scheme)
    if not url or proxy_bypass(endpoint.host):
        return None
    return _parse("the system's settings", url)


def _parse(variable: str, url: str) -> Proxy:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or PORTS["http"]
    except ValueError:
        raise InputError(f"the proxy's URL can't be read ({variable})") from None
    if parts.scheme != "http" or not host:
        raise InputError(
            f"the proxy's URL is not an http:// one ({variable})",
            "write http://HOST:PORT; SOCKS proxies, and TLS on the way to the proxy, are not "
            "supported",
        )
    authorization = ""
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(user.encode()).decode()}"
    return Proxy(host, port, authorization)
