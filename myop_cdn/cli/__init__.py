"""The command line: the group, the global options, and the only place where errors end."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click

from myop_cdn import __version__
from myop_cdn.cli.console import Console
from myop_cdn.cli.ending import interruptible
from myop_cdn.errors import InputError, Interrupted, MyopCdnError

if TYPE_CHECKING:
    from collections.abc import Sequence

# A command's module is imported when the command is run, so that `verify` does not pay for
# what `serve` needs. The first line of each help text stands here for the same reason.
COMMANDS: dict[str, tuple[str, str]] = {
    "verify": ("myop_cdn.cli.verify:verify", "Check a webhook body's signature; a filter."),
    "sync": ("myop_cdn.cli.sync:sync", "Export what was released into a folder."),
    "deploy": ("myop_cdn.cli.deploy:deploy", "Upload a folder to S3, GCS, Azure or a folder."),
    "publish": ("myop_cdn.cli.publish:publish", "Sync, then deploy."),
    "serve": ("myop_cdn.cli.serve:serve", "Listen for webhooks and publish each release."),
    "deliveries": ("myop_cdn.cli.deliveries:deliveries", "Look into a listener's journal."),
    "send": ("myop_cdn.cli.send:send", "Send a signed test delivery to a receiver."),
    "sandbox": ("myop_cdn.cli.sandbox:sandbox", "Serve Myop's API from a folder, for rehearsals."),
    "init": ("myop_cdn.cli.init:init", "Write the files for a CI system or a server."),
    "demo": ("myop_cdn.cli.demo:demo", "Show the whole loop on this machine."),
}
SERVERS = ("serve", "sandbox")  # they have signal handlers of their own


class Root(click.Group):
    """The group of commands. Turns every ending into an exit code of `ExitCode`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """The commands in the order a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module and return the command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)  # narrows the type
        if not any(one.name == "verbose" for one in command.params):
            command.params += _global_options()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is about to run. One that ends by itself is made interruptible."""
        found = super().resolve_command(ctx, args)
        if found[0] not in SERVERS:
            ctx.with_resource(interruptible())
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Click's own word at an interruption is a blank line on stderr, which
        is no JSON and no news.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run, and leave with an exit code. No traceback reaches a user unless asked for."""
        words = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        Settings.console = None
        try:
            code = super().main(words, *rest, **extra)
        except click.ClickException as error:
            code = _end_usage(error, words)
        except MyopCdnError as error:
            code = _end(error, words)
        except (click.Abort, KeyboardInterrupt):
            code = _end(Interrupted(), words)
        except RecursionError:
            code = _end(InputError("the input is nested too deeply"), words)
        except Exception as error:
            if _console_of(words).verbosity > 1 or os.environ.get("MYOP_CDN_TRACEBACK"):
                raise
            hint = "this is a defect of myop-cdn: run again with -vv and report what it prints"
            what = f"unexpected {type(error).__name__} at {_where(error)}"
            code = _end(MyopCdnError(what, hint), words)
        sys.exit(int(code) if isinstance(code, int) else 0)


def _where(error: BaseException) -> str:
    """The file and line where `error` was raised: no message, which could quote a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"  # noqa: PTH119


def _end(error: MyopCdnError, words: Sequence[str], *, wants_json: bool = False) -> int:
    console = _console_of(words)
    console.error(error)
    if wants_json or console.wants_json or "--json" in words:
        with suppress(MyopCdnError):  # stdout takes nothing: stderr has been told
            console.report_end({"command": _command(words)}, error)
    return error.exit_code


def _end_usage(error: click.ClickException, words: Sequence[str]) -> int:
    message = error.format_message()
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return _end(InputError(" ".join(message.split())), words)
    if not words:
        click.echo(ctx.get_help() + "\n", err=True)
    wrong = InputError(" ".join(message.split()), f"see '{ctx.command_path} --help'")
    return _end(wrong, words, wants_json=_json_by_default(ctx))


def _json_by_default(ctx: click.Context) -> bool:
    """Whether the environment or the config file asks for `--json`: a command line that can't be
    parsed ends before Click has looked there.
    """
    option = next((one for one in ctx.command.params if one.name == "json"), None)
    if option is None:
        return False
    value = option.value_from_envvar(ctx)
    try:
        given = ctx.lookup_default("json") if value is None else value
        return bool(click.BOOL.convert(given or False, option, ctx))
    except click.BadParameter:
        return False


def _console_of(words: Sequence[str]) -> Console:
    # The context is gone when an error arrives here; the console of the run is not.
    if Settings.console is not None:
        return Settings.console
    wants_json = "--log-format=json" in words or "json" in words[:4]
    return Console(log_format="json" if wants_json else "text")


def _command(words: Sequence[str]) -> str | None:
    return next((word for word in words if word in COMMANDS), None)


class Settings:
    """The console of the command that is running."""

    console: Console | None = None


def _global_options() -> list[click.Parameter]:
    """`-v`, `-q` and `--log-format` once more, for those who give them after the command."""

    def louder(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        console = ctx.obj
        if not isinstance(console, Console):
            return
        if value and param.name == "log_format":
            console.log_format = value
        elif value:
            console.verbosity = -1 if param.name == "quiet" else value
        if param.name == "log_format":  # known now, and called once for each command
            _warn_of_variables(ctx, console)

    shared: dict[str, Any] = {"expose_value": False, "hidden": True, "callback": louder}
    formats = click.Choice(["text", "json"])
    return [
        click.Option(["-v", "--verbose"], count=True, is_eager=True, **shared),
        click.Option(["-q", "--quiet"], is_flag=True, is_eager=True, **shared),
        click.Option(["--log-format"], type=formats, is_eager=True, **shared),
    ]


def _warn_of_variables(ctx: click.Context, console: Console) -> None:
    """Warn of variables that begin as those of the command do and name none of its options: a
    limit that is misspelt must not be lost in silence.
    """
    prefix = f"MYOP_CDN_{(ctx.info_name or '').upper()}_"
    if any(name.startswith(prefix) for name in os.environ):
        from myop_cdn.cli.variables import unknown

        for warning in unknown(ctx.command, prefix, os.environ):
            console.warning(warning)


def _read_config(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001
    if value:
        from myop_cdn.cli.config import default_map

        ctx.default_map = default_map(value)
    return value


@click.group(
    cls=Root,
    no_args_is_help=False,  # a missing command is bad usage: exit code 2 with every Click
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MYOP_CDN"},
)
@click.version_option(__version__, "--version", prog_name="myop-cdn")
@click.option("-v", "--verbose", count=True, help="Say more; twice for tracebacks.")
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How stderr is written.",
)
@click.option(
    "--config",
    metavar="FILE",
    callback=_read_config,
    is_eager=True,
    expose_value=False,
    help="TOML file with a table of options for each command.",
)
@click.pass_context
def cli(ctx: click.Context, verbose: int, quiet: bool, log_format: str) -> None:
    """Verify Myop's webhooks, export what was released, and publish it to your own CDN.

    Every option can be given as an environment variable MYOP_CDN_<COMMAND>_<OPTION>.
    """
    console = Console(-1 if quiet else verbose, "json" if log_format == "json" else "text")
    Settings.console = console
    ctx.obj = console
