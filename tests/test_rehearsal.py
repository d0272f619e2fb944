"""A tree that takes every change and keeps none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import TreeError
from myop_cdn.model import DocumentRef
from myop_cdn.rehearsal import rehearsal
from tests.samples import full_tree, identities, write

if TYPE_CHECKING:
    from pathlib import Path


def test_changes_are_seen_and_the_folder_stays_as_it_was(tmp_path: Path) -> None:
    root = write(tmp_path / "tree", full_tree({"card": ["qa", "prod"]}))
    before = identities(root)
    with rehearsal(root) as tree, tree.writing():
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
    with rehearsal(tmp_path / "none") as tree, tree.writing():
        assert not tree.exists()
        assert tree.refs() == []
        tree.write("components/card/qa.json", b"new")
        assert tree.exists()
        assert tree.refs() == [DocumentRef("card", "qa")]
    assert list(tmp_path.iterdir()) == []
