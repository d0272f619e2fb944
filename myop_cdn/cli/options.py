"""How a command says what it takes: frozen dataclasses whose fields are its options.

A command's settings are such a class (`option_group`). `option()` and `argument()` make its fields
options of the same name; `group()` puts another such dataclass into it, so that several commands
share options that belong together. `@command(Settings)` makes a Click command of a function that
takes the console and these settings: what mypy checks is what the command line gives.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Protocol,
    TypeVar,
    cast,
    dataclass_transform,
    runtime_checkable,
)

import click

from myop_cdn.cli.console import Console
from myop_cdn.errors import ExitCode, MyopCdnError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from click.shell_completion import CompletionItem

    from myop_cdn.cli.config import Target
    from myop_cdn.deploy.options import HistoryLimit
    from myop_cdn.listener.http.sockets import Address
    from myop_cdn.model import DeleteLimit
    from myop_cdn.summary import Summary

T = TypeVar("T")
CONFIG_FILE = "myop_cdn.config"  # where in a context's `meta` the file's name is
TARGET_OPTIONS = "myop_cdn.target_options"  # and the options of the targets that are named
_TITLES: dict[type[Any], str] = {}  # of the classes of options
# Variables that belong to several commands, those that a command of --on-failure gets, and those
# that the files of `init` set for themselves.
_OF_NO_COMMAND = {f"MYOP_CDN_{name}" for name in (
    "TRACEBACK", "NOTIFY", "NOTIFY_FILE", "NOTIFY_SECRET", "NOTIFY_SECRET_FILE", "EVENT",
    "SUBJECT", "MESSAGE", "HINT", "FAILURES", "SINCE", "LEFT_OUT", "TIME", "RUN_URL", "JOURNAL",
    "DESTINATION", "PACKAGE", "EXTRAS", "ID_TOKEN",
)}  # fmt: skip
_TIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE_UNITS = {"": 1, "b": 1, "kib": 1024, "k": 1024, "mib": 1024**2, "m": 1024**2}


class Report(Protocol):
    """What a command returns: its exit code is that of the error, and 0 only without one."""

    @property
    def error(self) -> MyopCdnError | None:
        """What went wrong with the run as a whole, or None."""

    def to_json(self) -> dict[str, Any]:
        """The report of `--json`, with the error as its member `error`."""


@runtime_checkable
class Summarized(Protocol):
    """A report that `--report` can write, of a command whose settings hold `ReportSettings`."""

    def summary(self) -> Summary:
        """The run for its readers."""


def option(help: str, metavar: str | None = None, **attributes: Any) -> Any:
    """A field that is an option: `--its-name`.

    The field's type says what need not be said: a bool is a flag, a tuple takes the option several
    times, a timedelta is a `Duration`, and a Path that the help calls FILE or DIR is one.
    attributes: as of `click.option`. title: a heading other than the class's. even_empty: an
    environment variable counts even when it is empty: a job that hands on a header which was
    missing has asked for a check.
    """
    return field(metadata={"option": {"help": help, "metavar": metavar, **attributes}})


def argument(**attributes: Any) -> Any:
    """A field that is an argument. attributes: as of `click.argument`."""
    return field(metadata={"argument": attributes})


def group(settings: type[T]) -> T:
    """A field that holds the options of another such class, under their own heading."""
    return cast("T", field(metadata={"group": settings}))


@dataclass_transform(
    eq_default=False,
    frozen_default=True,
    kw_only_default=True,
    field_specifiers=(option, argument, group),
)
def option_group(title: str = "Options") -> Callable[[type[T]], type[T]]:
    """A decorator that makes a class of options a dataclass. title: their heading in the help.

    Nobody compares or shows one, so it has no methods for that: making them takes a start longer
    than all the rest of the class.
    """

    def decorate(cls: type[T]) -> type[T]:
        _TITLES[cls] = title
        return dataclass(eq=False, repr=False, kw_only=True)(cls)

    return decorate


class Option(click.Option):
    """An option that knows under which heading the help lists it."""

    def __init__(self, *args: Any, title: str, even_empty: bool = False, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.title = title
        self.even_empty = even_empty

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable's value, or None where it is not set."""
        value = super().resolve_envvar_value(ctx)
        if value is None and self.even_empty and ctx.auto_envvar_prefix and self.name:
            return os.environ.get(f"{ctx.auto_envvar_prefix}_{self.name.upper()}")
        return value


