"""What is the same for every backend: trying again, and dry runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import (
    AccessDenied,
    PreconditionFailed,
    StorageError,
    StorageUnavailable,
)
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import Body, Cors, Folder, Headers, Page, Precondition
from myop_cdn.storage.memory import MemoryBackend
from myop_cdn.storage.readonly import ReadOnly
from myop_cdn.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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


def test_a_busy_service_is_tried_again() -> None:
    backend = Flaky([StorageUnavailable("503")] * 5)
    said: list[str] = []
    Store(backend, wait=lambda _: True, on_retry=said.append).put("k", Body.of(b""), Headers())
    assert backend.tries == 6
    assert said[0] == "503; trying again (2 of 9)"


@pytest.mark.parametrize("kind", [AccessDenied, PreconditionFailed, StorageError])
def test_what_will_not_change_is_not_tried_again(kind: type[StorageError]) -> None:
    backend = Flaky([kind("no")] * 5)
    with pytest.raises(kind):
        Store(backend, wait=lambda _: True).put("k", Body.of(b""), Headers())
    assert backend.tries == 1


class Lossy(MemoryBackend):
    """Memory whose first answer to each write gets lost."""

    lost = False

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """Write, and say nothing of it the first time."""
        version = super().put(key, body, headers, metadata, precondition)
        if not self.lost:
            self.lost = True
            raise StorageUnavailable("the connection broke")
        return version


@pytest.mark.parametrize("somebody_else", [False, True])
def test_a_conditional_write_whose_answer_was_lost_is_not_taken_for_somebody_else_s(
    somebody_else: bool,
) -> None:
    inner = open_backend(f"memory://lossy-{somebody_else}")
    assert isinstance(inner, MemoryBackend)
    backend = Lossy(inner.location, inner.shelf)

    def wait(_: float) -> bool:
        if somebody_else:
            inner.put("k", Body.of(b"1"), Headers(), {"other": "x"})
        return True

    store = Store(backend, wait=wait)
    if somebody_else:
        with pytest.raises(PreconditionFailed):
            store.put("k", Body.of(b"1"), Headers(), {"a": "b"}, Precondition(None))
        return
    version = store.put("k", Body.of(b"1"), Headers(), {"a": "b"}, Precondition(None))
    head = inner.head("k")
    assert head is not None
    assert head.version == version


class Circling(MemoryBackend):
    """Memory whose listing never ends."""

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:
        """The same two cursors for ever."""
        return Page([], "b" if cursor == "a" else "a")


def test_a_listing_that_goes_round_in_circles_is_an_error() -> None:
    inner = open_backend("memory://circling")
    assert isinstance(inner, MemoryBackend)
    with pytest.raises(StorageError, match="circles"):
        Store(Circling(inner.location, inner.shelf)).list()


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


def test_deletes_and_copies_are_remembered_in_a_dry_run() -> None:
    backend = open_backend("memory://dry-copies")
    version = backend.put("there", Body.of(b"1"), Headers())
    dry = Store(ReadOnly(backend))
    with pytest.raises(PreconditionFailed):
        dry.delete_version("there", "another")
    with pytest.raises(PreconditionFailed):
        dry.copy(dry, "there", "another", "elsewhere")
    dry.copy(dry, "there", version, "elsewhere", Precondition(None))
    with pytest.raises(PreconditionFailed):
        dry.copy(dry, "there", version, "elsewhere", Precondition(None))
    dry.delete_version("there", version)
    dry.put("there", Body.of(b"2"), Headers(), precondition=Precondition(None))
    blob = backend.get("there")
    assert blob is not None
    assert blob.data == b"1"
    assert backend.head("elsewhere") is None


def test_a_dry_run_can_what_the_backend_can(tmp_path: Path) -> None:
    folder = ReadOnly(open_backend(f"file://{tmp_path}"))
    assert isinstance(folder, Folder)
    assert not isinstance(ReadOnly(open_backend("memory://dry")), Folder)
    memory = ReadOnly(open_backend("memory://dry"))
    assert isinstance(memory, Cors)
    assert memory.lacks_origins(["https://a.example"])
    assert memory.is_public_by_acl("k") is None
