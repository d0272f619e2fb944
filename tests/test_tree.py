"""The static format on disk."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from myop_cdn import tree as room
from myop_cdn.errors import RefusedError, TreeError
from myop_cdn.model import DocumentRef
from myop_cdn.tree import Tree, write_whole
from tests.samples import full_tree, read, write

if TYPE_CHECKING:
    from pathlib import Path

COMPONENTS = {"card": ["qa", "prod"], "banner": ["qa"]}
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(write(tmp_path / "tree", full_tree(COMPONENTS)))


def test_documents_are_found_sorted_and_nothing_else_is_one(tree: Tree) -> None:
    write(tree.root, {"components/card/notes.txt": b"", "components/card/sub/qa.json": b""})
    write(tree.root, {"components/loose.json": b"", "other/card/qa.json": b""})
    (tree.root / "components/card/dir.json").mkdir()
    assert tree.refs() == [
        DocumentRef("banner", "preview"),
        DocumentRef("banner", "qa"),
        DocumentRef("card", "preview"),
        DocumentRef("card", "prod"),
        DocumentRef("card", "qa"),
    ]
    assert tree.stray() == [
        "components/card/notes.txt",
        "components/card/sub/qa.json",
        "components/loose.json",
        "other/card/qa.json",
    ]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "none")
    assert not tree.exists()
    assert tree.refs() == []
    assert tree.manifest() is None
    assert tree.read_if_there("manifest.json") is None


def test_what_cant_be_read_is_a_tree_error_that_names_it(tree: Tree) -> None:
    (tree.root / "components/card/dir.json").mkdir()
    for path in ("components/card/dir.json", "components/none/qa.json"):
        with pytest.raises(TreeError, match="components"):
            tree.read(path)
    with pytest.raises(TreeError):
        tree.read_if_there("components/card/dir.json")


def test_a_manifest_that_is_none_is_an_error_with_a_way_out(tree: Tree) -> None:
    tree.write("manifest.json", b"[]")
    with pytest.raises(TreeError, match="is no manifest") as caught:
        tree.manifest()
    assert "full sync" in caught.value.hint


def test_writing_replaces_the_file_and_makes_its_folders(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "a" / "b")
    tree.write("components/card/qa.json", b"1")
    tree.write("components/card/qa.json", b"2")
    tree.write("manifest.json", b"3")
    assert read(tree.root) == {"components/card/qa.json": b"2", "manifest.json": b"3"}


def test_a_reader_of_the_old_file_keeps_the_old_bytes(tree: Tree) -> None:
    path = tree.root / "components/card/qa.json"
    old = path.read_bytes()
    with path.open("rb") as reader:
        tree.write("components/card/qa.json", b"new")
        assert reader.read() == old
    assert path.read_bytes() == b"new"


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary(tree: Tree) -> None:
    target = tree.root / "components/card"
    before = read(tree.root)
    with pytest.raises(OSError, match=r"."):
        write_whole(target, b"a folder stands there")
    assert read(tree.root) == before


def test_removing_the_last_file_takes_its_folder_along(tree: Tree) -> None:
    tree.remove("components/banner/qa.json")
    assert (tree.root / "components/banner").is_dir()
    tree.remove("components/banner/preview.json")
    assert not (tree.root / "components/banner").exists()
    tree.remove("components/card/none.json")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
@pytest.mark.parametrize("link", ["components", "components/card", "components/card/qa.json"])
def test_links_inside_the_folder_are_refused(tree: Tree, tmp_path: Path, link: str) -> None:
    place, outside = tree.root / link, tmp_path / "outside"
    place.rename(outside)
    place.symlink_to(outside)
    with pytest.raises(RefusedError, match="symbolic link"):
        tree.refs()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
@pytest.mark.parametrize("link", ["components", "components/card"])
def test_nothing_is_written_or_removed_through_a_link(
    tree: Tree, tmp_path: Path, link: str
) -> None:
    place, outside = tree.root / link, tmp_path / "outside"
    place.rename(outside)
    place.symlink_to(outside)
    before = read(outside)
    with pytest.raises(RefusedError):
        tree.write("components/card/qa.json", b"x")
    if link == "components/card":
        with pytest.raises(RefusedError):
            tree.remove("components/card/qa.json")
    assert read(outside) == before


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_the_folder_itself_may_be_a_link(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree.root)
    assert len(Tree(tmp_path / "link").refs()) == 5


@pytest.mark.skipif(AS_ROOT or os.name == "nt", reason="root may write anywhere")
def test_a_folder_without_permission_says_so(tree: Tree) -> None:
    tree.root.chmod(0o500)
    try:
        with pytest.raises(TreeError, match="denied") as caught:
            tree.write("manifest.json", b"")
    finally:
        tree.root.chmod(0o700)
    assert "permissions" in caught.value.hint


def test_what_a_killed_run_left_is_cleared_and_never_counted(tree: Tree) -> None:
    before = read(tree.root)
    left = (".17-0.myop-cdn.tmp", "components/card/.17-2.myop-cdn.tmp")
    write(tree.root, dict.fromkeys(left, b"half"))
    assert tree.stray() == []
    assert len(tree.refs()) == 5
    with tree.writing():
        assert read(tree.root) == before


def test_a_folder_that_was_made_for_nothing_is_gone_again(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "new")
    with suppress(KeyError), tree.writing():
        assert tree.exists()
        raise KeyError
    assert not tree.exists()
    with tree.writing():
        tree.write("manifest.json", b"{}")
    assert tree.exists()


def test_an_empty_folder_of_the_users_stays(tmp_path: Path) -> None:
    with Tree(tmp_path).writing():
        pass
    assert tmp_path.is_dir()


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TreeError), Tree(tmp_path / "file").writing():
        pass
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_two_writers_of_one_folder_wait_for_each_other(tree: Tree) -> None:
    with (
        tree.writing(),
        pytest.raises(TreeError, match="another run"),
        Tree(tree.root).writing(wait_seconds=0),
    ):
        pass
    with Tree(tree.root).writing(wait_seconds=0):
        assert ".lock" not in "".join(read(tree.root))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_a_writer_that_waited_for_a_folder_that_went_away_makes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run before it failed and took away the empty folder that it had made."""
    root, waits, ended = tmp_path / "new", threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        waits.set()
        time.sleep(0.01)

    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))

    def second() -> None:
        with Tree(root).writing(wait_seconds=20):
            Tree(root).write("manifest.json", b"{}")
        ended.set()

    thread = threading.Thread(target=second)
    with Tree(root).writing():
        thread.start()
        assert waits.wait(20)
    assert ended.wait(30)
    thread.join()
    assert read(root) == {"manifest.json": b"{}"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_the_lock_is_on_the_folder_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on one that was taken away between opening and locking it."""
    import fcntl

    root, flock, replaced = tmp_path / "new", fcntl.flock, []

    def replace_first(handle: int, operation: int) -> None:
        if not replaced:
            replaced.append(root.rename(tmp_path / "old"))
            root.mkdir()
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", replace_first)
    with (
        Tree(root).writing(),
        pytest.raises(TreeError, match="another run"),
        Tree(root).writing(wait_seconds=0),
    ):
        pass