class Command(click.Command):
    """A command whose help lists options by purpose and ends with examples."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples
        self.params += global_options(repeated=True)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with targets in the place of their names, and warn of variables that were meant
        for this command.
        """
        place = next((one for one in self.params if isinstance(one.type, Destination)), None)
        targets = self._targets(ctx, list(args), place) if place else ()
        rest = super().parse_args(ctx, args)
        if place is not None and targets:
            from myop_cdn.cli.config import with_destinations

            name, many = str(place.name), place.nargs == -1 or place.multiple
            ctx.params[name] = with_destinations(ctx.params[name], targets, many=many)
        if any(name.startswith("MYOP_CDN_") for name in os.environ):
            for warning in unknown_variables(self, ctx.auto_envvar_prefix or "", os.environ):
                _console(ctx).warning(warning)
        return rest

    def _targets(
        self, ctx: click.Context, args: list[str], place: click.Parameter
    ) -> Sequence[Target]:
        """The targets that stand for destinations; their options are put in force."""
        opts, _, _ = self.make_parser(ctx).parse_args(args)
        if file := opts.get("config"):
            _read_config(ctx, str(file))
        value, _ = place.consume_value(ctx, opts)
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list | tuple):
            return ()  # it was not given: Click has a mark of its own for that
        names = [str(one)[1:] for one in words if str(one).startswith("@")]
        if not names:
            return ()
        from myop_cdn.cli.config import options_of, targets_named

        targets = targets_named(ctx, names)
        ctx.meta[TARGET_OPTIONS] = options_of(self, targets)
        _put_in_force(ctx)
        return targets

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options under the headings of their settings."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                title = parameter.title if isinstance(parameter, Option) else "Other options"
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=24)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Show the examples as they are typed."""
        if self.examples:
            with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
                for example in self.examples:
                    for line in example.splitlines():
                        formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def command(
    settings: type[T], *examples: str, name: str | None = None, takes_any: bool = False
) -> Callable[[Callable[[Console, T], Report | None]], Command]:
    """A decorator that makes a function of console and settings a command.

    The function returns its report, or None where there is none to make; it raises MyopCdnError
    where a run comes to nothing. Its docstring is the help. takes_any: whether options of other
    commands are arguments.
    """

    def decorate(function: Callable[[Console, T], Report | None]) -> Command:
        def callback(**values: Any) -> ExitCode:
            console = _console(click.get_current_context())
            report = function(console, filled(settings, values))
            if report is None:
                return ExitCode.DONE
            error, value = report.error, report.to_json()
            if console.wants_report and isinstance(report, Summarized):
                from myop_cdn.cli.reports import deliver

                summary = replace(report.summary(), dry_run=bool(values.get("dry_run")))
                failure = deliver(console, summary, value)
                if error is None and failure is not None:
                    error, value = failure, {**value, "error": failure.to_json()}
            if console.wants_json:
                console.report(value)
            return ExitCode.DONE if error is None else error.exit_code

        return Command(
            name or function.__name__,
            callback=callback,
            help=function.__doc__,
            params=list(parameters(settings)),
            examples=examples,
            context_settings={"ignore_unknown_options": takes_any},
        )

    return decorate


def parameters(settings: type[Any]) -> Iterator[click.Parameter]:
    """The options and arguments that a class of settings stands for."""
    for one in fields(settings):
        if "group" in one.metadata:
            yield from parameters(one.metadata["group"])
        elif "argument" in one.metadata:
            yield click.Argument([one.name], **_completed(one.metadata["argument"]))
        else:
            attributes = one.metadata["option"]
            attributes = {**_told_by(str(one.type), attributes["metavar"]), **attributes}
            if attributes.get("default") is not None:
                attributes = {"show_default": True, **attributes}
            names = [f"--{one.name.replace('_', '-')}", one.name]
            yield Option(names, **{"title": _TITLES[settings], **_completed(attributes)})


def _told_by(annotation: str, metavar: str | None) -> dict[str, Any]:
    """What an option's attributes are by the type of its field."""
    if annotation == "bool":
        return {"is_flag": True}
    if annotation.startswith("tuple["):
        return {"multiple": True}
    if annotation.startswith("timedelta"):
        return {"type": DURATION}
    if annotation.startswith("Path"):
        from pathlib import Path  # `verify` has no path among its options, and starts without it

        is_folder = metavar == "DIR"
        kind = click.Path(path_type=Path, file_okay=not is_folder, dir_okay=is_folder)
        return {"type": kind}
    return {}


