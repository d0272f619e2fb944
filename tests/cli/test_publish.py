"""`myop-cdn publish`: sync, then deploy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import pytest

from myop_cdn.errors import AccessDenied
from myop_cdn.storage.memory import MemoryBackend
from tests.api_server import ApiServer, Reply
from tests.samples import (
    KEY,
    document,
    documents,
    full_tree,
    identities,
    index,
    read,
    release,
    webhook,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run

FEW = {"banner": ["qa"], "card": ["qa", "prod"]}
BODY = webhook(release("card", "qa"))


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(full_tree(FEW)) as running:
        yield running


@pytest.fixture(autouse=True)
def cdn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ApiServer) -> Path:
    """The folder that stands for the CDN; the working folder is empty."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setenv("MYOP_API_KEY", KEY)
    monkeypatch.setenv("MYOP_API_URL", server.url)
    return tmp_path / "cdn"


def test_what_was_released_reaches_the_destination(run: Run, cdn: Path, tmp_path: Path) -> None:
    ended = run("publish", f"file://{cdn}", "--json")
    assert ended.code == 0
    assert list(ended.json) == ["command", "sync", "deploy"]
    assert len(ended.json["sync"]["added"]) == 6
    assert len(ended.json["deploy"]["destinations"][0]["uploaded"]) == 6
    assert read(tmp_path / "home/myop-static") == full_tree(FEW)
    assert {path: body for path, body in read(cdn).items() if "/." not in f"/{path}"} == full_tree(
        FEW
    )


def test_a_second_publish_has_nothing_to_do(run: Run, cdn: Path) -> None:
    run("publish", f"file://{cdn}")
    before = identities(cdn)
    ended = run("publish", f"file://{cdn}")
    assert ended.code == 0
    assert ended.err.count("unchanged") == 2
    assert identities(cdn) == before


def test_delete_is_for_complete_trees_and_passed_over_for_partial_ones(run: Run, cdn: Path) -> None:
    run("publish", f"file://{cdn}")
    write(cdn, documents({"old": ["qa"]}))
    words = ("publish", f"file://{cdn}", "--delete", "--json")
    partial = run(*words, "--output", "fresh", "--payload", "-", stdin=BODY)
    assert partial.code == 0
    assert partial.json["deploy"]["destinations"][0]["deleted"] == []
    assert "components/old/qa.json" in read(cdn)
    complete = run(*words)
    assert complete.code == 0
    assert len(complete.json["deploy"]["destinations"][0]["deleted"]) == 2
    assert "components/old/qa.json" not in read(cdn)


def test_documents_that_failed_dont_hold_up_the_others_and_nothing_is_deleted(
    run: Run, server: ApiServer, cdn: Path
) -> None:
    run("publish", f"file://{cdn}")
    write(cdn, documents({"old": ["qa"]}))
    server.files["components/card/prod.json"] = document("card", "prod", "v-2")
    server.script["components/card/qa.json"] = [Reply(b"", 404)]
    ended = run("publish", f"file://{cdn}", "--delete", "--json")
    assert ended.code == 4
    assert ended.json["error"]["exitCode"] == 4
    assert read(cdn)["components/card/prod.json"] == document("card", "prod", "v-2")
    assert "components/old/qa.json" in read(cdn)


def test_a_dry_run_plans_from_the_tree_as_it_would_be_and_changes_nothing(
    run: Run, cdn: Path, tmp_path: Path
) -> None:
    ended = run("publish", f"file://{cdn}", "--dry-run", "--json")
    assert ended.code == 0
    assert len(ended.json["deploy"]["destinations"][0]["uploaded"]) == 6
    assert ended.json["deploy"]["dryRun"] is True
    assert not cdn.exists()
    assert list((tmp_path / "home").iterdir()) == []
    lines = run("publish", f"file://{cdn}", "--dry-run").out.decode().splitlines()
    assert len(lines) == 12


@pytest.mark.parametrize(
    "words", [("nonsense",), ("ftp://x",), ("memory://x", "memory://x"), ("s3://",), ()]
)
def test_a_destination_that_is_none_is_told_before_any_request(
    run: Run, server: ApiServer, tmp_path: Path, words: tuple[str, ...]
) -> None:
    ended = run("publish", *words, "--json")
    assert ended.code == 2
    assert ended.json["error"]["exitCode"] == 2
    assert server.asked == []
    assert list((tmp_path / "home").iterdir()) == []


