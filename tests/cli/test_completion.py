"""What the Tab key offers, in each shell that `help completion` tells of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.resources import files

import pytest


def offered(*words: str) -> list[str]:
    """What is offered for the last of the words, as bash is told."""
    done = subprocess.run(
        [sys.executable, "-c", "from myop_cdn.cli import cli; cli(prog_name='myop-cdn')"],
        env={
            **os.environ,
            "_MYOP_CDN_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("myop-cdn", *words)),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "item"),
    [
        (["pub"], "plain,publish"),
        (["publish", "--pay"], "plain,--payload"),
        (["init", "git"], "plain,gitlab"),
        (["publish", "--encoding", "g"], "plain,gzip"),
        (["help", "pyth"], "plain,python"),
        (["publish", "--payload", "x"], "file,x"),
        (["verify", "x"], "file,x"),
        (["serve", "--output", "x"], "dir,x"),
        (["init", "github", "x"], "dir,x"),
    ],
)
def test_commands_options_choices_topics_and_paths_are_offered(words: list[str], item: str) -> None:
    assert item in offered(*words)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_line_and_gets_its_script(shell: str) -> None:
    text = (files("myop_cdn") / "docs" / "completion.md").read_text("utf-8")
    [variable] = re.findall(rf"_MYOP_CDN_COMPLETE=({shell}_source) myop-cdn", text)
    done = subprocess.run(
        [sys.executable, "-c", "from myop_cdn.cli import cli; cli(prog_name='myop-cdn')"],
        env={**os.environ, "_MYOP_CDN_COMPLETE": variable},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert f"{shell}_complete" in done.stdout
