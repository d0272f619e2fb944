"""A folder that is deployed into itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy import DeployOptions, check_destinations, deploy
from myop_cdn.errors import ExitCode, InputError
from tests.deploy.trees import make_tree
from tests.samples import KEY

if TYPE_CHECKING:
    from tests.conftest import Run


def below(folder: Path) -> set[str]:
    """Everything below `folder`."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("site/tree", "is the folder to upload"),
        ("site/tree/out", "lies in the folder to upload"),
        ("site/tree/components/.myop-cdn", "lies in the folder to upload"),
        ("site", "contains the folder to upload"),
        ("link", "is the folder to upload"),
        ("link/out", "lies in the folder to upload"),
    ],
)
def test_it_is_refused_before_anything_is_done(
    tmp_path: Path, run: Run, place: str, words: str
) -> None:
    tree = make_tree(tmp_path / "site" / "tree", {"card": ["qa"]})
    (tmp_path / "link").symlink_to(tree.root)
    before = below(tmp_path)
    url = f"file://{tmp_path}/{place}"
    ended = run("deploy", "--source", tree.root, url, f"file://{tmp_path}/good")
    assert ended.code == 2
    assert words in ended.err
    env = {"MYOP_API_KEY": KEY, "MYOP_API_URL": "http://127.0.0.1:9"}
    published = run("publish", "--output", tree.root, "--json", url, env=env)
    assert (published.code, published.json["error"]["exitCode"]) == (2, 2)
    assert words in published.err
    with pytest.raises(InputError, match=words):
        check_destinations([url], DeployOptions(), tree.root)
    assert below(tmp_path) == before


def test_a_ledger_inside_of_the_tree_is_refused(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"card": ["qa"]})
    options = DeployOptions(ledger=f"file://{tree.root}/ledgers")
    with pytest.raises(InputError, match="ledger"):
        deploy(tree, [f"file://{tmp_path}/out"], options)
    beside = DeployOptions(ledger=f"file://{tmp_path}")
    assert deploy(tree, [f"file://{tmp_path}/out"], beside).exit_code is ExitCode.DONE


def test_a_folder_beside_it_whose_name_begins_alike_is_another_one(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"card": ["qa"]})
    report = deploy(tree, [f"file://{tmp_path}/tree2"])
    assert report.exit_code is ExitCode.DONE


def test_a_source_that_is_named_relatively_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    make_tree(tmp_path / "tree", {"card": ["qa"]})
    monkeypatch.chdir(tmp_path)
    assert run("deploy", "--source", "tree", f"file://{Path.cwd()}/tree/x").code == 2
