"""Options that several commands share, and the values they are handed on as.

A command is decorated with `with_options(*LIST, *LIST)` and takes `**values`; `pick(Cls, values)`
makes of them the frozen value of one pack. An option that stands in several lists is added once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from myop_cdn.cli.console import Console
from myop_cdn.cli.types import JOBS, MAX_DELETE, SignatureOption

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from myop_cdn.model import DeleteLimit

T = TypeVar("T")
Option = Any  # what click.option() gives: a decorator of any function


def with_options(*options: Option) -> Callable[[T], T]:
    """A decorator that adds these options, in this order, each of them once."""

    def decorate(function: T) -> T:
        for option in reversed(list(dict.fromkeys(options))):
            function = option(function)
        return function

    return decorate


def pick(cls: type[T], values: Mapping[str, Any]) -> T:
    """The `cls`, a dataclass, whose fields are the options' names."""
    return cls(**{field.name: values[field.name] for field in fields(cls)})  # type: ignore[arg-type]


def _note_json(ctx: click.Context, param: click.Parameter, value: bool) -> bool:  # noqa: ARG001
    # Noted before anything can fail, as a failure is reported in JSON too.
    if value and isinstance(ctx.obj, Console):
        ctx.obj.wants_json = True
    return value


# Shared by sync, deploy, publish and serve.
OUTPUT = click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default="./myop-static",
    show_default=True,
    metavar="DIR",
    help="The folder that holds the exported files.",
)
JOBS_OPTION = click.option(
    "--jobs",
    type=JOBS,
    default=16,
    show_default=True,
    metavar="N",
    help="How many requests at once.",
)
MAX_DELETE_OPTION = click.option(
    "--max-delete",
    type=MAX_DELETE,
    default=None,
    metavar="N|N%",
    help="How many documents one run may remove; more is refused.  "
    "[default: 25%, or one component's documents]",
)
ALLOW_HTTP = click.option(
    "--allow-http", is_flag=True, help="Allow plain http:// to a host that is not this machine."
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
JSON = click.option(
    "--json",
    is_flag=True,
    is_eager=True,
    callback=_note_json,
    help="Print the report as one JSON object on stdout.",
)
SECRET_FILE = click.option(
    "--secret-file",
    "secret_file",
    multiple=True,
    type=click.Path(),  # in a variable several are separated as in PATH, so that blanks may stand
    metavar="FILE",
    help="File with the webhook's signing secret; repeat it while a secret is being replaced. "
    "Without it MYOP_WEBHOOK_SECRET is taken, several separated by white space.",
)

# What is to be exported: for one-shot commands.
SOURCE_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--payload",
        metavar="FILE|-",
        help="The webhook's body, GitHub's event file, GitLab's $TRIGGER_PAYLOAD, …",
    ),
    click.option("--releases", metavar="JSON|-", help="The payload's array of releases alone."),
    click.option("--full", is_flag=True, help="Export everything, whatever the payload says."),
    click.option(
        "--signature",
        cls=SignatureOption,
        metavar="SIG",
        help="The X-Myop-Signature header's value; the payload is checked before all else.",
    ),
    SECRET_FILE,
    click.option(
        "--require-signature", is_flag=True, help="Refuse a payload that comes without one."
    ),
)


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """SOURCE_OPTIONS as given."""

    payload: str | None
    releases: str | None
    full: bool
    signature: str | None
    secret_file: tuple[str, ...]
    require_signature: bool


# Where it is exported from: sync, publish and serve.
EXPORT_OPTIONS: tuple[Option, ...] = (
    OUTPUT,
    click.option(
        "--environment",
        "environment",
        multiple=True,
        metavar="NAME",
        help="Export this environment only; repeat it for more. 'preview' is one of the names.",
    ),
    click.option(
        "--exporter",
        type=click.Choice(["auto", "api", "npx"]),
        default="auto",
        show_default=True,
        help="Myop's API, Myop's own command-line tool, or (auto) the API, and the tool of "
        "--export-command where the API's index can't be read.",
    ),
    click.option(
        "--export-command",
        metavar="WORDS",
        help="What the npx exporter runs; 'npx --yes myop@1.2.3 export' names a version, which "
        "auto needs.  [default: npx --yes myop export]",
    ),
    click.option(
        "--api-key-file",
        metavar="FILE",
        help="File with the API key. Without it MYOP_API_KEY is taken.",
    ),
    click.option(
        "--api-url",
        metavar="URL",
        envvar="MYOP_API_URL",
        default="https://cloud.myop.dev",
        show_default=True,
        help="Myop's API; MYOP_API_URL names it too.",
    ),
    ALLOW_HTTP,
    JOBS_OPTION,
    MAX_DELETE_OPTION,
)


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """EXPORT_OPTIONS as given. max_delete is None where nobody chose it."""

    output: Path
    environment: tuple[str, ...]
    exporter: str
    export_command: str | None
    api_key_file: str | None
    api_url: str
    allow_http: bool
    jobs: int
    max_delete: DeleteLimit | None
