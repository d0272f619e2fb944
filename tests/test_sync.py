"""Sync: a scope, an API and a folder in; the exported folder and a report out."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn import exportnote
from myop_cdn import tree as tree_room
from myop_cdn.errors import (
    InputError,
    KeyRejected,
    RefusedError,
    TreeError,
    Unreachable,
)
from myop_cdn.export.api import ApiExporter
from myop_cdn.model import (
    DeleteLimit,
    DocumentRef,
    ExportedDocument,
    Release,
    Scope,
    Variant,
)
from myop_cdn.sandbox import Sandbox
from myop_cdn.sync import SyncOptions, left_alone, sync
from myop_cdn.tree import DryRunTree, Tree
from tests.api_server import ApiServer, Reply
from tests.samples import (
    KEY,
    document,
    documents,
    full_tree,
    identities,
    index,
    read,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from myop_cdn.report import SyncReport

MANY = {f"component-{n:02}": ["qa", "prod", "größer"] for n in range(30)}
FEW = {"banner": ["qa"], "card": ["qa", "prod"]}
FULL = Scope("full")
BUSY = Reply(b"", 503)


@dataclass
class Clock:
    """Time that passes only when somebody sleeps."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(full_tree(FEW)) as running:
        yield running


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "out")


def run(url: str, tree: Tree, scope: Scope = FULL, **more: Any) -> SyncReport:
    clock = Clock()
    exporter = ApiExporter(url, KEY, "MYOP_API_KEY", wait=lambda seconds: True)
    options = SyncOptions(**{"jobs": 8, "sleep": clock.sleep, "clock": lambda: clock.now, **more})
    return sync(scope, exporter, tree, options)


def released(*pairs: tuple[str, str], variant: str | None = "v-1") -> Scope:
    return Scope("incremental", tuple(Release(one, env, variant) for one, env in pairs))


# A full sync


def test_a_full_sync_through_failures_is_byte_for_byte_and_the_second_rewrites_nothing(
    tmp_path: Path, tree: Tree
) -> None:
    served = write(tmp_path / "api", full_tree(MANY))
    with Sandbox(served, fail_rate=0.15, seed=3) as sandbox:
        first = run(sandbox.url, tree)
        faults = {one.fault for one in sandbox.requests}
        assert read(tree.root) == read(served)
        assert len(first.added) == 121
        assert first.exit_code == 0
        before = identities(tree.root)
        second = run(sandbox.url, tree)
    assert faults >= {"busy", "busy-retry-now", "cut", "closed"}
    assert identities(tree.root) == before
    assert (second.unchanged, second.changed) == (121, False)


def test_only_what_changed_is_written(server: ApiServer, tree: Tree) -> None:
    run(server.url, tree)
    before = identities(tree.root)
    server.files["components/card/qa.json"] = document("card", "qa", "v-2")
    report = run(server.url, tree)
    assert report.updated == ("components/card/qa.json",)
    after = identities(tree.root)
    assert [path for path in before if before[path] != after[path]] == list(report.updated)


def test_a_new_date_alone_leaves_the_manifest_as_it_is(server: ApiServer, tree: Tree) -> None:
    run(server.url, tree)
    before = identities(tree.root)
    server.files["manifest.json"] = index(FEW, at="2027-01-01T00:00:00.000Z")
    assert not run(server.url, tree).changed
    assert identities(tree.root) == before


def test_the_order_of_the_index_is_kept(server: ApiServer, tree: Tree) -> None:
    server.files["manifest.json"] = index({"card": ["qa", "prod"], "banner": ["qa"]})
    run(server.url, tree)
    assert tree.read("manifest.json") == server.files["manifest.json"]


def test_no_document_is_asked_for_twice(server: ApiServer, tree: Tree) -> None:
    run(server.url, tree)
    assert set(server.count().values()) == {1}
    assert set(server.asked) == set(server.files)


