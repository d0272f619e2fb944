"""The installed command against the sandbox: whole runs, interrupted and killed ones."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from myop_cdn.files import TEMPORARY
from myop_cdn.sandbox import Sandbox
from tests.api_server import ApiServer, Reply
from tests.samples import KEY, full_tree, identities, read, release, webhook, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.conftest import Command

MANY = {f"component-{n:02}": ["qa", "prod", "größer"] for n in range(40)}
FILES = 40 * 4 + 1


class Halfway:
    """Set when so many requests have been answered."""

    def __init__(self, requests: int) -> None:
        self.reached = threading.Event()
        self._left = requests

    def __call__(self, request: object) -> None:
        self._left -= 1
        if self._left <= 0:
            self.reached.set()


@pytest.fixture
def served(tmp_path: Path) -> Path:
    return write(tmp_path / "api", full_tree(MANY))


def test_a_sync_through_failures_is_exact_and_the_second_rewrites_nothing(
    command: Command, served: Path
) -> None:
    with Sandbox(served, api_key=KEY, fail_rate=0.1, seed=5) as sandbox:
        command.env["MYOP_API_URL"] = sandbox.url
        first = command("sync", "--json")
        assert first.returncode == 0, first.stderr
        out = command.home / "myop-static"
        assert read(out) == read(served)
        assert len(json.loads(first.stdout)["added"]) == FILES
        before = identities(out)
        second = command("sync", "--json")
    assert json.loads(second.stdout)["unchanged"] == FILES
    assert identities(out) == before


def test_a_webhook_reaches_a_folder_by_publish(command: Command, served: Path) -> None:
    body = webhook(release("component-07", "qa"))
    with Sandbox(served, api_key=KEY) as sandbox:
        command.env["MYOP_API_URL"] = sandbox.url
        words = ("publish", f"file://{command.home}/cdn", "--payload", "-", "--json")
        ended = command(*words, body=body)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["sync"]["scope"] == "incremental"
    path = "components/component-07/qa.json"
    assert (command.home / "cdn" / path).read_bytes() == (served / path).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_in_the_middle_exits_130_and_leaves_whole_files_only(
    command: Command, served: Path, name: str
) -> None:
    halfway = Halfway(30)
    latency = timedelta(milliseconds=15)
    with Sandbox(served, api_key=KEY, latency=latency, on_request=halfway) as sandbox:
        command.env["MYOP_API_URL"] = sandbox.url
        with command.start("--log-format", "json", "sync", "--json", "--jobs", "2") as process:
            assert halfway.reached.wait(30)
            process.send_signal(getattr(signal, name))
            out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(out)["error"]["exitCode"] == 130
    assert all(json.loads(line) for line in err.splitlines())
    there, right = read(command.home / "myop-static"), read(served)
    assert 0 < len(there) < FILES
    assert "manifest.json" not in there
    assert {path: right[path] for path in there} == there
    assert not list((command.home / "myop-static").rglob(f"*{TEMPORARY}"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_hangup_that_the_caller_ignores_ends_nothing(command: Command, served: Path) -> None:
    halfway = Halfway(30)
    with Sandbox(served, api_key=KEY, on_request=halfway) as sandbox:
        command.env["MYOP_API_URL"] = sandbox.url

        def ignore() -> None:  # as nohup does
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

        with command.start("sync", "--jobs", "2", preexec_fn=ignore) as process:
            assert halfway.reached.wait(30)
            process.send_signal(signal.SIGHUP)
            _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert read(command.home / "myop-static") == read(served)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_ctrl_c_while_the_api_is_slow_does_not_wait_for_it(command: Command) -> None:
    with ApiServer(full_tree(MANY)) as server:
        server.script["components/component-00/qa.json"] = [Reply(b"", 503, {"Retry-After": "30"})]
        command.env["MYOP_API_URL"] = server.url
        with command.start("sync") as process:
            for _ in range(600):
                if "components/component-00/qa.json" in server.asked:
                    break
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.decode().splitlines()[-2:] == [
        "error: interrupted",
        "hint: it is safe to run again",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_run_that_was_killed_is_repaired_by_the_next(command: Command, served: Path) -> None:
    halfway = Halfway(40)
    latency = timedelta(milliseconds=10)
    out = command.home / "myop-static"
    with Sandbox(served, api_key=KEY, latency=latency, on_request=halfway) as sandbox:
        command.env["MYOP_API_URL"] = sandbox.url
        with command.start("sync", "--jobs", "4") as process:
            assert halfway.reached.wait(30)
            process.kill()
            process.communicate(timeout=30)
        right = read(served)
        for path, body in read(out).items():
            assert path.endswith(TEMPORARY) or right[path] == body
        # What a kill between writing and renaming leaves; it can't be timed from here.
        write(out, {f"components/component-00/.1-1{TEMPORARY}": b"half"})
        sandbox.latency = timedelta(0)
        ended = command("sync")
    assert ended.returncode == 0, ended.stderr
    assert read(out) == right


def test_two_syncs_into_one_folder_at_once_both_succeed(command: Command, served: Path) -> None:
    with Sandbox(served, api_key=KEY) as sandbox:
        command.env["MYOP_API_URL"] = sandbox.url
        with command.start("sync", "--json") as one, command.start("sync", "--json") as other:
            reports = [json.loads(each.communicate(timeout=60)[0]) for each in (one, other)]
    assert sorted(len(report["added"]) for report in reports) == [0, FILES]
    assert read(command.home / "myop-static") == read(served)


def test_python_m_is_the_same_command(command: Command) -> None:
    line = [sys.executable, "-m", "myop_cdn", "--version"]
    done = subprocess.run(line, capture_output=True, env=command.env, check=True, timeout=60)
    assert done.stdout == command("--version").stdout