def test_a_malformed_payload_publishes_nothing(run: Run, server: ApiServer, cdn: Path) -> None:
    ended = run("publish", f"file://{cdn}", "--payload", "-", "--json", stdin=b"[]")
    assert ended.code == 2
    assert server.asked == []
    assert not cdn.exists()


def test_another_event_publishes_nothing(run: Run, server: ApiServer, cdn: Path) -> None:
    body = b'{"event": "components.archived"}'
    ended = run("publish", f"file://{cdn}", "--payload", "-", "--json", stdin=body)
    assert (ended.code, ended.json["sync"]["scope"]) == (0, "none")
    assert ended.json["deploy"]["destinations"] == []
    assert not cdn.exists()


def test_a_refused_sync_deploys_nothing(run: Run, server: ApiServer, cdn: Path) -> None:
    run("publish", f"file://{cdn}")
    server.files["manifest.json"] = index({})
    before = identities(cdn)
    ended = run("publish", f"file://{cdn}", "--delete", "--json")
    assert (ended.code, ended.json["command"]) == (3, "publish")
    assert identities(cdn) == before


def test_an_empty_index_into_an_empty_folder_deploys_nothing(
    run: Run, server: ApiServer, cdn: Path
) -> None:
    server.files["manifest.json"] = index({})
    ended = run("publish", f"file://{cdn}", "--json")
    assert ended.code == 0
    assert ended.json["deploy"]["destinations"] == []


def test_one_destination_that_fails_does_not_stop_the_others(
    run: Run, cdn: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    ended = run("publish", f"file://{tmp_path}/file/x", f"file://{cdn}", "--json")
    assert ended.code in (1, 4)
    assert len(json.loads(ended.out)["deploy"]["destinations"]) == 2
    assert "manifest.json" in read(cdn)


def test_where_no_destination_can_be_looked_at_myop_is_asked_for_nothing(
    run: Run, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener tries such a run again and again."""

    def refuse(*_: object) -> NoReturn:
        raise AccessDenied("it may not be listed")

    monkeypatch.setattr(MemoryBackend, "list", refuse)
    ended = run("publish", "memory://a", "memory://b", "--json")
    assert ended.code == 1
    assert [bool(one["error"]) for one in ended.json["deploy"]["destinations"]] == [True, True]
    assert server.asked == []


def test_a_plan_is_written_approved_and_carried_out(
    run: Run, server: ApiServer, cdn: Path, tmp_path: Path
) -> None:
    url, plan = f"file://{cdn}", tmp_path / "release.plan"
    run("publish", url)
    before, workspace = identities(cdn), identities(tmp_path / "home/myop-static")
    server.files["components/card/prod.json"] = document("card", "prod", "v-2")
    planned = run("publish", url, "--plan-out", plan)
    assert planned.code == 0
    assert "The card · prod · Main → Main" in planned.out.decode()
    assert (identities(cdn), identities(tmp_path / "home/myop-static")) == (before, workspace)
    asked = len(server.asked)
    applied = run("publish", url, "--apply", plan, "--json", env={"MYOP_API_KEY": ""})
    assert applied.code == 0
    assert [up["key"] for up in applied.json["deploy"]["destinations"][0]["uploaded"]] == [
        "components/card/prod.json"
    ]
    assert len(server.asked) == asked
    server.files["components/card/prod.json"] = document("card", "prod", "v-3")
    run("publish", url, "--plan-out", plan)
    server.files["components/card/prod.json"] = document("card", "prod", "v-4")
    run("publish", url)
    stale = run("publish", url, "--apply", plan, "--json")
    assert (stale.code, stale.json["error"]["exitCode"]) == (3, 3)
    assert read(cdn)["components/card/prod.json"] == document("card", "prod", "v-4")


@pytest.mark.parametrize(
    "words",
    [
        ("--plan-out", "a", "--apply", "b"),
        ("--apply", "a", "--full"),
        ("--apply", "a", "--payload", "-"),
        ("--apply", "a", "--environment", "qa"),
        ("--apply", "missing"),
        ("--apply", "."),
        ("--plan-out", "no/such/folder/plan"),
    ],
)
def test_options_of_plans_that_make_no_sense_are_bad_usage(
    run: Run, server: ApiServer, cdn: Path, words: tuple[str, ...]
) -> None:
    ended = run("publish", f"file://{cdn}", *words, "--json")
    assert (ended.code, ended.json["error"]["exitCode"]) == (2, 2)
    assert server.asked == []
    assert not cdn.exists()