def test_what_is_gone_from_the_index_is_removed_and_what_is_foreign_stays(
    server: ApiServer, tree: Tree
) -> None:
    foreign = {
        "index.html": b"mine",
        "components/readme.txt": b"mine",
        "components/banner/logo.svg": b"mine",
        "components/card/nested/deep.json": b"mine",
        "other/old.json": b"mine",
    }
    old = documents({"old": ["qa"], "card": ["staging"]})
    write(tree.root, {**old, **foreign})
    report = run(server.url, tree, max_delete=DeleteLimit(3))
    assert report.removed == (
        "components/card/staging.json",
        "components/old/preview.json",
        "components/old/qa.json",
    )
    assert read(tree.root) == {**full_tree(FEW), **foreign}
    assert not (tree.root / "components/old").exists()


@pytest.mark.parametrize(
    ("limit", "refused"),
    [
        (DeleteLimit(), True),
        (DeleteLimit(count=29), True),
        (DeleteLimit(count=30), False),
        (DeleteLimit(percent=80), True),
        (DeleteLimit(percent=100), False),
    ],
)
def test_an_index_that_shrank_beyond_the_limit_changes_nothing_at_all(
    server: ApiServer, tree: Tree, limit: DeleteLimit, refused: bool
) -> None:
    write(tree.root, full_tree({**FEW, **{f"old-{n:02}": ["qa"] for n in range(15)}}))
    server.files["components/card/qa.json"] = document("card", "qa", "v-2")
    before = identities(tree.root)
    if not refused:
        assert len(run(server.url, tree, max_delete=limit).removed) == 30
        return
    with pytest.raises(RefusedError, match=r"30 of 35 documents would be removed") as caught:
        run(server.url, tree, max_delete=limit)
    assert caught.value.exit_code == 3
    assert identities(tree.root) == before
    assert server.asked == ["manifest.json"]


def test_an_empty_index_never_empties_a_folder_unless_told_how_much_may_go(
    server: ApiServer, tree: Tree
) -> None:
    server.files["manifest.json"] = index({})
    write(tree.root, full_tree(FEW))
    before = identities(tree.root)
    with pytest.raises(RefusedError, match="names nothing to export"):
        run(server.url, tree)
    assert identities(tree.root) == before
    report = run(server.url, tree, max_delete=DeleteLimit(percent=100))
    assert len(report.removed) == 5
    assert read(tree.root) == {"manifest.json": index({})}


def test_an_empty_index_into_an_empty_folder_is_a_complete_tree(
    server: ApiServer, tree: Tree
) -> None:
    server.files["manifest.json"] = index({})
    assert run(server.url, tree).added == ("manifest.json",)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"", 404),
        BUSY,
        Reply(b"<html>busy</html>"),
        Reply(b""),
        Reply(document("banner", "qa")),
        Reply(document("card", "qa"), sent=50),
        Reply(b"", 302, {"Location": "http://evil.example/"}),
    ],
)
def test_a_document_that_fails_leaves_the_old_file_the_manifest_and_all_that_would_go(
    server: ApiServer, tree: Tree, reply: Reply
) -> None:
    write(tree.root, full_tree({**FEW, "old": ["qa"]}, "v-0"))
    before = read(tree.root)
    server.script["components/card/qa.json"] = [reply]
    report = run(server.url, tree)
    assert report.exit_code == 4
    (failed,) = report.failed
    assert (failed.component_id, failed.environment) == ("card", "qa")
    assert "component card in qa" in failed.error
    assert report.removed == ()
    after = read(tree.root)
    kept = {"manifest.json", "components/card/qa.json", *documents({"old": ["qa"]})}
    assert {path: after[path] for path in kept} == {path: before[path] for path in kept}
    assert {path for path in after if after[path] != before[path]} == set(before) - kept
    assert any("nothing was removed" in warning for warning in report.warnings)


