"""`myop-cdn serve`: listen for webhooks and publish each release."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from myop_cdn.cli.deploying import deploy_options
from myop_cdn.cli.listening import (
    LISTEN_OPTIONS,
    SERVE_OPTIONS,
    ListenSettings,
    ServeSettings,
    allow_descriptors,
    load_certificate,
    open_sockets,
    tls_context,
)
from myop_cdn.cli.options import EXPORT_OPTIONS, SECRET_FILE, ExportSettings, pick, with_options
from myop_cdn.errors import InputError

if TYPE_CHECKING:
    import socket

    from myop_cdn.cli.console import Console
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.listener import Log
    from myop_cdn.listener.service import Listener, Settings


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
    from myop_cdn.listener.queued_log import QueuedLog
    from myop_cdn.listener.service import Listener
    from myop_cdn.listener.state_folder import locked

    console: Console = ctx.obj
    settings = pick(ServeSettings, values)
    listening = pick(ListenSettings, values)
    publisher = CommandPublisher(pick(ExportSettings, values), deploying, settings.deploy)
    _check(settings, publisher)
    tls = tls_context(listening)

    def read_secrets() -> tuple[bytes, ...]:
        # The certificate is renewed with the same signal.
        if tls is not None:
            load_certificate(tls, listening)
        return webhook_secrets(values["secret_file"])

    files = [Path(name) for name in values["secret_file"] if name != "-"]
    files += [file for file in (listening.tls_cert, listening.tls_key) if file is not None]
    early = _note_signals()
    with ExitStack() as stack:
        log = QueuedLog(console)
        stack.callback(log.close)
        lock = stack.enter_context(locked(settings.state_dir))
        child = ChildPublisher(publisher, lock, without=(SECRET_VARIABLE,))
        stack.callback(child.kill)
        given = {ctx.get_parameter_source(name) for name in ("host", "port")}
        found = open_sockets(listening, tcp_too=given != {ParameterSource.DEFAULT})
        listener = Listener(
            _settings(settings, listening), found, read_secrets, child, log, tls, files
        )
        if listening.admin is not None:
            _start_admin(listener, listening, log, stack)
        _say_where(console, found, "https" if tls else "http", settings.path)
        if listening.unix is not None:
            _remove_at_end(listening, found, stack)
        # The loop must not wait for Python's usual 5 ms whenever another thread computes.
        sys.setswitchinterval(0.0005)
        listener.handle_signals()
        if early:
            listener.terminate()
        listener.run()


def _note_signals() -> list[int]:
    """Signals that come before there is a listener: one that asks for the end is heard then."""
    early: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: early.append(got))
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return early


def _check(settings: ServeSettings, publisher: Any) -> None:
    """Raise InputError for what could only fail later."""
    if not settings.path.startswith("/") or not settings.path.isprintable():
        raise InputError(f"--path {settings.path!r} does not begin with a slash")
    publisher.check()


def _start_admin(listener: Listener, listening: ListenSettings, log: Log, stack: ExitStack) -> None:
    # Imported only when asked for: its Prometheus library costs memory.
    from myop_cdn.listener.admin.handler import Admin, is_public
    from myop_cdn.listener.http import sockets

    assert listening.admin is not None
    found = sockets.listen(listening.admin)
    for sock in found:
        where = sockets.described(sock, "http", "/status")
        log.info(f"the admin address is {where}")
        if is_public(sock):
            log.warning(
                f"the admin address {where} is public and has no password; keep it to this machine"
                " or a private network"
            )
    admin = Admin(listener, found, log, names=(listening.admin.host, *listening.admin_host))
    admin.start()
    stack.callback(admin.stop)


def _say_where(console: Console, found: list[socket.socket], scheme: str, path: str) -> None:
    from myop_cdn.listener.http.sockets import described

    for sock in found:
        console.info(f"listening on {described(sock, scheme, path)}")


def _remove_at_end(listening: ListenSettings, found: list[socket.socket], stack: ExitStack) -> None:
    import socket

    from myop_cdn.listener.http.sockets import remove_unix

    assert listening.unix is not None
    if any(sock.family == socket.AF_UNIX for sock in found):
        stack.callback(remove_unix, listening.unix)


def _settings(settings: ServeSettings, listening: ListenSettings) -> Settings:
    from myop_cdn.listener.delivery import Rules
    from myop_cdn.listener.http.peers import TrustedProxies
    from myop_cdn.listener.http.protocol import ServerLimits
    from myop_cdn.listener.service import Settings

    allow_descriptors(listening.max_connections)
    most, each = listening.max_connections, listening.max_connections_per_peer
    buffered = max(ServerLimits().buffered, 8 * settings.max_body)
    try:
        proxies = TrustedProxies(listening.trusted_proxy)
    except ValueError as error:
        raise InputError(f"--trusted-proxy: {error}") from None
    return Settings(
        settings.state_dir,
        Rules(settings.path, settings.max_body, settings.max_age),
        ServerLimits(most, each or max(1, most // 4), each or most, buffered=buffered),
        settings.grace,
        settings.full_sync_every,
        not settings.no_sync_at_start,
        proxies,
    )
