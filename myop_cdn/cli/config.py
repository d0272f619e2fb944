"""Options that come from a configuration file, and `myop-cdn config show`.

`--config FILE` is TOML with a table of options for each command, and one for each target: several
destinations with a name and options of their own. What is misspelt is never ignored in silence:
that is how a limit gets lost.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from myop_cdn import inputs
from myop_cdn.cli.console import SILENT, Console
from myop_cdn.cli.options import (
    CONFIG_FILE,
    TARGET_OPTIONS,
    Option,
    argument,
    command,
    group,
    option_group,
    parameters,
    suggestion,
)
from myop_cdn.cli.settings import DeploySettings, ExportSettings, JsonSettings, LimitSettings
from myop_cdn.errors import InputError
from myop_cdn.text import line, shown, shown_origin, shown_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MAX_BYTES = 1 << 20
TARGETS = "targets"


def default_map(file: str) -> dict[str, Any]:
    """The file's tables as Click's default map: option names may be written with `-` or `_`. Beside
    the commands', `targets` has every `Target` by its name.

    Raises InputError when the file can't be read, is not TOML, or holds anything but tables of
    commands with their options; secrets have no option: they come from the environment, or from
    a file of their own.
    """
    from myop_cdn.cli import COMMANDS, cli

    data = inputs.read_file(file, MAX_BYTES, "configuration file")
    try:
        tables = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError(f"can't read the configuration file {file}: not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file} is not TOML: {error}") from None
    except RecursionError:
        raise InputError(f"{file} is nested too deeply") from None
    result: dict[str, Any] = {}
    for name, table in tables.items():
        if name == TARGETS:
            result[name] = _targets(file, table)
            continue
        if name not in COMMANDS or not isinstance(table, dict):
            raise InputError(
                f"{file}: [{shown(name)}] is not a table of a command"
                f"{suggestion(name, (*COMMANDS, TARGETS))}",
                f"tables: {TARGETS}.NAME, and of the commands {', '.join(COMMANDS)}",
            )
        found = cli.get_command(click.Context(cli), name)
        assert found is not None  # its name is one of COMMANDS
        result[name] = _options(f"{file}: [{name}]", found, table)
    return result


@dataclass(frozen=True, slots=True)
class Target:
    """Destinations that are published to together, with the options of that."""

    name: str
    destinations: tuple[str, ...]
    options: Mapping[str, Any]


def _targets(file: str, tables: object) -> dict[str, Target]:
    if not isinstance(tables, dict):
        raise InputError(f"{file}: [{TARGETS}] is not a table")
    options = [*parameters(DeploySettings), *parameters(LimitSettings)]
    options += [one for one in parameters(ExportSettings) if one.name == "environment"]
    found = {}
    for name, table in tables.items():
        where = f"{file}: [{TARGETS}.{shown(name)}]"
        if not isinstance(table, dict) or re.fullmatch(r"[\w-]{1,100}", name, re.ASCII) is None:
            hint = "a name has letters, digits, - and _"
            raise InputError(f"{where} is not a table, or not a name", hint)
        rest = dict(table)
        given = rest.pop("destinations", None)
        urls = [given] if isinstance(given, str) else given
        if not isinstance(urls, list) or not urls or not all(isinstance(one, str) for one in urls):
            raise InputError(f"{where} has no destinations", 'destinations = ["s3://bucket/myop"]')
        if any(url.startswith("@") for url in urls):
            raise InputError(f"{where}: a destination is a URL, not another target")
        found[name] = Target(name, tuple(urls), _checked(where, options, rest))
    return found


def targets_named(ctx: click.Context, names: Iterable[str]) -> tuple[Target, ...]:
    """The targets with these names. Raises InputError where there is no such one."""
    known: Mapping[str, Target] = (ctx.find_root().default_map or {}).get(TARGETS, {})
    found = []
    for name in dict.fromkeys(names):
        if name not in known:
            file = ctx.meta.get(CONFIG_FILE)
            hint = "name the configuration file: --config FILE, or MYOP_CDN_CONFIG"
            if file:
                hint = f"{file} has: {', '.join(known) or 'none'}"
            raise InputError(f"there is no target @{shown(name)}{suggestion(name, known)}", hint)
        found.append(known[name])
    return tuple(found)


def options_of(command: click.Command, targets: Sequence[Target]) -> Mapping[str, Any]:
    """The options of the targets, as far as the command has them. Raises InputError where two
    targets have different ones.
    """
    names = {one.name for one in command.params}
    first, *others = (
        {name: value for name, value in one.options.items() if name in names} for one in targets
    )
    if any(one != first for one in others):
        listed = ", ".join(f"@{one.name}" for one in targets)
        raise InputError(f"{listed} have different options", "run the command for each of them")
    return first


def with_destinations(given: Any, targets: Sequence[Target], *, many: bool) -> Any:
    """What was given for destinations, each target's in the place of its name.

    many: whether there may be several. Raises InputError where there may not.
    """
    urls = {f"@{one.name}": one.destinations for one in targets}
    words = [given] if isinstance(given, str) else given
    found = [url for word in words for url in urls.get(word, (word,))]
    if many:
        return tuple(found)
    if len(found) > 1:
        raise InputError(
            f"{given} has {len(found)} destinations, and this command takes one",
            f"they are {', '.join(shown_url(one) for one in found)}",
        )
    return found[0]


def _options(where: str, command: click.Command, table: dict[str, Any]) -> dict[str, Any]:
    if isinstance(command, click.Group):
        result: dict[str, Any] = {}
        for name, below in table.items():
            one = command.commands.get(name)
            if one is None or not isinstance(below, dict):
                near = suggestion(name, command.commands)
                raise InputError(f"{where} has no table {shown(name)!r}{near}")
            result[name] = _options(f"{where[:-1]}.{name}]", one, below)
        return result
    return _checked(where, command.params, table)


def _checked(
    where: str, options: Iterable[click.Parameter], table: Mapping[str, Any]
) -> dict[str, Any]:
    """The options of a table by their parameters' names."""
    known = {one.name: one for one in options if isinstance(one, click.Option) and not one.hidden}
    found = {}
    for name, value in table.items():
        spelt = name.replace("_", "-")
        parameter = known.get(name.replace("-", "_"))
        if parameter is None:
            near = suggestion(spelt, [str(one).replace("_", "-") for one in known])
            raise InputError(f"{where} has no option {shown(spelt)!r}{near}")
        many = parameter.multiple or parameter.nargs != 1
        if isinstance(value, dict) or (isinstance(value, list) and not many):
            raise InputError(f"{where} {spelt} takes one value")
        found[str(parameter.name)] = [value] if many and not isinstance(value, list) else value
    return found


