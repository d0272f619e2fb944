"""`myop-cdn init` and `help`: what comes with the program, recipes and chapters to read."""

from __future__ import annotations

import os
import re
import shlex
import sys
from importlib.resources import files as packaged
from pathlib import Path
from typing import TYPE_CHECKING

import click

from myop_cdn import files
from myop_cdn.cli.options import argument, command, option, option_group, suggestion
from myop_cdn.errors import InputError, MyopCdnError
from myop_cdn.recipes import DESTINATION, RECIPES, own_package, render
from myop_cdn.text import shown

if TYPE_CHECKING:
    from myop_cdn.cli.console import Console
    from myop_cdn.recipes import Recipe


@option_group()
class InitSettings:
    name: str = argument(type=click.Choice(list(RECIPES)))
    folder: str = argument(default=".", metavar="[DIR|-]")
    destination: str | None = option(f"Where to publish.  [default: {DESTINATION}]", "URL")
    package: str | None = option(
        "What pip is to install: a name with a version, a git URL or the path of a wheel.  "
        "[default: where this program came from]",
        "PACKAGE",
    )
    force: bool = option("Overwrite files that already exist.")


@command(InitSettings, "myop-cdn init github --destination s3://my-bucket/myop")
def init(console: Console, settings: InitSettings) -> None:
    """Write the files that publish each release from a CI system or a server.

    They are complete and commented, go into DIR (default: here), and are meant to be committed.
    '-' prints them. A file that is there already is left alone, and so are the others then.
    """
    name, folder, package = settings.name, settings.folder, settings.package
    recipe = RECIPES[name]
    chosen, origin = (package, None) if package is not None else own_package()
    texts = [
        (file, render(file, settings.destination or DESTINATION, chosen)) for file in recipe.files
    ]
    if folder == "-":
        for file, text in texts:
            heading = f"# ---- {file.target}\n" if len(texts) > 1 else ""
            console.raw(f"{heading}{text}".encode())
        _say_next(console, recipe, settings, origin)
        return
    targets = [(Path(folder) / file.target, file.executable, text) for file, text in texts]
    in_the_way = [path for path, _, text in targets if path.exists() and not _holds(path, text)]
    if in_the_way and not settings.force:
        hint = f"--force overwrites it; 'myop-cdn init {name} -' prints the recipe"
        if recipe.beside:
            hint = (
                f"keep both: 'myop-cdn init {name} - > {recipe.beside}', whose first lines tell "
                "how; --force overwrites it"
            )
        raise InputError(f"{in_the_way[0]} already exists; nothing was written", hint)
    for path, executable, text in targets:
        if _holds(path, text) and (not executable or os.access(path, os.X_OK)):
            console.info(f"unchanged: {path}")
        else:
            _write(path, text, executable=executable)
            console.info(f"wrote {path}")
    _say_next(console, recipe, settings, origin)


def _say_next(console: Console, recipe: Recipe, settings: InitSettings, origin: str | None) -> None:
    """What is left to do. origin: the folder or the wheel that this program was installed from,
    where the recipe installs a wheel.
    """
    folder = "." if settings.folder == "-" else settings.folder
    if settings.destination is None and recipe.has("DESTINATION"):
        console.info(f"next: put your destination in place of {DESTINATION}")
    if origin is not None and recipe.has("PACKAGE"):
        source, target = shlex.quote(origin), shlex.quote(folder)
        if not Path(origin).exists():
            console.info(f"next: put the wheel that it installs there; {source} is no longer here")
        else:
            pip = f"{shlex.quote(sys.executable)} -m pip wheel --no-deps --wheel-dir"
            is_wheel = origin.endswith(".whl")
            how = f"cp {source} {target}" if is_wheel else f"{pip} {target} {source}"
            console.info("next: the wheel that it installs goes beside it:")
            console.info(f"  {how}")
    console.info(f"next: {recipe.next_step}")


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _write(path: Path, text: str, *, executable: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: half a pipeline could be committed, and would not be replaced.
        with files.written(path, text.encode(), sync=False) as temporary:
            if executable:
                Path(temporary).chmod(0o755)
            Path(temporary).replace(path)
    except OSError as error:
        raise MyopCdnError(f"can't write {path}: {error.strerror}") from None


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
    folder = packaged("myop_cdn") / "docs"
    found = sorted((one for one in folder.iterdir() if one.name.endswith(".md")), key=str)
    return {one.name.removesuffix(".md"): one.read_text("utf-8") for one in found}
