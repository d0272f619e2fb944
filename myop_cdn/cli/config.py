"""Options that come from a file or from the environment, held against those that there are.

`--config FILE` is TOML with a table of options for each command, and one for each target: several
destinations with a name and options of their own. What is misspelt is never ignored in silence:
that is how a limit gets lost.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from myop_cdn.errors import InputError
from myop_cdn.text import shown, shown_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MAX_BYTES = 1 << 20
TARGETS = "targets"
# Variables that belong to several commands, those that a command of --on-failure gets, and those
# that the files of `init` set for themselves.
OF_NO_COMMAND = {f"MYOP_CDN_{name}" for name in (
    "TRACEBACK", "NOTIFY", "NOTIFY_FILE", "NOTIFY_SECRET", "NOTIFY_SECRET_FILE", "EVENT",
    "SUBJECT", "MESSAGE", "HINT", "FAILURES", "SINCE", "LEFT_OUT", "TIME", "RUN_URL", "JOURNAL",
    "DESTINATION", "PACKAGE", "EXTRAS", "ID_TOKEN",
)}  # fmt: skip


def default_map(file: str) -> dict[str, Any]:
    """The file's tables as Click's default map: option names may be written with `-` or `_`. Beside
    the commands', `targets` has every `Target` by its name.

    Raises InputError when the file can't be read, is not TOML, or holds anything but tables of
    commands with their options; secrets have no option: they come from the environment, or from
    a file of their own.
    """
    from myop_cdn.cli import COMMANDS, cli
    from myop_cdn.inputs import read_file

    try:
        tables = tomllib.loads(read_file(file, MAX_BYTES, "configuration file").decode())
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
    return {
        name: _target(f"{file}: [{TARGETS}.{shown(name)}]", name, tables[name]) for name in tables
    }


def _target(where: str, name: str, table: object) -> Target:
    if not isinstance(table, dict) or re.fullmatch(r"[\w-]{1,100}", name, re.ASCII) is None:
        raise InputError(
            f"{where} is not a table, or not a name", "a name has letters, digits, - and _"
        )
    given = table.get("destinations")
    urls = [given] if isinstance(given, str) else given
    if not isinstance(urls, list) or not urls or not all(isinstance(one, str) for one in urls):
        raise InputError(f"{where} has no destinations", 'destinations = ["s3://bucket/myop"]')
    if any(url.startswith("@") for url in urls):
        raise InputError(f"{where}: a destination is a URL, not another target")
    rest = {key: value for key, value in table.items() if key != "destinations"}
    return Target(name, tuple(urls), dict(_checked(where, _target_options(), rest)))


def _target_options() -> list[click.Option]:
    """What may be said of a target: how objects are stored there, and how many."""
    from myop_cdn.cli.options import parameters
    from myop_cdn.cli.settings import DeploySettings, ExportSettings, LimitSettings

    found = [*parameters(DeploySettings), *parameters(LimitSettings)]
    found += [one for one in parameters(ExportSettings) if one.name == "environment"]
    return [one for one in found if isinstance(one, click.Option)]


def targets_named(ctx: click.Context, names: Iterable[str]) -> tuple[Target, ...]:
    """The targets with these names. Raises InputError where there is no such one."""
    from myop_cdn.cli.options import CONFIG_FILE

    known: Mapping[str, Target] = (ctx.find_root().default_map or {}).get(TARGETS, {})
    found = []
    for name in dict.fromkeys(names):
        if name not in known:
            file = ctx.meta.get(CONFIG_FILE)
            hint = (
                f"{file} has: {', '.join(known) or 'none'}"
                if file
                else "name the configuration file: --config FILE, or MYOP_CDN_CONFIG"
            )
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
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    return dict(_checked(where, options, table))


def _checked(
    where: str, options: Iterable[click.Option], table: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    known = {one.name: one for one in options}
    for name, value in table.items():
        spelt = name.replace("_", "-")
        parameter = known.get(name.replace("-", "_"))
        if parameter is None:
            near = suggestion(spelt, [str(one).replace("_", "-") for one in known])
            raise InputError(f"{where} has no option {shown(spelt)!r}{near}")
        many = parameter.multiple or parameter.nargs != 1
        if isinstance(value, dict) or (isinstance(value, list) and not many):
            raise InputError(f"{where} {spelt} takes one value")
        yield str(parameter.name), [value] if many and not isinstance(value, list) else value


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` where one of `known` is spelt nearly like `name`, else nothing."""
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown_variables(
    command: click.Command, prefix: str, variables: Iterable[str]
) -> Iterator[str]:
    """A warning for each of `variables` that names no option of the command it is meant for.

    prefix: of the variables of `command`, without the underscore that follows it.
    """
    from myop_cdn.cli import COMMANDS, cli

    known = [f"{prefix}_{one.name}".upper() for one in command.params if not _is_hidden(one)]
    whole = {f"MYOP_CDN_{one.name}".upper() for one in cli.params} | OF_NO_COMMAND
    others = tuple(f"MYOP_CDN_{name}_".upper() for name in COMMANDS)
    for name in sorted(variables):
        if name.startswith(f"{prefix}_") and name not in known:
            yield f"{name} is not the variable of an option{suggestion(name, known)}"
        elif name.startswith("MYOP_CDN_") and not name.startswith(others) and name not in whole:
            yield f"{name} is not the variable of a command"


def _is_hidden(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and parameter.hidden
