"""Azure's blobs: what is sent, and what is made of odd answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import InputError, StorageError, StorageUnavailable
from myop_cdn.storage import open_backend
from myop_cdn.storage.azure.backend import AzureBackend
from myop_cdn.storage.base import Body, Headers, OpenOptions
from tests.servers.azure import connection_string
from tests.servers.proxy import Answer, Proxy
from tests.storage.rigs import AzureRig, azure_rig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myop_cdn.storage.base import Backend
    from tests.servers.proxy import Seen

URL = "az://container"
KEY = "components/a/qa.json"
MANY_BYTES = 64 * 2**20 + 1  # more than any other answer may have


@pytest.mark.parametrize("url", ["az://c/x", "az://ab", "az://UPPER/x", "az://a--b"])
def test_a_container_name_that_can_not_be_one_is_told_with_the_rule(url: str) -> None:
    with pytest.raises(InputError, match="not a container name") as caught:
        open_backend(url)
    assert "3 to 63 lower-case letters" in caught.value.hint


@pytest.mark.parametrize(
    "options", [OpenOptions(acl="public-read"), OpenOptions(storage_class="x")]
)
def test_what_azure_does_not_have_is_bad_usage(options: OpenOptions) -> None:
    with pytest.raises(InputError, match="Azure has no"):
        open_backend(URL, options)


def test_what_is_written_and_copied_has_the_tier_that_was_asked_for(
    azurite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = azure_rig(azurite, monkeypatch)
    assert isinstance(rig, AzureRig)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string(azurite))
    backend = open_backend(f"az://{rig.bucket}", OpenOptions(storage_class="cool"))
    assert isinstance(backend, AzureBackend)
    version = backend.put(KEY, Body.of(b"{}"), Headers())
    backend.copy(backend, KEY, version, "history/1")
    rig.open().put("usual", Body.of(b"{}"), Headers())
    tiers = {info.key: info.storage_class for info in backend.list(None).objects}
    assert tiers == {KEY: "Cool", "history/1": "Cool", "usual": ""}


def test_a_copy_with_a_shared_access_signature_reads_its_source_by_it(
    azurite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = azure_rig(azurite, monkeypatch)
    assert isinstance(rig, AzureRig)
    with rig.shared("rwlcad") as backend:
        assert isinstance(backend, AzureBackend)
        version = backend.put(KEY, Body.of(b"{}"), Headers())
        backend.copy(backend, KEY, version, "history/1")
        blob = backend.get("history/1")
    assert blob is not None
    assert blob.data == b"{}"


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
def test_a_listing_that_can_not_be_read_is_an_error(
    odd: tuple[Proxy, Backend], body: bytes
) -> None:
    proxy, backend = odd
    proxy.meddle = lambda _: Answer(200, body)
    with pytest.raises(StorageError, match="can't be read") as caught:
        backend.list(None)
    assert type(caught.value) is StorageError


def test_an_md5_that_is_not_one_is_not_believed(odd: tuple[Proxy, Backend]) -> None:
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
    long = b"x" * MANY_BYTES
    proxy.meddle = lambda _: Answer(200, long, headers={"ETag": '"1"'})
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


def test_an_answer_without_an_etag_is_an_error(odd: tuple[Proxy, Backend]) -> None:
    proxy, backend = odd
    proxy.meddle = lambda _: Answer(200, b"{}")
    for read in (backend.get, backend.head):
        with pytest.raises(StorageError, match="can't be read"):
            read(KEY)


def test_a_copy_that_is_pending_is_waited_for(odd: tuple[Proxy, Backend]) -> None:
    proxy, backend = odd
    assert isinstance(backend, AzureBackend)
    slept: list[float] = []
    backend._sleep = slept.append

    def copying(seen: Seen) -> Answer:
        status = "pending" if seen.number < 3 else "success"
        headers = {"ETag": f'"{seen.number}"', "x-ms-copy-status": status}
        return Answer(202 if seen.method == "PUT" else 200, headers=headers)

    proxy.meddle = copying
    assert backend.copy(backend, KEY, "1", "history/1") == "3"
    assert len(slept) == 2
