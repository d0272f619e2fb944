"""The listener's folder is held by one process, and by nobody else's doing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import ListenerError
from myop_cdn.listener.queue.journal import FILE
from myop_cdn.listener.state_folder import locked

if TYPE_CHECKING:
    from pathlib import Path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir(mode=0o700)
    return made


def refused(folder: Path) -> str:
    with pytest.raises(ListenerError) as caught, locked(folder):
        raise AssertionError("it was taken")
    return f"{caught.value.message}; {caught.value.hint}"


def test_one_process_for_each_state_folder(folder: Path) -> None:
    naps: list[float] = []
    with (
        locked(folder),
        pytest.raises(ListenerError, match=str(os.getpid())),
        locked(folder, sleep=naps.append),
    ):
        pass
    assert naps
    with locked(folder):
        pass


def test_a_state_folder_that_can_t_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "state folder" in refused(tmp_path / "file")


def test_an_error_of_what_is_done_meanwhile_is_left_as_it_is(folder: Path) -> None:
    with pytest.raises(BlockingIOError), locked(folder):
        raise BlockingIOError


def test_a_folder_that_is_made_is_this_user_s_alone(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_may_write_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    assert f"chmod go-w {folder}" in refused(folder)


def test_a_folder_that_others_may_read_is_taken(folder: Path) -> None:
    """As systemd makes `StateDirectory=`."""
    folder.chmod(0o755)
    with locked(folder):
        pass


@pytest.mark.parametrize("name", ["lock", FILE, f"{FILE}-wal"])
def test_a_file_in_it_that_others_may_write_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("")
    (folder / name).chmod(0o666)
    assert name in refused(folder)


@pytest.mark.parametrize("name", ["lock", FILE, f"{FILE}-shm"])
def test_a_link_in_it_is_not_followed(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "precious").write_text("kept")
    (folder / name).symlink_to(tmp_path / "precious")
    assert name in refused(folder)
    assert (tmp_path / "precious").read_text() == "kept"


@needs_root
def test_what_belongs_to_another_user_is_refused(folder: Path) -> None:
    (folder / "lock").write_text("")
    os.chown(folder / "lock", 12345, -1)
    assert "12345" in refused(folder)
    (folder / "lock").unlink()
    os.chown(folder, 12345, -1)
    assert "12345" in refused(folder)


@needs_root
def test_a_link_to_the_folder_counts_by_who_made_it(folder: Path, tmp_path: Path) -> None:
    """As systemd makes one for `DynamicUser=`, and root's is nobody else's."""
    link = tmp_path / "link"
    link.symlink_to(folder)
    with locked(link):
        pass
    os.lchown(link, 12345, -1)
    assert "belongs to another user" in refused(link)
