"""The demo: its components, its page, and the whole loop as it tells it."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.demo.components import AURORA, COMPONENTS, ENVIRONMENTS, PRICING, Myop
from myop_cdn.demo.live import LiveDemo
from myop_cdn.demo.place import fresh, snapshot
from myop_cdn.demo.run import Demo
from myop_cdn.demo.story import Step
from myop_cdn.document import Document
from myop_cdn.errors import KeyRejected, MyopCdnError, RefusedError, TreeError
from myop_cdn.model import PREVIEW, DocumentRef
from myop_cdn.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path

    from myop_cdn.demo import components

VARIANTS = sorted(
    {one for part in COMPONENTS for one in (*part.live, part.latest)}, key=lambda one: one.file
)


@pytest.fixture
def myop(tmp_path: Path) -> Myop:
    folder = Myop(tmp_path / "myop")
    folder.write()
    return folder


def test_the_bundled_tree_is_a_complete_one_in_the_static_format(myop: Myop) -> None:
    tree = Tree(myop.folder)
    manifest = tree.manifest()
    assert manifest is not None
    assert manifest.complete
    assert sorted(tree.refs()) == sorted([*manifest.refs(), *manifest.previews()])
    assert tree.stray() == []


def test_every_document_has_the_official_bytes(myop: Myop) -> None:
    for ref in Tree(myop.folder).refs():
        data = (myop.folder / ref.path).read_bytes()
        official = json.dumps(json.loads(data), indent=2, ensure_ascii=False).encode()
        assert Document.parse(ref, data).body == data == official


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_self_contained_html_with_myops_interface(
    variant: components.Variant,
) -> None:
    html = variant.html
    assert html.startswith("<!DOCTYPE html>")
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)|url\(|@import|https?:""", html)
    assert "myop_init_interface" in html
    assert "myop_cta_handler" in html


def test_the_environments_differ_in_what_is_live() -> None:
    live = [
        tuple(one.in_environment(name).id for one in COMPONENTS)
        for name in (*ENVIRONMENTS, PREVIEW)
    ]
    assert len(set(live)) >= 3


def test_a_release_changes_the_named_environments_alone(myop: Myop) -> None:
    before = snapshot(myop.folder)
    releases = myop.release(PRICING, AURORA, ("production", "staging"))
    after = snapshot(myop.folder)
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {one.ref.path for one in releases}
    for release in releases:
        document = Document.parse(release.ref, (myop.folder / release.ref.path).read_bytes())
        assert [one.id for one in document.variants] == [release.variant_id]


def test_a_temporary_folder_is_fresh_each_time() -> None:
    first, second = fresh(None), fresh(None)
    try:
        assert first != second
        assert list(first.root.iterdir()) == []
    finally:
        first.root.rmdir()
        second.root.rmdir()


def test_an_output_folder_is_made(tmp_path: Path) -> None:
    assert fresh(tmp_path / "a" / "b").root == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").touch()
    with pytest.raises(RefusedError, match="not empty"):
        fresh(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TreeError, match="file"):
        fresh(tmp_path / "file" / "folder")


def test_a_snapshot_tells_a_rewrite_with_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    before = snapshot(tmp_path)
    os.utime(
        tmp_path / "manifest.json", ns=(0, 0)
    )  # as a rewrite leaves it: the same but for its time
    after = snapshot(tmp_path)
    assert before.keys() == after.keys() == {"manifest.json"}
    assert before["manifest.json"][0] == after["manifest.json"][0]
    assert before != after


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0, "1 ms"), (0.0384, "38 ms"), (0.9996, "1.0 s"), (1.25, "1.2 s")]
)
def test_a_steps_time_is_told_in_words(seconds: float, words: str) -> None:
    assert Step("title", "text").lasting(seconds).time == words


