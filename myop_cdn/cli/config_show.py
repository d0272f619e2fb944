"""`myop-cdn config show`: what is configured, and where each value comes from."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import click
from click.core import ParameterSource

from myop_cdn import inputs
from myop_cdn.cli import notices
from myop_cdn.cli.config import TARGETS, suggestion
from myop_cdn.cli.console import SILENT, Console
from myop_cdn.cli.options import CONFIG_FILE, TARGET_OPTIONS, Option, argument, command, group
from myop_cdn.cli.settings import JsonSettings
from myop_cdn.errors import InputError
from myop_cdn.text import line, shown, shown_origin, shown_url

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECRETS = {
    "API key": (inputs.KEY_VARIABLE, inputs.KEY_CREDENTIAL),
    "signing secret": (inputs.SECRET_VARIABLE, inputs.SECRET_CREDENTIAL),
    "notices' URL": (notices.URL_VARIABLE, notices.URL_CREDENTIAL),
    "notices' secret": (notices.SECRET_VARIABLE, notices.SECRET_CREDENTIAL),
}


@dataclass(frozen=True, slots=True)
class ShowSettings:
    """All that `config show` takes."""

    TITLE: ClassVar[str] = "Which"
    words: tuple[str, ...] = argument(
        nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [ARGUMENT]...]"
    )
    output: JsonSettings = group(JsonSettings)


@dataclass(frozen=True, slots=True)
class Value:
    """An option's value and where it comes from, in words. is_default: whether nobody chose it."""

    name: str
    value: str | bool | int | list[str] | None
    source: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class ConfigReport:
    """What is configured: each command's values, and where each secret is."""

    file: str | None
    commands: dict[str, list[Value]]
    secrets: dict[str, str | None]
    error: None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn config show --json`."""
        return {
            "command": "config show",
            "config": self.file,
            "commands": {
                name: {one.name: {"value": one.value, "source": one.source} for one in values}
                for name, values in self.commands.items()
            },
            "secrets": self.secrets,
        }


@click.group()
def config() -> None:
    """Show what is configured, and where each value comes from."""


@command(
    ShowSettings,
    "myop-cdn config show",
    "myop-cdn config show publish s3://my-bucket/myop --jobs 32",
    takes_any=True,
)
def show(console: Console, settings: ShowSettings) -> ConfigReport:
    """Show every option of COMMAND, run with these arguments, and where its value comes from:
    the command line, a variable, the configuration file, a target, or nobody.

    Without a COMMAND: of all commands the options that somebody chose. Secrets are never shown.
    """
    from myop_cdn.cli import COMMANDS, cli

    ctx = click.get_current_context()
    root = ctx.find_root()
    found: dict[str, list[Value]] = {}
    names = settings.words[:1] or tuple(COMMANDS)
    for name in names:
        one = cli.get_command(root, name)
        if one is None:
            raise InputError(f"there is no command {shown(name)!r}{suggestion(name, COMMANDS)}")
        for below, subcommand, words in _runnable(name, one, settings.words[1:]):
            values = list(_values(root, below, subcommand, words))
            if not settings.words:
                values = [value for value in values if not value.is_default]
            if values:
                found[below] = values
    secrets = {what: _place_of(*where) for what, where in _SECRETS.items()}
    report = ConfigReport(ctx.meta.get(CONFIG_FILE), found, secrets)
    if not console.wants_json:
        _say(console, report)
    return report


def _runnable(
    name: str, found: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[str, click.Command, tuple[str, ...]]]:
    """The command; of a group the one that is named, or all of them."""
    if not isinstance(found, click.Group):
        yield name, found, words
        return
    for below, one in found.commands.items():
        if not words or below == words[0]:
            yield f"{name} {below}", one, words[1:]


def _values(
    root: click.Context, name: str, found: click.Command, words: tuple[str, ...]
) -> Iterator[Value]:
    parent = root
    *groups, last = name.split()
    for one in groups:
        parent = click.Context(click.Group(one), root, one)
    # Callbacks get a console of their own: they note what is asked of that command.
    ctx = found.make_context(
        last, list(words), parent, resilient_parsing=not words, obj=Console(SILENT)
    )
    targets = ctx.meta.pop(TARGET_OPTIONS, {})
    named = [f"[{TARGETS}.{word[1:]}]" for word in words if word.startswith("@")]
    for parameter in found.params:
        if parameter.name is None or not isinstance(parameter, Option | click.Argument):
            continue  # the whole program's options, and --help
        source = ctx.get_parameter_source(parameter.name)
        is_default = source in (None, ParameterSource.DEFAULT)
        told = "default"
        if source is ParameterSource.COMMANDLINE:
            told = "command line"
        elif source is ParameterSource.ENVIRONMENT:
            told = _variable(ctx, parameter)
        elif source is ParameterSource.DEFAULT_MAP and parameter.name in targets:
            told = f"{ctx.meta.get(CONFIG_FILE)}, {', '.join(named) or 'the target'}"
        elif source is ParameterSource.DEFAULT_MAP:
            told = f"{ctx.meta.get(CONFIG_FILE)}, [{'.'.join(name.split())}]"
        spelt = parameter.name.replace("_", "-")
        value = _shown(parameter.name, ctx.params.get(parameter.name))
        if not isinstance(parameter, click.Argument) or value:
            yield Value(spelt, value, told, is_default)


def _variable(ctx: click.Context, parameter: click.Parameter) -> str:
    named = parameter.envvar
    names = [named] if isinstance(named, str) else list(named or ())
    own = f"{ctx.auto_envvar_prefix}_{parameter.name}".upper()
    return next((one for one in names if os.environ.get(one)), own)


def _shown(name: str, value: Any) -> str | bool | int | list[str] | None:
    """A value as it may be seen."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, tuple | list):
        return [str(_shown(name, one)) for one in value]
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return f"{seconds:g}s"
    if name == "notify":
        return f"{shown_origin(value)}/…"
    if name == "on_failure":
        return shown(str(value).split(maxsplit=1)[0])  # its arguments may hold anything
    if name in ("api_key_file", "secret_file"):
        return inputs.shown_file(value)
    text = str(value)
    return shown_url(text) if "://" in text else line(text)


def _place_of(variable: str, credential: str) -> str | None:
    """Where a secret that no option names comes from; None where it is not set."""
    if os.environ.get(variable, "").strip():
        return variable
    file = inputs.secret_file(variable, credential)
    return None if file is None else inputs.shown_file(file)


def _say(console: Console, report: ConfigReport) -> None:
    console.data(f"configuration file: {report.file or 'none'}")
    for name, values in report.commands.items():
        console.data(f"\n{name}")
        width = max(len(one.name) for one in values)
        for one in values:
            value = "not set" if one.value is None else json.dumps(one.value, ensure_ascii=False)
            console.data(f"  {one.name:{width}}  {value}  ({one.source})")
    console.data("\nsecrets")
    width = max(map(len, report.secrets))
    for what, place in report.secrets.items():
        console.data(f"  {what:{width}}  {f'hidden  ({place})' if place else 'not set'}")


config.add_command(show)
