"""Google Cloud Storage: who asks, what is sent, and what is made of odd answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from myop_cdn.errors import ContainerMissing, CredentialsError, InputError, StorageError
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import AclAware, Body, Copying, Headers, OpenOptions
from myop_cdn.storage.gcs.backend import GcsBackend
from tests.servers.proxy import Answer, Proxy, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEY = "components/a/qa.json"
BODY = Body.of(b"{}")
REFUSED = Answer(401, b'{"error": {"message": "Invalid Credentials"}}', "application/json")


class Clerk:
    """Gives new headers when those before were refused."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, str] | None] = []

    def headers(self, refused: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """A bearer token that counts."""
        self.asked.append(refused)
        return {"Authorization": f"Bearer {len(self.asked)}"}


@pytest.fixture
def proxy(gcs_emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with Proxy(gcs_emulator) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        yield proxy


@pytest.fixture
def backend(proxy: Proxy) -> GcsBackend:
    return opened()


def opened(**options: Any) -> GcsBackend:
    found = open_backend("gs://bucket", OpenOptions(**options))
    assert isinstance(found, GcsBackend)
    return found


def test_a_refused_authorization_is_renewed_once(proxy: Proxy, backend: GcsBackend) -> None:
    clerk: Any = Clerk()
    backend._authorization = clerk

    def expired(seen: Seen) -> Answer | None:
        return REFUSED if seen.number == 1 else Answer(200, b"{}", "application/json")

    proxy.meddle = expired
    assert backend.list(None).objects == []
    assert clerk.asked == [None, {"Authorization": "Bearer 1"}]


def test_an_authorization_that_stays_refused_ends_it(proxy: Proxy, backend: GcsBackend) -> None:
    clerk: Any = Clerk()
    backend._authorization = clerk
    proxy.meddle = lambda _: REFUSED
    with pytest.raises(CredentialsError):
        backend.list(None)
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
        b'{"items": {}}',
        b'{"items": [{"name": "a", "size": "1", "generation": "1", "metadata": [1]}]}',
        b'{"nextPageToken": 1}',
        b'{"x": [' + b"[]," * 1_000_001 + b"1]}",
        b"x" * (16 * 2**20 + 1),
        b"[" * 100_000,
    ],
)
def test_a_listing_that_can_not_be_read_is_an_error(
    proxy: Proxy, backend: GcsBackend, body: bytes
) -> None:
    proxy.meddle = lambda _: Answer(200, body, "application/json")
    with pytest.raises(StorageError) as caught:
        backend.list(None)
    assert type(caught.value) is StorageError


def test_a_missing_object_and_a_missing_bucket_are_told_apart(
    proxy: Proxy, backend: GcsBackend
) -> None:
    here = backend
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
    proxy: Proxy, backend: GcsBackend, data: bytes
) -> None:
    make_bucket(proxy)
    version = backend.put(KEY, Body.of(data), Headers("application/octet-stream", "no-store"))
    blob = backend.get(KEY)
    assert blob is not None
    assert (blob.data, blob.version) == (data, version)
    assert blob.headers == Headers("application/octet-stream", "no-store")


def make_bucket(proxy: Proxy) -> None:
    requests.post(f"{proxy.url}/storage/v1/b", json={"name": "bucket"}, timeout=30)


def test_an_answer_without_a_generation_is_an_error(proxy: Proxy, backend: GcsBackend) -> None:
    proxy.meddle = lambda _: Answer(200, b"{}")
    with pytest.raises(StorageError, match="can't be read"):
        backend.get(KEY)


def test_what_is_written_and_copied_has_the_acl_that_was_asked_for(proxy: Proxy) -> None:
    make_bucket(proxy)
    public, private = opened(acl="public-read"), opened()
    assert isinstance(private, AclAware)
    for backend, expected in ((public, True), (private, None)):
        version = backend.put(KEY, BODY, Headers())
        backend.copy(backend, KEY, version, "history/1")
        assert private.is_public_by_acl(KEY) is expected
        assert private.is_public_by_acl("history/1") is expected
    assert private.is_public_by_acl("nothing") is None


def test_an_acl_that_may_not_be_seen_is_not_known(proxy: Proxy, backend: GcsBackend) -> None:
    for status in (400, 403):  # 400: the bucket has uniform access
        proxy.meddle = lambda _, status=status: Answer(status, b"{}")  # type: ignore[misc]
        assert backend.is_public_by_acl(KEY) is None


def test_what_is_written_and_copied_has_the_storage_class_that_was_asked_for(proxy: Proxy) -> None:
    make_bucket(proxy)
    backend = opened(storage_class="nearline")
    assert isinstance(backend, Copying)
    version = backend.put(KEY, BODY, Headers(cache_control="no-store"), {"variant": "v1"})
    backend.copy(backend, KEY, version, "history/1")
    for key in (KEY, "history/1"):
        head = backend.head(key)
        assert head is not None
        assert head.storage_class == "NEARLINE"
        assert head.headers == Headers(cache_control="no-store")
        assert head.metadata is not None
        assert head.metadata["variant"] == "v1"


@pytest.mark.parametrize("options", [{"acl": "everybody"}, {"storage_class": "GLACIER"}])
def test_an_acl_or_class_that_google_has_not_is_bad_usage(options: dict[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        opened(**options)
    assert next(iter(options.values())) in caught.value.message


def test_a_copy_in_parts_goes_on_with_the_token(proxy: Proxy, backend: GcsBackend) -> None:
    parts = [
        {"done": False, "rewriteToken": "more"},
        {"done": True, "resource": {"generation": "7"}},
    ]
    queries: list[str] = []

    def answer(seen: Seen) -> Answer:
        queries.append(seen.query)
        return Answer(200, json.dumps(parts[len(queries) - 1]).encode(), "application/json")

    proxy.meddle = answer
    assert backend.copy(backend, KEY, "1", "history/1") == "7"
    assert "rewriteToken=" not in queries[0]
    assert "rewriteToken=more" in queries[1]


def test_a_copy_that_never_ends_is_an_error(proxy: Proxy, backend: GcsBackend) -> None:
    body = b'{"done": false, "rewriteToken": "more"}'
    proxy.meddle = lambda _: Answer(200, body, "application/json")
    with pytest.raises(StorageError):
        backend.copy(backend, KEY, "1", "history/1")
    assert len(proxy.arrived) == 1000
