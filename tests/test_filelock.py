"""Locks that end with their holder and leave nothing behind."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from myop_cdn.filelock import LockHeld, locked

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")


def test_a_holder_that_waited_for_a_folder_that_went_away_makes_it_anew(tmp_path: Path) -> None:
    """The one before it failed and took away the empty folder that it had made."""
    root, waits, ended = tmp_path / "new", threading.Event(), threading.Event()

    def second() -> None:
        with locked(root, wait_seconds=1e9, sleep=lambda seconds: waits.set()):
            (root / "file").write_bytes(b"kept")
        ended.set()

    thread = threading.Thread(target=second)
    with locked(root):
        thread.start()
        assert waits.wait(20)
        root.rmdir()
    assert ended.wait(30)
    thread.join()
    assert (root / "file").read_bytes() == b"kept"


def test_the_lock_is_on_the_folder_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on one that was taken away between opening and locking it."""
    import fcntl

    root, flock = tmp_path / "new", fcntl.flock
    replaced: list[Path] = []

    def replace_first(handle: int, operation: int) -> None:
        if not replaced:
            replaced.append(root.rename(tmp_path / "old"))
            root.mkdir()
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", replace_first)
    with locked(root), pytest.raises(LockHeld), locked(root, wait_seconds=0):
        pass