def test_a_first_sync_with_a_failure_makes_no_manifest(server: ApiServer, tree: Tree) -> None:
    server.script["components/card/qa.json"] = [Reply(b"", 404)]
    run(server.url, tree)
    assert sorted(read(tree.root)) == sorted(
        path for path in server.files if path not in ("manifest.json", "components/card/qa.json")
    )
    del server.script["components/card/qa.json"]
    assert run(server.url, tree).added == ("components/card/qa.json", "manifest.json")


def test_a_rejected_key_ends_the_run_and_leaves_no_folder(server: ApiServer, tree: Tree) -> None:
    server.script["manifest.json"] = [Reply(b"", 403)]
    with pytest.raises(KeyRejected):
        run(server.url, tree)
    assert not tree.root.exists()


def test_a_key_that_is_rejected_in_the_middle_ends_the_run(server: ApiServer, tree: Tree) -> None:
    write(tree.root, full_tree({**FEW, "old": ["qa"]}))
    for path in documents(FEW):
        server.script[path] = [Reply(b"", 401)]
    before = read(tree.root)
    with pytest.raises(KeyRejected):
        run(server.url, tree)
    assert read(tree.root) == before


def test_an_api_that_answers_no_document_at_all_is_one_failure_of_the_run(
    server: ApiServer, tree: Tree
) -> None:
    for path in documents(FEW):
        server.script[path] = [BUSY]
    with pytest.raises(Unreachable):
        run(server.url, tree)
    assert not tree.root.exists()


def test_an_old_manifest_that_is_none_is_replaced_with_a_warning(
    server: ApiServer, tree: Tree
) -> None:
    write(tree.root, {"manifest.json": b"not json"})
    report = run(server.url, tree)
    assert any("is not a manifest" in warning for warning in report.warnings)
    assert read(tree.root) == full_tree(FEW)


def test_another_organizations_index_is_a_warning(server: ApiServer, tree: Tree) -> None:
    run(server.url, tree)
    server.files["manifest.json"] = index(FEW, organization="another")
    assert any("organization another" in warning for warning in run(server.url, tree).warnings)


# An incremental sync


def test_a_release_brings_its_document_and_one_preview_per_component(
    server: ApiServer, tree: Tree
) -> None:
    report = run(server.url, tree, released(("card", "qa"), ("card", "prod"), ("banner", "qa")))
    assert sorted(server.asked) == sorted(documents(FEW))
    assert set(server.count().values()) == {1}
    assert read(tree.root) == documents(FEW)
    assert (report.scope, report.exit_code) == ("incremental", 0)


def test_without_a_manifest_none_is_made_up(server: ApiServer, tree: Tree) -> None:
    run(server.url, tree, released(("card", "qa")))
    assert not (tree.root / "manifest.json").exists()


def test_the_manifest_is_completed_in_place_with_its_order_and_date_kept(
    server: ApiServer, tree: Tree
) -> None:
    write(tree.root, full_tree({"card": ["prod"], "other": ["qa"]}))
    report = run(server.url, tree, released(("banner", "qa"), ("card", "qa")))
    assert tree.read("manifest.json") == index(
        {"card": ["prod", "qa"], "other": ["qa"], "banner": ["qa"]}
    )
    assert "manifest.json" in report.updated


def test_nothing_is_ever_removed(server: ApiServer, tree: Tree) -> None:
    write(tree.root, full_tree({"old": ["qa"], "card": ["staging"]}))
    before = set(read(tree.root))
    report = run(server.url, tree, released(("card", "qa")))
    assert report.removed == ()
    assert set(read(tree.root)) > before


def test_a_release_that_is_there_already_is_unchanged(server: ApiServer, tree: Tree) -> None:
    run(server.url, tree)
    before = identities(tree.root)
    report = run(server.url, tree, released(("card", "qa")))
    assert (report.unchanged, report.changed) == (3, False)
    assert identities(tree.root) == before


