"""A file that can't be a component document never replaces one that can."""

from __future__ import annotations

from itertools import count, repeat
from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy import DeployOptions, deploy, source
from myop_cdn.deploy.source import LocalObject
from myop_cdn.errors import ExitCode
from myop_cdn.storage.base import Body
from tests.deploy.trees import document, make_tree

if TYPE_CHECKING:
    from pathlib import Path

KEY = "components/card/qa.json"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b" \r\n\t", "empty"),
        (b"<html>not found</html>", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (document("card")[:-20], "cut short"),
        (document("card")[:-30], "cut short"),
        (b"{", "cut short"),
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_the_good_object_stays_and_the_others_go_up(
    tmp_path: Path, data: bytes, why: str, complete: bool
) -> None:
    tree = make_tree(tmp_path / "tree", {"card": ["qa"], "form": ["qa"]}, complete=complete)
    out = tmp_path / "out"
    where = [f"file://{out}"]
    assert deploy(tree, where).exit_code is ExitCode.DONE
    if not complete:
        make_tree(out, {"card": ["qa"]})  # a manifest at the destination that could be merged
    before = {
        path: path.read_bytes() for path in (out / KEY, out / "manifest.json") if path.exists()
    }
    gone = out / "components/old/qa.json"
    gone.parent.mkdir()
    gone.write_bytes(document("old"))

    make_tree(tmp_path / "tree", {"form": ["qa"], "more": ["qa"]}, html="new", complete=complete)
    tree.write(KEY, data)
    report = deploy(tree, where, DeployOptions(delete=complete))

    assert report.exit_code is ExitCode.PARTLY
    one = report.destinations[0]
    assert [failed.key for failed in one.failed] == [KEY]
    assert why in one.failed[0].error
    assert one.deleted == ()
    assert {up.key for up in one.uploaded} == {
        f"components/{name}/{env}.json" for name in ("form", "more") for env in ("qa", "preview")
    }
    assert {path: path.read_bytes() for path in before} == before
    assert gone.exists()


def test_blanks_around_a_document_do_no_harm(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"card": ["qa"]})
    tree.write(KEY, b"\n" + document("card") + b"\r\n")
    assert deploy(tree, [f"file://{tmp_path}/out"]).exit_code is ExitCode.DONE


@pytest.mark.parametrize("from_disk", [False, True])
def test_each_of_many_files_is_read_from_memory_or_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_disk: bool
) -> None:
    blocks = count() if from_disk else repeat(0)
    monkeypatch.setattr(source, "_blocks_read", lambda: next(blocks))
    tree = make_tree(tmp_path / "tree", {f"c{number}": ["qa"] for number in range(60)})
    broken = [path for path in tree.paths() if "9/" in path]
    for path in broken:
        tree.write(path, b"{")

    found = source.read_source(tree, "identity", 16, {}, with_md5=True)

    assert sorted([*found.documents, *found.broken]) == tree.paths()
    assert sorted(found.broken) == broken
    for path, one in found.documents.items():
        data = tree.read(path)
        body = Body.of(data)
        assert one == LocalObject.of(path, Body(data, body.sha256, body.md5))
