"""`--report`, and what GitHub's and GitLab's jobs show by themselves."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, NoReturn

import pytest

from myop_cdn.deploy import target
from myop_cdn.errors import AccessDenied
from tests.api_server import ApiServer, Reply
from tests.samples import KEY, full_tree, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run

FEW = {"banner": ["qa"], "card": ["qa"]}
CARD = "components/card/qa.json"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(full_tree(FEW)) as running:
        yield running


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ApiServer) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYOP_API_KEY", KEY)
    monkeypatch.setenv("MYOP_API_URL", server.url)
    return tmp_path


def cases(file: Path) -> dict[str, list[str]]:
    """Each document's name in a report, with the elements of its cases."""
    found: dict[str, list[str]] = {}
    for case in ET.parse(file).iter("testcase"):
        found.setdefault(case.attrib["name"], []).extend(one.tag for one in case)
    return found


def test_a_publish_is_reported_in_every_format(run: Run, here: Path) -> None:
    words = ["--report=r/a.md", "--report=r/a.xml", "--report=r/a.json"]
    ended = run("publish", f"file://{here}/cdn", "--json", *words)
    assert ended.code == 0
    assert json.loads((here / "r/a.json").read_text("utf-8")) == ended.json
    size = len((here / "myop-static" / CARD).read_bytes())
    row = f"| uploaded | The card | qa | Main | {size} B |"
    assert row in (here / "r/a.md").read_text("utf-8")
    assert f"| added | The card | qa | Main | {size} B |" in (here / "r/a.md").read_text("utf-8")
    found = cases(here / "r/a.xml")
    assert set(found) == {"manifest.json", *(one for one in full_tree(FEW))}
    assert not any(found.values())
    assert sorted(one.name for one in (here / "r").iterdir()) == ["a.json", "a.md", "a.xml"]


def test_a_document_that_failed_is_a_failed_case(run: Run, here: Path, server: ApiServer) -> None:
    server.script[CARD] = [Reply(b"", 404)]
    ended = run("publish", f"file://{here}/cdn", "--report", "r.xml", "--report", "r.md")
    assert ended.code == 4
    assert cases(here / "r.xml")[CARD] == ["failure"]
    text = (here / "r.md").read_text("utf-8")
    assert "Failed with exit code 4" in text
    assert "| failed: " in text


def test_an_unchanged_deploy_has_a_case_for_every_document(run: Run, here: Path) -> None:
    tree = write(here / "tree", full_tree(FEW))
    words = ("deploy", f"file://{here}/cdn", "--source", tree, "--report", "r.xml")
    run(*words)
    assert run(*words).code == 0
    assert set(cases(here / "r.xml")) == set(full_tree(FEW))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("publish", "nonsense"), 2),
        (("publish", "memory://x", "--max-delete", "x"), 2),
        (("sync", "--payload", "missing.json"), 2),
        (("deploy", "file:///nowhere/cdn", "--source", "missing"), 3),
        (("sync", "--exporter", "npx", "--export-command", "false"), 1),
    ],
)
def test_a_run_that_comes_to_nothing_is_reported_too(
    run: Run, here: Path, words: tuple[str, ...], code: int
) -> None:
    (here / "r.md").write_text("of the last run")
    reports = ("--report", "r.md", "--report", "r.xml", "--report", "r.json")
    ended = run(*words, *reports, "--json")
    assert ended.code == code
    assert f"Failed with exit code {code}" in (here / "r.md").read_text("utf-8")
    assert json.loads((here / "r.json").read_text("utf-8")) == ended.json
    assert sum(map(len, cases(here / "r.xml").values())) == 1


def test_a_refusal_is_reported(run: Run, here: Path, server: ApiServer) -> None:
    run("publish", f"file://{here}/cdn")
    server.files = full_tree({})
    ended = run("publish", f"file://{here}/cdn", "--report", "r.xml")
    assert ended.code == 3
    assert [tags for tags in cases(here / "r.xml").values() if tags] == [["failure"]]


def test_a_report_that_can_t_be_written_does_not_hide_how_the_run_ended(
    run: Run, here: Path
) -> None:
    (here / "file").write_text("")
    words = ("--report", "file/r.md", "--report", "good.md", "--json")
    ended = run("publish", f"file://{here}/cdn", *words)
    assert ended.code == 1
    assert "can't write the report file/r.md" in ended.json["error"]["message"]
    assert len(ended.json["deploy"]["destinations"][0]["uploaded"]) == 5
    assert (here / "good.md").exists()
    ended = run("publish", "nonsense", *words)
    assert ended.code == 2
    assert "can't write the report file/r.md" in ended.err
    assert ended.json["error"]["exitCode"] == 2


def test_documents_that_can_t_be_read_back_for_a_page_do_not_hide_it_either(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AccessDenied("it may not be read")

    monkeypatch.setattr(target, "open_targets", refuse)
    words = ("--report", "r.html", "--report", "good.md", "--json")
    ended = run("publish", f"file://{here}/cdn", *words)
    assert (ended.code, ended.json["error"]["message"]) == (1, "it may not be read")
    assert len(ended.json["deploy"]["destinations"][0]["uploaded"]) == 5
    assert (here / "good.md").exists()


@pytest.mark.parametrize("name", ["r.txt", "r", "-", "r.md.gz", ".md"])
def test_an_ending_that_names_no_format_is_bad_usage(
    run: Run, here: Path, server: ApiServer, name: str
) -> None:
    ended = run("sync", "--report", name)
    assert ended.code == 2
    assert ".md, .xml, .json" in ended.err
    assert server.asked == []


def test_on_github_the_step_has_a_summary_and_annotations(
    run: Run, here: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(here / "summary.md"))
    (here / "summary.md").write_text("of the step before\n")
    ended = run("publish", f"file://{here}/cdn", "--json")
    assert "::" not in ended.err
    server.script[CARD] = [Reply(b"", 404)]
    ended = run("publish", f"file://{here}/cdn", "--json")
    assert (ended.code, ended.json["command"]) == (4, "publish")  # stdout is JSON and no more
    lines = [one for one in ended.err.splitlines() if one.startswith("::")]
    assert any(one.startswith("::error title=myop-cdn publish::") and CARD in one for one in lines)
    text = (here / "summary.md").read_text("utf-8")
    assert text.startswith("of the step before\n")
    assert text.count("### myop-cdn publish") == 2
    lines_of_json = run("publish", f"file://{here}/cdn", "--log-format", "json").err.splitlines()
    assert all(json.loads(one) for one in lines_of_json)


def test_on_gitlab_the_log_has_a_section_that_unfolds(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITLAB_CI", "true")
    ended = run("publish", f"file://{here}/cdn")
    assert ended.err.count("\x1b[0Ksection_start:") == ended.err.count("section_end:") == 2
    assert "uploaded components/card/qa.json  The card · Main · " in ended.err
    assert "section_start" not in run("publish", f"file://{here}/cdn", "-q").err
    again = run("publish", f"file://{here}/cdn")
    assert "unchanged" in again.err
    assert "section_start" not in again.err  # there is nothing to unfold


def test_a_command_without_reports_says_nothing_to_the_ci_system(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("MYOP_WEBHOOK_SECRET", "0123456789abcdef")
    ended = run("verify", "--signature", "sha256=00", stdin=b"{}")
    assert ended.code == 1
    assert "::" not in ended.err
