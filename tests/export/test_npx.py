"""The official command-line tool as an exporter."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import DocumentError, ExportError, IndexFormError, InputError
from myop_cdn.export import npx as room
from myop_cdn.export.npx import NpxExporter, is_pinned
from myop_cdn.model import DocumentRef, Release, Scope
from myop_cdn.progress import Silent
from tests.export.official_tool import OfficialTool
from tests.samples import KEY, SECRET, full_tree

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a POSIX script")
FILES = full_tree({"card": ["qa"]})
REF = DocumentRef("card", "qa")
ONE = Scope("incremental", (Release("card", "it's $(x) größer", "v-1", "env-1"),))


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OfficialTool:
    """The stand-in, and scratch folders where a test can look for them."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    made = OfficialTool(tmp_path)
    made.plan(FILES)
    return made


def exporter(tool: OfficialTool, *words: str) -> NpxExporter:
    return NpxExporter([str(tool.program), *words], "https://api.example", KEY)


def test_a_full_export_is_the_tools_tree(tool: OfficialTool) -> None:
    with exporter(tool, "myop@1.2.3", "export").open(Scope("full"), Silent()) as export:
        assert export.index().dump() == FILES["manifest.json"]
        assert export.document(REF).body == FILES[REF.path]
        assert (export.name, export.asks_again) == ("npx", False)
    words = tool.runs[0]["words"]
    assert words[:3] == ["myop@1.2.3", "export", "--output"]
    assert len(words) == 4
    assert list((tool.place / "scratch").iterdir()) == []


def test_releases_go_as_one_argument_that_no_shell_reads(tool: OfficialTool) -> None:
    with exporter(tool).open(ONE, Silent()):
        words = tool.runs[0]["words"]
    assert words[2] == "--releases"
    assert json.loads(words[3]) == [
        {
            "componentId": "card",
            "environment": "it's $(x) größer",
            "environmentId": "env-1",
            "variantId": "v-1",
        }
    ]


