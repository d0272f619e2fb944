"""Who is believed to have sent a request."""

from __future__ import annotations

import pytest

from myop_cdn.listener.http.peers import Peer, TrustedProxies
from myop_cdn.listener.http.request import Request

PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::/8", "unix"])


def asking(**headers: str | list[str]) -> Request:
    fields = tuple(
        (name.replace("_", "-"), value.encode("latin-1"))
        for name, values in headers.items()
        for value in ([values] if isinstance(values, str) else values)
    )
    return Request("POST", "/", 1, fields)


def sender(**headers: str | list[str]) -> str:
    return PROXIES.sender(asking(**headers), "10.0.0.1").shown


def test_a_stranger_is_shown_with_its_port_and_asked_for_nothing_else() -> None:
    assert PROXIES.connected(("1.2.3.4", 99)) == (Peer("1.2.3.4:99", "1.2.3.4"), None)
    assert PROXIES.connected(("2001:db8:1:2:3::4", 99, 0, 0)) == (
        Peer("[2001:db8:1:2:3::4]:99", "2001:db8:1:2::/64"),
        None,
    )


def test_a_trusted_proxy_has_no_limits_of_its_own() -> None:
    assert PROXIES.connected(("10.9.9.9", 1)) == (Peer("10.9.9.9:1", None), "10.9.9.9")
    assert PROXIES.connected(("::ffff:10.9.9.9", 1, 0, 0))[1] == "10.9.9.9"
    assert PROXIES.connected(("fd00::1%eth0", 1, 0, 2))[1] == "fd00::1"


def test_a_unix_socket_is_trusted_by_choice() -> None:
    assert PROXIES.connected("") == (Peer("unix", None), "unix")
    assert TrustedProxies().connected("") == (Peer("unix", "unix", local=True), None)


def test_the_rightmost_address_that_is_no_proxy_is_the_sender() -> None:
    assert sender(x_forwarded_for="1.1.1.1") == "1.1.1.1"
    assert sender(x_forwarded_for="6.6.6.6, 1.1.1.1, 10.2.2.2") == "1.1.1.1"
    assert sender(x_forwarded_for=["6.6.6.6", "1.1.1.1,10.2.2.2"]) == "1.1.1.1"
    assert sender(forwarded="for=6.6.6.6, for=1.1.1.1;proto=https") == "1.1.1.1"
    assert sender(forwarded='proto=http;FOR="[2001:db8::1]:80";by=_x') == "2001:db8::1"


@pytest.mark.parametrize(
    "entry", ["1.1.1.1", " 1.1.1.1 ", "1.1.1.1:80", "::ffff:1.1.1.1", "[::ffff:1.1.1.1]:80"]
)
def test_addresses_are_understood_with_and_without_port_and_brackets(entry: str) -> None:
    assert sender(x_forwarded_for=entry) == "1.1.1.1"


@pytest.mark.parametrize(
    "entry", ["unknown", "_hidden", "", "1.1.1", "a, ", "<script>", "1.1.1.1:"]
)
def test_what_is_no_address_leaves_the_last_hop_that_is_known(entry: str) -> None:
    assert sender(x_forwarded_for=f"1.1.1.1, {entry}, 10.2.2.2") in ("10.2.2.2", "1.1.1.1")
    assert sender(x_forwarded_for=f"5.5.5.5, {entry}") in ("10.0.0.1", "1.1.1.1")


def test_headers_that_contradict_each_other_are_not_believed() -> None:
    """A proxy that writes one of the two passes the client's own other one on."""
    assert sender(x_forwarded_for="1.1.1.1", forwarded="for=6.6.6.6") == "10.0.0.1"
    assert sender(x_forwarded_for="1.1.1.1", forwarded="for=1.1.1.1") == "1.1.1.1"


def test_without_a_header_the_proxy_itself_is_a_peer_like_any_other() -> None:
    assert PROXIES.sender(asking(), "10.0.0.1") == Peer("10.0.0.1", "10.0.0.1")
    assert PROXIES.sender(asking(), "unix").key == "unix"


def test_a_chain_without_end_is_looked_at_for_some_hops() -> None:
    assert sender(x_forwarded_for="6.6.6.6," + ",".join(["10.0.0.1"] * 1000)) == "10.0.0.1"


@pytest.mark.parametrize("text", ["10.0.0.1/8", "here", "", "10.0.0.0/33"])
def test_what_is_no_network_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address or network"):
        TrustedProxies([text])
