"""The suite that every backend passes: subclass `BackendContract` in a pytest module.

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def rig(self, my_server):
            return MyRig(my_server)

A `Rig` opens backends on one place that was empty before the test. What a service has no notion
of (a folder that is always made, say) the rig says by None, and that one check is passed over.
Nothing here imports pytest.
"""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    CredentialsError,
    MyopCdnError,
    PreconditionFailed,
    StorageError,
)
from myop_cdn.storage.base import Backend, Body, Headers, ObjectInfo, Precondition
from myop_cdn.storage.readonly import ReadOnly

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADERS = Headers("application/json; charset=utf-8", "public, max-age=300")
ODD_KEYS = (
    "components/plain/qa.json",
    "components/with blank/ä ö ü.json",
    "components/plus+plus/a+b.json",
    "components/100%/%41%2F.json",
    "components/日本語/本番.json",
    "components/😀/e\u0301.json",
    'components/quote\'d/"double".json',
    "components/q?uery/fr#agment.json",
    "components/am&p/semi;colon=x,y@z.json",
    "components/~tilde/(round)[square]{curly}!$*.json",
    ".myop-cdn/ledger.json",
)


class Rig(Protocol):
    """What a backend's author supplies. One rig serves one test."""

    def open(self, prefix: str = "") -> Backend:
        """A backend on the rig's own bucket (or folder, …) below `prefix`."""

    def small_pages(self) -> Backend | None:
        """One whose listing has pages of 10 objects, or None where it has one page."""

    def missing(self) -> Backend | None:
        """One on a bucket that does not exist."""

    def denied(self) -> AbstractContextManager[Backend] | None:
        """One whose credentials may not write there (or are not known there at all)."""

    def broken(self) -> AbstractContextManager[Backend] | None:
        """One whose uploads break in the middle, on the same place as `open`."""


@contextmanager
def raises(*kinds: type[MyopCdnError]) -> Iterator[None]:
    """The block must end with one of these errors, and its message must say something."""
    raised: MyopCdnError | None = None
    try:
        yield
    except kinds as error:
        raised = error
    assert raised is not None, f"none of {[kind.__name__ for kind in kinds]} was raised"
    assert raised.message


def listing(backend: Backend, prefix: str = "", limit: int | None = None) -> dict[str, ObjectInfo]:
    """Every object of all pages."""
    found: dict[str, ObjectInfo] = {}
    cursor: str | None = None
    while True:
        page = backend.list(cursor, prefix, limit)
        for one in page.objects:
            assert one.key not in found, f"{one.key} is listed twice"
            found[one.key] = one
        cursor = page.cursor
        if cursor is None:
            return found


