"""Several deploys to one destination at once: the end is one of the trees, whole.

TEST_RACES: how many rounds.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy import DeployOptions, deploy
from myop_cdn.errors import ExitCode
from myop_cdn.model import DeleteLimit
from myop_cdn.storage.base import OpenOptions
from myop_cdn.storage.memory import open_memory
from tests.deploy.trees import make_tree

if TYPE_CHECKING:
    from pathlib import Path

    from myop_cdn.tree import Tree
    from tests.servers.s3 import Bucket

ROUNDS = int(os.environ.get("TEST_RACES", "2"))
AT_ONCE = 5


def trees(folder: Path, *, differing_keys: bool = False) -> list[Tree]:
    """Trees over the same keys (or nearly), no two files alike."""
    made = []
    for number in range(AT_ONCE):
        components = {f"c{index}": ["qa"] for index in range(6)}
        if differing_keys:
            components[f"only{number}"] = ["qa"]
        made.append(
            make_tree(
                folder / str(number),
                components,
                html=f"<p>tree {number}</p>",
                exported_at=f"2026-03-24T10:00:0{number}.000Z",
            )
        )
    return made


def files(tree: Tree) -> dict[str, bytes]:
    """All that a destination should hold of a tree."""
    keys = [ref.path for ref in tree.refs()] + ["manifest.json"]
    return {key: tree.read(key) for key in keys}


def all_at_once(trees: list[Tree], url: str, options: DeployOptions) -> None:
    """Deploy every tree to the same place at the same time."""
    with ThreadPoolExecutor(len(trees)) as pool:
        reports = list(pool.map(lambda tree: deploy(tree, [url], options), trees))
    assert [report.exit_code for report in reports] == [ExitCode.DONE] * len(trees)


@pytest.mark.parametrize("delete", [False, True])
def test_in_memory(tmp_path: Path, delete: bool) -> None:
    made = trees(tmp_path, differing_keys=delete)
    whole = [files(tree) for tree in made]
    for number in range(ROUNDS):
        url = f"memory://at-once-{delete}-{number}"
        all_at_once(made, url, DeployOptions(jobs=4, delete=delete, max_delete=DeleteLimit(99)))
        shelf = open_memory(url, OpenOptions()).shelf
        end = {key: one.body.data for key, one in shelf.objects.items() if ".myop-cdn/" not in key}
        assert end in whole


def test_in_a_folder(tmp_path: Path) -> None:
    made = trees(tmp_path / "trees")
    whole = [files(tree) for tree in made]
    for number in range(ROUNDS):
        place = tmp_path / f"out{number}"
        all_at_once(made, f"file://{place}", DeployOptions(jobs=4))
        end = {key: (place / key).read_bytes() for key in whole[0]}
        assert end in whole
        assert not (place / ".myop-cdn" / "tmp").exists()


def test_at_s3(tmp_path: Path, bucket: Bucket) -> None:
    made = trees(tmp_path)
    whole = [files(tree) for tree in made]
    options = DeployOptions(jobs=2, endpoint_url=bucket.endpoint)
    all_at_once(made, bucket.url, options)
    stored = bucket.objects()
    assert {key: stored[key] for key in whole[0]} in whole
