"""Standard streams that are closed, full, or go away: an exit code and words, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.sandbox import Sandbox
from myop_cdn.signature import sign
from tests.samples import KEY, SECRET, full_tree, release, webhook, write

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="of POSIX streams")
BODY = webhook(release("card", "qa"))
GOOD = sign(BODY, SECRET.encode())
FEW = full_tree({"card": ["qa"]})


@pytest.fixture(autouse=True)
def secret(command: Command) -> None:
    command.env["MYOP_WEBHOOK_SECRET"] = SECRET


def closed(command: Command, descriptor: int, *words: object) -> subprocess.CompletedProcess[bytes]:
    """The command with a standard stream closed, as `>&-` does in a shell."""
    streams = {0: "stdin", 1: "stdout", 2: "stderr"}
    nowhere: dict[str, Any] = {streams[descriptor]: subprocess.DEVNULL}
    return command(*words, preexec_fn=lambda: os.close(descriptor), **nowhere)


def test_verify_is_a_filter_in_a_pipe(command: Command) -> None:
    ended = command("verify", "--signature", GOOD, body=BODY)
    assert (ended.returncode, ended.stdout) == (0, BODY)
    refused = command("verify", "--signature", GOOD, body=BODY + b"\n")
    assert (refused.returncode, refused.stdout) == (1, b"")


def test_a_filter_that_is_ended_while_it_waits_says_so(command: Command) -> None:
    with command.start("--log-format", "json", "verify", "--signature", GOOD) as process:
        # Read, so that it surely runs: the rest of its stdin is what it waits for.
        assert process.stdin is not None
        process.stdin.write(b"x" * 1_000_000)
        process.stdin.flush()
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert json.loads(err)["message"] == "interrupted"


def test_a_closed_stdin_is_bad_usage(command: Command) -> None:
    for words in (("verify", "--signature", GOOD), ("sync", "--payload", "-")):
        ended = closed(command, 0, *words)
        assert ended.returncode == 2
        assert b"stdin" in ended.stderr
        assert b"Traceback" not in ended.stderr


def test_a_closed_stdout_is_a_failure(command: Command) -> None:
    (command.home / "body").write_bytes(BODY)
    for words in (("verify", "body", "--signature", GOOD), ("sync", "--json", "--nope")):
        ended = closed(command, 1, *words)
        assert ended.returncode in (1, 2)
        assert ended.stderr.startswith(b"error: ")
        assert b"Traceback" not in ended.stderr


def test_a_closed_stderr_changes_nothing(command: Command) -> None:
    (command.home / "body").write_bytes(BODY)
    ended = closed(command, 2, "verify", "body", "--signature", GOOD)
    assert (ended.returncode, ended.stdout) == (0, BODY)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(("size", "unbuffered"), [(0, ""), (5_000_000, ""), (5_000_000, "1")])
def test_a_full_stdout_is_a_failure_in_words(command: Command, size: int, unbuffered: str) -> None:
    command.env["PYTHONUNBUFFERED"] = unbuffered
    body = BODY + b" " * size
    good = sign(body, SECRET.encode())
    with Path("/dev/full").open("wb") as full:
        ended = command("verify", "--signature", good, body=body, stdout=full)
        assert (ended.returncode, ended.stderr) == (
            1,
            b"error: can't write to stdout: No space left on device\n",
        )
        with Sandbox(write(command.home / "api", FEW)) as sandbox:
            ended = command("sync", "--json", "--api-url", sandbox.url, stdout=full)
            assert ended.returncode == 1
            assert b"can't write to stdout" in ended.stderr
            assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_ends_the_command_quietly(
    command: Command, unbuffered: str
) -> None:
    command.env["PYTHONUNBUFFERED"] = unbuffered
    body = b"x" * 3_000_000
    (command.home / "body").write_bytes(body)
    good = sign(body, SECRET.encode())
    with command.start("verify", "body", "--signature", good) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10) == body[:10]
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(30) == 1
    assert said == b""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_disk_that_takes_only_a_part_of_the_output_is_a_failure(
    command: Command, unbuffered: str
) -> None:
    """A limit of the file's size stands for the full disk: the first write takes a part."""
    import resource

    command.env["PYTHONUNBUFFERED"] = unbuffered
    body = BODY + b" " * 200_000
    (command.home / "body").write_bytes(body)
    # A long report of a run that writes no file: the limit is for all of them.
    many = full_tree({"c" * 120: [f"e{n:03}" for n in range(150)]})
    source, destination = write(command.home / "tree", many), command.home / "cdn"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

    verify = ("verify", "body", "--signature", sign(body, SECRET.encode()))
    deploy = ("deploy", f"file://{destination}", "--source", str(source), "--dry-run", "--json")
    for words in (verify, deploy):
        with (command.home / "out").open("wb") as out:
            ended = command(*words, stdout=out, preexec_fn=limit)
        assert ended.returncode == 1
        assert b"can't write to stdout: File too large" in ended.stderr


def test_a_dry_run_into_head_is_quiet(command: Command) -> None:
    many = full_tree({f"component-{n}": ["qa"] for n in range(40)})
    with (
        Sandbox(write(command.home / "api", many)) as sandbox,
        command.start("sync", "--dry-run", "--api-url", sandbox.url) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(30) == 1
    assert b"Traceback" not in said
    assert b"defect" not in said


def test_an_output_of_odd_bytes_is_reported_all_the_same(command: Command) -> None:
    with Sandbox(write(command.home / "api", FEW)) as sandbox:
        odd = os.fsdecode(b"caf\xe9")
        ended = command("sync", "--json", "--output", odd, "--api-url", sandbox.url)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["added"]


def test_a_terminal_that_cant_spell_a_name_gets_a_report_all_the_same(command: Command) -> None:
    with Sandbox(write(command.home / "api", full_tree({"card": ["日本"]}))) as sandbox:
        command.env["PYTHONIOENCODING"] = "latin-1"
        ended = command("sync", "--json", "--api-url", sandbox.url)
        assert ended.returncode == 0
        assert "components/card/日本.json" in json.loads(ended.stdout)["added"]
        ended = command("sync", "--dry-run", "--output", "other", "--api-url", sandbox.url)
        assert ended.returncode == 0


def test_neither_key_nor_secret_is_in_any_output(command: Command) -> None:
    with Sandbox(write(command.home / "api", FEW)) as sandbox:
        runs = [
            command("-vv", "sync", "--payload", "-", "--signature", GOOD[:-1], body=BODY),
            command("-vv", "sync", "--json", "--api-url", sandbox.url),
            command("-vv", "publish", "file:///dev/null/x", "--json", "--api-url", sandbox.url),
            command("-vv", "verify", "--signature", GOOD[:-1], "--explain", body=BODY),
            command("-vv", "sync", "--api-url", f"http://user:{KEY}@host"),
        ]
    command.env["MYOP_CDN_TRACEBACK"] = "1"
    runs.append(command("-vv", "sync", "--config", "missing"))
    for ended in runs:
        assert KEY.encode() not in ended.stdout + ended.stderr
        assert SECRET.encode() not in ended.stdout + ended.stderr
