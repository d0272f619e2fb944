"""The installed command as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.samples import KEY

COMMAND = Path(sys.executable).with_name("myop-cdn")


@dataclass
class Command:
    """Runs `myop-cdn` in an empty folder with an environment of its own."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def start(self, *words: object, **more: Any) -> subprocess.Popen[bytes]:
        """The process, with pipes where `more` names nothing else."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        line = [str(COMMAND), *map(str, words)]
        return subprocess.Popen(line, cwd=self.home, env=self.env, **{**pipes, **more})

    def __call__(
        self, *words: object, body: bytes = b"", **more: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """The process at its end."""
        with self.start(*words, **more) as process:
            try:
                out, err = process.communicate(body if process.stdin else None, timeout=60)
            finally:
                process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command, with an API key and an API that nobody answers at in its environment."""
    if not COMMAND.exists():
        pytest.skip("myop-cdn is not installed beside this Python")
    (tmp_path / "home").mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith("MYOP")}
    return Command(
        tmp_path / "home", {**env, "MYOP_API_KEY": KEY, "MYOP_API_URL": "http://127.0.0.1:9"}
    )
