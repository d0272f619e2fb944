"""The lean way to Google Cloud Storage: who asks, and what it makes of odd answers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from myop_cdn.errors import ContainerMissing, CredentialsError, StorageError
from myop_cdn.storage.base import Body, Headers
from myop_cdn.storage.gcs.place import Place
from myop_cdn.storage.gcs.wire import WireObjects
from myop_cdn.storage.location import Location
from myop_cdn.wire import Origin
from tests.servers.proxy import Answer, Proxy, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEY = "components/a/qa.json"
REFUSED = Answer(401, b'{"error": {"message": "Invalid Credentials"}}', "application/json")


class Clerk:
    """Gives a new authorization when the one before was refused."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, str] | None] = []

    def __call__(self, refused: Mapping[str, str] | None) -> Mapping[str, str]:
        self.asked.append(refused)
        return {"Authorization": f"Bearer {len(self.asked)}"}


@pytest.fixture
def proxy(gcs_emulator: str) -> Iterator[Proxy]:
    with Proxy(gcs_emulator) as proxy:
        yield proxy


def objects(proxy: Proxy, clerk: Clerk) -> WireObjects:
    where = urlsplit(proxy.url)
    assert where.hostname
    assert where.port
    origin = Origin("http", where.hostname, where.port)
    return WireObjects(Location("gs", "bucket", ""), Place(origin, clerk))


def test_a_refused_authorization_is_renewed_once(proxy: Proxy) -> None:
    clerk = Clerk()

    def expired(seen: Seen) -> Answer | None:
        return REFUSED if seen.number == 1 else Answer(200, b"{}", "application/json")

    proxy.meddle = expired
    assert objects(proxy, clerk).list(None, 10).objects == []
    assert clerk.asked == [None, {"Authorization": "Bearer 1"}]


def test_an_authorization_that_stays_refused_ends_it(proxy: Proxy) -> None:
    clerk = Clerk()
    proxy.meddle = lambda _: REFUSED
    with pytest.raises(CredentialsError):
        objects(proxy, clerk).list(None, 10)
    assert clerk.asked == [None, {"Authorization": "Bearer 1"}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"nonsense",
        b'{"items": [{}]}',
        b'{"items": [{"name": "a", "size": "x", "generation": "1"}]}',
        b'{"items": [{"name": "a", "size": "1", "generation": "1", "updated": "then"}]}',
        b'{"items": ["a"]}',
        b"[" * 100_000,
    ],
)
def test_a_listing_that_is_none_is_an_error(proxy: Proxy, body: bytes) -> None:
    proxy.meddle = lambda _: Answer(200, body, "application/json")
    with pytest.raises(StorageError) as caught:
        objects(proxy, Clerk()).list(None, 10)
    assert type(caught.value) is StorageError


def test_a_missing_object_and_a_missing_bucket_are_told_apart(proxy: Proxy) -> None:
    here = objects(proxy, Clerk())
    proxy.meddle = lambda _: Answer(404, b"No such object: bucket/components/a/qa.json")
    assert here.get(KEY) is None
    assert here.head(KEY) is None
    assert here.delete([KEY]) == {}
    proxy.meddle = lambda _: Answer(
        404, b'{"error": {"message": "The specified bucket does not exist."}}'
    )
    for ask in (here.get, here.head, lambda key: here.delete([key])):
        with pytest.raises(ContainerMissing):
            ask(KEY)


@pytest.mark.parametrize(
    "data", [b"", b"--\r\n", b'{"a": "\xe2\x98\x83"}\r\n\r\n--', bytes(range(256)) * 3]
)
def test_content_that_looks_like_a_part_s_end_comes_back_as_it_went(
    proxy: Proxy, data: bytes
) -> None:
    requests.post(f"{proxy.url}/storage/v1/b", json={"name": "bucket"}, timeout=30)
    here = objects(proxy, Clerk())
    version = here.put(KEY, Body.of(data), Headers("application/octet-stream", "no-store"))
    blob = here.get(KEY)
    assert blob is not None
    assert (blob.data, blob.version) == (data, version)
    assert blob.headers == Headers("application/octet-stream", "no-store")
