"""What the README, the topics of `help` and the changelog say is what is there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from myop_cdn import __version__
from myop_cdn.cli import COMMANDS
from myop_cdn.cli.init import topics
from myop_cdn.errors import ExitCode
from tests.readme import DOCS, README, REFERENCE, commands, parsed, written

TEXT = README.read_text("utf-8")
ROOT = Path(__file__).parent.parent
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
PAGES = [README, CONTRIBUTING, ROOT / ".github" / "SECURITY.md", *sorted(DOCS.glob("*.md"))]
EXAMPLES = sorted({line for page in PAGES for line in commands(page.read_text("utf-8"))})
# What the examples name, and a reader has.
FILES = ("body.json", "payload.json", "secret.txt", "release.plan")


def words_of(line: str) -> list[str]:
    """The words behind `myop-cdn`, without what the shell does itself."""
    return shlex.split(re.split(r" [<>] ", line[line.index("myop-cdn ") :])[0], comments=True)[1:]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader stands: the files of the examples are there."""
    for name in FILES:
        (tmp_path / name).write_text("{}")
    (tmp_path / "myop-static").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_reference_is_what_help_says() -> None:
    """Word for word, every option of every command."""
    again = "python -m tests.readme writes the reference anew"
    assert REFERENCE.read_text("utf-8") == written(), again


@pytest.mark.parametrize("line", EXAMPLES)
@pytest.mark.usefixtures("folder")
def test_every_example_is_a_command_that_parses(line: str) -> None:
    """No example names a command, an option or a value that is not there, or lacks one."""
    name, *words = words_of(line)
    parsed(name, words)


@pytest.mark.parametrize(
    "line",
    [
        "publish --payload payload.json",
        "deploy",
        "deploy s3://bucket --encoding brotli",
        "deploy s3://bucket --jobs many",
        "deploy s3://bucket --no-such-option",
        "init cobol",
        "publish s3://bucket --max-delete few",
    ],
)
@pytest.mark.usefixtures("folder")
def test_an_example_that_is_wrong_would_be_found(line: str) -> None:
    """The test above can fail."""
    name, *words = words_of(f"myop-cdn {line}")
    with pytest.raises(click.UsageError):
        parsed(name, words)


def test_every_command_has_an_example() -> None:
    """A reader finds each command used."""
    assert {words_of(line)[0] for line in commands(TEXT)} == set(COMMANDS)


def test_the_readme_names_every_topic_of_help() -> None:
    """And no other."""
    table = TEXT[TEXT.index("## Where to read on") :]
    linked = re.findall(r"^\| \[`([a-z0-9-]+)`\]\(myop_cdn/docs/\1\.md\)", table, re.MULTILINE)
    assert linked == sorted(topics())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    """A file that was renamed is noticed."""
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_exit_codes_are_all_in_the_table() -> None:
    """The table of exit codes has every code, and no other."""
    table = TEXT[TEXT.index("## Exit codes") : TEXT.index("## Where to read on")]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {
        int(code) for code in ExitCode
    }


def test_it_can_be_read_in_one_sitting() -> None:
    """What is long is a topic."""
    assert len(TEXT.splitlines()) <= 320


def test_the_version_is_the_newest_of_the_changelog() -> None:
    """One version, in one place, that the changelog knows."""
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)[0] == __version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "version" in project["dynamic"]
