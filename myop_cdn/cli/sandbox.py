"""`myop-cdn sandbox`: Myop's API on this machine, serving an export folder."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from myop_cdn.cli.options import Parsed, command, duration, option, option_group
from myop_cdn.inputs import api_key
from myop_cdn.sandbox import REHEARSAL_KEY, Request, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from myop_cdn.cli.console import Console


def _latency(text: str) -> timedelta:
    """A duration; a bare number is one of seconds."""
    return duration(f"{text}s" if text[-1:].isdigit() else text)


@option_group()
class SandboxSettings:
    tree: Path = option(
        "The folder of an export; read again for each request.",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        required=True,
    )
    host: str = option("The address to listen on.", default="127.0.0.1")
    port: int = option(
        "The port to listen on; 0 picks a free one.", type=click.IntRange(0, 65535), default=0
    )
    latency: timedelta = option(
        "How long each answer is held back: 0.8, 2s, 1m.",
        type=Parsed("seconds|duration", _latency),
        default="0",
    )
    fail_rate: float = option(
        "The share of answers, 0 to 1, that fail: 503, cut bodies, closed connections.",
        type=click.FloatRange(0, 1),
        default=0.0,
    )
    seed: int = option("The seed that decides which requests fail.", type=int, default=0)
    api_key_file: str | None = option(
        "File with the only key to accept; without it any myop_sk_… key is.", "FILE"
    )


@command(SandboxSettings, "myop-cdn sandbox --tree ./myop-static --port 4000 --latency 0.8")
def sandbox(console: Console, settings: SandboxSettings) -> None:
    """Serve Myop's API from a folder, for rehearsals.

    Prints its URL as the first line on stdout and runs until it is interrupted. With -v each
    request is a line on stderr.
    """
    key_file = settings.api_key_file
    key = api_key(key_file, console.warn_once) if key_file else None

    def log(request: Request) -> None:
        fault = f"  spoilt: {request.fault}" if request.fault else ""
        console.debug(f"{request.method} {request.target} {request.status}{fault}")

    with (
        _until_stopped() as stopped,
        Sandbox(
            settings.tree,
            settings.port,
            host=settings.host,
            api_key=key[0] if key else None,
            latency=settings.latency,
            fail_rate=settings.fail_rate,
            seed=settings.seed,
            on_request=log,
        ) as running,
    ):
        console.data(running.url)
        sys.stdout.flush()
        shell = f'"$(cat {shlex.quote(key_file)})"' if key_file else REHEARSAL_KEY
        console.info(f"serving {settings.tree} until Ctrl-C; in another shell:")
        console.info(f"export MYOP_API_URL={running.url}")
        console.info(f"export MYOP_API_KEY={shell}")
        stopped.wait()
    console.info(f"stopped after {len(running.requests)} requests")


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