class Quiet:
    """A log that nobody reads."""

    def debug(self, message: str, **fields: object) -> None: ...

    info = warning = debug


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """One whole run of the demo, for every test that only looks at what it left."""
    demo = Demo(fresh(tmp_path_factory.mktemp("demo") / "with a blänk"), Quiet())
    assert list(demo.tell()) == demo.steps
    return demo


def test_the_story_has_every_step_in_order(told: Demo) -> None:
    assert [step.title for step in told.steps] == [
        "A Myop of its own",
        "The listener",
        "The first full publish",
        "A release in Myop",
        "The signed webhook",
        "Published",
        "A forged webhook",
        "The same release once more",
    ]
    assert all(step.seconds > 0 for step in told.steps)


def test_what_is_published_in_the_end_is_what_myop_has(told: Demo) -> None:
    published, myop = snapshot(told.place.cdn), snapshot(told.place.myop)
    assert {path: hashed for path, (hashed, _) in published.items()} == {
        path: hashed for path, (hashed, _) in myop.items()
    }


def test_the_release_shows_in_the_environments_it_went_to(told: Demo) -> None:
    grids = [step.grid for step in told.steps if step.grid is not None]
    assert [grid.environments for grid in grids] == [(*ENVIRONMENTS, PREVIEW)] * 2
    before, after = (dict(grid.rows)[PRICING.name] for grid in grids)
    assert before == ("Classic", "Classic", "Aurora", "Aurora")
    assert after == ("Aurora",) * 4
    assert grids[1].changed == {(1, 0), (1, 1)}


def test_the_story_tells_the_answers_that_the_listener_gave(told: Demo) -> None:
    answers = [
        fact.value[:3] for step in told.steps for fact in step.facts if fact.label == "answer"
    ]
    assert answers == ["200", "401", "200"]


def test_the_page_lies_beside_the_published_folder_and_shows_it(told: Demo) -> None:
    data: Any = embedded(told.place.page.read_text("utf-8"))
    (place,) = data["places"].values()
    assert [item["name"] for item in place["items"]] == ["Banner", "Pricing Card", "Sign-in Form"]
    versions = place["history"][PRICING.id]["environments"]["production"]
    assert [one["variantName"] for one in versions] == ["Aurora", "Classic"]
    for name, key in place["documents"].items():
        document = json.loads((told.place.cdn / f"components/{name}.json").read_text("utf-8"))
        assert data["html"][key] == document["item"]["consume_variant"][0]["loader"]["HTML"]
    assert all(one["sha256"] in data["html"] for one in versions)
    assert not (told.place.cdn / "index.html").exists()


def test_no_secret_is_left_on_the_page_or_in_the_story(told: Demo) -> None:
    text = told.place.page.read_text("utf-8") + repr(told.steps)
    assert told._secret.decode() not in text
    assert not re.search(r"sha256=[0-9a-f]{64}", text)


def test_a_destination_that_cannot_be_written_ends_the_demo_with_its_error(tmp_path: Path) -> None:
    demo = Demo(fresh(tmp_path), Quiet())
    demo.place.cdn.write_text("a file where the folder should be")
    with pytest.raises(MyopCdnError, match="cdn"):
        list(demo.tell())
    assert not demo.place.page.exists()


def test_an_api_that_fails_ends_the_demo_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myop_cdn.demo.run.REHEARSAL_KEY", "not a key of the right look")
    with pytest.raises(KeyRejected):
        list(Demo(fresh(tmp_path), Quiet()).tell())


def embedded(html: str) -> dict[str, object]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert match is not None
    value: dict[str, object] = json.loads(match[1])
    return value


def test_a_demo_that_is_served_publishes_one_release_after_another(tmp_path: Path) -> None:
    with LiveDemo(fresh(tmp_path), Quiet()) as live:
        for _ in range(2):
            done = live.release()
            for environment in done.environments:
                path = live.place.cdn / DocumentRef(done.component.id, environment).path
                assert done.variant.id in path.read_text("utf-8")
        with urllib.request.urlopen(live.url) as answer:
            assert b"<title>myop-cdn</title>" in answer.read()
