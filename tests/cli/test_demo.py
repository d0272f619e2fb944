"""`myop-cdn demo` as a process: what it needs, prints, leaves, and how it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from myop_cdn.cli.console import Console
from myop_cdn.cli.demo import demo

if TYPE_CHECKING:
    from pathlib import Path


def run(
    tmp_path: Path, *words: str, ends: int = 0, **environment: Any
) -> subprocess.CompletedProcess[bytes]:
    """The command in an environment with nothing but empty folders and a dead proxy."""
    for name in ("home", "temp", "work"):
        (tmp_path / name).mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    env = {
        **kept,
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "temp"),
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "PYTHONUTF8": "1",
        **environment,
    }
    line = [sys.executable, "-m", "myop_cdn", *words]
    done = subprocess.run(
        line, capture_output=True, env=env, cwd=tmp_path / "work", timeout=120, check=False
    )
    assert done.returncode == ends, done.stderr
    return done


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_needs_nothing_and_leaves_one_temporary_folder(tmp_path: Path) -> None:
    done = run(tmp_path, "demo")
    assert done.stderr == b""
    assert entries(tmp_path / "home") == entries(tmp_path / "work") == []
    (left,) = (tmp_path / "temp").iterdir()
    assert entries(left) == ["cdn", "index.html", "listener", "myop"]
    assert f"  page    {left}/index.html\n  folder  {left}/cdn\n" in done.stdout.decode()


def test_an_output_folder_is_all_that_is_touched(tmp_path: Path) -> None:
    run(tmp_path, "demo", "--output", "out")
    assert entries(tmp_path / "home") == entries(tmp_path / "temp") == []
    assert entries(tmp_path / "work") == ["out"]
    assert (tmp_path / "work" / "out" / "cdn" / "manifest.json").is_file()


def test_into_a_pipe_go_plain_lines_without_trailing_blanks(tmp_path: Path) -> None:
    text = run(tmp_path, "demo").stdout.decode()
    assert "\x1b" not in text
    assert not re.search(r"[ \t]$", text, re.MULTILINE)


def test_no_line_is_wider_than_asked_but_those_to_be_copied(tmp_path: Path) -> None:
    lines = run(tmp_path, "demo", COLUMNS="60").stdout.decode().splitlines()
    assert max(len(line) for line in lines if not line.startswith(("  page", "  folder"))) <= 60


@pytest.mark.parametrize("coloured", [True, False])
def test_colours_are_for_terminals_unless_no_color_is_set(tmp_path: Path, coloured: bool) -> None:
    # rich takes FORCE_COLOR for a terminal.
    more: dict[str, Any] = {} if coloured else {"NO_COLOR": "1"}
    text = run(tmp_path, "demo", FORCE_COLOR="1", TERM="xterm-256color", **more).stdout.decode()
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", text)) is coloured


def test_a_pipe_that_cannot_hold_every_sign_gets_another_in_its_place(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert done.stderr == b""
    assert b"Where to look" in done.stdout


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    done = run(tmp_path, "demo", "--output", str(tmp_path / "precious"), ends=3)
    assert done.stdout == b""
    assert b"not empty" in done.stderr
    assert entries(tmp_path / "precious") == ["file"]
    assert entries(tmp_path / "temp") == []


def test_verbose_shows_the_listeners_log_on_stderr(tmp_path: Path) -> None:
    done = run(tmp_path, "-v", "demo")
    assert b"published" in done.stderr


def test_the_command_can_be_run_within_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")  # the command sets them: put back at the end
    done = CliRunner().invoke(demo, ["--output", str(tmp_path / "out")], obj=Console())
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "out" / "index.html") in done.output
