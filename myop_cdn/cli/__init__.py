"""The command line: the group, the global options, and the only place where errors end."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click

from myop_cdn import __version__
from myop_cdn.cli.console import Console
from myop_cdn.cli.options import global_options, suggestion
from myop_cdn.errors import InputError, Interrupted, MyopCdnError, unexpected
from myop_cdn.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A command's module is imported when the command is run, so that `verify` does not pay for
# what `serve` needs. The first line of each help text stands here for the same reason.
COMMANDS: dict[str, tuple[str, str]] = {
    "verify": ("myop_cdn.cli.verify:verify", "Check a webhook body's signature; a filter."),
    "sync": ("myop_cdn.cli.publish:sync", "Export what was released into a folder."),
    "deploy": ("myop_cdn.cli.publish:deploy", "Upload a folder to S3, GCS, Azure or a folder."),
    "publish": ("myop_cdn.cli.publish:publish", "Sync, then deploy."),
    "status": ("myop_cdn.cli.history:status", "Show what is live at a destination."),
    "check": ("myop_cdn.cli.check:check", "Ask a CDN as a browser would, and say what is wrong."),
    "doctor": ("myop_cdn.cli.check:doctor", "Look at all that a run needs."),
    "history": ("myop_cdn.cli.history:history", "List what was published at a destination."),
    "diff": ("myop_cdn.cli.history:diff", "Show what changed between two commits."),
    "rollback": ("myop_cdn.cli.history:rollback", "Put documents back to what they were."),
    "serve": ("myop_cdn.cli.serve:serve", "Listen for webhooks and publish each release."),
    "deliveries": ("myop_cdn.cli.deliveries:deliveries", "Look into a listener's journal."),
    "send": ("myop_cdn.cli.deliveries:send", "Send a signed test delivery to a receiver."),
    "sandbox": ("myop_cdn.cli.sandbox:sandbox", "Serve Myop's API from a folder, for rehearsals."),
    "init": ("myop_cdn.cli.init:init", "Write the files for a CI system or a server."),
    "config": ("myop_cdn.cli.config:config", "Show what is configured, and where."),
    "demo": ("myop_cdn.cli.demo:demo", "Show the whole loop on this machine."),
    "help": ("myop_cdn.cli.init:help_", "Show a command's help, or read about a topic."),
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
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is about to run. One that ends by itself is made interruptible."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = suggestion(args[0], COMMANDS)
            ctx.fail(f"there is no command {shown(args[0])!r}{near}")
        found = super().resolve_command(ctx, args)
        if found[0] not in SERVERS:
            ctx.with_resource(interruptible())
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Click's own word at an interruption is a blank line on stderr, which
        is not JSON and says nothing.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run, and leave with an exit code. No traceback reaches a user unless asked for."""
        words = list(sys.argv[1:] if args is None else args)
        # Options that can't be parsed are an error that is written in this way, too.
        wants_lines = "--log-format=json" in words or "json" in words[:4]
        console = Console(log_format="json" if wants_lines else "text")
        console.known["command"] = next((word for word in words if word in COMMANDS), None)
        console.wants_json = "--json" in words
        extra |= {"standalone_mode": False, "obj": console}
        try:
            code = super().main(words, *rest, **extra)
        except click.ClickException as error:
            code = _end_usage(console, error, words)
        except MyopCdnError as error:
            code = _end(console, error)
        except (click.Abort, KeyboardInterrupt):
            code = _end(console, Interrupted())
        except RecursionError:
            code = _end(console, InputError("the input is nested too deeply"))
        except Exception as error:
            if console.verbosity > 1 or os.environ.get("MYOP_CDN_TRACEBACK"):
                raise
            code = _end(console, unexpected(error))
        sys.exit(int(code) if isinstance(code, int) else 0)


def _end(console: Console, error: MyopCdnError) -> int:
    console.error(error)
    if console.wants_report:
        from myop_cdn.cli.reports import deliver_failure

        deliver_failure(console, error)
    if console.wants_json:
        with suppress(MyopCdnError):  # stdout takes nothing: stderr has been told
            console.report_failure(error)
    return error.exit_code


def _end_usage(console: Console, error: click.ClickException, words: Sequence[str]) -> int:
    message = " ".join(error.format_message().split())
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return _end(console, InputError(message))
    if not words:
        click.echo(ctx.get_help() + "\n", err=True)
    console.wants_json = console.wants_json or _json_by_default(ctx)
    return _end(console, InputError(message, f"see '{ctx.command_path} --help'"))


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


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP raise KeyboardInterrupt, once: what cleans up is let finish.

    A signal that somebody ignores (nohup) or handles stays as it is, as do all of them outside
    of the main thread, where Python takes no handlers.
    """
    # What `signal` is made of, and loaded at every start: `signal` itself makes enumerations of
    # it, which `verify`, a filter, would pay for.
    room: Any = import_module("_signal")
    numbers = [getattr(room, name) for name in ("SIGTERM", "SIGHUP") if hasattr(room, name)]
    mine = [number for number in numbers if room.getsignal(number) == room.SIG_DFL]

    def interrupt(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - Python's signature
        for one in mine:
            room.signal(one, room.SIG_IGN)
        raise KeyboardInterrupt

    try:
        for number in mine:
            room.signal(number, interrupt)
    except ValueError:
        mine = []
    try:
        yield
    finally:
        for number in mine:
            room.signal(number, room.SIG_DFL)


@click.group(
    cls=Root,
    no_args_is_help=False,  # a missing command is bad usage: exit code 2 with every Click
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MYOP_CDN"},
)
@click.version_option(__version__, "-V", "--version", prog_name="myop-cdn")
def cli() -> None:
    """Verify Myop's webhooks, export what was released, and publish it to your own CDN.

    Every option can be given as an environment variable MYOP_CDN_<COMMAND>_<OPTION>.
    These options may also follow the command.
    """


cli.params += global_options()
