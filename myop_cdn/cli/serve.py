"""`myop-cdn serve`: listen for webhooks and publish each release."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from myop_cdn.cli.options import Destination, Duration, HostPort, Size, command, group, option
from myop_cdn.cli.settings import (
    DeploySettings,
    ExportSettings,
    LimitSettings,
    NoticeSettings,
    SecretSettings,
    deploy_options,
    sync_options,
)
from myop_cdn.errors import InputError

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Sequence
    from datetime import timedelta

    from myop_cdn.cli.console import Console
    from myop_cdn.cli.publisher import CommandPublisher
    from myop_cdn.listener import Log
    from myop_cdn.listener.admin.desk import Desk
    from myop_cdn.listener.http.sockets import Address
    from myop_cdn.listener.service import Listener, Settings
    from myop_cdn.notify.sender import Channel

_LAST_WORD_SECONDS = 2.0  # that the end waits for notices to get through
_SHORTEST_TOKEN = 16  # bytes
_DESK_LINGER = 600.0  # seconds that the process which reads destinations for the page stays


def default_state_dir() -> Path:
    """systemd's `StateDirectory=`, else the user's state folder (XDG base directories)."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "myop-cdn"


@dataclass(frozen=True, slots=True)
class StateSettings:
    """Where a listener keeps its journal."""

    TITLE: ClassVar[str] = "State"
    state_dir: Path = option(
        type=click.Path(path_type=Path, file_okay=False),
        default=default_state_dir,
        metavar="DIR",
        show_default="$STATE_DIRECTORY, else $XDG_STATE_HOME/myop-cdn",
        help="The folder with the journal of deliveries; on a local disk, one for each listener.",
    )
    journal: str | None = option(
        metavar="URL",
        envvar="MYOP_CDN_JOURNAL",
        help="Keep the journal in this PostgreSQL database instead, which several listeners may "
        "share: postgresql://user@host/database. See 'myop-cdn help replicas'.",
    )

    def postgres(self) -> str | None:
        """The database's URL, None where the journal is in the folder.

        Raises InputError for a URL that does not do, and for a password on the command line.
        """
        if self.journal is None:
            return None
        from click.core import ParameterSource

        from myop_cdn.listener.queue.postgres.session import check_url

        source = click.get_current_context().get_parameter_source("journal")
        check_url(self.journal, password_is_public=source is ParameterSource.COMMANDLINE)
        return self.journal


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Where and how it listens. host and port are None where nobody chose them."""

    TITLE: ClassVar[str] = "Listening"
    host: str | None = option(
        show_default="127.0.0.1", help="The address to listen on; 0.0.0.0 or :: for all."
    )
    port: int | None = option(
        type=click.IntRange(0, 65535),
        show_default="3000",
        help="The port to listen on; 0 picks a free one.",
    )
    unix: Path | None = option(
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="PATH",
        help="Listen on a Unix socket instead; on both if --host or --port is given too.",
    )
    path: str = option(default="/webhooks/myop", help="The path that deliveries are POSTed to.")
    tls_cert: Path | None = option(
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="Certificate chain (PEM): speak HTTPS.",
    )
    tls_key: Path | None = option(
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="The certificate's private key (PEM), if it is not in the same file.",
    )
    admin: Address | None = option(
        type=HostPort(),
        metavar="HOST:PORT",
        help="Serve the page, /healthz, /readyz, /metrics and /status there; keep it to yourself.",
    )
    admin_host: tuple[str, ...] = option(
        multiple=True,
        metavar="NAME",
        help="A name by which --admin is asked, besides localhost and addresses. Repeat it for "
        "more.",
    )
    admin_token_file: Path | None = option(
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A file with a token or several; whoever gives one on the page may retry, forget, "
        "sync and roll back. Without it the page is read-only.",
    )
    max_connections: int = option(
        type=click.IntRange(1, 65536),
        default=1024,
        metavar="N",
        help="Connections at once; of more, those that have stalled longest are closed.",
    )
    max_connections_per_peer: int | None = option(
        type=click.IntRange(1, 65536),
        metavar="N",
        show_default="a quarter of --max-connections; for peers on this machine all",
        help="Connections at once of one address (IPv6: of one /64); not of trusted proxies.",
    )
    trusted_proxy: tuple[str, ...] = option(
        multiple=True,
        metavar="CIDR",
        help="A proxy whose X-Forwarded-For or Forwarded names the peer; `unix` for a Unix "
        "socket's clients. Repeat it for more.",
    )
    max_body: int = option(
        type=Size(), default="1MiB", metavar="SIZE", help="The largest body that is taken."
    )
    max_age: timedelta = option(
        type=Duration(),
        default="5m",
        metavar="DURATION",
        help="How old, or how far ahead, a signed timestamp may be; 0 for any.",
    )


@dataclass(frozen=True, slots=True)
class PublishingSettings:
    """Where it publishes to, and when."""

    TITLE: ClassVar[str] = "Publishing"
    deploy: tuple[str, ...] = option(
        multiple=True,
        type=Destination(),
        metavar="DESTINATION",
        help="Where to publish; repeat it for more. Without it only --output is kept up to date.",
    )
    full_sync_every: timedelta = option(
        type=Duration(),
        default="24h",
        metavar="DURATION",
        help="Time between two full syncs, give or take a tenth; 0 for none.",
    )
    no_sync_at_start: bool = option(
        is_flag=True,
        help="No full sync at the start, unless the last process did not end in order.",
    )
    grace: timedelta = option(
        type=Duration(),
        default="8s",
        metavar="DURATION",
        help="How long a run may go on after SIGTERM; then it is left for the next start.",
    )


@dataclass(frozen=True, slots=True)
class NoticeTimes:
    """When somebody is told."""

    TITLE: ClassVar[str] = "Notices"
    notify_after: int = option(
        type=click.IntRange(1, 1000),
        default=2,
        metavar="N",
        help="How many failures in a row make a notice.",
    )
    notify_every: timedelta = option(
        type=Duration(),
        default="1h",
        metavar="DURATION",
        help="Time between two notices of one destination, but for a recovery, which is sent at "
        "once.",
    )


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """All that `serve` takes."""

    listening: ListenSettings = group(ListenSettings)
    secrets: SecretSettings = group(SecretSettings)
    publishing: PublishingSettings = group(PublishingSettings)
    state: StateSettings = group(StateSettings)
    export: ExportSettings = group(ExportSettings)
    deploy: DeploySettings = group(DeploySettings)
    limits: LimitSettings = group(LimitSettings)
    notices: NoticeSettings = group(NoticeSettings)
    notice_times: NoticeTimes = group(NoticeTimes)


@command(
    ServeSettings,
    "myop-cdn serve --deploy s3://my-bucket/myop --admin 127.0.0.1:9100",
)
def serve(console: Console, settings: ServeSettings) -> None:
    """Listen for Myop's webhooks and publish each release.

    A delivery is answered 200 once it is durably stored; what it announces is published after
    that, whatever happens in between. SIGTERM ends in order, SIGHUP reads the secrets again.
    """
    from myop_cdn.cli.notices import channels_of
    from myop_cdn.cli.publisher import child_of, publishers_of
    from myop_cdn.inputs import webhook_secrets
    from myop_cdn.listener.http import sockets
    from myop_cdn.listener.queued_log import QueuedLog
    from myop_cdn.listener.service import Listener, end_loudly, open_queue
    from myop_cdn.listener.state_folder import locked
    from myop_cdn.notify.policy import Policy
    from myop_cdn.notify.sender import Notifier

    listening, times = settings.listening, settings.notice_times
    database = settings.state.postgres()
    publishers = publishers_of(settings)
    check(settings, publishers, console)
    tls = _tls_context(listening)

    def channels() -> list[Channel]:
        allow_http = settings.export.api.allow_http
        return channels_of(settings.notices, console, allow_http=allow_http)

    def read_secrets() -> tuple[bytes, ...]:
        # The certificate is renewed, and the notices' secrets are replaced, with the same signal.
        _renew_certificate(tls, listening)
        notifier.use(channels())
        return webhook_secrets(settings.secrets.secret_file, console.warn_once)

    early = _note_signals()
    with ExitStack() as stack:
        log = QueuedLog(console)
        stack.callback(log.close)
        threading.excepthook = end_loudly(log)
        policy = Policy(times.notify_after, times.notify_every.total_seconds())
        memory = None if database else settings.state.state_dir / "notices.json"
        notifier = Notifier(channels(), policy, log.warning, memory)
        stack.callback(notifier.close, _LAST_WORD_SECONDS)
        lock = None if database else stack.enter_context(locked(settings.state.state_dir))
        given = settings_of(settings)
        queue = open_queue(given, [publisher.name for publisher in publishers], log)
        children = {one.name: child_of(one, queue, lock) for one in publishers}

        def cut_off() -> None:
            for child in children.values():
                child.kill()

        stack.callback(cut_off)
        if database:
            for child in children.values():
                child.warm()  # whoever takes over has no time to lose
        found = open_sockets(listening)
        listener = Listener(
            given,
            found,
            read_secrets,
            children,
            log,
            tls,
            _files_of(settings),
            tell=notifier.tell,
            only_restart=_are_in_environment(settings),
            queue=queue,
            cut_off=cut_off,
        )
        if listening.admin is not None:
            _start_admin(listener, listening.admin, settings, publishers, console, log, stack)
        for sock in found:
            where = sockets.described(sock, "https" if tls else "http", listening.path)
            console.info(f"listening on {where}")
            if listening.unix is not None and sockets.is_unix(sock):
                stack.callback(sockets.remove_unix, listening.unix)
        # The loop must not wait for Python's usual 5 ms whenever another thread computes.
        sys.setswitchinterval(0.0005)
        listener.handle_signals()
        if early:
            listener.terminate()
        listener.run()


def _are_in_environment(settings: ServeSettings) -> bool:
    """Whether the signing secrets are where only a restart changes them."""
    from myop_cdn.inputs import SECRET_VARIABLE

    given = settings.secrets.secret_file
    return all(one == "-" for one in given) if given else bool(os.environ.get(SECRET_VARIABLE))


def _files_of(settings: ServeSettings) -> list[Path]:
    """The files with secrets and certificates, which are read again when they change."""
    from myop_cdn import inputs
    from myop_cdn.cli import notices

    listening = settings.listening
    names: list[str | None] = [*settings.secrets.secret_file]
    files = [file for file in (listening.tls_cert, listening.tls_key) if file is not None]
    names += [
        inputs.secret_file(notices.URL_VARIABLE, notices.URL_CREDENTIAL),
        inputs.secret_file(notices.SECRET_VARIABLE, notices.SECRET_CREDENTIAL),
    ]
    if not settings.secrets.secret_file and not os.environ.get(inputs.SECRET_VARIABLE):
        names.append(inputs.secret_file(inputs.SECRET_VARIABLE, inputs.SECRET_CREDENTIAL))
    return files + [
        Path(name) for name in names if name and name != "-" and not inputs.is_kept(name)
    ]


def check(settings: ServeSettings, publishers: list[CommandPublisher], console: Console) -> None:
    """Raise InputError for settings that no run could work with. Makes no request."""
    from myop_cdn.cli.publisher import deploy_options_of
    from myop_cdn.cli.source import exporter_of
    from myop_cdn.deploy import check_destinations

    export, limits, path = settings.export, settings.limits, settings.listening.path
    if not path.startswith("/") or not path.isprintable():
        raise InputError(f"--path {path!r} does not begin with a slash")
    sync_options(export, limits)
    exporter_of(export, console)
    if export.output.exists() and not export.output.is_dir():
        raise InputError(f"--output {export.output} is not a folder")
    if settings.state.journal and not settings.publishing.deploy:
        raise InputError(
            "--journal shares the work among listeners, whose output folders are their own",
            "give --deploy: the destination is what they have in common",
        )
    if destinations := settings.publishing.deploy:
        # All of them at once, so that it is seen where two are one, or share a log.
        check_destinations(destinations, deploy_options_of(settings), export.output)
    for name, count in Counter(publisher.name for publisher in publishers).items():
        if count > 1:
            raise InputError(
                f"{count} destinations are both shown as {name}",
                "a listener for each, with a --state-dir of its own, can tell them apart",
            )


def _note_signals() -> list[int]:
    """Signals that come before there is a listener: one that asks for the end is heard then."""
    early: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: early.append(got))
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return early


def _desk(
    settings: ServeSettings, publishers: Sequence[CommandPublisher], stack: ExitStack
) -> Desk:
    """What the page has destinations asked by: a process that is started when somebody looks."""
    from myop_cdn.cli.publisher import NOT_FOR_CHILDREN
    from myop_cdn.inputs import KEY_VARIABLE, SECRET_VARIABLE
    from myop_cdn.listener.admin.desk import DeskLimits, DestinationDesk
    from myop_cdn.listener.child import Child

    output = settings.export.output.absolute().as_uri()
    urls = {one.name: one.destination or output for one in publishers}
    work = DestinationDesk(urls, deploy_options(settings.deploy, settings.limits))
    without = (SECRET_VARIABLE, KEY_VARIABLE, *NOT_FOR_CHILDREN)
    child = Child(work, DeskLimits(), linger=_DESK_LINGER, without=without)
    stack.callback(child.kill)
    return child


def admin_tokens(file: Path, console: Console) -> tuple[bytes, ...]:
    """The tokens in a file, separated by white space. Raises InputError, also for a short one."""
    from myop_cdn.inputs import words_of

    tokens = tuple(words_of(str(file), "admin token", console.warn_once))
    if any(len(token) < _SHORTEST_TOKEN for token in tokens):
        raise InputError(
            f"a token in {file} is shorter than {_SHORTEST_TOKEN} bytes",
            "'openssl rand -hex 32' makes a good one",
        )
    return tokens


def _start_admin(
    listener: Listener,
    address: Address,
    settings: ServeSettings,
    publishers: Sequence[CommandPublisher],
    console: Console,
    log: Log,
    stack: ExitStack,
) -> None:
    # Imported only when asked for: it costs memory.
    from myop_cdn.listener.admin.handler import Admin, is_public
    from myop_cdn.listener.admin.session import Sessions
    from myop_cdn.listener.http import sockets

    listening, sessions, acting = settings.listening, None, None
    if (file := listening.admin_token_file) is not None:
        admin_tokens(file, console)
        sessions = Sessions(lambda: admin_tokens(file, console))
        acting = _desk(settings, publishers, stack)
    desk = _desk(settings, publishers, stack)
    found = sockets.listen(address)
    for sock in found:
        where = sockets.described(sock, "http", "/")
        log.info(f"the admin address is {where}")
        if is_public(sock):
            log.warning(
                f"the admin address {where} is public and has no password; keep it to this machine"
                " or a private network"
            )
    names = (address.host, *listening.admin_host)
    admin = Admin(listener, found, log, names=names, desk=desk, sessions=sessions, acting=acting)
    admin.start()
    stack.callback(admin.stop)


def settings_of(settings: ServeSettings) -> Settings:
    """What the listener's room takes of them. Raises InputError."""
    from myop_cdn.listener.delivery import Rules
    from myop_cdn.listener.http import sockets
    from myop_cdn.listener.http.peers import TrustedProxies
    from myop_cdn.listener.http.protocol import ServerLimits
    from myop_cdn.listener.service import Settings

    listening, publishing = settings.listening, settings.publishing
    sockets.allow_descriptors(listening.max_connections)
    most, each = listening.max_connections, listening.max_connections_per_peer
    buffered = max(ServerLimits().buffered, 8 * listening.max_body)
    try:
        proxies = TrustedProxies(listening.trusted_proxy)
    except ValueError as error:
        raise InputError(f"--trusted-proxy: {error}") from None
    return Settings(
        settings.state.state_dir,
        Rules(listening.path, listening.max_body, listening.max_age),
        ServerLimits(most, each or max(1, most // 4), each or most, buffered=buffered),
        publishing.grace,
        publishing.full_sync_every,
        not publishing.no_sync_at_start,
        proxies,
        settings.state.journal,
    )


def open_sockets(settings: ListenSettings) -> list[socket.socket]:
    """The listening sockets: systemd's if it gave any, else what the options name.

    Raises ListenerError.
    """
    from myop_cdn.listener.http import sockets

    found = sockets.inherited(os.environ, os.getpid())
    if found:
        return found
    if settings.unix is not None:
        found.append(sockets.listen_unix(settings.unix))
    if settings.unix is None or settings.host is not None or settings.port is not None:
        port = 3000 if settings.port is None else settings.port
        found += sockets.listen(sockets.Address(settings.host or "127.0.0.1", port))
    return found


def _tls_context(settings: ListenSettings) -> ssl.SSLContext | None:
    """The server's side of TLS, or None. Raises InputError for files that don't fit."""
    if settings.tls_cert is not None:
        from myop_cdn.listener.http.tls import server_context

        return server_context(settings.tls_cert, settings.tls_key)
    if settings.tls_key is not None:
        raise InputError("--tls-key needs --tls-cert")
    return None


def _renew_certificate(tls: ssl.SSLContext | None, settings: ListenSettings) -> None:
    if tls is not None and settings.tls_cert is not None:
        from myop_cdn.listener.http.tls import load_certificate

        load_certificate(tls, settings.tls_cert, settings.tls_key)
