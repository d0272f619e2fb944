"""`myop-cdn help`: a command's help, or a chapter of the documentation."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import click

from myop_cdn.cli.options import argument, command, option_group, suggestion
from myop_cdn.errors import InputError
from myop_cdn.text import shown

if TYPE_CHECKING:
    from myop_cdn.cli.console import Console


@option_group()
class HelpSettings:
    topic: tuple[str, ...] = argument(
        nargs=-1,
        metavar="[COMMAND|TOPIC]",
        shell_complete=lambda _ctx, _param, incomplete: _offered(incomplete),
    )


def _offered(incomplete: str) -> list[str]:
    from myop_cdn.cli import COMMANDS

    return [name for name in (*COMMANDS, *topics()) if name.startswith(incomplete)]


@command(HelpSettings, "myop-cdn help reference", name="help")
def help_(console: Console, settings: HelpSettings) -> None:
    """Show the help of a COMMAND, or read about a TOPIC. Without either: what there is to read."""
    from myop_cdn.cli import COMMANDS, cli

    root = click.get_current_context().find_root()
    chapters = topics()
    if not settings.topic:
        console.documentation(f"{root.get_help()}\n\nTopics, for 'myop-cdn help TOPIC':")
        width = max(map(len, chapters))
        for name, text in chapters.items():
            console.data(f"  {name:{width}}  {text.partition(chr(10))[0].lstrip('# ')}")
        return
    name, *below = settings.topic
    if name in COMMANDS:
        ctx = root
        found: click.Command | None = cli.get_command(root, name)
        for word in (name, *below):
            if word != name:
                found = found.commands.get(word) if isinstance(found, click.Group) else None
            if found is None:
                raise InputError(f"there is no command {shown(' '.join(settings.topic))!r}")
            ctx = click.Context(found, ctx, word)
        console.documentation(ctx.get_help())
        return
    if name not in chapters or below:
        raise InputError(
            f"there is nothing about {shown(' '.join(settings.topic))!r}"
            + suggestion(name, [*COMMANDS, *chapters]),
            f"topics: {', '.join(chapters)}",
        )
    console.documentation(_for_terminals(chapters[name]).rstrip())


def _for_terminals(markdown: str) -> str:
    """A chapter without the tags by which a browser folds the reference's parts."""
    text = re.sub(r"<details><summary><code>(.*?)</code></summary>", r"## \1", markdown)
    return re.sub(r"^(?:<!--.*-->|</details>)\n+", "", text, flags=re.MULTILINE)


def topics() -> dict[str, str]:
    """The chapters of the documentation that comes with the program: name and Markdown."""
    folder = files("myop_cdn") / "docs"
    found = sorted((one for one in folder.iterdir() if one.name.endswith(".md")), key=str)
    return {one.name.removesuffix(".md"): one.read_text("utf-8") for one in found}
