"""What is the same for every backend: trying again, and dry runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import (
    AccessDenied,
    PreconditionFailed,
    StorageError,
    StorageUnavailable,
    StorageUnreachable,
)
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import Body, Headers, Precondition
from myop_cdn.storage.memory import MemoryBackend
from myop_cdn.storage.readonly import ReadOnly
from myop_cdn.storage.store import RetryPolicy, Store

if TYPE_CHECKING:
    from collections.abc import Mapping


class Flaky(MemoryBackend):
    """Memory that fails a number of times before it works."""

    def __init__(self, errors: list[StorageError]) -> None:
        inner = open_backend("memory://flaky")
        assert isinstance(inner, MemoryBackend)
        super().__init__(inner.location, inner.shelf)
        self.errors = errors
        self.tries = 0

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """Fail as long as errors are left."""
        self.tries += 1
        if self.errors:
            raise self.errors.pop()
        return super().put(key, body, headers, metadata, precondition)


def test_a_busy_service_is_tried_again_with_growing_pauses() -> None:
    backend = Flaky([StorageUnavailable("503")] * 5)
    slept: list[float] = []
    store = Store(backend, sleep=slept.append, chance=lambda: 1.0)
    store.put("k", Body.of(b""), Headers())
    assert backend.tries == 6
    assert slept == [0.2, 0.4, 0.8, 1.6, 3.2]


def test_patience_ends() -> None:
    backend = Flaky([StorageUnavailable("503")] * 50)
    with pytest.raises(StorageUnavailable):
        Store(backend, sleep=lambda _: None).put("k", Body.of(b""), Headers())
    assert backend.tries == RetryPolicy().attempts


def test_no_connection_at_all_is_given_up_earlier() -> None:
    backend = Flaky([StorageUnreachable("gone")] * 50)
    with pytest.raises(StorageUnreachable):
        Store(backend, sleep=lambda _: None).put("k", Body.of(b""), Headers())
    assert backend.tries == RetryPolicy().unreachable_attempts


@pytest.mark.parametrize("kind", [AccessDenied, PreconditionFailed, StorageError])
def test_what_will_not_change_is_not_tried_again(kind: type[StorageError]) -> None:
    backend = Flaky([kind("no")] * 5)
    with pytest.raises(kind):
        Store(backend, sleep=lambda _: None).put("k", Body.of(b""), Headers())
    assert backend.tries == 1


def test_pauses_are_never_longer_than_said() -> None:
    assert RetryPolicy().pause(50, 1.0) == RetryPolicy().longest_pause


def test_conditions_hold_in_a_dry_run_too() -> None:
    backend = open_backend("memory://dry")
    version = backend.put("there", Body.of(b"1"), Headers())
    dry = ReadOnly(backend)
    with pytest.raises(PreconditionFailed):
        dry.put("there", Body.of(b"2"), Headers(), precondition=Precondition(None))
    pretended = dry.put("there", Body.of(b"2"), Headers(), precondition=Precondition(version))
    with pytest.raises(PreconditionFailed):
        dry.put("there", Body.of(b"3"), Headers(), precondition=Precondition(version))
    dry.put("there", Body.of(b"3"), Headers(), precondition=Precondition(pretended))
    blob = backend.get("there")
    assert blob is not None
    assert blob.data == b"1"
