"""The lean way to Azure's blobs: when it is taken, and what it makes of odd answers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import CredentialsError, StorageError, StorageUnavailable
from myop_cdn.storage import open_backend
from myop_cdn.storage.azure.account import Account
from myop_cdn.storage.azure.wire import WireObjects, find_wire
from myop_cdn.storage.location import Location
from myop_cdn.wire.pool import MAX_BODY_BYTES
from tests.servers.azure import ACCOUNT, KEY, connection_string
from tests.servers.proxy import Answer, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myop_cdn.storage.base import Backend

URL = "az://container"
LOCATION = Location("az", "container", "")
SHARED_KEY = {"account_name": ACCOUNT, "account_key": KEY}
SECRET = "sv=1&sig=SECRET"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy in the environment."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def found(endpoint: str, credential: object = SHARED_KEY) -> WireObjects | None:
    return find_wire(URL, LOCATION, Account(endpoint, credential))


@pytest.mark.parametrize("credential", [SHARED_KEY, SECRET])
@pytest.mark.parametrize(
    "endpoint", ["https://a.blob.core.windows.net", "https://a.x.net/", "http://127.0.0.1:1/a"]
)
def test_a_key_or_a_signature_is_enough(endpoint: str, credential: object) -> None:
    assert found(endpoint, credential) is not None


@pytest.mark.parametrize(
    ("endpoint", "credential"),
    [
        ("https://a.blob.core.windows.net", object()),  # a login of azure-identity
        ("https://a.blob.core.windows.net?sv=1", SHARED_KEY),
        ("https://user@a.blob.core.windows.net", SHARED_KEY),
        ("https://münchen.example", SHARED_KEY),
        ("https://a.example/with blank", SHARED_KEY),
        ("ftp://a.example", SHARED_KEY),
        ("https://a.example:port", SHARED_KEY),
        ("nothing", SHARED_KEY),
    ],
)
def test_the_odd_is_left_to_the_sdk(endpoint: str, credential: object) -> None:
    assert found(endpoint, credential) is None


def test_a_proxy_is_left_to_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert found("https://a.example") is None
    monkeypatch.setenv("NO_PROXY", "a.example")
    assert found("https://a.example") is not None


def test_a_key_that_is_none_is_told_without_it() -> None:
    with pytest.raises(CredentialsError) as caught:
        found("https://a.example", {"account_name": "a", "account_key": "SECRET!"})
    assert "SECRET" not in caught.value.message + caught.value.hint


def test_a_login_that_is_set_up_wrongly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrongly(*_: object) -> Account:
        raise ValueError("SECRET is no tenant")  # as azure-identity does it

    monkeypatch.setattr("myop_cdn.storage.azure.backend.find_account", wrongly)
    with pytest.raises(CredentialsError) as caught:
        open_backend(URL).list(None)
    assert "SECRET" not in caught.value.message + caught.value.hint


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch, azurite: str) -> Iterator[tuple[Proxy, Backend]]:
    """A backend behind a proxy that can answer in the service's place."""
    with Proxy(azurite) as proxy:
        text = connection_string(proxy.url)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        yield proxy, open_backend(URL)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"<R><Blobs><Blob><Name>a</Name></Blob></Blobs></R>",
        b"<R><Blob><Name>a</Name><Etag>1</Etag></Blob></R>",
    ],
)
def test_a_listing_that_is_none_is_an_error(odd: tuple[Proxy, Backend], body: bytes) -> None:
    proxy, backend = odd
    proxy.meddle = lambda _: Answer(200, body)
    with pytest.raises(StorageError, match="listing can't be read") as caught:
        backend.list(None)
    assert type(caught.value) is StorageError


def test_an_md5_that_is_none_is_not_believed(odd: tuple[Proxy, Backend]) -> None:
    proxy, backend = odd
    item = (
        b"<Blob><Name>components/a/qa.json</Name><Properties><Etag>1</Etag>"
        b"<Content-Length>2</Content-Length><Content-MD5>!!</Content-MD5></Properties></Blob>"
    )
    proxy.meddle = lambda _: Answer(200, b"<R><Blobs>" + item + b"</Blobs><NextMarker/></R>")
    page = backend.list(None)
    assert [(one.key, one.md5, one.modified) for one in page.objects] == [
        ("components/a/qa.json", None, None)
    ]
    assert page.cursor is None


def test_a_ledger_may_be_longer_than_an_answer_of_other_services(
    odd: tuple[Proxy, Backend],
) -> None:
    proxy, backend = odd
    long = b"x" * (MAX_BODY_BYTES + 1)
    proxy.meddle = lambda _: Answer(200, long)
    blob = backend.get(".myop-cdn/ledger.json")
    assert blob is not None
    assert blob.data == long


def test_a_refusal_without_a_code_in_its_head_is_read_from_its_body(
    odd: tuple[Proxy, Backend],
) -> None:
    proxy, backend = odd
    proxy.meddle = lambda _: Answer(400, b"<Error><Code>Md5Mismatch</Code></Error>")
    with pytest.raises(StorageUnavailable, match="Md5Mismatch"):
        backend.get("components/a/qa.json")
