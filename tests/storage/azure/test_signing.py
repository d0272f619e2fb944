"""The lean requests to Azure: signed as the SDK signs them."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.storage.azure.account import SharedAccess, SharedKey

KEY = base64.b64encode(b"a key of some length").decode()
NAMES = st.sampled_from(
    [
        "If-Match",
        "If-None-Match",
        "x-ms-blob-cache-control",
        "x-ms-blob-content-encoding",
        "x-ms-blob-content-md5",
        "x-ms-blob-content-type",
        "x-ms-blob-type",
        "x-ms-meta-myopsha256",
    ]
)
# The SDK takes an empty header for none in one place and not in another; none is ever sent.
VALUES = st.text("ab0, ,=;*", min_size=1, max_size=12).map(str.strip).filter(bool)


def by_the_sdk(method: str, target: str, headers: dict[str, str]) -> str:
    policy: Any = SharedKeyCredentialPolicy("account", KEY)  # type: ignore[no-untyped-call]
    url = f"https://account.blob.core.windows.net{target}"
    query = {name: quote(value, safe="") for name, value in parse_qsl(urlsplit(url).query)}
    sent = {name: value for name, value in headers.items() if name != "Authorization"}
    http_request = SimpleNamespace(method=method, url=url, headers=sent, query=query)
    context = SimpleNamespace(transport=None)
    policy.on_request(SimpleNamespace(http_request=http_request, context=context))
    return sent["Authorization"]


@given(
    st.sampled_from(["GET", "PUT", "HEAD", "DELETE"]),
    st.text("abc/ ü+%~-_.&=☃", max_size=20),
    st.dictionaries(st.sampled_from(["prefix", "marker", "comp", "restype"]), VALUES),
    st.dictionaries(NAMES, VALUES),
    st.sampled_from([0, 1, 65_536]),
)
def test_signatures_are_those_of_the_sdk(
    method: str, key: str, fields: dict[str, str], headers: dict[str, str], length: int
) -> None:
    signer = SharedKey("account", KEY, clock=lambda: 1_764_000_000.0)
    path = "/container/" + quote(key, safe="~/")
    target, signed = signer.sign(method, path, fields, headers, length)
    assert target.partition("?")[0] == path
    assert dict(parse_qsl(urlsplit(target).query)) == fields
    assert signed["Authorization"] == by_the_sdk(
        method, target, dict(signed) | {"Content-Length": str(length)}
    )


@pytest.mark.parametrize("key", ["not base64!", "YQ"])
def test_a_key_that_is_not_base64_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)base64|padding"):
        SharedKey("account", key)


@pytest.mark.parametrize("token", ["", "sv=1 &sig=2", "sv=1\r\nHost: x", "sig=ü"])
def test_a_signature_that_can_not_be_one_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="signature"):
        SharedAccess(token)


def test_a_shared_access_signature_ends_the_target() -> None:
    signer = SharedAccess("sv=1&sig=a%2Fb")
    assert signer.sign("GET", "/c/k", {}, {}, 0)[0] == "/c/k?sv=1&sig=a%2Fb"
    target, headers = signer.sign("GET", "/c", {"comp": "list"}, {"A": "b"}, 0)
    assert target == "/c?comp=list&sv=1&sig=a%2Fb"
    assert headers["A"] == "b"
