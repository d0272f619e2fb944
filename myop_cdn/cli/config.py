"""`--config FILE`: TOML with a table of options for each command."""

from __future__ import annotations

import tomllib
from typing import Any

from myop_cdn.errors import InputError

MAX_BYTES = 1 << 20


def default_map(file: str) -> dict[str, Any]:
    """The file's tables as Click's default map: option names may be written with `-` or `_`.

    Raises InputError when the file can't be read, is no TOML, or holds something else than
    tables, or a secret's value (secrets come from the environment or a file of their own).
    """
    from myop_cdn.cli import COMMANDS
    from myop_cdn.cli.inputs import read_file

    try:
        tables = tomllib.loads(read_file(file, MAX_BYTES, "configuration file").decode())
    except UnicodeDecodeError:
        raise InputError(f"can't read the configuration file {file}: not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file} is not TOML: {error}") from None
    result: dict[str, Any] = {}
    for name, table in tables.items():
        if name not in COMMANDS or not isinstance(table, dict):
            known = ", ".join(COMMANDS)
            raise InputError(f"{file}: [{name}] is no table of a command", f"commands: {known}")
        result[name] = {option.replace("-", "_"): value for option, value in table.items()}
        _check_options(file, name, result[name])
    return result


def _check_options(file: str, command_name: str, table: dict[str, Any]) -> None:
    # A misspelt option that is silently ignored is how a limit gets lost.
    import click

    from myop_cdn.cli import cli

    command = cli.get_command(click.Context(cli), command_name)
    known = {parameter.name: parameter for parameter in command.params} if command else {}
    for option, value in table.items():
        spelt = option.replace("_", "-")
        if option not in known:
            raise InputError(f"{file}: [{command_name}] has no option {spelt!r}")
        many = getattr(known[option], "multiple", False) or known[option].nargs != 1
        if isinstance(value, dict) or (isinstance(value, list) and not many):
            raise InputError(f"{file}: [{command_name}] {spelt} takes one value")
        if many and not isinstance(value, list):
            table[option] = [value]
