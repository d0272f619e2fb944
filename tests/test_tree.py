"""The static format on disk."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from myop_cdn import tree as room
from myop_cdn.errors import InputError, RefusedError, TreeError
from myop_cdn.model import DocumentRef
from myop_cdn.tree import DryRunTree, Tree, check_cases
from tests.samples import full_tree, identities, read, write

if TYPE_CHECKING:
    from pathlib import Path

COMPONENTS = {"card": ["qa", "prod"], "banner": ["qa"]}
posix = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux it is known")
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
    with pytest.raises(TreeError, match="is not a manifest") as caught:
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
    before = read(tree.root)
    with pytest.raises(TreeError):
        tree.write("components/card", b"a folder stands there")
    assert read(tree.root) == before


def test_removing_the_last_file_takes_its_folder_along(tree: Tree) -> None:
    tree.remove("components/banner/qa.json")
    assert (tree.root / "components/banner").is_dir()
    tree.remove("components/banner/preview.json")
    assert not (tree.root / "components/banner").exists()
    tree.remove("components/card/none.json")


@posix
@pytest.mark.parametrize("link", ["components", "components/card", "components/card/qa.json"])
def test_links_inside_the_folder_are_refused(tree: Tree, tmp_path: Path, link: str) -> None:
    place, outside = tree.root / link, tmp_path / "outside"
    place.rename(outside)
    place.symlink_to(outside)
    with pytest.raises(RefusedError, match="symbolic link"):
        tree.refs()


@posix
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


@posix
@pytest.mark.parametrize("link", ["components", "components/card", "components/card/qa.json"])
def test_what_was_swapped_for_a_link_after_the_scan_is_not_read(
    tree: Tree, tmp_path: Path, link: str
) -> None:
    tree.refs()
    place, outside = tree.root / link, tmp_path / "outside"
    place.rename(outside)
    place.symlink_to(outside)
    for read_it in (tree.read, tree.read_if_there, lambda path: list(tree.read_each([path]))):
        with pytest.raises(RefusedError, match=f"{link} is a symbolic link"):
            read_it("components/card/qa.json")


def test_files_of_several_folders_are_read_one_after_the_other(tree: Tree) -> None:
    paths = [
        "components/a/qa.json",
        "components/a/prod.json",
        "manifest.json",
        "components/b/qa.json",
        "components/a/qa.json",
    ]
    for path in paths:
        tree.write(path, path.encode())
    assert list(tree.read_each(paths)) == [(path, path.encode()) for path in paths]


@posix
@pytest.mark.parametrize("path", ["manifest.json", "components/card/qa.json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "socket", "folder"])
def test_what_is_not_a_plain_file_is_neither_waited_for_nor_read(
    tree: Tree, path: str, kind: str
) -> None:
    place = tree.root / path
    place.unlink()
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        if not AS_ROOT:
            pytest.skip("only root makes devices")
        os.mknod(place, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
    elif kind == "link to a device":
        place.symlink_to("/dev/zero")
    elif kind == "folder":
        place.mkdir()
    else:
        sock = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(place.parent):  # a socket's name is short
            sock.bind(place.name)
        sock.close()
    with pytest.raises((TreeError, RefusedError), match=path):
        tree.read_if_there(path)


def test_a_file_beyond_the_limit_is_not_read(tree: Tree) -> None:
    tree.write("manifest.json", b"x" * 101)
    with pytest.raises(TreeError, match="larger than"):
        tree.read("manifest.json", 100)
    assert len(tree.read("manifest.json", 101)) == 101


@posix
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


# A dry run's tree


def test_changes_are_seen_and_the_folder_stays_as_it_was(tmp_path: Path) -> None:
    root = write(tmp_path / "tree", full_tree({"card": ["qa", "prod"]}))
    before = identities(root)
    with DryRunTree.of(root) as tree, tree.writing():
        tree.write("components/card/qa.json", b"new")
        tree.write("components/banner/qa.json", b"added")
        tree.write("manifest.json", b"{}")
        tree.remove("components/card/prod.json")
        assert tree.refs() == [
            DocumentRef("banner", "qa"),
            DocumentRef("card", "preview"),
            DocumentRef("card", "qa"),
        ]
        assert tree.read("components/card/qa.json") == b"new"
        assert tree.read_if_there("components/banner/qa.json") == b"added"
        assert tree.read_if_there("components/card/prod.json") is None
        assert tree.read("components/card/preview.json")
        with pytest.raises(TreeError, match="would be removed"):
            tree.read("components/card/prod.json")
    assert identities(root) == before


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with DryRunTree.of(tmp_path / "none") as tree, tree.writing():
        assert not tree.exists()
        assert tree.refs() == []
        tree.write("components/card/qa.json", b"new")
        assert tree.exists()
        assert tree.refs() == [DocumentRef("card", "qa")]
    assert list(tmp_path.iterdir()) == []


# Names that differ only in case

PAIR = [DocumentRef("card", "QA"), DocumentRef("card", "qa")]


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders in which a probe file was written."""
    seen: list[Path] = []
    probe = room._probe

    def noted(folder: Path) -> bool:
        seen.append(folder)
        return probe(folder)

    monkeypatch.setattr(room, "_probe", noted)
    return seen


