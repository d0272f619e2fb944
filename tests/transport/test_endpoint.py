"""Which host a URL names, and when the environment wants a proxy between."""

from __future__ import annotations

import pytest

from myop_cdn.errors import InputError
from myop_cdn.transport import Endpoint, parse_base_url
from myop_cdn.transport.endpoint import find_proxy

HTTP = Endpoint("http", "host.example", 80)
HTTPS = Endpoint("https", "host.example", 443)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://Host.example", (HTTPS, "")),
        ("HTTPS://host.example/", (HTTPS, "")),
        ("http://host.example:8080/", (Endpoint("http", "host.example", 8080), "")),
        ("http://[::1]:1/a/b%20c/", (Endpoint("http", "::1", 1), "/a/b%20c")),
        ("http://m\u00fcnchen.example:1", (Endpoint("http", "xn--mnchen-3ya.example", 1), "")),
    ],
)
def test_a_base_url_is_a_host_and_a_path(url: str, parts: tuple[Endpoint, str]) -> None:
    assert parse_base_url(url) == parts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "ftp://host",
        "http://",
        "http://host:secret",
        "http://host:0",
        "http://host:99999",
        "http://[secret",
        "http://secret@host",
        "http://a:secret@host",
        "http://host/?secret",
        "http://host/?",
        "http://host/#secret",
        "http://host/with blank",
        "http://host/\u00fc",
        "http://host/a\r\nb: c",
        "http://" + "\u00fc" * 70,
        " http://host",
    ],
)
def test_another_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        parse_base_url(url)
    assert "secret" not in str(caught.value)


def test_no_proxy_without_the_environment_s_say() -> None:
    assert find_proxy(HTTP) is None
    assert find_proxy(HTTPS) is None


def test_each_scheme_has_its_proxy_and_all_proxy_is_for_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://first:1")
    monkeypatch.setenv("ALL_PROXY", "second:2")
    monkeypatch.setenv("all_proxy", "http://[::1]:3/")
    plain, secure = find_proxy(HTTP), find_proxy(HTTPS)
    assert plain is not None
    assert secure is not None
    assert (plain.netloc, secure.netloc) == ("first:1", "[::1]:3")


def test_what_a_cgi_s_client_sends_is_not_taken_for_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://evil:1")
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    assert find_proxy(HTTP) is None


@pytest.mark.parametrize(
    ("host", "exceptions", "passed_by"),
    [
        ("host.example", "host.example", True),
        ("host.example", "other, HOST.example", True),
        ("host.example", ".example", True),
        ("host.example", "*.example", True),
        ("host.example", "example", True),
        ("host.example", "*", True),
        ("host.example", "ample", False),
        ("host.example", "host.example:443", True),
        ("host.example", "host.example:8443", False),
        ("host.example", "", False),
        ("host.example", ",", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("::1", "::1", True),
        ("::1", "[::1]:443", True),
        ("fd00::1", "fd00::/8", True),
        ("127.0.0.1", "localhost", False),
    ],
)
def test_no_proxy_names_hosts_domains_ports_and_networks(
    host: str, exceptions: str, passed_by: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    monkeypatch.setenv("no_proxy", exceptions)
    assert (find_proxy(Endpoint("https", host, 443)) is None) == passed_by


@pytest.mark.parametrize(
    "url", ["ftp://proxy", "socks5://u:secret@proxy:1", "https://proxy", "http://u:secret@proxy:x"]
)
def test_another_kind_of_proxy_is_refused_and_not_shown(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", url)
    with pytest.raises(InputError, match="http_proxy") as caught:
        find_proxy(HTTP)
    assert "secret" not in caught.value.message


def test_a_proxy_s_password_is_not_in_its_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy:1")
    found = find_proxy(HTTP)
    assert found is not None
    assert found.authorization
    assert found.authorization not in repr(found)
