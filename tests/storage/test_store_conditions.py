"""Copies and conditional deletes, also where the service has no such thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.errors import PreconditionFailed
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import Body, Headers, Precondition
from myop_cdn.storage.store import Store

if TYPE_CHECKING:
    from myop_cdn.storage.base import Backend

HEADERS = Headers(cache_control="no-cache")


class Plain:
    """A backend without copies and conditional deletes, as a third party's may be."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name in ("copy", "can_copy_from", "delete_version"):
            raise AttributeError(name)
        return getattr(self._backend, name)


@pytest.fixture(params=["able", "plain"])
def store(request: pytest.FixtureRequest) -> Store:
    backend: Any = open_backend(f"memory://store-{request.param}-{id(request)}")
    return Store(backend if request.param == "able" else Plain(backend))


def test_a_copy_has_content_headers_and_metadata(store: Store) -> None:
    version = store.put("a", Body.of(b"1"), HEADERS, {"myopvariant": "v"})
    store.copy(store, "a", version, "b")
    blob, info = store.get("b"), store.head("b")
    assert blob is not None
    assert info is not None
    assert (blob.data, blob.headers) == (b"1", HEADERS)
    assert info.metadata == {"myopvariant": "v", "myopsha256": Body.of(b"1").sha256}


def test_a_copy_of_another_version_or_onto_something_is_refused(store: Store) -> None:
    version = store.put("a", Body.of(b"1"), HEADERS)
    store.put("a", Body.of(b"2"), HEADERS)
    with pytest.raises(PreconditionFailed):
        store.copy(store, "a", version, "b")
    newest = store.put("a", Body.of(b"3"), HEADERS)
    with pytest.raises(PreconditionFailed):
        store.copy(store, "a", newest, "a", Precondition(None))


def test_a_version_that_was_replaced_is_not_deleted(store: Store) -> None:
    version = store.put("a", Body.of(b"1"), HEADERS)
    newest = store.put("a", Body.of(b"2"), HEADERS)
    with pytest.raises(PreconditionFailed):
        store.delete_version("a", version)
    store.delete_version("a", newest)
    store.delete_version("a", newest)
    assert store.list() == []


def test_a_listing_can_be_of_a_prefix_and_end_early(store: Store) -> None:
    for key in ("a/1", "a/2", "a/3", "b/1"):
        store.put(key, Body.of(b"1"), HEADERS)
    assert [one.key for one in store.list("a/")] == ["a/1", "a/2", "a/3"]
    assert [one.key for one in store.list("a/", 2)] == ["a/1", "a/2"]