def test_a_document_that_fails_does_not_enter_the_manifest(server: ApiServer, tree: Tree) -> None:
    write(tree.root, full_tree({"old": ["qa"]}))
    server.script["components/card/qa.json"] = [Reply(b"", 404)]
    report = run(server.url, tree, released(("card", "qa"), ("banner", "qa")))
    assert report.exit_code == 4
    assert tree.read("manifest.json") == index({"old": ["qa"], "card": [], "banner": ["qa"]})


def test_a_broken_manifest_stops_an_incremental_sync_before_any_request(
    server: ApiServer, tree: Tree
) -> None:
    write(tree.root, {"manifest.json": b"not json"})
    with pytest.raises(TreeError, match="is not a manifest"):
        run(server.url, tree, released(("card", "qa")))
    assert server.asked == []


def test_an_environment_called_preview_is_the_preview_document(
    server: ApiServer, tree: Tree
) -> None:
    run(server.url, tree, released(("card", "preview")))
    assert server.targets == ["/consume?id=card&preview=true"]
    assert read(tree.root) == {
        "components/card/preview.json": server.files["components/card/preview.json"]
    }


def test_a_scope_of_nothing_does_nothing(server: ApiServer, tree: Tree) -> None:
    assert run(server.url, tree, Scope("none")) == left_alone(tree)
    assert server.asked == []
    assert not tree.root.exists()


# What was announced


def test_a_stale_document_is_asked_for_until_it_holds_what_was_announced(
    server: ApiServer, tree: Tree
) -> None:
    old, new = (Reply(document("card", "qa", variant)) for variant in ("v-1", "v-2"))
    server.script["components/card/qa.json"] = [old, old, new]
    report = run(server.url, tree, released(("card", "qa"), ("banner", "qa"), variant=None))
    assert server.count()["components/card/qa.json"] == 1
    server.script["components/card/qa.json"] = [old, old, new]
    server.forget()
    report = run(server.url, tree, released(("card", "qa"), variant="v-2"))
    assert server.count() == {"components/card/qa.json": 3, "components/card/preview.json": 1}
    assert report.warnings == ()
    assert report.updated == ("components/card/qa.json",)
    assert tree.read("components/card/qa.json") == new.body


def test_a_document_that_stays_stale_is_kept_with_a_warning(server: ApiServer, tree: Tree) -> None:
    clock = Clock()
    scope = released(("card", "qa"), variant="v-9")
    report = run(server.url, tree, scope, sleep=clock.sleep, clock=lambda: clock.now)
    assert sum(clock.slept) == pytest.approx(5)
    assert report.exit_code == 0
    (warning,) = report.warnings
    assert "component card in qa" in warning
    assert "v-9" in warning
    assert tree.read("components/card/qa.json") == server.files["components/card/qa.json"]
    assert report.added == ("components/card/preview.json", "components/card/qa.json")


def test_a_second_answer_that_fails_keeps_the_first(server: ApiServer, tree: Tree) -> None:
    stale = Reply(document("card", "qa"))
    server.script["components/card/qa.json"] = [stale, Reply(b"", 404)]
    report = run(server.url, tree, released(("card", "qa"), variant="v-9"))
    assert report.failed == ()
    assert len(report.warnings) == 1


def test_a_full_sync_is_held_against_what_was_announced_with_it(
    server: ApiServer, tree: Tree
) -> None:
    report = run(server.url, tree, Scope("full", (Release("card", "qa", "v-9"),)))
    assert any("v-9" in warning for warning in report.warnings)
    assert tree.manifest() is not None


# Environments


def test_a_full_sync_of_some_environments_exports_exactly_these(
    server: ApiServer, tree: Tree
) -> None:
    run(server.url, tree, environments=frozenset({"prod"}))
    assert read(tree.root) == {
        "manifest.json": index({"card": ["prod"]}),
        "components/card/prod.json": document("card", "prod"),
    }
    assert server.asked == ["manifest.json", "components/card/prod.json"]