class BackendContract:
    """What is expected of every backend, one behaviour a method."""

    honours_conditions = True
    """False for a service that ignores conditional writes."""

    def test_an_empty_place_lists_nothing(self, rig: Rig) -> None:
        assert listing(rig.open("site")) == {}

    def test_what_was_put_is_what_is_read(self, rig: Rig) -> None:
        backend = rig.open("site")
        for size in (0, 1, 70_000, 3_000_000):
            body = Body.of(b"\0\xff\n\r" * (size // 4) + b"x" * (size % 4))
            version = backend.put("components/a/qa.json", body, HEADERS)
            blob = backend.get("components/a/qa.json")
            assert blob is not None
            assert blob.data == body.data
            assert blob.version == version

    def test_odd_keys_come_back_as_they_went(self, rig: Rig) -> None:
        backend = rig.open("my site/ü+%20")
        for number, key in enumerate(ODD_KEYS):
            backend.put(key, Body.of(str(number).encode()), HEADERS)
        assert set(listing(backend)) == set(ODD_KEYS)
        for number, key in enumerate(ODD_KEYS):
            blob = backend.get(key)
            assert blob is not None, key
            assert blob.data == str(number).encode()
            head = backend.head(key)
            assert head is not None, key
            assert head.key == key
        for key in ODD_KEYS:
            assert not backend.delete([key])
        assert listing(backend) == {}

    def test_a_listing_goes_over_all_pages(self, rig: Rig) -> None:
        backend = rig.small_pages()
        if backend is None:
            return
        keys = [f"components/c{number:02}/qa.json" for number in range(35)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: backend.put(key, Body.of(b"{}"), HEADERS), keys))
        assert sorted(listing(backend)) == keys
        first = backend.list(None)
        assert first.cursor is not None
        assert len(first.objects) <= 10

    def test_a_prefix_ends_at_its_slash(self, rig: Rig) -> None:
        rig.open("a").put("components/x/qa.json", Body.of(b"a"), HEADERS)
        rig.open("ab").put("components/y/qa.json", Body.of(b"ab"), HEADERS)
        assert set(listing(rig.open("a"))) == {"components/x/qa.json"}
        assert set(listing(rig.open("ab"))) == {"components/y/qa.json"}
        assert set(listing(rig.open())) == {"a/components/x/qa.json", "ab/components/y/qa.json"}
        assert rig.open("a").get("components/y/qa.json") is None

    def test_an_overwritten_object_has_another_version(self, rig: Rig) -> None:
        backend = rig.open("site")
        first = backend.put("components/a/qa.json", Body.of(b"one"), HEADERS)
        second = backend.put("components/a/qa.json", Body.of(b"two"), HEADERS)
        assert first != second
        blob = backend.get("components/a/qa.json")
        assert blob is not None
        assert blob.data == b"two"

    def test_listing_head_and_put_tell_the_same(self, rig: Rig) -> None:
        backend = rig.open("site")
        body = Body.of(b'{"a": 1}')
        version = backend.put("components/a/qa.json", body, HEADERS)
        head = backend.head("components/a/qa.json")
        listed = listing(backend)["components/a/qa.json"]
        assert head is not None
        assert head.version == version
        assert listed.version in ("", version)
        for facts in (head, listed):
            assert facts.size == len(body.data)
            assert facts.md5 in (None, body.md5)
            assert facts.sha256 in (None, body.sha256)
        assert head.md5 == body.md5 or head.sha256 == body.sha256
        if listed.headers is not None:
            assert listed.headers == head.headers

    def test_headers_come_back_as_they_went(self, rig: Rig) -> None:
        backend = rig.open("site")
        if not backend.keeps_headers:
            return
        packed = Headers("application/json; charset=utf-8", "no-store", "gzip")
        for headers in (HEADERS, packed, Headers("text/plain")):
            backend.put("components/a/qa.json", Body.of(gzip.compress(b"{}")), headers)
            head = backend.head("components/a/qa.json")
            blob = backend.get("components/a/qa.json")
            assert head is not None
            assert blob is not None
            assert head.headers == headers

    def test_an_encoded_object_is_handed_out_as_stored(self, rig: Rig) -> None:
        backend = rig.open("site")
        if not backend.keeps_headers:
            return
        body = Body.of(gzip.compress(b'{"a": 1}', mtime=0))
        backend.put("components/a/qa.json", body, Headers(content_encoding="gzip"))
        blob = backend.get("components/a/qa.json")
        assert blob is not None
        assert blob.data == body.data
        assert blob.headers.content_encoding == "gzip"

    def test_what_is_not_there_is_none(self, rig: Rig) -> None:
        backend = rig.open("site")
        assert backend.get("components/a/qa.json") is None
        assert backend.head("components/a/qa.json") is None

    def test_deleting_leaves_the_others_and_minds_nothing_missing(self, rig: Rig) -> None:
        backend = rig.open("site")
        keys = [f"components/c{number}/qa.json" for number in range(7)]
        for key in keys:
            backend.put(key, Body.of(b"{}"), HEADERS)
        for start in range(0, 6, backend.delete_batch):
            assert not backend.delete(keys[start : min(6, start + backend.delete_batch)])
        assert not backend.delete(keys[:1])
        assert set(listing(backend)) == {keys[6]}

    def test_create_only_if_absent(self, rig: Rig) -> None:
        backend = rig.open("site")
        backend.put("ledger.json", Body.of(b"one"), HEADERS, precondition=Precondition(None))
        if not self.honours_conditions:
            return
        with raises(PreconditionFailed):
            backend.put("ledger.json", Body.of(b"two"), HEADERS, precondition=Precondition(None))
        blob = backend.get("ledger.json")
        assert blob is not None
        assert blob.data == b"one"

    def test_replace_only_if_unchanged(self, rig: Rig) -> None:
        backend = rig.open("site")
        first = backend.put("ledger.json", Body.of(b"one"), HEADERS)
        second = backend.put(
            "ledger.json", Body.of(b"two"), HEADERS, precondition=Precondition(first)
        )
        if not self.honours_conditions:
            return
        with raises(PreconditionFailed):
            backend.put("ledger.json", Body.of(b"three"), HEADERS, precondition=Precondition(first))
        blob = backend.get("ledger.json")
        assert blob is not None
        assert (blob.data, blob.version) == (b"two", second)

    def test_replacing_what_is_gone_fails(self, rig: Rig) -> None:
        backend = rig.open("site")
        version = backend.put("ledger.json", Body.of(b"one"), HEADERS)
        backend.delete(["ledger.json"])
        if not self.honours_conditions:
            return
        with raises(PreconditionFailed):
            backend.put("ledger.json", Body.of(b"two"), HEADERS, precondition=Precondition(version))
        assert backend.get("ledger.json") is None

    def test_many_writers_at_once(self, rig: Rig) -> None:
        backend = rig.open("site")
        keys = [f"components/c{number}/qa.json" for number in range(40)]
        bodies = {key: Body.of(key.encode() * 500) for key in keys}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: backend.put(key, bodies[key], HEADERS), keys))
        assert {key: one.size for key, one in listing(backend).items()} == {
            key: len(body.data) for key, body in bodies.items()
        }

    def test_a_missing_bucket_is_told(self, rig: Rig) -> None:
        backend = rig.missing()
        if backend is None:
            return
        with raises(ContainerMissing):
            backend.list(None)
        with raises(ContainerMissing):
            backend.put("components/a/qa.json", Body.of(b"{}"), HEADERS)

    def test_a_write_that_is_not_allowed_is_told(self, rig: Rig) -> None:
        place = rig.denied()
        if place is None:
            return
        with place as backend, raises(AccessDenied, CredentialsError):
            backend.put("components/a/qa.json", Body.of(b"{}"), HEADERS)
        assert listing(rig.open()) == {}

    def test_an_interrupted_upload_leaves_the_old_object(self, rig: Rig) -> None:
        old = Body.of(b"old" * 100_000)
        backend = rig.open()
        backend.put("components/a/qa.json", old, HEADERS)
        place = rig.broken()
        if place is None:
            return
        with place as breaking, raises(StorageError):
            breaking.put("components/a/qa.json", Body.of(b"new" * 100_000), HEADERS)
        blob = backend.get("components/a/qa.json")
        assert blob is not None
        assert blob.data == old.data
        assert set(listing(backend)) == {"components/a/qa.json"}

    def test_a_dry_run_writes_nothing(self, rig: Rig) -> None:
        backend = rig.open()
        backend.put("components/a/qa.json", Body.of(b"old"), HEADERS)
        dry = ReadOnly(backend)
        dry.put("components/a/qa.json", Body.of(b"new"), HEADERS)
        dry.put("components/b/qa.json", Body.of(b"new"), HEADERS)
        dry.delete(["components/a/qa.json"])
        assert set(listing(backend)) == set(listing(dry)) == {"components/a/qa.json"}
        blob = dry.get("components/a/qa.json")
        assert blob is not None
        assert blob.data == b"old"
