"""`myop-cdn serve`: listen for webhooks and publish each release."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from myop_cdn.cli.deploying import deploy_options
from myop_cdn.cli.listening import (
    LISTEN_OPTIONS,
    SERVE_OPTIONS,
    ListenSettings,
    ServeSettings,
    open_sockets,
    tls_context,
)
from myop_cdn.cli.options import EXPORT_OPTIONS, SECRET_FILE, ExportSettings, pick, with_options
from myop_cdn.errors import InputError

if TYPE_CHECKING:
    from myop_cdn.cli.console import Console
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.listener.service import Settings


@click.command()
@with_options(*LISTEN_OPTIONS, *SERVE_OPTIONS, SECRET_FILE, *EXPORT_OPTIONS)
@deploy_options
@click.pass_context
def serve(ctx: click.Context, /, deploying: DeployOptions, **values: Any) -> None:
    """Listen for Myop's webhooks and publish each release.

    A delivery is answered 200 once it is durably stored; what it announces is published after
    that, whatever happens in between. SIGTERM ends in order, SIGHUP reads the secrets again.
    """
    from myop_cdn.cli.inputs import SECRET_VARIABLE, webhook_secrets
    from myop_cdn.cli.publisher import CommandPublisher
    from myop_cdn.listener.child import ChildPublisher
    from myop_cdn.listener.lock import locked
    from myop_cdn.listener.queued_log import QueuedLog
    from myop_cdn.listener.service import Listener
    from myop_cdn.listener.sockets import described, remove_unix

    console: Console = ctx.obj
    settings = pick(ServeSettings, values)
    listening = pick(ListenSettings, values)
    publisher = CommandPublisher(pick(ExportSettings, values), deploying, settings.deploy)
    if not settings.path.startswith("/") or not settings.path.isprintable():
        raise InputError(f"--path {settings.path!r} does not begin with a slash")
    publisher.check()
    tls = tls_context(listening)
    log = QueuedLog(console)
    # The loop must not wait for Python's usual 5 ms whenever another thread computes.
    sys.setswitchinterval(0.0005)
    try:
        with locked(settings.state_dir) as lock:
            given = {ctx.get_parameter_source(name) for name in ("host", "port")}
            tcp_too = given != {ParameterSource.DEFAULT}
            found = open_sockets(listening, tcp_too=tcp_too)
            child = ChildPublisher(publisher, lock, without=(SECRET_VARIABLE,))
            listener = Listener(
                _settings(settings, listening),
                found,
                lambda: webhook_secrets(values["secret_file"]),
                child,
                log,
                tls,
            )
            listener.handle_signals()
            for sock in found:
                url = described(sock, "https" if tls else "http", settings.path)
                console.info(f"listening on {url}")
            try:
                listener.run()
            finally:
                child.kill()
            if listening.unix is not None:
                remove_unix(listening.unix)
    finally:
        log.close()


def _settings(settings: ServeSettings, listening: ListenSettings) -> Settings:
    from myop_cdn.cli.listening import allow_descriptors
    from myop_cdn.listener.dialogue import ServerLimits
    from myop_cdn.listener.intake import Rules
    from myop_cdn.listener.service import Settings

    allow_descriptors(listening.max_connections)
    buffered = max(ServerLimits().buffered, 8 * settings.max_body)
    return Settings(
        settings.state_dir,
        Rules(settings.path, settings.max_body, settings.max_age),
        ServerLimits(connections=listening.max_connections, buffered=buffered),
        settings.grace,
        settings.full_sync_every,
        not settings.no_sync_at_start,
    )
