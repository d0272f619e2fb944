"""Names that differ only in case: found without leaving a trace."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from myop_cdn import cases as room
from myop_cdn.cases import check_cases
from myop_cdn.errors import InputError, TreeError
from myop_cdn.model import DocumentRef
from myop_cdn.rehearsal import rehearsal
from myop_cdn.tree import Tree
from tests.samples import identities

if TYPE_CHECKING:
    from pathlib import Path

PAIR = [DocumentRef("card", "QA"), DocumentRef("card", "qa")]
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux it is known")


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
    with rehearsal(folder) as tree:
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
    with rehearsal(tmp_path) as tree, pytest.raises(InputError):
        check_cases(tree, PAIR)
    assert probes == []
