"""`myop-cdn sandbox` as a process: what it prints and how it ends."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from myop_cdn.sandbox import REHEARSAL_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run

COMMAND = [sys.executable, "-m", "myop_cdn"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "manifest.json").write_text('{"version": 1, "components": []}')
    return tmp_path / "tree"


@contextmanager
def running(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the first line that it printed on stdout."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MYOP")}
    with subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            if process.poll() is None:
                process.kill()


def ask(url: str, key: str) -> int:
    request = urllib.request.Request(f"{url}/export", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_url_first_and_ends_with_0_when_stopped(
    tree: Path, number: signal.Signals
) -> None:
    with running("sandbox", "--tree", str(tree)) as (process, url):
        assert ask(url, REHEARSAL_KEY) == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == ""
    assert f"export MYOP_API_URL={url}\nexport MYOP_API_KEY={REHEARSAL_KEY}\n" in err
    assert "GET /export" not in err


def test_verbose_logs_each_request_on_stderr(tree: Path) -> None:
    words = ("-v", "sandbox", "--tree", str(tree), "--latency", "0.01", "--fail-rate", "1")
    with running(*words) as (process, url):
        with suppress(OSError, http.client.HTTPException):
            ask(url, REHEARSAL_KEY)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert "GET /export 200  spoilt: " in err


def test_a_key_file_names_the_only_key_and_its_value_is_not_shown(
    tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "a key").write_text("myop_sk_private\n")
    words = ("-v", "sandbox", "--tree", str(tree), "--api-key-file", str(tmp_path / "a key"))
    with running(*words) as (process, url):
        assert ask(url, "myop_sk_private") == 200
        assert ask(url, REHEARSAL_KEY) == 401
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "myop_sk_private" not in err
    assert f"export MYOP_API_KEY=\"$(cat '{tmp_path}/a key')\"" in err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--tree", "missing"),
        ("--tree", "TREE", "--latency", "soon"),
        ("--tree", "TREE", "--fail-rate", "2"),
        ("--tree", "TREE", "--port", "70000"),
        ("--tree", "TREE", "--api-key-file", "EMPTY"),
    ],
)
def test_bad_usage_exits_2_with_nothing_on_stdout(
    tree: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "empty").write_text(" \n")
    places = {"TREE": str(tree), "EMPTY": str(tmp_path / "empty")}
    line = [*COMMAND, "sandbox", *(places.get(word, word) for word in words)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_comes_with_a_hint(tree: Path, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("sandbox", "--tree", tree, "--port", taken.getsockname()[1])
    assert (ended.code, "hint: something is already listening there" in ended.err) == (1, True)
