"""`myop-cdn verify`: a filter."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from myop_cdn.cli import verify as room
from myop_cdn.signature import sign
from tests.samples import SECRET, release, webhook

if TYPE_CHECKING:
    from tests.conftest import Run

BODY = webhook(release("card", "qa"))
GOOD = sign(BODY, SECRET.encode())
ENV = {"MYOP_WEBHOOK_SECRET": SECRET}
GITLAB = json.dumps({**json.loads(BODY), "id": 1, "ref": "x", "variables": {}}).encode()


@pytest.mark.parametrize("body", [BODY, b"", b"\0\xff\r\n", b"no json\n", b"x" * 3_000_000])
def test_a_valid_body_passes_byte_for_byte_and_the_verdict_is_on_stderr(
    run: Run, tmp_path: Path, body: bytes
) -> None:
    (tmp_path / "body").write_bytes(body)
    good = sign(body, SECRET.encode())
    for words, stdin in ((("-",), body), ((), body), ((tmp_path / "body",), b"")):
        ended = run("verify", *words, "--signature", good, stdin=stdin, env=ENV)
        assert (ended.code, ended.out) == (0, body)
        assert ended.err == "valid: signed with secret 0\n"


@pytest.mark.parametrize(
    "header",
    [
        "",
        GOOD[:-1],
        GOOD.upper(),
        GOOD.removeprefix("sha256="),
        GOOD + GOOD,
        f"{GOOD},{GOOD}",
        GOOD + " ",
        GOOD[:30] + " " + GOOD[30:],
        GOOD[:-1] + "é",
        GOOD[:-1] + "\udcff",
        sign(BODY + b"\n", SECRET.encode()),
    ],
)
@pytest.mark.parametrize("explain", [(), ("--explain",)])
def test_anything_else_is_refused_with_nothing_on_stdout(
    run: Run, header: str, explain: tuple[str, ...]
) -> None:
    ended = run("verify", f"--signature={header}", *explain, stdin=BODY, env=ENV)
    assert (ended.code, ended.out) == (1, b"")
    assert "error: not valid: " in ended.err
    assert SECRET not in ended.err
    assert GOOD[7:30] not in ended.err


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.binary(max_size=40), st.text(st.characters(exclude_characters="\0")))
def test_an_arbitrary_signature_is_a_refusal_and_never_a_traceback(
    run: Run, body: bytes, header: str
) -> None:
    ended = run("verify", f"--signature={header}", "--explain", stdin=body, env=ENV)
    assert (ended.code, ended.out) == (1, b"")
    assert "defect" not in ended.err


def test_no_signature_at_all_is_bad_usage_and_an_empty_variable_is_not_valid(run: Run) -> None:
    assert run("verify", stdin=BODY, env=ENV).code == 2
    ended = run("verify", stdin=BODY, env={**ENV, "MYOP_CDN_VERIFY_SIGNATURE": ""})
    assert (ended.code, ended.out) == (1, b"")
    assert run("verify", stdin=BODY, env={**ENV, "MYOP_CDN_VERIFY_SIGNATURE": GOOD}).code == 0


@pytest.mark.parametrize("header", ["", "sha256=", GOOD[:-1], GOOD.upper()])
def test_what_is_no_signature_is_not_valid_even_of_a_body_from_gitlab(
    run: Run, tmp_path: Path, header: str
) -> None:
    """5 says that nothing is known to be wrong but GitLab: a missing signature is wrong."""
    ended = run("verify", f"--signature={header}", stdin=GITLAB, env=ENV)
    assert (ended.code, ended.out) == (1, b"")
    assert run("verify", f"--signature={GOOD}", stdin=GITLAB, env=ENV).code == 5
    words = ("sync", "--output", tmp_path / "out", "--payload", "-")
    assert run(*words, f"--signature={header}", stdin=GITLAB, env=ENV).code == 1
    assert run(*words, f"--signature={GOOD}", stdin=GITLAB, env=ENV).code == 5


def test_a_secret_in_utf_16_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET.encode("utf-16"))
    ended = run("verify", "--signature", GOOD, "--secret-file", file, stdin=BODY)
    assert ended.code == 2
    assert "is not plain text" in ended.err
    assert SECRET not in ended.err


def test_a_byte_order_mark_is_no_part_of_a_secret(run: Run, tmp_path: Path) -> None:
    """What an editor on Windows puts before it."""
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbf" + SECRET.encode() + b"\r\n")
    words = ("verify", "--signature", GOOD, "--secret-file", tmp_path / "secret")
    assert run(*words, stdin=BODY).code == 0


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero")
def test_a_file_without_an_end_is_refused_with_its_limit(run: Run) -> None:
    ended = run("verify", "--signature", GOOD, "--secret-file", "/dev/zero", stdin=BODY)
    assert (ended.code, "larger than 64 KiB" in ended.err) == (2, True)
    ended = run("--config", "/dev/zero", "verify", "--signature", GOOD, stdin=BODY)
    assert (ended.code, "larger than 1 MiB" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("sync", "--payload", ""), "the name of the payload file is empty"),
        (("verify", "--signature", GOOD, ""), "the name of the body file is empty"),
        (
            ("verify", "--signature", GOOD, "--secret-file", ""),
            "the name of the signing secret file is empty",
        ),
    ],
)
def test_an_empty_name_is_said_to_be_one(run: Run, words: tuple[str, ...], what: str) -> None:
    ended = run(*words, stdin=BODY, env=ENV)
    assert (ended.code, what in ended.err) == (2, True)


def test_a_secret_that_is_being_replaced_is_told_by_its_index(run: Run, tmp_path: Path) -> None:
    ended = run("verify", "--signature", GOOD, stdin=BODY, env={**ENV, **secrets("new", SECRET)})
    assert "secret 1" in ended.err
    (tmp_path / "new").write_text("new\n")
    (tmp_path / "old").write_text(f"  {SECRET}\r\n")
    files = ("--secret-file", tmp_path / "new", "--secret-file", tmp_path / "old")
    ended = run("verify", "--signature", GOOD, *files, stdin=BODY)
    assert (ended.code, "secret 1" in ended.err) == (0, True)


def secrets(*values: str) -> dict[str, str]:
    return {"MYOP_WEBHOOK_SECRET": " \n".join(values)}


def test_files_come_before_the_variable(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    ended = run(
        "verify", "--signature", GOOD, "--secret-file", tmp_path / "other", stdin=BODY, env=ENV
    )
    assert ended.code == 1


def test_the_secret_files_variable_and_config_work_and_the_option_wins(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "good").write_text(SECRET)
    (tmp_path / "bad").write_text("bad")
    variable = {"MYOP_CDN_VERIFY_SECRET_FILE": str(tmp_path / "good")}
    check = ("verify", "--signature", GOOD)
    assert run(*check, stdin=BODY, env=variable).code == 0
    assert run(*check, "--secret-file", tmp_path / "bad", stdin=BODY, env=variable).code == 1
    config = tmp_path / "config.toml"
    for written in (f'["{tmp_path}/good"]', f'"{tmp_path}/good"'):
        config.write_text(f"[verify]\nsecret-file = {written}\n")
        assert run("--config", config, *check, stdin=BODY).code == 0
    other = {"MYOP_CDN_VERIFY_SECRET_FILE": str(tmp_path / "bad")}
    assert run("--config", config, *check, stdin=BODY, env=other).code == 1


def test_the_variable_takes_several_files_whose_names_may_hold_blanks(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "a bad one").write_text("bad")
    (tmp_path / "a good one").write_text(SECRET)
    files = os.pathsep.join([str(tmp_path / "a bad one"), str(tmp_path / "a good one")])
    ended = run(
        "verify", "--signature", GOOD, stdin=BODY, env={"MYOP_CDN_VERIFY_SECRET_FILE": files}
    )
    assert (ended.code, "secret 1" in ended.err) == (0, True)


@pytest.mark.parametrize("value", ["", " ", "\n\t"])
def test_a_blank_secret_is_refused_whatever_the_signature(
    run: Run, tmp_path: Path, value: str
) -> None:
    (tmp_path / "blank").write_text(value)
    forged = sign(BODY, b"")
    by_file = run("verify", "--signature", forged, "--secret-file", tmp_path / "blank", stdin=BODY)
    by_variable = run(
        "verify", "--signature", forged, stdin=BODY, env={"MYOP_WEBHOOK_SECRET": value}
    )
    for ended in (by_file, by_variable):
        assert (ended.code, ended.out) == (2, b"")
        assert "blank" in ended.err


def test_no_secret_says_where_secrets_come_from(run: Run) -> None:
    ended = run("verify", "--signature", GOOD, stdin=BODY)
    assert ended.code == 2
    assert "MYOP_WEBHOOK_SECRET" in ended.err


@pytest.mark.parametrize("words", [("missing",), (".",), ("a\0b",)])
def test_a_body_that_cant_be_read_is_bad_input(run: Run, words: tuple[str, ...]) -> None:
    ended = run("verify", *words, "--signature", GOOD, env=ENV)
    assert (ended.code, ended.out) == (2, b"")


def test_a_body_beyond_the_limit_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_BODY", len(BODY) - 1)
    assert run("verify", "--signature", GOOD, stdin=BODY, env=ENV).code == 2
    monkeypatch.setattr(room, "MAX_BODY", len(BODY))
    assert run("verify", "--signature", GOOD, stdin=BODY, env=ENV).code == 0


def aged(**age: float) -> bytes:
    moment = datetime.now(UTC) - timedelta(**age)
    return webhook(timestamp=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"))


@pytest.mark.parametrize(
    ("body", "max_age", "code"),
    [
        (aged(hours=1), "0", 0),
        (aged(hours=1), "2h", 0),
        (aged(hours=1), "30m", 1),
        (aged(hours=-1), "30m", 1),
        (aged(hours=-1), "1.5h", 0),
        (aged(days=3), "7d", 0),
        (aged(hours=1), "90s", 1),
        (b"no json", "5m", 1),
        (b'{"timestamp": 7}', "5m", 1),
        (b"no json", "0", 0),
    ],
)
def test_the_signed_timestamp_is_held_against_the_age(
    run: Run, body: bytes, max_age: str, code: int
) -> None:
    good = sign(body, SECRET.encode())
    ended = run("verify", "--signature", good, "--max-age", max_age, stdin=body, env=ENV)
    assert (ended.code, ended.out) == (code, body if code == 0 else b"")


@pytest.mark.parametrize(
    "value", ["5", "m", "-5m", "5 m", "1e3s", "5w", "", "9999999999d", "\u0665m"]
)
def test_an_age_that_is_no_duration_is_bad_usage(run: Run, value: str) -> None:
    ended = run("verify", "--signature", GOOD, f"--max-age={value}", stdin=BODY, env=ENV)
    assert (ended.code, ended.out) == (2, b"")


def test_an_age_of_a_body_that_no_payload_can_be_is_refused(run: Run) -> None:
    body = b"x" * 17_000_000
    good = sign(body, SECRET.encode())
    assert run("verify", "--signature", good, stdin=body, env=ENV).code == 0
    assert run("verify", "--signature", good, "--max-age=5m", stdin=body, env=ENV).code == 2


def test_gitlabs_rewritten_body_cant_be_checked_which_is_told_apart(run: Run) -> None:
    ended = run("verify", "--signature", GOOD, stdin=GITLAB, env=ENV)
    assert (ended.code, ended.out) == (5, b"")
    assert "written again by GitLab" in ended.err
    good = sign(GITLAB, SECRET.encode())
    assert run("verify", "--signature", good, stdin=GITLAB, env=ENV).code == 0


def test_explain_names_the_cause(run: Run) -> None:
    ended = run("verify", "--signature", GOOD, "--explain", stdin=BODY + b"\n", env=ENV)
    assert ended.code == 1
    assert "a trailing newline was added" in ended.err
    assert "--explain" in run("verify", "--signature", GOOD, stdin=b"x", env=ENV).err


@pytest.mark.parametrize("variable", ["MYOP_WEBHOOK_SECRET_FILE", "CREDENTIALS_DIRECTORY"])
def test_the_secret_may_be_in_a_file_that_the_environment_names(
    run: Run, tmp_path: Path, variable: str
) -> None:
    file = tmp_path / "webhook-secret"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    env = {variable: str(tmp_path if variable == "CREDENTIALS_DIRECTORY" else file)}
    words = ("verify", "--signature", GOOD)
    assert run(*words, stdin=BODY, env=env).code == 0
    # An empty variable is what a template leaves; a second secret is somebody's mistake.
    assert run(*words, stdin=BODY, env={**env, "MYOP_WEBHOOK_SECRET": ""}).code == 0
    file.write_text("another-secret-altogether")
    assert run(*words, stdin=BODY, env=env).code == 1
    file.unlink()
    ended = run(*words, stdin=BODY, env=env)
    assert ended.code == 2


def test_a_secret_and_a_file_of_it_at_once_are_refused(run: Run, tmp_path: Path) -> None:
    env = {**ENV, "MYOP_WEBHOOK_SECRET_FILE": str(tmp_path / "x")}
    ended = run("verify", "--signature", GOOD, stdin=BODY, env=env)
    assert (ended.code, SECRET in ended.err) == (2, False)
    assert "are both set" in ended.err


def test_a_body_in_the_place_of_its_file_s_name_is_told_and_not_repeated(run: Run) -> None:
    body = BODY.decode().replace("card", "a-card-of-ours")
    releases = json.dumps([{"componentId": "a-card-of-ours"}])
    for words in (
        ("verify", body, "--signature", GOOD),
        ("sync", "--payload", body),
        ("sync", "--payload", releases),
    ):
        ended = run(*words, env=ENV)
        assert ended.code == 2
        assert "itself stands where the name of its file belongs" in ended.err
        assert "pipe it in" in ended.err
        assert "a-card-of-ours" not in ended.err