def test_the_key_is_in_the_environment_alone_and_the_secret_nowhere(
    tool: OfficialTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYOP_WEBHOOK_SECRET", SECRET)
    with exporter(tool).open(ONE, Silent()):
        ran = tool.runs[0]
    assert ran["environment"]["MYOP_API_KEY"] == KEY
    assert SECRET not in str(ran)
    assert KEY not in "".join(ran["words"])


def test_the_tool_gets_no_variable_that_it_need_not_have(
    tool: OfficialTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = (
        "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY", "CLOUDFLARE_API_TOKEN",
        "GITHUB_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "CI_JOB_TOKEN", "MYOP_WEBHOOK_SECRET",
        "GOOGLE_APPLICATION_CREDENTIALS", "NODE_OPTIONS", "LD_PRELOAD",
        "MYOP_CDN_NOTIFY", "MYOP_CDN_NOTIFY_SECRET",
    )  # fmt: skip
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    needed = {"https_proxy": "http://p:1", "NO_PROXY": "h", "npm_config_cache": "/c", "MYOP_X": "y"}
    for name, value in needed.items():
        monkeypatch.setenv(name, value)
    with exporter(tool).open(ONE, Silent()):
        given = tool.runs[0]["environment"]
    given.pop("LC_CTYPE", None)  # Python, in which the stand-in is written, sets it by itself
    kept = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    api = {"MYOP_API_KEY": KEY, "MYOP_API_URL": "https://api.example"}
    assert given == {**kept, **needed, **api}


@pytest.mark.parametrize(
    ("command", "pinned"),
    [
        ("npx --yes myop export", False),
        ("npx --yes myop@latest export", False),
        ("npx --yes myop@1 export", False),
        ("npx --yes myop@^1.2.3 export", False),
        ("npx --yes myop@1.2.3 export", True),
        ("/usr/bin/npx --package=@myop/cli@2.0.0-rc.1 myop export", True),
        ("pnpm dlx myop export", False),
        ("/opt/myop/bin/myop export", True),
        ("node /opt/myop/cli.js export", True),
    ],
)
def test_a_command_is_pinned_where_it_runs_the_same_code_tomorrow(
    command: str, pinned: bool
) -> None:
    assert is_pinned(command.split()) is pinned


def test_many_releases_go_in_parts_that_fit_an_argument(
    tool: OfficialTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_ARGUMENT_BYTES", 1000)
    releases = tuple(Release("card", f"environment-{n}") for n in range(50))
    with exporter(tool).open(Scope("incremental", releases), Silent()):
        runs = tool.runs
    sent = [item for run in runs for item in json.loads(run["words"][3])]
    assert [item["environment"] for item in sent] == [one.environment for one in releases]
    assert len(runs) > 1
    assert all(len(run["words"][3]) <= 1100 for run in runs)


def test_a_tool_that_fails_is_told_with_its_code_and_last_words(tool: OfficialTool) -> None:
    tool.plan({}, 3, "first\nthe key KEY is unknown\n\n")
    with (
        pytest.raises(ExportError, match=r"ended with 3: .*the key \*\*\* is unknown$") as caught,
        exporter(tool).open(ONE, Silent()),
    ):
        pass
    assert KEY not in caught.value.message
    assert list((tool.place / "scratch").iterdir()) == []


@pytest.mark.parametrize("padding", [0, 3960, 4000, 4030, 4096])
def test_no_part_of_the_key_is_shown_where_the_output_is_cut(
    tool: OfficialTool, padding: int
) -> None:
    tool.plan({}, 1, "KEY" + "x" * padding)
    with pytest.raises(ExportError) as caught, exporter(tool).open(ONE, Silent()):
        pass
    assert not any(KEY[at : at + 10] in caught.value.message for at in range(len(KEY) - 10))


def test_a_tool_that_says_nothing_still_gets_a_message(tool: OfficialTool) -> None:
    tool.plan({}, 1)
    with pytest.raises(ExportError, match="it said nothing"), exporter(tool).open(ONE, Silent()):
        pass


def test_a_tool_that_hangs_is_ended(tool: OfficialTool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TIMEOUT_SECONDS", 1.5)
    tool.plan({}, hangs=True)
    with pytest.raises(ExportError, match="took longer than"), exporter(tool).open(ONE, Silent()):
        pass
    child = int((tool.place / "child").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_program_that_can_no_longer_be_run_is_told(tool: OfficialTool) -> None:
    made = exporter(tool)
    tool.program.unlink()
    with pytest.raises(ExportError, match="can't run"), made.open(ONE, Silent()):
        pass


@pytest.mark.parametrize("command", [[], ["no-such-program-here"], [""]])
def test_a_program_that_is_not_there_is_bad_usage(command: list[str]) -> None:
    with pytest.raises(InputError, match="npx exporter needs") as caught:
        NpxExporter(command, "https://api.example", KEY)
    assert "--exporter api" in caught.value.hint


def test_a_batch_file_is_refused(tmp_path: Path) -> None:
    """cmd.exe would read a payload's names as commands."""
    batch = tmp_path / "npx.CMD"
    batch.write_text("")
    batch.chmod(0o755)
    with pytest.raises(InputError, match="batch file"):
        NpxExporter([str(batch)], "https://api.example", KEY)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "wrote no manifest.json"),
        ({"manifest.json": b"[]"}, "manifest.json: no object"),
        ({"manifest.json": b'{"components": [{"id": "a"}]}'}, "names no environments"),
    ],
)
def test_an_index_that_is_missing_or_odd_is_told(
    tool: OfficialTool, files: dict[str, bytes], words: str
) -> None:
    tool.plan(files)
    with (
        exporter(tool).open(Scope("full"), Silent()) as export,
        pytest.raises(IndexFormError, match=words),
    ):
        export.index()


def test_a_document_that_is_missing_odd_or_a_link_is_told(
    tool: OfficialTool, tmp_path: Path
) -> None:
    tool.plan({"components/card/odd.json": b"<html>"})
    with exporter(tool).open(ONE, Silent()) as export:
        (scratch,) = (tmp_path / "scratch").iterdir()
        (scratch / "export/components/card/link.json").symlink_to("/etc/hostname")
        for environment in ("none", "odd", "link"):
            with pytest.raises(DocumentError, match=f"component card in {environment}"):
                export.document(DocumentRef("card", environment))
