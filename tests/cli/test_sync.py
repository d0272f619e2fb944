"""`myop-cdn sync` in this process, against an API on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from myop_cdn.export import client
from myop_cdn.retry import RetryPolicy
from myop_cdn.signature import sign
from tests.api_server import ApiServer, Reply
from tests.export.official_tool import OfficialTool
from tests.payloads import MALFORMED
from tests.samples import (
    KEY,
    SECRET,
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

    from tests.conftest import Ended, Run

FEW = {"banner": ["qa"], "card": ["qa", "prod"]}
BODY = webhook(release("card", "qa"))
GOOD = sign(BODY, SECRET.encode())
GITLAB = json.dumps({**json.loads(BODY), "id": 1, "ref": "x", "variables": {}}).encode()


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(full_tree(FEW)) as running:
        yield running


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ApiServer) -> Path:
    """An empty working folder, the key and the API's address."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("MYOP_API_KEY", KEY)
    monkeypatch.setenv("MYOP_API_URL", server.url)
    return home


def nothing_happened(server: ApiServer, home: Path) -> bool:
    return server.asked == [] and list(home.iterdir()) == []


def quiet(ended: Ended, *hidden: str) -> bool:
    said = ended.out.decode() + ended.err
    return not any(value in said for value in (KEY, SECRET, GOOD[7:30], *hidden))


# What is to be synced


def test_without_a_payload_everything_is_synced_into_the_default_folder(
    run: Run, at_home: Path
) -> None:
    ended = run("sync")
    assert (ended.code, ended.out) == (0, b"")
    assert ended.err.startswith("synced myop-static (full, api): 6 added, 0 updated, ")
    assert read(at_home / "myop-static") == full_tree(FEW)
    again = run("sync")
    assert "unchanged (6 files)" in again.err


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        GITLAB,
        json.dumps({"client_payload": {"releases": [release("card", "qa")]}}).encode(),
        json.dumps({"releases": [release("card", "qa")]}).encode(),
        json.dumps([release("card", "qa")]).encode(),
    ],
)
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_every_form_of_a_payload_syncs_its_releases(
    run: Run, at_home: Path, tmp_path: Path, body: bytes, way: str
) -> None:
    (tmp_path / "body").write_bytes(body)
    name = "-" if way == "stdin" else tmp_path / "body"
    ended = run("sync", "--payload", name, "--json", stdin=body if way == "stdin" else b"")
    assert ended.code == 0
    assert ended.json["scope"] == "incremental"
    assert sorted(read(at_home / "myop-static")) == [
        "components/card/preview.json",
        "components/card/qa.json",
    ]


def test_releases_alone_come_as_an_argument_or_by_stdin(run: Run) -> None:
    value = json.dumps([release("card", "qa")])
    assert run("sync", "--releases", value, "--json").json["scope"] == "incremental"
    ended = run("sync", "--releases", "-", "--json", stdin=value.encode())
    assert ended.json["unchanged"] == 2


def test_full_syncs_everything_whatever_the_payload_says(run: Run) -> None:
    ended = run("sync", "--payload", "-", "--full", "--json", stdin=BODY)
    assert (ended.json["scope"], len(ended.json["added"])) == ("full", 6)


