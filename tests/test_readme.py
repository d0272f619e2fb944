"""What the README and the changelog say is what is there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from myop_cdn import __version__
from myop_cdn.cli import COMMANDS
from myop_cdn.errors import ExitCode
from tests.readme import README, REFERENCE, commands, described, parsed

TEXT = README.read_text("utf-8")
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", list(described()))
def test_the_reference_has_every_option(name: str) -> None:
    """The reference has the options of each command, and no others."""
    text = REFERENCE.read_text("utf-8")
    after = text[text.index(f"<code>myop-cdn {name} --help</code>") :]
    shown = after[: after.index("</details>")]
    command = described()[name]
    options = {
        option
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in parameter.opts
        if option.startswith("--")
    }
    listed = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", shown, re.MULTILINE))
    again = "python -m tests.readme writes the reference anew"
    assert options | {"--help"} == listed, again


@pytest.mark.parametrize("line", commands(TEXT))
def test_every_example_is_a_command_that_parses(line: str) -> None:
    """No example names a command or an option that is not there."""
    words = shlex.split(line[line.index("myop-cdn ") :].split(" < ")[0].split(" > ")[0], True)
    try:
        parsed(words[1], words[2:])
    except click.exceptions.BadParameter as error:
        if "does not exist" not in error.message:  # its files are not on this machine
            raise


def test_every_command_has_an_example() -> None:
    """A reader finds each command used."""
    shown = {line[line.index("myop-cdn ") :].split()[1] for line in commands(TEXT)}
    assert shown == set(COMMANDS)


def test_the_exit_codes_are_all_in_the_table() -> None:
    """The table of exit codes has every code, and no other."""
    table = TEXT[TEXT.index("## Exit codes") : TEXT.index("## In your CI system")]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {
        int(code) for code in ExitCode
    }


def test_the_version_is_the_newest_of_the_changelog() -> None:
    """One version, in one place, that the changelog knows."""
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)[0] == __version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "version" in project["dynamic"]
