"""`myop-cdn sandbox`: Myop's API on this machine, serving an export folder."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from myop_cdn.cli.types import Duration
from myop_cdn.errors import InputError
from myop_cdn.sandbox import REHEARSAL_KEY, Request, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myop_cdn.cli.console import Console


class Latency(Duration):
    """A duration; a bare number is one of seconds."""

    name = "seconds|duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """The duration; a usage error for anything else."""
        text = str(value).strip()
        bare = not isinstance(value, timedelta) and text[-1:].isdigit()
        return super().convert(f"{text}s" if bare else value, param, ctx)


@click.command()
@click.option(
    "--tree",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="The folder of an export; read anew at each request.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="The port to listen on; 0 picks a free one.",
)
@click.option(
    "--latency",
    type=Latency(),
    default="0",
    show_default=True,
    help="How long each answer is held back: 0.8, 2s, 1m.",
)
@click.option(
    "--fail-rate",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="The share of answers, 0 to 1, that fail: 503, cut bodies, closed connections.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which requests those are.")
@click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the only key to accept; without it any myop_sk_… is.",
)
@click.pass_obj
def sandbox(
    console: Console,
    tree: Path,
    host: str,
    port: int,
    latency: timedelta,
    fail_rate: float,
    seed: int,
    api_key_file: Path | None,
) -> None:
    """Serve Myop's API from a folder, for rehearsals.

    Prints its URL as the first line on stdout and runs until it is interrupted. With -v each
    request is a line on stderr.
    """

    def log(request: Request) -> None:
        fault = f"  spoilt: {request.fault}" if request.fault else ""
        console.debug(f"{request.method} {request.target} {request.status}{fault}")

    with (
        _until_stopped() as stopped,
        Sandbox(
            tree,
            port,
            host=host,
            api_key=_read_key(api_key_file),
            latency=latency,
            fail_rate=fail_rate,
            seed=seed,
            on_request=log,
        ) as running,
    ):
        console.data(running.url)
        sys.stdout.flush()
        key = f'"$(cat {shlex.quote(str(api_key_file))})"' if api_key_file else REHEARSAL_KEY
        console.info(f"serving {tree} until Ctrl-C; in another shell:")
        console.info(f"export MYOP_API_URL={running.url}")
        console.info(f"export MYOP_API_KEY={key}")
        stopped.wait()
    console.info(f"stopped after {len(running.requests)} requests")


def _read_key(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        key = file.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"can't read the API key file {file}") from None
    if not key:
        raise InputError(f"the API key file {file} is empty")
    return key


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set: the ordinary ways for a server to end."""
    stopped = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
