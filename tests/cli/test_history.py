"""`myop-cdn history`, `diff` and `rollback`: what they print, and how they end."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.trees import make_tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run

_serial = count()


@pytest.fixture
def url(run: Run, tmp_path: Path) -> str:
    """A destination that was deployed to twice."""
    url = f"memory://history-{next(_serial)}/site"
    for html in ("one", "two"):
        root = make_tree(tmp_path / html, {"card": ["qa"]}, html=html).root
        assert run("deploy", url, "--source", root).code == 0
    return url


def test_history_shows_names_and_variants_newest_first(run: Run, url: str) -> None:
    ended = run("history", url)
    lines = ended.out.decode().splitlines()
    assert ended.code == 0
    assert lines[0].startswith("2  ")
    assert lines[0].endswith("  deploy")
    assert "    Card (card) · qa · Main → Main" in lines
    assert lines.index("    Card (card) · qa · Main · new") > lines.index(lines[0])


def test_history_in_json_is_one_object(run: Run, url: str) -> None:
    report = run("history", url, "--environment", "qa", "--json").json
    assert [one["commit"] for one in report["commits"]] == ["2", "1"]
    (change,) = report["commits"][0]["changes"]
    assert (change["componentId"], change["environment"]) == ("card", "qa")
    assert change["component"] == "Card"
    assert change["before"]["sha256"] != change["after"]["sha256"]


def test_history_says_what_it_has_not_read(run: Run, url: str) -> None:
    ended = run("history", url, "--limit", "1")
    assert [one[0] for one in ended.out.decode().splitlines() if one[0] != " "] == ["2"]
    assert "1 older commit was not read; --limit 0 reads all" in ended.err
    assert run("history", url, "--limit", "1", "--json").json["older"] == 1
    assert run("history", url, "--limit", "0", "--json").json["older"] == 0
    # What a component is looked for in does not depend on how much of it is shown.
    preview = ("--environment", "preview", "--component", "card", "--limit", "1")
    assert len(run("history", url, *preview, "--json").json["commits"]) == 1


def test_diff_ends_with_0_whether_or_not_there_is_one(run: Run, url: str) -> None:
    ended = run("diff", url)
    assert (ended.code, len(ended.out.decode().splitlines())) == (0, 2)
    same = run("diff", url, "2", "2")
    assert (same.code, same.out) == (0, b"")
    assert run("diff", url, "1", "2", "--json").json["from"] == "1"


def test_an_empty_end_of_a_diff_is_not_taken_for_none(run: Run, url: str) -> None:
    for words in (("", ""), ("1", ""), ("",)):
        assert run("diff", url, *words).code == 2


def test_a_destination_without_a_log_has_nothing_to_resume(run: Run) -> None:
    ended = run("rollback", "memory://mistyped/site", "--resume")
    assert ended.code == 1
    assert "nothing was published here yet" in ended.err


def test_a_name_with_a_line_break_stays_on_its_line(run: Run, tmp_path: Path) -> None:
    url = f"memory://history-{next(_serial)}/site"
    tree = make_tree(tmp_path / "tree", {"card": ["qa"]})
    forged = "Card\n9  2026-03-24T10:00:00.000Z  publish"
    for file in tree.root.rglob("*.json"):
        value = json.loads(file.read_text())
        file.write_text(json.dumps(renamed(value, forged)))
    assert run("deploy", url, "--source", tree.root).code == 0
    for command in ("history", "status"):
        lines = run(command, url).out.decode().splitlines()
        assert any("Card\\n9" in one or "Card\\x0a9" in one for one in lines)
        assert not any(one.startswith("9  ") for one in lines)


def renamed(value: Any, name: str) -> Any:
    """A document or a manifest, the component's name in it another."""
    if isinstance(value, list):
        return [renamed(one, name) for one in value]
    if isinstance(value, dict):
        return {
            key: name if (key, one) == ("name", "Card") else renamed(one, name)
            for key, one in value.items()
        }
    return value


def test_rollback_needs_no_key_and_no_myop(run: Run, url: str) -> None:
    dry = run("rollback", url, "--to", "1", "--dry-run")
    assert dry.code == 0
    assert "Card · qa · Main → Main" in dry.out.decode()
    ended = run("rollback", url, "--to", "1", "--json", env={"MYOP_API_URL": "http://127.0.0.1:9"})
    assert ended.code == 0
    assert ended.json["to"] == "1"
    assert len(ended.json["destinations"][0]["uploaded"]) == 2
    held = run("history", url)
    assert "held back since a rollback: Card · preview · Main, Card · qa · Main" in held.err
    resumed = run("rollback", url, "--resume", "--json")
    assert (resumed.code, len(resumed.json["resumed"])) == (0, 2)
    assert resumed.json["destinations"][0]["names"]["components/card/qa.json"] == "Card · qa"
    assert "nothing was held back" in run("rollback", url, "--resume").err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--to", "1", "--resume"),
        ("--to", "7"),
        ("--to", "soon"),
        ("--to", "1", "--component", "../x"),
        ("--to", "1", "--environment", ""),
    ],
)
def test_bad_usage_ends_with_2_and_is_named(run: Run, url: str, words: tuple[str, ...]) -> None:
    ended = run("rollback", url, *words, "--json")
    assert (ended.code, ended.json["error"]["exitCode"]) == (2, 2)
    assert ended.json["error"]["hint"] or "'" in ended.json["error"]["message"]


def test_an_unknown_commit_names_the_nearest(run: Run, url: str) -> None:
    assert "the nearest is 2" in run("rollback", url, "--to", "7").err


@pytest.mark.parametrize("words", [("history",), ("diff",), ("rollback", "--to", "1")])
def test_a_destination_without_a_log_is_a_failure(run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words, f"memory://empty-{next(_serial)}", "--json")
    assert (ended.code, ended.json["error"]["exitCode"]) == (1, 1)


def test_history_that_was_forgotten_is_refused_with_3(run: Run, url: str) -> None:
    assert run("history", url, "--forget", "--json").json["forgotten"] == 2
    ended = run("rollback", url, "--to", "1", "--json")
    assert (ended.code, ended.json["error"]["exitCode"]) == (3, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--component", "crad"), "names the component crad; it names card"),
        (("--environment", "nope"), "names the environment nope; it names preview, qa"),
        (("--component", "card", "--environment", "prod"), "names the environment prod;"),
    ],
)
def test_what_nobody_published_is_warned_of(
    run: Run, url: str, words: tuple[str, ...], said: str
) -> None:
    for command in (("history",), ("history", "--forget"), ("rollback", "--to", "1")):
        ended = run(command[0], url, *command[1:], *words)
        assert (ended.code, ended.out) == (0, b"")
        assert f"no commit of the log {said}" in ended.err
        assert "went back" not in ended.err
    ended = run("rollback", url, "--to", "1", *words)
    assert "there was nothing to put back to commit 1" in ended.err
    (warning,) = run("history", url, *words, "--json").json["warnings"]
    assert said in warning
    assert run("history", url, "--component", "card", "--json").json["warnings"] == []


def test_a_page_in_a_file_says_which_commits_it_knows_nothing_of(
    run: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myop_cdn.page.snapshot._COMMITS", 1)
    file = tmp_path / "status.html"
    assert run("status", url, "--html", file).code == 0
    assert '"older":1' in file.read_text().replace(" ", "")
