"""`myop-cdn demo`: the whole loop on this machine, told as it happens."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from myop_cdn.cli.options import command, option, option_group
from myop_cdn.demo.live import LiveDemo
from myop_cdn.demo.place import fresh
from myop_cdn.demo.run import Demo

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from rich.console import RenderableType

    from myop_cdn.cli.console import Console as Words
    from myop_cdn.demo.story import Fact, Grid, Step, Tone

WIDEST = 100  # columns; longer lines are tiring to read
ROOMY = 72  # columns from which the table of variants may be spaced out
INDENT = (0, 0, 0, 4)
STYLES: dict[Tone, str] = {"good": "green", "new": "bold cyan", "refused": "bold red"}


@option_group()
class DemoSettings:
    output: Path | None = option(
        "Leave everything in this folder, which must be new or empty; by default a temporary one.",
        "DIR",
    )
    serve: bool = option(
        "Serve the listener's page while one release after another arrives, until Ctrl-C."
    )
    port: int = option(
        "The port of --serve's page.",
        type=click.IntRange(0, 65535),
        default=0,
        show_default="a free one",
    )
    every: timedelta = option("Time between two releases.", default="6s")


@command(DemoSettings, "myop-cdn demo", "myop-cdn demo --serve")
def demo(words: Words, settings: DemoSettings) -> None:
    """Show the whole loop on this machine.

    A small Myop, a listener, a signed release and a folder that stands for the CDN: no
    account, no network, no configuration. Takes a few seconds and leaves a page to look at.
    """
    # Everybody it talks to is on this machine, where no proxy of the environment leads.
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "*"
    console = _console()
    if settings.serve:
        _serve(console, settings, Details(words))
        return
    story = Demo(fresh(settings.output), Details(words))
    _print(console, _heading())
    steps = enumerate(story.tell(), 1)
    while True:
        with console.status("going on", spinner="dots"):
            number, step = next(steps, (0, None))
        if step is None:
            break
        _print(console, _step(number, step, console.width >= ROOMY))
    _print(console, _ending())
    # Not wrapped and not in a box, so that they can be copied from any width.
    for label, path in (("page", story.place.page), ("folder", story.place.cdn)):
        line = Text.assemble((f"  {label:<8}", "dim"), (str(path), "bold cyan"))
        console.print(line, soft_wrap=True)
    console.print()


def _serve(console: Console, settings: DemoSettings, log: Details) -> None:
    """Show the page while releases arrive; Ctrl-C is the end of it, in order."""
    with LiveDemo(fresh(settings.output), log, settings.port) as live, suppress(KeyboardInterrupt):
        console.print()
        for label, text in (("page", live.url), ("token", live.token)):
            console.print(f"  {label:<8}{text}", soft_wrap=True)
        console.print("\n  Open the page: a release arrives every few seconds. The token lets you")
        console.print("  roll one back. Ctrl-C ends it.\n")
        while True:
            time.sleep(settings.every.total_seconds())
            done = live.release()
            where = ", ".join(done.environments)
            took = max(1, round(done.seconds * 1000))
            console.print(f"  {done.component.name} → {done.variant.name} in {where}: {took} ms")


class Details:
    """The listener's log: details here, where the story is told already."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def debug(self, message: str, **fields: object) -> None:
        """A detail."""
        self._words.debug(message, **fields)

    info = debug

    def warning(self, message: str, **fields: object) -> None:
        """Something to look at, also here."""
        self._words.warning(message, **fields)


def _console() -> Console:
    # A pipe whose encoding lacks a sign gets "?" for it rather than a traceback.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False, emoji=False, markup=False)
    console.width = min(console.width, WIDEST)
    return console


def _print(console: Console, what: RenderableType) -> None:
    """Print after an empty line; into a pipe without the blanks that fill a terminal's lines."""
    if console.is_terminal:
        console.print()
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    console.print("", *lines, sep="\n", soft_wrap=True)


def _heading() -> RenderableType:
    title = Text.assemble(("myop-cdn demo", "bold green"))
    text = Text("From a release in Myop to your own CDN, all on this machine.", "dim")
    return Padding(Group(title, text), (0, 0, 0, 1))


def _step(number: int, step: Step, wide: bool) -> RenderableType:
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(width=3)
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(
        Text(f"{number:>2}", "bold green"), Text(step.title, "bold"), Text(step.time, "dim")
    )
    parts: list[RenderableType] = [head, Padding(Text(step.text), INDENT)]
    if step.facts:
        parts.append(Padding(_facts(step.facts), INDENT))
    if step.grid is not None:
        parts.append(Padding(_grid(step.grid, wide), (1, 0, 0, 4)))
    return Group(*parts)


def _facts(facts: tuple[Fact, ...]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for fact in facts:
        table.add_row(fact.label, Text(fact.value, STYLES.get(fact.tone, "")))
    return table


def _grid(grid: Grid, wide: bool) -> RenderableType:
    table = Table(box=None, padding=(0, 3 if wide else 1, 0, 0), header_style="dim")
    table.add_column("published", overflow="fold")
    for environment in grid.environments:
        table.add_column(environment, overflow="fold")
    for row, (name, cells) in enumerate(grid.rows):
        shown = [
            Text(f"→ {cell}", STYLES["new"]) if (row, column) in grid.changed else Text(cell)
            for column, cell in enumerate(cells)
        ]
        table.add_row(Text(name, "bold"), *shown)
    return table


def _ending() -> RenderableType:
    text = Text.assemble(
        ("Where to look", "bold green"),
        "\nOpen the page in a browser: it shows the components as they are "
        "published now, before and after the release, and needs no server.\n\n",
        ("With an account of your own", "bold green"),
        "\nmyop-cdn serve --deploy s3://your-bucket/myop does the same, with MYOP_API_KEY and "
        "MYOP_WEBHOOK_SECRET set.",
    )
    return Panel(text, border_style="green", padding=(0, 2))
