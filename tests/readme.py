"""The generated reference of all options: `python -m tests.readme` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path

import click
from click.testing import CliRunner

from myop_cdn.cli import COMMANDS, cli

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "myop_cdn" / "docs"
REFERENCE = DOCS / "reference.md"
BEGIN, END = "<!-- reference: begin -->", "<!-- reference: end -->"


def reference() -> str:
    """The `--help` of every command, and of a group's, each behind a heading that unfolds."""
    parts = [BEGIN, ""]
    for name in described():
        shown = CliRunner(env={"COLUMNS": "100"}).invoke(
            cli,
            [*name.split(), "--help"],
            prog_name="myop-cdn",
            terminal_width=100,
            max_content_width=100,
        )
        text = "\n".join(line.rstrip() for line in shown.stdout.splitlines())
        parts += [f"<details><summary><code>myop-cdn {name} --help</code></summary>", ""]
        parts += ["```", text, "```", "", "</details>", ""]
    return "\n".join([*parts, END])


def described() -> dict[str, click.Command]:
    """Every command, a group's own ones too ("deliveries list"), in the order of the help."""
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {below}": one for below, one in command.commands.items()}
    return found


def commands(text: str) -> list[str]:
    """Every `myop-cdn …` command of a page's shell examples, continued lines joined."""
    blocks = re.findall(r"^ *```sh\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    lines = map(str.strip, "\n".join(blocks).replace("\\\n", " ").splitlines())
    return [line for line in lines if re.match(r"([A-Z_]+=\S* +|.*\| )*myop-cdn [a-z]", line)]


def parsed(name: str, words: list[str]) -> click.Context:
    """The command's context for `words`; raises click.UsageError as the command would."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, f"the README shows a command that is not there: {name}"
    return command.make_context(name, words, parent=click.Context(cli))


def written() -> str:
    """The page."""
    return f"# Every command and every option\n\n{reference()}\n"


def main() -> None:
    """Write the reference."""
    REFERENCE.write_text(written(), "utf-8")


if __name__ == "__main__":
    main()