def test_another_event_is_left_alone_even_without_a_key(
    run: Run, server: ApiServer, at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MYOP_API_KEY")
    ended = run("sync", "--payload", "-", "--json", stdin=b'{"event": "components.archived"}')
    assert (ended.code, ended.json["scope"]) == (0, "none")
    assert "components.archived" in ended.err
    assert nothing_happened(server, at_home)


@pytest.mark.parametrize(("body", "place"), MALFORMED)
def test_a_malformed_payload_exits_2_names_the_place_and_nothing_happens(
    run: Run, server: ApiServer, at_home: Path, body: bytes, place: str
) -> None:
    ended = run("sync", "--payload", "-", "--json", stdin=body)
    assert ended.code == 2
    assert place in ended.json["error"]["message"]
    assert place in ended.err
    assert nothing_happened(server, at_home)


@pytest.mark.parametrize("value", ["", "[]", "{}", "null", "[{}]", "-", "no json"])
def test_malformed_releases_exit_2_and_nothing_happens(
    run: Run, server: ApiServer, at_home: Path, value: str
) -> None:
    assert run("sync", f"--releases={value}").code == 2
    assert nothing_happened(server, at_home)


@pytest.mark.parametrize(
    "words",
    [
        ("--payload", "missing"),
        ("--payload", ""),
        ("--payload", "-", "--releases", "[]"),
        ("--signature", GOOD),
        ("--releases", "[]", "--signature", GOOD),
        ("--max-delete", "101%"),
        ("--max-delete", "-1"),
        ("--max-delete", "few"),
        ("--jobs", "0"),
        ("--environment", ""),
        ("--environment", "a/b"),
        ("--environment", ".."),
        ("--exporter", "ftp"),
        ("--exporter", "npx", "--export-command", "no-such-program export"),
        ("--exporter", "npx", "--export-command", "unbalanced '"),
        ("--api-url", "nonsense"),
        ("--api-key-file", "missing"),
        ("extra",),
    ],
)
def test_bad_usage_exits_2_and_nothing_happens(
    run: Run, server: ApiServer, at_home: Path, words: tuple[str, ...]
) -> None:
    ended = run("sync", *words, stdin=BODY)
    assert (ended.code, ended.out) == (2, b"")
    assert "defect" not in ended.err
    assert nothing_happened(server, at_home)


# Signatures


def test_a_valid_signature_lets_the_payload_through(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYOP_WEBHOOK_SECRET", f"new {SECRET}")
    ended = run("sync", "--payload", "-", "--signature", GOOD, "--require-signature", stdin=BODY)
    assert ended.code == 0
    assert "signed with secret 1" in ended.err
    assert quiet(ended)


@pytest.mark.parametrize(
    ("body", "header", "code"),
    [
        (BODY, "", 1),
        (BODY, GOOD[:-1], 1),
        (BODY, GOOD.upper(), 1),
        (BODY, "é" * 71, 1),
        (b"", GOOD, 1),
        (b"no json", GOOD, 1),
        (BODY + b"\n", GOOD, 1),
        (GITLAB, GOOD, 5),
    ],
)
def test_a_signature_that_is_given_is_checked_before_anything_else(
    run: Run,
    server: ApiServer,
    at_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: bytes,
    header: str,
    code: int,
) -> None:
    monkeypatch.setenv("MYOP_WEBHOOK_SECRET", SECRET)
    ended = run("sync", "--payload", "-", "--json", f"--signature={header}", stdin=body)
    assert (ended.code, ended.json["error"]["exitCode"]) == (code, code)
    assert nothing_happened(server, at_home)
    assert quiet(ended)


def test_an_empty_signature_in_the_environment_is_one_that_is_not_valid(
    run: Run, server: ApiServer, at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that hands on a header that was missing must not work as if it never asked."""
    monkeypatch.setenv("MYOP_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("MYOP_CDN_SYNC_SIGNATURE", "")
    assert run("sync", "--payload", "-", stdin=BODY).code == 1
    assert run("sync", "--releases", json.dumps([release("card", "qa")])).code == 2
    assert nothing_happened(server, at_home)


def test_a_key_that_a_ci_system_left_empty_is_told_as_what_it_is(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that is not there is an empty variable to a GitHub job."""
    monkeypatch.setenv("MYOP_API_KEY", "")
    ended = run("sync")
    assert ended.code == 2
    assert "error: MYOP_API_KEY is empty or blank\nhint: in a CI job that is a secret" in ended.err


def test_an_empty_signature_of_no_payload_is_a_scheduled_jobs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYOP_CDN_SYNC_SIGNATURE", "")
    monkeypatch.setenv("MYOP_CDN_SYNC_PAYLOAD", "")
    assert run("sync", "--json").json["scope"] == "full"


def test_a_signature_without_a_secret_is_bad_usage(
    run: Run, server: ApiServer, at_home: Path
) -> None:
    assert run("sync", "--payload", "-", "--signature", GOOD, stdin=BODY).code == 2
    assert nothing_happened(server, at_home)


@pytest.mark.parametrize("words", [("--payload", "-"), ("--releases", "-")])
def test_a_required_signature_that_is_missing_is_refused(
    run: Run, server: ApiServer, at_home: Path, words: tuple[str, ...]
) -> None:
    stdin = BODY if words[0] == "--payload" else json.dumps([release("card", "qa")]).encode()
    ended = run("sync", *words, "--require-signature", stdin=stdin)
    assert ended.code == 2
    assert nothing_happened(server, at_home)
    assert run("sync", "--require-signature").code == 0  # a full sync is nobody's word


def test_gitlabs_payload_is_never_said_to_be_verified(run: Run) -> None:
    ended = run("sync", "--payload", "-", stdin=GITLAB)
    assert ended.code == 0
    assert "warning: GitLab has written this payload again" in ended.err
    assert "signed" not in ended.err


# The API key


@pytest.mark.parametrize("value", ["", "  ", "has blank", "sch\xf6n", "a\nb"])
def test_a_key_that_is_none_is_told_without_its_value(
    run: Run, server: ApiServer, at_home: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MYOP_API_KEY", value)
    ended = run("sync")
    assert ended.code == 2
    assert "MYOP_API_KEY" in ended.err
    assert nothing_happened(server, at_home)
    assert not value.strip() or value not in ended.err


def test_a_missing_key_says_where_keys_come_from_and_what_they_look_like(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MYOP_API_KEY")
    ended = run("sync")
    assert ended.code == 2
    assert "Dashboard > Rollout > Settings > Self-Hosting" in ended.err
    assert "myop_sk_ and 64 hex digits" in ended.err


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_key_is_told_with_its_source_and_never_its_value(
    run: Run, server: ApiServer, at_home: Path, tmp_path: Path, status: int
) -> None:
    server.script["manifest.json"] = [Reply(KEY.encode(), status)]
    by_variable = run("-vv", "sync", "--json")
    assert f"the API key from MYOP_API_KEY ({status})" in by_variable.err
    (tmp_path / "key").write_text(f"{KEY}\n")
    by_file = run("sync", "--api-key-file", tmp_path / "key")
    assert f"the file {tmp_path}/key" in by_file.err
    for ended in (by_variable, by_file):
        assert ended.code == 1
        assert quiet(ended)
    assert list(at_home.iterdir()) == []


# How it ends


def test_the_json_report_is_all_there_is_on_stdout(run: Run, at_home: Path) -> None:
    report = run("sync", "--json").json
    assert report.pop("seconds") >= 0
    assert report == {
        "command": "sync",
        "scope": "full",
        "exporter": "api",
        "output": "myop-static",
        "added": sorted(full_tree(FEW)),
        "updated": [],
        "removed": [],
        "unchanged": 0,
        "warnings": [],
        "failed": [],
    }


def test_documents_that_failed_exit_4_and_are_named(run: Run, server: ApiServer) -> None:
    server.script["components/card/qa.json"] = [Reply(b"<html>" + KEY.encode(), 404)]
    ended = run("sync", "--json")
    assert ended.code == 4
    (failed,) = ended.json["failed"]
    assert failed == {
        "componentId": "card",
        "environment": "qa",
        "error": "component card in qa: Myop has no such component or variant (404)",
    }
    assert ended.json["error"]["exitCode"] == 4
    assert "warning: failed: component card in qa" in ended.err
    assert "1 failed" in ended.err
    assert quiet(ended)


def test_a_refusal_exits_3_and_changes_nothing(run: Run, server: ApiServer, at_home: Path) -> None:
    write(at_home / "out", full_tree(FEW))
    server.files["manifest.json"] = index({})
    before = identities(at_home)
    ended = run("sync", "--output", "out", "--json")
    assert (ended.code, ended.json["error"]["exitCode"]) == (3, 3)
    assert "--max-delete" in ended.json["error"]["hint"]
    assert identities(at_home) == before
    assert run("sync", "--output", "out", "--max-delete", "4").code == 3
    assert run("sync", "--output", "out", "--max-delete", "100%").code == 0


@pytest.mark.parametrize(
    "reply", [Reply(b"", 503), Reply(b"{"), Reply(b"", 302, {"Location": "/"})]
)
def test_an_api_without_an_index_exits_1(
    run: Run, server: ApiServer, at_home: Path, monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    monkeypatch.setattr(client, "POLICY", RetryPolicy(attempts=2, first_pause=0.05))
    server.script["manifest.json"] = server.script["/"] = [reply]
    ended = run("sync", "--json", "--exporter", "api")
    assert (ended.code, ended.json["error"]["exitCode"]) == (1, 1)
    assert ended.json["output"] == "myop-static"
    assert list(at_home.iterdir()) == []


def test_a_dry_run_prints_each_change_and_makes_no_folder(run: Run, at_home: Path) -> None:
    ended = run("sync", "--dry-run")
    assert ended.out.decode().split() == [
        word for path in sorted(full_tree(FEW)) for word in ("+", path)
    ]
    assert "would sync" in ended.err
    assert list(at_home.iterdir()) == []


def test_a_dry_run_with_json_prints_the_object_alone(
    run: Run, server: ApiServer, at_home: Path
) -> None:
    old = documents({"card": ["staging"]}, "v-0")
    write(at_home / "myop-static", old)
    before = identities(at_home)
    report = run("sync", "--dry-run", "--json").json
    assert report["removed"] == ["components/card/staging.json"]
    assert report["updated"] == ["components/card/preview.json"]
    assert identities(at_home) == before
    lines = run("sync", "--dry-run").out.decode().splitlines()
    assert {line[0] for line in lines} == {"+", "~", "-"}


def test_environments_narrow_the_export(
    run: Run, at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYOP_CDN_SYNC_ENVIRONMENT", "prod preview")
    run("sync")
    assert sorted(read(at_home / "myop-static")) == [
        "components/banner/preview.json",
        "components/card/preview.json",
        "components/card/prod.json",
        "manifest.json",
    ]
    ended = run("sync", "--environment", "qa", "--payload", "-", "--json", stdin=BODY)
    assert ended.json["added"] == ["components/card/qa.json"]


def test_what_was_announced_and_is_not_there_is_a_warning(run: Run, server: ApiServer) -> None:
    body = webhook(release("card", "qa", "v-9"))
    ended = run("sync", "--payload", "-", "--json", stdin=body)
    assert ended.code == 0
    assert "v-9" in ended.json["warnings"][0]
    assert "warning: component card in qa" in ended.err


@pytest.mark.parametrize("flag", [(), ("-q",), ("-v",), ("-vv",)])
def test_json_logs_are_json_lines_and_quiet_is_quiet(
    run: Run, server: ApiServer, flag: tuple[str, ...]
) -> None:
    server.script["components/card/qa.json"] = [Reply(b"", 404)]
    ended = run(*flag, "--log-format", "json", "sync")
    lines = [json.loads(line) for line in ended.err.splitlines()]
    levels = {line["level"] for line in lines}
    assert "warning" in levels
    assert ("info" in levels) is (flag != ("-q",))
    assert ("debug" in levels) is (flag in (("-v",), ("-vv",)))


def test_a_folder_that_is_a_link_inside_is_refused(run: Run, at_home: Path) -> None:
    (at_home / "elsewhere").mkdir()
    (at_home / "myop-static").mkdir()
    (at_home / "myop-static/components").symlink_to(at_home / "elsewhere")
    assert run("sync").code == 3
    assert list((at_home / "elsewhere").iterdir()) == []


# The official tool


@pytest.fixture
def tool(tmp_path: Path) -> OfficialTool:
    made = OfficialTool(tmp_path)
    made.plan(full_tree(FEW))
    return made


def test_the_official_tools_export_is_merged_like_any_other(
    run: Run, at_home: Path, server: ApiServer, tool: OfficialTool
) -> None:
    out = write(at_home / "myop-static", {"components/old/qa.json": document("old", "qa")})
    command = f"'{tool.program}' --pinned export"
    ended = run("sync", "--exporter", "npx", "--export-command", command, "--json")
    assert (ended.code, ended.json["exporter"]) == (0, "npx")
    assert ended.json["removed"] == ["components/old/qa.json"]
    assert read(out) == full_tree(FEW)
    assert server.asked == []
    assert tool.runs[0]["words"][:2] == ["--pinned", "export"]
    again = run("sync", "--exporter", "npx", "--export-command", command, "--json")
    assert again.json["unchanged"] == 6


def test_a_missing_file_of_the_official_tool_is_that_documents_failure(
    run: Run, tool: OfficialTool
) -> None:
    files = full_tree(FEW)
    del files["components/card/qa.json"]
    tool.plan(files)
    ended = run("sync", "--exporter", "npx", "--export-command", f"'{tool.program}'", "--json")
    assert ended.code == 4
    assert ended.json["failed"][0]["environment"] == "qa"


def test_the_official_tool_takes_over_where_the_index_has_another_form(
    run: Run, at_home: Path, server: ApiServer, tool: OfficialTool
) -> None:
    server.script["manifest.json"] = [Reply(b'{"files": []}')]
    ended = run("sync", "--export-command", f"'{tool.program}'", "--json")
    assert (ended.code, ended.json["exporter"]) == (0, "npx")
    assert read(at_home / "myop-static") == full_tree(FEW)


def test_an_index_of_another_form_and_no_official_tool_is_told(
    run: Run, server: ApiServer, at_home: Path
) -> None:
    server.script["manifest.json"] = [Reply(b'{"files": []}')]
    ended = run("sync", "--export-command", "no-such-program")
    assert ended.code == 1
    assert "not in the documented form" in ended.err
    assert "no-such-program" in ended.err
    assert list(at_home.iterdir()) == []


def test_a_failing_official_tool_exits_1_and_its_words_hold_no_key(
    run: Run, at_home: Path, tool: OfficialTool
) -> None:
    tool.plan({}, 7, "no such key: KEY")
    ended = run("sync", "--exporter", "npx", "--export-command", f"'{tool.program}'", "--json")
    assert ended.code == 1
    assert "ended with 7" in ended.err
    assert quiet(ended)
    assert list(at_home.iterdir()) == []
