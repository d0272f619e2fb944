"""Who sent a request: the socket's other end, or whom trusted proxies name. No I/O.

A proxy appends the address that it saw to `X-Forwarded-For`, or to `Forwarded` (RFC 7239), so
the entries are read from the right, and only as far as trusted proxies wrote them: whatever
lies to the left of that is the client's own invention.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from myop_cdn.listener.http.request import Request

UNIX = "unix"  # how a Unix socket's clients are shown, and trusted
_HOPS = 32  # entries that are looked at; no chain of proxies is so long
# RFC 7239, 4 and 6: for=192.0.2.1, for="[2001:db8::1]:80", for=unknown, for=_hidden
_FOR = re.compile(rb'(?:^|;)[ \t]*for=("[^"]*"|[^;, \t]*)', re.IGNORECASE)
_MOST = 10_000  # peers whose refusals are counted at a time


@dataclass(frozen=True, slots=True)
class Peer:
    """Who sent a request.

    shown: the address for logs and the journal, with the port where the socket told it. key:
    what its limits are counted by (an IPv6 client by its /64 network, which is what one
    customer has); None for a trusted proxy, which has no limits of its own. local: whether it
    is on this machine, which may be a proxy that nobody has told this program of.
    """

    shown: str
    key: str | None
    local: bool = False


class TrustedProxies:
    """The proxies that are believed about whose request they pass on.

    networks: addresses or CIDR networks, or `unix` for whoever connects to a Unix socket.
    Raises ValueError, in words, for anything else.
    """

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._unix = UNIX in networks
        self._networks: list[IPv4Network | IPv6Network] = []
        self._of_host = lru_cache(1024)(self._classify)  # the same few connect again and again
        for text in networks:
            if text != UNIX:
                try:
                    self._networks.append(ip_network(text))
                except ValueError as error:
                    raise ValueError(f"{text!r} is not an address or network: {error}") from None

    def connected(self, address: object) -> tuple[Peer, str | None]:
        """The peer of a new connection, and the hop to ask `sender` with.

        address: as `accept` gave it. The hop is None where the peer is nobody's proxy.
        """
        if not isinstance(address, tuple):
            return (Peer(UNIX, None), UNIX) if self._unix else (Peer(UNIX, UNIX, True), None)
        host, port = address[:2]
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        key, local, hop = self._of_host(host)
        return Peer(shown, key, local), hop

    def _classify(self, host: str) -> tuple[str | None, bool, str | None]:
        ip = _plain(ip_address(host.partition("%")[0]))
        if self._trusts(ip):
            return None, False, str(ip)
        return _key(ip), ip.is_loopback, None

    def sender(self, request: Request, hop: str) -> Peer:
        """Whom the trusted proxy `hop` passes `request` on for.

        Where its headers name nobody, name nonsense, or contradict each other (a proxy that
        writes one of the two leaves the other to the client), it is the proxy itself, as a
        peer like any other.
        """
        found = {
            _walk(entries, hop, self._trusts)
            for entries in (
                _forwarded_for(request.values("x-forwarded-for")),
                _forwarded(request.values("forwarded")),
            )
            if entries
        }
        sender = found.pop() if len(found) == 1 else hop
        return Peer(sender, sender if sender == UNIX else _key(ip_address(sender)))

    def _trusts(self, ip: IPv4Address | IPv6Address) -> bool:
        return any(ip in network for network in self._networks)


def _walk(entries: list[str], hop: str, trusts: Callable[[IPv4Address | IPv6Address], bool]) -> str:
    """The rightmost entry that is not a trusted proxy; the last hop known where none is."""
    for entry in reversed(entries[-_HOPS:]):
        try:
            ip = _plain(ip_address(entry))
        except ValueError:
            return hop
        hop = str(ip)
        if not trusts(ip):
            return hop
    return hop


def _forwarded_for(lines: list[bytes]) -> list[str]:
    return [_address(entry) for entry in b",".join(lines).split(b",")] if lines else []


def _forwarded(lines: list[bytes]) -> list[str]:
    found = []
    for element in b",".join(lines).split(b",") if lines else []:
        match = _FOR.search(element)
        found.append(_address(match[1].strip(b'"')) if match else "")
    return found


def _address(entry: bytes) -> str:
    """The address in `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1` or `[2001:db8::1]:80`."""
    text = entry.strip().decode("latin-1")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def limited_by(shown: str) -> str:
    """What the limits of a peer that is shown like this are counted by."""
    try:
        return _key(_plain(ip_address(shown.rpartition(":")[0].strip("[]").partition("%")[0])))
    except ValueError:  # a Unix socket's
        return shown


def _plain(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address that a socket for both families shows as IPv6, as what it is."""
    return getattr(ip, "ipv4_mapped", None) or ip


def _key(ip: IPv4Address | IPv6Address) -> str:
    return str(ip) if ip.version == 4 else str(ip_network((int(ip) >> 64 << 64, 64)))


@dataclass(slots=True)
class Allowance:
    """How many refused requests each peer may send: `burst` at once, then `rate` a second."""

    burst: float
    rate: float
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def has(self, key: str, now: float) -> bool:
        """Whether `key` may be refused once more."""
        left, since = self._left.get(key, (self.burst, now))
        return left + (now - since) * self.rate >= 1

    def take(self, key: str, now: float) -> bool:
        """Count one refusal of `key`; False when it has had more than its share."""
        left, since = self._left.pop(key, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        self._left[key] = (max(0.0, left - 1), now)
        if len(self._left) > _MOST:
            self._left.popitem(last=False)
        return left >= 1
