"""Options that come from a file or from the environment, held against those that there are.

`--config FILE` is TOML with a table of options for each command. What is misspelt is never
ignored in silence: that is how a limit gets lost.
"""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from myop_cdn.errors import InputError
from myop_cdn.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_BYTES = 1 << 20
# Variables that belong to several commands, and those that a command of --on-failure gets.
OF_NO_COMMAND = {f"MYOP_CDN_{name}" for name in (
    "TRACEBACK", "NOTIFY", "NOTIFY_FILE", "NOTIFY_SECRET", "NOTIFY_SECRET_FILE", "EVENT",
    "SUBJECT", "MESSAGE", "HINT", "FAILURES", "SINCE", "LEFT_OUT", "TIME", "RUN_URL", "JOURNAL",
)}  # fmt: skip


def default_map(file: str) -> dict[str, Any]:
    """The file's tables as Click's default map: option names may be written with `-` or `_`.

    Raises InputError when the file can't be read, is not TOML, or holds anything but tables of
    commands with their options; secrets have no option: they come from the environment, or from
    a file of their own.
    """
    from myop_cdn.cli import COMMANDS, cli
    from myop_cdn.cli.inputs import read_file

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
        if name not in COMMANDS or not isinstance(table, dict):
            raise InputError(
                f"{file}: [{shown(name)}] is not a table of a command{suggestion(name, COMMANDS)}",
                f"commands: {', '.join(COMMANDS)}",
            )
        found = cli.get_command(click.Context(cli), name)
        assert found is not None  # its name is one of COMMANDS
        result[name] = _options(f"{file}: [{name}]", found, table)
    return result


def table_of(file: str, command: list[str]) -> dict[str, Any]:
    """The options that `file` holds for one command, named as it is typed. See `default_map`."""
    table = default_map(file)
    for word in command:
        table = table.get(word, {})
    return table


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
    return dict(_checked(where, command, table))


def _checked(
    where: str, command: click.Command, table: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    known = {
        one.name: one for one in command.params if isinstance(one, click.Option) and not one.hidden
    }
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