@option_group("Which")
class ShowSettings:
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
    the command line, a variable, the configuration file, a target, or the default.

    Without a COMMAND: the options of all commands that somebody has set. Secrets are never shown.
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
    secrets = {one.what: _place_of(one) for one in inputs.SECRETS}
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
        origin = "default"
        if source is ParameterSource.COMMANDLINE:
            origin = "command line"
        elif source is ParameterSource.ENVIRONMENT:
            origin = _variable(ctx, parameter)
        elif source is ParameterSource.DEFAULT_MAP:
            table = f"[{name.replace(' ', '.')}]"
            if parameter.name in targets:
                table = ", ".join(named) or "the target"
            origin = f"{ctx.meta.get(CONFIG_FILE)}, {table}"
        spelt = parameter.name.replace("_", "-")
        value = _shown(parameter.name, ctx.params.get(parameter.name))
        if not isinstance(parameter, click.Argument) or value:
            yield Value(spelt, value, origin, is_default)


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
        return f"{value.total_seconds():g}s"
    if name == "notify":
        return f"{shown_origin(value)}/…"
    if name == "on_failure":
        return shown(str(value).split(maxsplit=1)[0])  # its arguments may hold anything
    if name in ("api_key_file", "secret_file"):
        return inputs.shown_file(value)
    text = str(value)
    return shown_url(text) if "://" in text else line(text)


def _place_of(secret: inputs.Secret) -> str | None:
    """Where a secret that no option names comes from; None where it is not set."""
    if os.environ.get(secret.variable, "").strip():
        return secret.variable
    file = secret.file()
    return None if file is None else inputs.shown_file(file)


def _say(console: Console, report: ConfigReport) -> None:
    console.data(f"configuration file: {report.file or 'none'}")
    for name, values in report.commands.items():
        console.data("", name)
        width = max(len(one.name) for one in values)
        for one in values:
            value = "not set" if one.value is None else json.dumps(one.value, ensure_ascii=False)
            console.data(f"  {one.name:{width}}  {value}  ({one.source})")
    console.data("", "secrets")
    width = max(map(len, report.secrets))
    for what, place in report.secrets.items():
        console.data(f"  {what:{width}}  {f'hidden  ({place})' if place else 'not set'}")


config.add_command(show)