def test_a_full_sync_of_some_environments_leaves_the_others_alone(
    server: ApiServer, tree: Tree
) -> None:
    """In the folder and in the manifest, also where they are gone from Myop."""
    there = {"banner": ["qa", "prod"], "card": ["qa", "prod"], "old": ["qa", "staging"]}
    write(tree.root, full_tree(there, "v-0"))
    before = read(tree.root)
    report = run(server.url, tree, environments=frozenset({"prod"}), max_delete=DeleteLimit(1))
    assert report.removed == ("components/banner/prod.json",)
    after = read(tree.root)
    assert after == {
        **{path: body for path, body in before.items() if path not in report.removed},
        "components/card/prod.json": document("card", "prod"),
        "manifest.json": index(
            {"banner": ["qa"], "card": ["qa", "prod"], "old": ["qa", "staging"]}
        ),
    }
    assert not run(server.url, tree, environments=frozenset({"prod"})).changed


def test_what_may_go_is_counted_among_the_exported_environments_alone(
    server: ApiServer, tree: Tree
) -> None:
    many = {f"old-{n:02}": ["qa", "prod"] for n in range(3)}
    write(tree.root, full_tree({**FEW, **many}))
    with pytest.raises(RefusedError, match=r"3 of 4 documents"):
        run(server.url, tree, environments=frozenset({"prod"}))
    assert run(
        server.url, tree, environments=frozenset({"prod"}), max_delete=DeleteLimit(3)
    ).removed == tuple(f"components/old-{n:02}/prod.json" for n in range(3))