def test_an_error_only_where_the_disk_folds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identities(tmp_path)
    monkeypatch.setattr(room, "_folds_case", lambda root, may_write: False)
    check_cases(Tree(tmp_path / "new"), PAIR)
    monkeypatch.setattr(room, "_folds_case", lambda root, may_write: True)
    check_cases(Tree(tmp_path), [DocumentRef("card", "qa"), DocumentRef("banner", "QA")])
    for pair in (PAIR, [DocumentRef("Card", "a"), DocumentRef("card", "b")]):
        with pytest.raises(InputError, match="differ only in case"):
            check_cases(Tree(tmp_path), pair)
    assert identities(tmp_path) == before


@on_linux
@pytest.mark.parametrize(
    "files",
    [
        [],  # the folder's own name tells
        ["manifest.json"],
        ["components/card/qa.json"],
        ["components/card/qa.json", "components/card/QA.json"],
    ],
)
def test_what_is_there_answers_and_nothing_is_written(
    tmp_path: Path, probes: list[Path], files: list[str]
) -> None:
    for file in files:
        Tree(tmp_path / "out").write(file, b"{}")
    before = identities(tmp_path)
    check_cases(Tree(tmp_path / "out"), PAIR)
    check_cases(Tree(tmp_path / "nowhere" / "new"), PAIR)
    assert probes == []
    assert identities(tmp_path) == before


@on_linux
def test_without_anything_to_look_at_a_probe_is_written_once_and_never_in_a_dry_run(
    tmp_path: Path, probes: list[Path]
) -> None:
    folder = tmp_path / "123"  # no letters
    folder.mkdir()
    with DryRunTree.of(folder) as tree:
        check_cases(tree, PAIR)
    assert probes == []
    check_cases(Tree(folder), [*PAIR, DocumentRef("card", "Qa"), DocumentRef("CARD", "qa")])
    assert probes == [folder]
    assert list(folder.iterdir()) == []


@on_linux
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do all")
def test_a_folder_that_can_not_be_written_to_is_no_trouble_where_it_can_be_looked_at(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "123"
    folder.mkdir(mode=0o555)
    with pytest.raises(TreeError):
        check_cases(Tree(folder), PAIR)
    named = tmp_path / "out"
    named.mkdir(mode=0o555)
    check_cases(Tree(named), PAIR)


def test_a_disk_that_folds_is_known_by_its_entries(tmp_path: Path, probes: list[Path]) -> None:
    """Stands for such a disk: every name in capitals is a second name of the same file."""
    Tree(tmp_path).write("manifest.json", b"{}")
    if not (tmp_path / "MANIFEST.JSON").exists():
        os.link(tmp_path / "manifest.json", tmp_path / "MANIFEST.JSON")
    with pytest.raises(InputError, match="differ only in case"):
        check_cases(Tree(tmp_path), PAIR)
    with DryRunTree.of(tmp_path) as tree, pytest.raises(InputError):
        check_cases(tree, PAIR)
    assert probes == []
