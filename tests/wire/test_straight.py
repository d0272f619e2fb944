"""Which URLs are asked straight, and which are left to a library."""

from __future__ import annotations

import os

import pytest

from myop_cdn.wire import Origin
from myop_cdn.wire.straight import straight


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy in the environment."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("url", "way"),
    [
        ("https://Host.example", (Origin("https", "host.example", 443), "")),
        ("http://host.example:8080/", (Origin("http", "host.example", 8080), "")),
        ("http://[::1]:1/a/b%20c/", (Origin("http", "::1", 1), "/a/b%20c")),
    ],
)
def test_a_plain_url_is_host_and_path(url: str, way: tuple[Origin, str]) -> None:
    assert straight(url) == way


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://user@host",
        "http://host/?query",
        "http://host/#fragment",
        "http://host/with blank",
        "http://host/ü",
        "http://münchen",
        "http://host/a\r\nb: c",
    ],
)
def test_the_odd_is_left_to_a_library(url: str) -> None:
    assert straight(url) is None


def test_so_is_what_the_environment_wants_a_proxy_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert straight("http://host") is None
    assert straight("https://host") is not None
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert straight("https://host") is None