def _completed(attributes: dict[str, Any]) -> dict[str, Any]:
    """The same, completed by the shell with files or folders where the help asks for one."""
    match = re.match(r"\[?(FILE|DIR)", attributes.get("metavar") or "")
    if match is None or "shell_complete" in attributes:
        return attributes
    kind = "file" if match[1] == "FILE" else "dir"

    def paths(_ctx: object, _param: object, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # loaded when a shell asks

        return [CompletionItem(incomplete, type=kind)]

    return {**attributes, "shell_complete": paths}


def filled(settings: type[T], values: dict[str, Any]) -> T:
    """The settings of a command whose options have these values, by their names."""
    given = {
        one.name: filled(one.metadata["group"], values)
        if "group" in one.metadata
        else values[one.name]
        for one in fields(settings)  # type: ignore[arg-type]  # it is a dataclass
    }
    return settings(**given)


def _console(ctx: click.Context) -> Console:
    console = ctx.find_object(Console)
    return Console() if console is None else console  # None where only a help is rendered


def _read_config(ctx: click.Context, file: str) -> None:
    """Take a configuration file that is named after the command."""
    from myop_cdn.cli.config import default_map

    root = ctx.find_root()
    if root.meta.get(CONFIG_FILE) == file:
        return  # it was looked at for the targets
    root.default_map, root.meta[CONFIG_FILE] = default_map(file), file
    table: Any = root.default_map
    for word in ctx.command_path.split()[1:]:
        table = table.get(word, {})
    ctx.default_map = table
    _put_in_force(ctx)


def _put_in_force(ctx: click.Context) -> None:
    ctx.default_map = {**(ctx.default_map or {}), **ctx.meta.get(TARGET_OPTIONS, {})}


def global_options(*, repeated: bool = False) -> list[click.Parameter]:
    """The options of the whole program.

    repeated: those of a command, for people who give them after it; its help does not list them.
    """

    def louder(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        console = _console(ctx)
        if value and param.name == "log_format":
            console.log_format = value
        elif value and param.name == "quiet":
            console.verbosity = -1
        elif value and (repeated or console.verbosity >= 0):  # of two that stand together -q counts
            console.verbosity = value

    def read(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        if value:
            _read_config(ctx, value)

    def shared(names: list[str], help: str, callback: Any = louder, **attributes: Any) -> Any:
        common = {"expose_value": False, "hidden": repeated, "is_eager": True}
        return click.Option(names, help=help, callback=callback, **common, **attributes)

    formats = click.Choice(["text", "json"])
    written = None if repeated else "text"
    table = "TOML file with a table of options for each command."
    return [
        shared(["-v", "--verbose"], "Say more; twice for tracebacks.", count=True),
        shared(["-q", "--quiet"], "Say only what went wrong.", is_flag=True),
        shared(
            ["--log-format"],
            "How stderr is written.",
            type=formats,
            default=written,
            show_default=True,
        ),
        shared(["--config"], table, read, metavar="FILE", allow_from_autoenv=not repeated),
    ]


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` where one of `known` is spelt nearly like `name`, else nothing."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown_variables(
    command: click.Command, prefix: str, variables: Iterable[str]
) -> Iterator[str]:
    """A warning for each of `variables` that names no option of the command it is meant for.

    prefix: of the variables of `command`, without the underscore that follows it.
    """
    from myop_cdn.cli import COMMANDS, cli

    hidden = {one for one in command.params if isinstance(one, click.Option) and one.hidden}
    known = [f"{prefix}_{one.name}".upper() for one in command.params if one not in hidden]
    whole = {f"MYOP_CDN_{one.name}".upper() for one in cli.params} | _OF_NO_COMMAND
    others = tuple(f"MYOP_CDN_{name}_".upper() for name in COMMANDS)
    for name in sorted(variables):
        if name.startswith(f"{prefix}_") and name not in known:
            yield f"{name} is not the variable of an option{suggestion(name, known)}"
        elif name.startswith("MYOP_CDN_") and not name.startswith(others) and name not in whole:
            yield f"{name} is not the variable of a command"


class Destination(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A destination's URL, or `@` and the name of a target in the configuration file."""

    name = "destination"

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - Click's signature
        incomplete: str,
    ) -> list[CompletionItem]:
        """The targets and their destinations."""
        from click.shell_completion import CompletionItem

        from myop_cdn.cli.config import TARGETS

        targets = (ctx.find_root().default_map or {}).get(TARGETS, {})
        names = [f"@{name}" for name in targets]
        names += [url for target in targets.values() for url in target.destinations]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class SecretFile(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A file with a secret, `-`, or the URL of one that a cloud's service keeps."""

    name = "file"

    def split_envvar_value(self, rv: str) -> list[str]:
        """Several of them in a variable: separated as in PATH, as blanks may stand in a name, but
        by blanks where one of them is a URL.
        """
        return rv.split() if "://" in rv else [name for name in rv.split(os.pathsep) if name]


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A value that a function reads; its ValueError says what is wrong with the text."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        """What it stands for; a usage error for anything else."""
        try:
            return self._read(str(value).strip())
        except ValueError as error:
            self.fail(str(error), param, ctx)


def duration(text: str) -> timedelta:
    """A number with `s`, `m`, `h` or `d`; `0` means off."""
    if text == "0":
        return timedelta(0)
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd])", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write 30s, 5m, 24h or 7d; 0 is off")
    try:
        return timedelta(seconds=float(match[1]) * _TIME_UNITS[match[2]])
    except OverflowError:
        raise ValueError(f"{text!r} is too long") from None


def _history(text: str) -> HistoryLimit:
    """How much of the past is kept: a number of contents of each document, or a duration."""
    from myop_cdn.deploy.options import HistoryLimit

    if re.fullmatch(r"[0-9]{1,6}", text):
        return HistoryLimit(count=int(text))
    return HistoryLimit(age=duration(text))


def _max_delete(text: str) -> DeleteLimit:
    """A number of objects, or a percentage of them."""
    from myop_cdn.model import DeleteLimit  # `verify` reads this module and must start fast

    if re.fullmatch(r"[0-9]{1,9}", text):
        return DeleteLimit(count=int(text))
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%", text)
    if match is None or float(match[1]) > 100:
        raise ValueError(f"{text!r} is neither a number nor a percentage up to 100%")
    return DeleteLimit(percent=float(match[1]))


def _size(text: str) -> int:
    """A number of bytes, or one with KiB or MiB."""
    match = re.fullmatch(r"(\d{1,12})\s*([a-z]*)", text.lower(), re.ASCII)
    if match is None or match[2] not in _SIZE_UNITS or not int(match[1]):
        raise ValueError(f"{text!r} is not a size: write 65536, 64KiB or 1MiB")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def _address(text: str) -> Address:
    """HOST:PORT, with an IPv6 address in brackets."""
    from myop_cdn.listener.http.sockets import Address

    return Address.parse(text)


def _header_value(text: str) -> str:
    """What may stand in an HTTP header: printable ASCII on one line, or nothing."""
    if not all(" " <= sign <= "~" for sign in text):
        raise ValueError("a header's value must be plain ASCII on one line")
    return text


def _origin(text: str) -> str:
    """An origin as browsers write it: scheme, host, port where it is not the usual one; or "*"."""
    if text != "*" and re.fullmatch(r"https?://[A-Za-z0-9.*\[\]:-]+", text) is None:
        raise ValueError(f"{text!r} is not an origin: write https://app.example.com")
    return text


DURATION = Parsed("duration", duration)
HISTORY = Parsed("n|duration", _history)
MAX_DELETE = Parsed("n|n%", _max_delete)
SIZE = Parsed("size", _size)
ADDRESS = Parsed("host:port", _address)
HEADER_VALUE = Parsed("text", _header_value)
ORIGIN = Parsed("origin", _origin)
