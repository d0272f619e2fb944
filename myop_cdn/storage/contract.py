"""The suite that every backend passes: subclass `BackendContract` in a pytest module.

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def rig(self, my_server):
            return MyRig(my_server)

A `Rig` opens backends on one place that was empty before the test. What a service has no notion
of (a folder that is always made, say) the rig says by None: that one test is then skipped, which
pytest reports, and so is each test of an ability (`Copying`, …) that the backend lacks. pytest is
imported for nothing else.
"""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, NoReturn, Protocol

from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    CredentialsError,
    MyopCdnError,
    PreconditionFailed,
    StorageError,
)
from myop_cdn.storage.base import (
    SHA256_METADATA,
    Backend,
    Body,
    ConditionalDelete,
    Copying,
    Headers,
    ObjectInfo,
    Precondition,
)
from myop_cdn.storage.readonly import ReadOnly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

KEY = "components/a/qa.json"
HEADERS = Headers("application/json; charset=utf-8", "public, max-age=300")
METADATA = {
    "moment": "2026-11-24T08:00:00Z",
    "variant": "a b  c; d=e, \"f\" 'g' %20 +?&#\\/~",
    "x1": "v" * 800,
}
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


def version_of(backend: Backend, key: str) -> str:
    """The version of an object that is there."""
    head = backend.head(key)
    assert head is not None, key
    return head.version


def content_of(backend: Backend, key: str = KEY) -> bytes:
    """The bytes of an object that is there."""
    blob = backend.get(key)
    assert blob is not None, key
    return blob.data


def winners(writes: Sequence[Callable[[], object]]) -> list[int]:
    """Which of these writes, all at once, got through. The others must fail by their condition."""

    def attempt(write: Callable[[], object]) -> bool:
        try:
            write()
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(len(writes)) as pool:
        return [number for number, won in enumerate(pool.map(attempt, writes)) if won]


def skip(reason: str) -> NoReturn:
    """End the test as one that was not run. The report tells why."""
    import pytest

    pytest.skip(reason)


