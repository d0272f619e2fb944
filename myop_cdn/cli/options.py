"""How a command says what it takes: frozen dataclasses whose fields are its options.

A command's settings are a dataclass (`settings`). `option()` and `argument()` make its fields
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
    from collections.abc import Callable, Iterator, Sequence

    from click.shell_completion import CompletionItem

    from myop_cdn.cli.config import Target
    from myop_cdn.deploy.options import HistoryLimit
    from myop_cdn.listener.http.sockets import Address
    from myop_cdn.model import DeleteLimit
    from myop_cdn.summary import Summary

T = TypeVar("T")
CONFIG_FILE = "myop_cdn.config"  # where in a context's `meta` the file's name is
TARGET_OPTIONS = "myop_cdn.target_options"  # and the options of the targets that are named
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


def option(*names: str, **attributes: Any) -> Any:
    """A field that is an option: `--its-name`, and `names` beside it.

    attributes: as of `click.option`. even_empty: an environment variable counts even when it is
    empty: a job that hands on a header which was missing has asked for a check.
    """
    return field(metadata={"option": (names, attributes)})


def argument(**attributes: Any) -> Any:
    """A field that is an argument. attributes: as of `click.argument`."""
    return field(metadata={"argument": attributes})


def group(settings: type[T]) -> T:
    """A field that holds other settings. Their TITLE is the heading of their options."""
    return cast("T", field(metadata={"group": settings}))


@dataclass_transform(
    eq_default=False,
    frozen_default=True,
    kw_only_default=True,
    field_specifiers=(option, argument, group),
)
def settings(cls: type[T]) -> type[T]:
    """A decorator that makes a class of options a dataclass. Nobody compares or shows one, so it
    has no methods for that: making them takes a start longer than all the rest of the class.
    """
    return dataclass(eq=False, repr=False, kw_only=True)(cls)


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
        self.params += _global_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with targets in the place of their names, and warn of variables that were meant
        for this command.
        """
        place = next((one for one in self.params if isinstance(one.type, Destination)), None)
        targets = () if place is None else self._targets(ctx, list(args), place)
        rest = super().parse_args(ctx, args)
        if place is not None and place.name is not None and targets:
            from myop_cdn.cli.config import with_destinations

            many = place.nargs == -1 or place.multiple
            given = ctx.params[place.name]
            ctx.params[place.name] = with_destinations(given, targets, many=many)
        if any(name.startswith("MYOP_CDN_") for name in os.environ):
            from myop_cdn.cli.config import unknown_variables

            for warning in unknown_variables(self, ctx.auto_envvar_prefix or "", os.environ):
                _console(ctx).warning(warning)
        return rest

    def _targets(
        self, ctx: click.Context, args: list[str], place: click.Parameter
    ) -> Sequence[Target]:
        """The targets that are named where destinations stand, their options put in force."""
        if not any("@" in word for word in args) and not place.value_from_envvar(ctx):
            named = ctx.lookup_default(place.name or "")
            if not named or "@" not in str(named):
                return ()
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
    """The options and arguments that a dataclass of settings stands for."""
    title = getattr(settings, "TITLE", "Options")
    for one in fields(settings):
        if "group" in one.metadata:
            yield from parameters(one.metadata["group"])
        elif "argument" in one.metadata:
            yield click.Argument([one.name], **_completed(one.metadata["argument"]))
        else:
            names, attributes = one.metadata["option"]
            flag = f"--{one.name.replace('_', '-')}"
            if "default" in attributes and attributes["default"] is not None:
                attributes = {"show_default": True, **attributes}
            yield Option([*names, flag, one.name], title=title, **_completed(attributes))


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
    root.default_map = default_map(file)
    root.meta[CONFIG_FILE] = file
    table: Any = root.default_map
    for word in ctx.command_path.split()[1:]:
        table = table.get(word, {})
    ctx.default_map = table
    _put_in_force(ctx)


def _put_in_force(ctx: click.Context) -> None:
    ctx.default_map = {**(ctx.default_map or {}), **ctx.meta.get(TARGET_OPTIONS, {})}


