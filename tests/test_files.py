"""Plain files: whole or not at all, and nothing else is read."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from myop_cdn import files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("limit", "expected"), [(None, b"abc"), (3, b"abc"), (2, None)])
def test_no_more_than_the_limit_is_read(
    tmp_path: Path, limit: int | None, expected: bytes | None
) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert files.read(tmp_path / "file", limit) == expected


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe", "socket", "device"])
def test_what_is_not_a_plain_file_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    (tmp_path / "file").write_bytes(b"abc")
    if kind in ("link", "dangling"):
        path.symlink_to(tmp_path / ("file" if kind == "link" else "nothing"))
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    target = "/dev/zero" if kind == "device" else path
    with pytest.raises(files.NotAFile):
        files.read(target, 10)


def test_a_file_that_is_not_renamed_is_removed(tmp_path: Path) -> None:
    with files.written(tmp_path / "file", b"abc") as temporary:
        assert [str(path) for path in tmp_path.iterdir()] == [temporary]
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_use_is_not_cleared(tmp_path: Path) -> None:
    (tmp_path / f".1{files.TEMPORARY}").write_bytes(b"left over")
    (tmp_path / "mine").write_bytes(b"abc")
    with files.written(tmp_path / "file", b"abc") as temporary:
        files.clear(tmp_path)
        assert os.path.exists(temporary)  # noqa: PTH110
        os.replace(temporary, tmp_path / "file")  # noqa: PTH105
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "file"}