class BackendContract:
    """What is expected of every backend, one behaviour a method."""

    honours_conditions = True
    """False for a service that ignores conditional writes."""

    def need_conditions(self) -> None:
        """Skip the test where the service ignores conditions."""
        if not self.honours_conditions:
            skip("the service ignores conditional writes")

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
            skip("the rig has no listing of small pages")
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
            skip("the service keeps no headers")
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
            skip("the service keeps no headers")
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
        backend.put(KEY, Body.of(b"one"), HEADERS, precondition=Precondition(None))
        self.need_conditions()
        with raises(PreconditionFailed):
            backend.put(KEY, Body.of(b"two"), HEADERS, precondition=Precondition(None))
        assert content_of(backend) == b"one"

    def test_replace_only_if_unchanged(self, rig: Rig) -> None:
        backend = rig.open("site")
        first = backend.put(KEY, Body.of(b"one"), HEADERS)
        second = backend.put(KEY, Body.of(b"two"), HEADERS, precondition=Precondition(first))
        self.need_conditions()
        with raises(PreconditionFailed):
            backend.put(KEY, Body.of(b"three"), HEADERS, precondition=Precondition(first))
        assert content_of(backend) == b"two"
        assert version_of(backend, KEY) == second

    def test_replacing_what_is_gone_fails(self, rig: Rig) -> None:
        self.need_conditions()
        backend = rig.open("site")
        version = backend.put(KEY, Body.of(b"one"), HEADERS)
        backend.delete([KEY])
        with raises(PreconditionFailed):
            backend.put(KEY, Body.of(b"two"), HEADERS, precondition=Precondition(version))
        assert backend.get(KEY) is None

    def test_of_many_that_create_at_once_one_wins(self, rig: Rig) -> None:
        self.need_conditions()
        backend = rig.open("site")
        bodies = [Body.of(f"{number}".encode() * 5000) for number in range(8)]
        absent = Precondition(None)
        for key in ("log/1.json", "log/2.json", "log/3.json"):
            puts = [partial(backend.put, key, body, HEADERS, {}, absent) for body in bodies]
            (winner,) = winners(puts)
            assert content_of(backend, key) == bodies[winner].data

    def test_of_many_that_replace_at_once_one_wins(self, rig: Rig) -> None:
        self.need_conditions()
        backend = rig.open("site")
        bodies = [Body.of(f"{number}".encode() * 5000) for number in range(8)]
        version = backend.put(KEY, Body.of(b"old"), HEADERS)
        for _ in range(3):
            there = Precondition(version)
            puts = [partial(backend.put, KEY, body, HEADERS, {}, there) for body in bodies]
            (winner,) = winners(puts)
            assert content_of(backend) == bodies[winner].data
            version = backend.put(KEY, Body.of(f"old {version}".encode()), HEADERS)

    def test_metadata_are_told_by_head(self, rig: Rig) -> None:
        backend = rig.open("site")
        body = Body.of(b"{}")
        backend.put(KEY, body, HEADERS, METADATA)
        head = backend.head(KEY)
        assert head is not None
        assert head.metadata == {**METADATA, SHA256_METADATA: body.sha256}
        assert head.sha256 == body.sha256
        assert listing(backend)[KEY].metadata in (None, head.metadata)

    def test_metadata_are_those_of_the_last_write(self, rig: Rig) -> None:
        backend = rig.open("site")
        body = Body.of(b"{}")
        for metadata in (METADATA, {"moment": "now"}, {}):
            backend.put(KEY, body, HEADERS, metadata)
            head = backend.head(KEY)
            assert head is not None
            assert head.metadata == {**metadata, SHA256_METADATA: body.sha256}

    def test_a_moment_has_a_time_zone(self, rig: Rig) -> None:
        backend = rig.open("site")
        backend.put(KEY, Body.of(b"{}"), HEADERS)
        for facts in (backend.head(KEY), listing(backend)[KEY]):
            assert facts is not None
            assert facts.modified is None or facts.modified.tzinfo is not None

    def test_more_than_the_limit_is_not_read(self, rig: Rig) -> None:
        backend = rig.open("site")
        backend.put(KEY, Body.of(b"x" * 100_000), HEADERS)
        blob = backend.get(KEY, 100_000)
        assert blob is not None
        assert len(blob.data) == 100_000
        with raises(StorageError):
            backend.get(KEY, 99_999)
        assert backend.get("components/b/qa.json", 10) is None

    def test_a_listing_is_in_order_of_the_keys(self, rig: Rig) -> None:
        backend = rig.open("site")
        names = ("b/a", "b-", "b.", "b0", "B", "a", "ab", "b/b/c", "b/b-", "ä", "é", "日本", "~")
        keys = [f"{name}.json" for name in names]
        for key in keys:
            backend.put(key, Body.of(key.encode()), HEADERS)
        expected = sorted(keys, key=str.encode)
        assert list(listing(backend)) == expected
        assert list(listing(backend, limit=3)) == expected

    def test_a_listing_has_the_keys_of_its_prefix_alone(self, rig: Rig) -> None:
        backend = rig.open("site")
        keys = ("log/1.json", "log/2.json", "log-old/1.json", "lo", "components/log/1.json")
        for key in keys:
            backend.put(key, Body.of(b"{}"), HEADERS)
        assert list(listing(backend, "log/")) == ["log/1.json", "log/2.json"]
        assert list(listing(backend, "log/2")) == ["log/2.json"]
        assert list(listing(backend, "log")) == ["log-old/1.json", "log/1.json", "log/2.json"]
        assert listing(backend, "nothing/") == {}
        assert listing(backend, "log/1.json/") == {}

    def test_the_newest_comes_first_where_names_sort_so(self, rig: Rig) -> None:
        backend = rig.open("site")
        for number in (3, 1, 5, 2, 4):
            backend.put(f"log/{9999 - number}.json", Body.of(b"{}"), HEADERS)
        backend.put("components/a/qa.json", Body.of(b"{}"), HEADERS)
        page = backend.list(None, "log/", 1)
        assert [one.key for one in page.objects] == ["log/9994.json"]
        assert page.cursor is not None
        page = backend.list(page.cursor, "log/", 2)
        assert [one.key for one in page.objects] == ["log/9995.json", "log/9996.json"]

    def test_a_copy_has_content_headers_and_metadata(self, rig: Rig) -> None:
        source, target = rig.open("site/ü 1"), rig.open("other")
        copying = self.copying(target, source)
        for number, key in enumerate(ODD_KEYS):
            body = Body.of(f"{number}".encode())
            version = source.put(key, body, HEADERS, METADATA)
            copied = copying.copy(source, key, version, f"history/{number}")
            head = target.head(f"history/{number}")
            assert head is not None, key
            assert (head.version, head.sha256) == (copied, body.sha256)
            # Some services add names of their own to a copy.
            assert head.metadata is not None
            assert head.metadata.items() >= {**METADATA, SHA256_METADATA: body.sha256}.items()
            if target.keeps_headers:
                assert head.headers == HEADERS
            assert content_of(target, f"history/{number}") == body.data
            assert version_of(source, key) == version

    def test_a_copy_replaces_what_is_there(self, rig: Rig) -> None:
        backend = rig.open("site")
        copying = self.copying(backend, backend)
        version = backend.put("history/1", Body.of(b"old"), Headers("text/plain"))
        backend.put(KEY, Body.of(b"new"), HEADERS, METADATA)
        copying.copy(backend, "history/1", version, KEY)
        assert content_of(backend) == b"old"
        head = backend.head(KEY)
        assert head is not None
        assert head.metadata is not None
        assert head.sha256 == Body.of(b"old").sha256
        assert head.metadata.keys().isdisjoint(METADATA)

    def test_a_source_that_changed_is_not_copied(self, rig: Rig) -> None:
        self.need_conditions()
        backend = rig.open("site")
        copying = self.copying(backend, backend)
        version = backend.put("source", Body.of(b"old"), HEADERS)
        backend.put("source", Body.of(b"new"), HEADERS)
        with raises(PreconditionFailed):
            copying.copy(backend, "source", version, KEY)
        backend.delete(["source"])
        with raises(PreconditionFailed):
            copying.copy(backend, "source", version, KEY)
        assert backend.get(KEY) is None

    def test_a_copy_onto_something_else_than_expected_fails(self, rig: Rig) -> None:
        self.need_conditions()
        backend = rig.open("site")
        copying = self.copying(backend, backend)
        version = backend.put("source", Body.of(b"new"), HEADERS)
        first = copying.copy(backend, "source", version, KEY, Precondition(None))
        with raises(PreconditionFailed):
            copying.copy(backend, "source", version, KEY, Precondition(None))
        second = backend.put(KEY, Body.of(b"theirs"), HEADERS)
        with raises(PreconditionFailed):
            copying.copy(backend, "source", version, KEY, Precondition(first))
        assert content_of(backend) == b"theirs"
        copying.copy(backend, "source", version, KEY, Precondition(second))
        assert content_of(backend) == b"new"
        backend.delete([KEY])
        with raises(PreconditionFailed):
            copying.copy(backend, "source", version, KEY, Precondition(second))

    def test_only_the_version_that_was_seen_is_deleted(self, rig: Rig) -> None:
        self.need_conditions()
        backend = rig.open("site")
        if not isinstance(backend, ConditionalDelete):
            skip("the backend has no conditional delete")
        first = backend.put(KEY, Body.of(b"one"), HEADERS, METADATA)
        second = backend.put(KEY, Body.of(b"two"), HEADERS, METADATA)
        with raises(PreconditionFailed):
            backend.delete_version(KEY, first)
        assert content_of(backend) == b"two"
        backend.delete_version(KEY, second)
        assert backend.get(KEY) is None
        backend.delete_version(KEY, second)

    def copying(self, target: Backend, source: Backend) -> Copying:
        """`target`, where it can copy from `source`; skips the test elsewhere."""
        if not isinstance(target, Copying):
            skip("the backend has no copies at the service")
        assert target.can_copy_from(source)
        return target

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
            skip("the rig has no place that is missing")
        with raises(ContainerMissing):
            backend.list(None)
        with raises(ContainerMissing):
            backend.put("components/a/qa.json", Body.of(b"{}"), HEADERS)

    def test_a_write_that_is_not_allowed_is_told(self, rig: Rig) -> None:
        place = rig.denied()
        if place is None:
            skip("the rig has no place where writing is denied")
        with place as backend, raises(AccessDenied, CredentialsError):
            backend.put("components/a/qa.json", Body.of(b"{}"), HEADERS)
        assert listing(rig.open()) == {}

    def test_an_interrupted_upload_leaves_the_old_object(self, rig: Rig) -> None:
        old = Body.of(b"old" * 100_000)
        backend = rig.open()
        backend.put("components/a/qa.json", old, HEADERS)
        place = rig.broken()
        if place is None:
            skip("the rig can't break an upload")
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