def _global_options() -> list[click.Parameter]:
    """The options of the whole program once more, for those who give them after the command."""

    def louder(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        console = _console(ctx)
        if value and param.name == "log_format":
            console.log_format = value
        elif value:
            console.verbosity = -1 if param.name == "quiet" else value

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> None:  # noqa: ARG001
        if value:
            _read_config(ctx, value)

    shared: dict[str, Any] = {"expose_value": False, "hidden": True, "is_eager": True}
    formats = click.Choice(["text", "json"])
    return [
        click.Option(["-v", "--verbose"], count=True, callback=louder, **shared),
        click.Option(["-q", "--quiet"], is_flag=True, callback=louder, **shared),
        click.Option(["--log-format"], type=formats, callback=louder, **shared),
        click.Option(["--config"], callback=read, allow_from_autoenv=False, **shared),
    ]


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


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A number with `s`, `m`, `h` or `d`; `0` means off."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """The duration; a usage error for anything else."""
        if isinstance(value, timedelta):
            return value
        text = str(value).strip()
        if text == "0":
            return timedelta(0)
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd])", text)
        if match is None:
            self.fail(f"{text!r} is not a duration: write 30s, 5m, 24h or 7d; 0 is off", param, ctx)
        try:
            return timedelta(seconds=float(match[1]) * _TIME_UNITS[match[2]])
        except OverflowError:
            self.fail(f"{text!r} is too long", param, ctx)


class History(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """How much of the past is kept: a number of contents of each document, or a duration."""

    name = "n|duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> HistoryLimit:
        """The limit; a usage error for anything else."""
        from myop_cdn.deploy.options import HistoryLimit

        if isinstance(value, HistoryLimit):
            return value
        text = str(value).strip()
        if re.fullmatch(r"[0-9]{1,6}", text):
            return HistoryLimit(count=int(text))
        return HistoryLimit(age=Duration().convert(text, param, ctx))


class MaxDelete(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A number of objects, or a percentage of them."""

    name = "n|n%"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> DeleteLimit:
        """The limit; a usage error for anything else."""
        # Imported here because `verify` reads this module and must start fast.
        from myop_cdn.model import DeleteLimit

        if isinstance(value, DeleteLimit):
            return value
        text = str(value).strip()
        if re.fullmatch(r"[0-9]{1,9}", text):
            return DeleteLimit(count=int(text))
        match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%", text)
        if match is None or float(match[1]) > 100:
            self.fail(f"{text!r} is neither a number nor a percentage up to 100%", param, ctx)
        return DeleteLimit(percent=float(match[1]))


class Size(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A number of bytes, or one with KiB or MiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The size in bytes; a usage error for anything else."""
        match = re.fullmatch(r"(\d{1,12})\s*([a-z]*)", str(value).strip().lower(), re.ASCII)
        if match is None or match[2] not in _SIZE_UNITS or not int(match[1]):
            self.fail(f"{value!r} is not a size: write 65536, 64KiB or 1MiB", param, ctx)
        return int(match[1]) * _SIZE_UNITS[match[2]]


class HostPort(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """HOST:PORT, with an IPv6 address in brackets."""

    name = "host:port"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        """The address; a usage error for anything else."""
        from myop_cdn.listener.http.sockets import Address

        if isinstance(value, Address):
            return value
        try:
            return Address.parse(str(value).strip())
        except ValueError as error:
            self.fail(str(error), param, ctx)


class HeaderValue(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """What may stand in an HTTP header: printable ASCII on one line, or nothing."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text without blanks around it; a usage error for anything else."""
        text = str(value).strip()
        if not all(" " <= sign <= "~" for sign in text):
            self.fail("a header's value is plain ASCII on one line", param, ctx)
        return text


class Origin(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """An origin as browsers write it: scheme, host, port where it is not the usual one."""

    name = "origin"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The origin, or "*"; a usage error for anything else."""
        text = str(value).strip()
        if text != "*" and re.fullmatch(r"https?://[A-Za-z0-9.*\[\]:-]+", text) is None:
            self.fail(f"{text!r} is not an origin: write https://app.example.com", param, ctx)
        return text
