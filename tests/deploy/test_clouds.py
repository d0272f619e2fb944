"""The same deploy at every cloud: what it changes, what it finds, what it deletes."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy import DeployOptions, apply, deploy
from myop_cdn.deploy.history import Selection
from myop_cdn.deploy.target import open_targets
from myop_cdn.doctor import destination
from myop_cdn.errors import ExitCode
from myop_cdn.model import Variant
from myop_cdn.status import read_status
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import Body, Headers
from myop_cdn.storage.contract import listing
from tests.deploy.destinations import EVERYWHERE, empty_destination
from tests.deploy.trees import document, make_tree

if TYPE_CHECKING:
    from pathlib import Path

    from myop_cdn.report import DestinationReport
    from myop_cdn.tree import Tree

COMPONENTS = {"card": ["qa"], "mit Umlaut ä": ["prod + 1"]}
ONE = "components/mit Umlaut ä/prod + 1.json"


@pytest.fixture(params=EVERYWHERE)
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty destination with a prefix."""
    return empty_destination(request.param, request, tmp_path, monkeypatch)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return make_tree(tmp_path / "tree", COMPONENTS)


def run(tree: Tree, url: str, **options: object) -> DestinationReport:
    """A deploy that must end well."""
    report = deploy(tree, [url], DeployOptions(**options))  # type: ignore[arg-type]
    assert report.exit_code is ExitCode.DONE, report
    return report.destinations[0]


def test_a_log_elsewhere_is_kept_and_believed(tree: Tree, url: str, tmp_path: Path) -> None:
    site = f"file://{tmp_path}/elsewhere"
    dry = run(tree, site, ledger=f"{url}/ledger.json", dry_run=True)
    first = run(tree, site, ledger=f"{url}/ledger.json")
    assert dry.warnings == first.warnings == ()
    assert len(first.uploaded) == 5
    kept = list(listing(open_backend(url)))
    assert kept
    assert all(key.startswith("ledger/") for key in kept)
    assert run(tree, site, ledger=f"{url}/ledger.json").uploaded == ()


def test_what_is_there_is_the_tree_and_a_second_run_does_nothing(tree: Tree, url: str) -> None:
    assert len(run(tree, url).uploaded) == 5
    backend = open_backend(url)
    for key in [*(ref.path for ref in tree.refs()), "manifest.json"]:
        blob = backend.get(key)
        assert blob is not None
        assert blob.data == tree.read(key)
        if backend.keeps_headers:
            wanted = Headers("application/json; charset=utf-8", "public, max-age=300")
            assert blob.headers == wanted
    before = listing(backend)
    again = run(tree, url)
    assert (again.uploaded, again.unchanged, again.warnings) == ((), 5, ())
    assert listing(backend) == before


def test_one_edit_and_one_deletion_are_found(tree: Tree, url: str) -> None:
    run(tree, url)
    backend = open_backend(url)
    backend.put("components/old/qa.json", Body.of(document("old", "<p>gone</p>")), Headers())
    backend.put("theirs.html", Body.of(b"theirs"), Headers())
    tree.write(ONE, tree.read(ONE).replace(b"hello", b"hallo"))
    report = run(tree, url, delete=True)
    assert [(up.key, up.reason) for up in report.uploaded] == [(ONE, "content")]
    assert report.deleted == ("components/old/qa.json",)
    assert "theirs.html" in listing(backend)
    blob = backend.get(ONE)
    assert blob is not None
    assert blob.data == tree.read(ONE)


def test_headers_and_encoding_are_found_where_they_are_kept(tree: Tree, url: str) -> None:
    run(tree, url)
    backend = open_backend(url)
    if not backend.keeps_headers:
        assert run(tree, url, cache_control="no-cache").uploaded == ()
        return
    changed = run(tree, url, cache_control="no-cache")
    assert {up.reason for up in changed.uploaded} == {"headers"}
    assert run(tree, url, cache_control="no-cache").uploaded == ()
    packed = run(tree, url, encoding="gzip")
    assert len(packed.uploaded) == 5
    blob = backend.get(ONE)
    assert blob is not None
    assert blob.headers.content_encoding == "gzip"
    assert gzip.decompress(blob.data) == tree.read(ONE)
    assert run(tree, url, encoding="gzip").uploaded == ()


def test_a_partial_tree_adds_to_the_manifest_whatever_its_encoding(
    tmp_path: Path, tree: Tree, url: str
) -> None:
    backend = open_backend(url)
    encoding = "gzip" if backend.keeps_headers else "identity"
    run(tree, url, encoding=encoding)
    part = make_tree(tmp_path / "part", {"new": ["qa"]}, complete=False)
    report = run(part, url, encoding=encoding)
    reasons = {up.key: up.reason for up in report.uploaded}
    assert reasons["manifest.json"] == "manifest"
    blob = backend.get("manifest.json")
    assert blob is not None
    data = gzip.decompress(blob.data) if encoding == "gzip" else blob.data
    assert b'"id": "new"' in data
    assert b'"id": "card"' in data
    assert run(part, url, encoding=encoding).uploaded == ()


def test_a_plan_is_carried_out_once_and_refused_where_something_moved(
    tmp_path: Path, tree: Tree, url: str
) -> None:
    run(tree, url)
    less = make_tree(tmp_path / "less", {"card": ["qa"]}, html="two")
    plan = tmp_path / "release.plan"
    planned = run(less, url, delete=True, plan_out=plan)
    backend = open_backend(url)
    assert backend.head(ONE) is not None
    old = tmp_path / "old.plan"
    old.write_bytes(plan.read_bytes())
    applied = apply(plan, [url]).destinations[0]
    assert applied.failure is None
    assert (applied.uploaded, applied.deleted) == (planned.uploaded, planned.deleted)
    assert backend.head(ONE) is None
    third = make_tree(tmp_path / "third", COMPONENTS, html="three")
    run(third, url)
    refused = apply(old, [url]).destinations[0]
    assert refused.refusal is not None
    assert "no longer what the plan saw" in refused.refusal.message
    assert run(third, url).uploaded == ()


def test_what_is_live_is_known_with_and_without_the_log(tree: Tree, url: str) -> None:
    run(tree, url)
    target = open_targets([url], DeployOptions())[0]
    told = read_status(target, Selection(), 4)
    assert [(one.name, one.variant) for one in told.documents] == [
        ("Card", Variant("v1", "Main")),
        ("Card", Variant("v1", "Main")),
        ("Mit Umlaut Ä", Variant("v1", "Main")),
        ("Mit Umlaut Ä", Variant("v1", "Main")),
    ]
    for one in target.store.list(".myop-cdn/"):
        target.store.delete([one.key])
    read = read_status(target, Selection(), 4)
    assert [replace(one, since=None) for one in read.documents] == [
        replace(one, since=None) for one in told.documents
    ]
    assert all(one.since for one in read.documents)


def test_a_doctor_s_look_changes_nothing(tree: Tree, url: str) -> None:
    run(tree, url)
    target = open_targets([url], DeployOptions())[0]
    before = target.store.list()
    found = {one.name: one.state for one in destination(target, None)}
    assert {found[name] for name in ("reading", "writing", "conditions", "deleting")} == {"ok"}
    assert target.store.list() == before