def test_the_manifest_no_longer_names_what_is_about_to_be_removed(
    server: ApiServer, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed at its first removal leaves a manifest that is true."""
    write(tree.root, full_tree({**FEW, "old": ["qa"]}))

    def killed(self: Tree, path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Tree, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        run(server.url, tree)
    assert tree.read("manifest.json") == index(FEW)


def test_a_folder_of_which_the_manifest_alone_is_left_guards_against_a_short_index(
    server: ApiServer, tree: Tree
) -> None:
    write(tree.root, {"manifest.json": index({f"one-{n:02}": ["qa"] for n in range(30)})})
    server.files = full_tree({"one-00": ["qa"]})
    before = read(tree.root)
    with pytest.raises(RefusedError, match=r"29 of 30 documents would be removed"):
        run(server.url, tree)
    assert read(tree.root) == before


def test_a_document_without_a_variant_never_replaces_one_that_has(
    server: ApiServer, tree: Tree
) -> None:
    write(tree.root, full_tree(FEW))
    empty = json.loads(document("card", "qa"))
    empty["item"]["consume_variant"] = []
    server.files["components/card/qa.json"] = json.dumps(empty).encode()
    for scope in (FULL, released(("card", "qa"))):
        report = run(server.url, tree, scope)
        assert report.exit_code == 4
        assert "holds no variant" in report.failed[0].error
        assert read(tree.root) == full_tree(FEW)


def test_preview_is_one_of_the_environments(server: ApiServer, tree: Tree) -> None:
    run(server.url, tree, environments=frozenset({"preview"}))
    assert read(tree.root) == {
        "manifest.json": index({"banner": [], "card": []}),
        "components/banner/preview.json": document("banner", "preview"),
        "components/card/preview.json": document("card", "preview"),
    }


NONE_HAS = "no component has an environment production; there are: prod, qa"


def test_an_environment_that_nothing_has_is_an_error_before_anything_is_written(
    server: ApiServer, tree: Tree
) -> None:
    wanted = frozenset({"prod", "production", "preview"})
    with pytest.raises(InputError, match=NONE_HAS) as caught:
        run(server.url, tree, environments=wanted)
    assert caught.value.exit_code == 2
    assert not tree.exists()
    assert server.asked == ["manifest.json"]


def test_a_listener_is_warned_of_an_environment_that_nothing_has(
    server: ApiServer, tree: Tree
) -> None:
    wanted = frozenset({"prod", "production"})
    report = run(server.url, tree, environments=wanted, unknown_is_error=False)
    assert report.warnings == (NONE_HAS,)
    assert report.added == ("components/card/prod.json", "manifest.json")


def test_releases_of_other_environments_are_passed_over_and_counted(
    server: ApiServer, tree: Tree
) -> None:
    scope = released(("card", "qa"), ("banner", "qa"), ("card", "prod"))
    report = run(server.url, tree, scope, environments=frozenset({"prod"}))
    assert read(tree.root) == {"components/card/prod.json": document("card", "prod")}
    assert report.warnings == ("releases of other environments were passed over: qa (2)",)


# What is known of the documents


def test_every_document_that_was_answered_is_reported_changed_or_not(
    server: ApiServer, tree: Tree
) -> None:
    moment = datetime(2026, 3, 24, 13, 37, tzinfo=UTC)
    old = document("card", "prod", "v-0")
    write(tree.root, {"components/card/qa.json": server.files["components/card/qa.json"]})
    server.script["components/card/prod.json"] = [
        Reply(old, headers={"Date": "Tue, 24 Mar 2026 13:40:00 GMT", "Age": "60"})
    ]
    first, second = (
        Release("card", environment, "v-1", None, moment) for environment in ("qa", "prod")
    )
    scope = Scope("incremental", (first, second))
    report = run(server.url, tree, scope, ask_again_seconds=0.0)
    preview, prod, qa = report.documents
    assert prod == ExportedDocument(
        DocumentRef("card", "prod"),
        hashlib.sha256(old).hexdigest(),
        moment + timedelta(minutes=2),
        "The card",
        (Variant("v-0", "Main"),),
        second,
        holds_announced=False,
    )
    assert (preview.ref.environment, preview.release, preview.asked_at) == ("preview", None, None)
    assert (qa.ref.environment, qa.release, qa.holds_announced) == ("qa", first, True)
    assert report.behind == (prod,)
    assert report.unchanged == 1


def test_what_does_not_hold_the_announced_is_not_waited_for_where_nobody_wants_to(
    server: ApiServer, tree: Tree
) -> None:
    report = run(server.url, tree, released(("card", "qa"), variant="v-9"), ask_again_seconds=0.0)
    assert server.count()["components/card/qa.json"] == 1
    assert [one.ref.path for one in report.behind] == ["components/card/qa.json"]
    assert len(report.warnings) == 1


def test_previews_are_left_out_where_nobody_wants_them(server: ApiServer, tree: Tree) -> None:
    run(server.url, tree, released(("card", "qa")), with_previews=False)
    assert server.asked == ["components/card/qa.json"]


def test_the_note_in_the_folder_knows_what_was_exported(server: ApiServer, tree: Tree) -> None:
    server.script["components/card/qa.json"] = [
        Reply(document("card", "qa"), headers={"Date": "Tue, 24 Mar 2026 13:40:00 GMT"})
    ]
    moment = datetime(2026, 3, 24, 13, 37, tzinfo=UTC)
    report = run(
        server.url, tree, Scope("incremental", (Release("card", "qa", "v-1", None, moment),))
    )
    (_, qa) = report.documents
    noted = exportnote.read(tree).of("components/card/qa.json", qa.sha256)
    assert noted == exportnote.NotedDocument(
        qa.sha256, datetime(2026, 3, 24, 13, 40, tzinfo=UTC), "The card", qa.variants, "v-1", moment
    )


def test_the_note_forgets_what_was_removed_and_keeps_the_rest(
    server: ApiServer, tree: Tree
) -> None:
    run(server.url, tree)
    noted = exportnote.read(tree).documents
    assert sorted(noted) == sorted(path for path in server.files if path != "manifest.json")
    server.files = full_tree({"card": ["qa", "prod"]})
    run(server.url, tree)
    assert sorted(exportnote.read(tree).documents) == sorted(documents({"card": ["qa", "prod"]}))


def test_the_note_is_written_once_and_only_where_it_changed(
    server: ApiServer, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = Tree.write

    def counting(self: Tree, path: str, body: bytes, *, durable: bool = True) -> None:
        written.append(path)
        write(self, path, body, durable=durable)

    monkeypatch.setattr(Tree, "write", counting)
    run(server.url, tree)
    assert written.count(exportnote.PATH) == 1
    written.clear()
    run(server.url, tree)
    assert written == []


# Dry runs, links, names, writers


@pytest.mark.parametrize("scope", [FULL, released(("card", "qa"))])
def test_a_dry_run_reports_the_same_and_changes_nothing(
    server: ApiServer, tmp_path: Path, scope: Scope
) -> None:
    root = write(tmp_path / "out", full_tree({"card": ["staging"], "old": ["qa"]}))
    before, times = identities(root), {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    with DryRunTree.of(root) as tree:
        dry = run(server.url, tree, scope, max_delete=DeleteLimit(3))
    assert identities(root) == before
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == times
    assert dry == run(server.url, Tree(root), scope, max_delete=DeleteLimit(3))
    assert dry.changed


def test_a_dry_run_makes_no_folder(server: ApiServer, tmp_path: Path) -> None:
    with DryRunTree.of(tmp_path / "none" / "out") as tree:
        assert len(run(server.url, tree).added) == 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scope", [FULL, released(("card", "qa"))])
def test_a_link_in_the_folder_is_refused_before_anything_is_written(
    server: ApiServer, tree: Tree, tmp_path: Path, scope: Scope
) -> None:
    outside = write(tmp_path / "outside", {"qa.json": b"mine"})
    write(tree.root, documents({"banner": ["qa"]}, "v-0"))
    (tree.root / "components/card").symlink_to(outside)
    before = read(tree.root)
    with pytest.raises(RefusedError):
        run(server.url, tree, scope)
    assert read(tree.root) == before
    assert read(outside) == {"qa.json": b"mine"}


def test_names_that_differ_in_case_live_side_by_side_or_are_an_error(
    server: ApiServer, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files = full_tree({"card": ["QA", "qa"]})
    monkeypatch.setattr(tree_room, "_folds_case", lambda root, may_write: may_write)
    with pytest.raises(InputError, match="differ only in case"):
        run(server.url, tree)
    assert not tree.root.exists()
    assert server.asked == ["manifest.json"]
    monkeypatch.setattr(tree_room, "_folds_case", lambda root, may_write: False)
    run(server.url, tree)
    assert read(tree.root) == server.files


def test_syncs_into_one_folder_at_once_take_turns(server: ApiServer, tree: Tree) -> None:
    reports: list[SyncReport] = []

    def one() -> None:
        reports.append(run(server.url, Tree(tree.root)))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(len(report.added) for report in reports) == [0, 0, 0, 6]
    assert read(tree.root) == full_tree(FEW)


def test_the_report_is_sorted_and_relative_to_the_folder(server: ApiServer, tree: Tree) -> None:
    server.script["components/card/qa.json"] = [Reply(b"", 404)]
    server.script["components/banner/qa.json"] = [Reply(b"", 404)]
    value = run(server.url, tree).to_json()
    assert value["added"] == sorted(value["added"])
    assert [one["componentId"] for one in value["failed"]] == ["banner", "card"]
    assert value["output"] == str(tree.root)
    assert list(value) == [
        "command",
        "scope",
        "exporter",
        "output",
        "added",
        "updated",
        "removed",
        "unchanged",
        "warnings",
        "failed",
        "seconds",
        "error",
    ]
