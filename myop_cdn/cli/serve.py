"""`myop-cdn serve`: listen for webhooks and publish each release."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from myop_cdn.cli.options import ADDRESS, SIZE, Destination, command, group, option, option_group
from myop_cdn.cli.settings import (
    DeploySettings,
    ExportSettings,
    LimitSettings,
    NoticeSettings,
    SecretSettings,
    StateSettings,
    channels_of,
    deploy_options,
    exporter_of,
    sync_options,
)
from myop_cdn.errors import InputError

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from myop_cdn.cli.console import Console
    from myop_cdn.deploy import DeployOptions
    from myop_cdn.listener import Log
    from myop_cdn.listener.admin.desk import Desk
    from myop_cdn.listener.child import ChildPublisher
    from myop_cdn.listener.http.sockets import Address
    from myop_cdn.listener.queue.base import Queue
    from myop_cdn.listener.service import Listener, Settings
    from myop_cdn.model import Scope
    from myop_cdn.progress import Progress
    from myop_cdn.report import PublishReport

_LAST_WORD_SECONDS = 2.0  # that the end waits for notices to get through
_SHORTEST_TOKEN = 16  # bytes
_DESK_LINGER = 600.0  # seconds that the process which reads destinations for the page stays
_NAMED = 10  # deliveries in a commit of a destination's log
# An index that flaps must not take anything away while nobody looks on.
_DELETE_AFTER = timedelta(hours=1)
# What a publishing process has no use for: secrets of the listener's own, and its service's.
NOT_FOR_CHILDREN = (
    "MYOP_WEBHOOK_SECRET", "MYOP_WEBHOOK_SECRET_FILE", "MYOP_CDN_NOTIFY", "MYOP_CDN_NOTIFY_FILE",
    "MYOP_CDN_NOTIFY_SECRET", "MYOP_CDN_NOTIFY_SECRET_FILE", "MYOP_CDN_SERVE_NOTIFY",
    "MYOP_CDN_SERVE_ON_FAILURE", "NOTIFY_SOCKET", "WATCHDOG_USEC",
    "MYOP_CDN_JOURNAL", "MYOP_CDN_SERVE_JOURNAL", "PGPASSWORD", "PGPASSFILE", "PGSERVICE",
    "PGSERVICEFILE",
)  # fmt: skip
# What a publishing process needs for its first upload, by the destination's scheme.
_MODULES = {
    "s3": ("myop_cdn.storage.s3", "boto3"),
    "gs": ("myop_cdn.storage.gcs", "google.auth.transport.requests"),
    "az": ("myop_cdn.storage.azure", "azure.identity"),
    "file": ("myop_cdn.storage.local",),
}


@option_group("Listening")
class ListenSettings:
    """Where and how it listens. host and port are None where nobody chose them."""

    host: str | None = option(
        "The address to listen on; 0.0.0.0 or :: for all.", show_default="127.0.0.1"
    )
    port: int | None = option(
        "The port to listen on; 0 picks a free one.",
        type=click.IntRange(0, 65535),
        show_default="3000",
    )
    unix: Path | None = option(
        "Listen on a Unix socket instead; on both if --host or --port is given too.", "PATH"
    )
    path: str = option("The path that deliveries are POSTed to.", default="/webhooks/myop")
    tls_cert: Path | None = option(
        "Certificate chain (PEM): speak HTTPS.",
        "FILE",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
    )
    tls_key: Path | None = option(
        "The certificate's private key (PEM), if it is not in the same file.",
        "FILE",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
    )
    admin: Address | None = option(
        "Serve the page, /healthz, /readyz, /metrics and /status there; keep it private.",
        type=ADDRESS,
    )
    admin_host: tuple[str, ...] = option(
        "A host name under which --admin is reached, besides localhost and IP addresses; repeat "
        "it for more.",
        "NAME",
    )
    admin_token_file: Path | None = option(
        "A file with one or more tokens; whoever enters one on the page may retry, forget, "
        "sync and roll back. Without it the page is read-only.",
        "FILE",
        type=click.Path(path_type=Path),
    )
    max_connections: int = option(
        "Connections at once; beyond that, those that have stalled longest are closed.",
        "N",
        type=click.IntRange(1, 65536),
        default=1024,
    )
    max_connections_per_peer: int | None = option(
        "Connections at once from one address (IPv6: one /64); trusted proxies are exempt.",
        "N",
        type=click.IntRange(1, 65536),
        show_default="a quarter of --max-connections; for peers on this machine all",
    )
    trusted_proxy: tuple[str, ...] = option(
        "A proxy whose X-Forwarded-For or Forwarded names the peer; `unix` for a Unix "
        "socket's clients. Repeat it for more.",
        "CIDR",
    )
    max_body: int = option("The largest body that is taken.", type=SIZE, default="1MiB")
    max_age: timedelta = option(
        "How old, or how far ahead, a signed timestamp may be; 0 for any.", default="5m"
    )


@option_group("Publishing")
class PublishingSettings:
    deploy: tuple[str, ...] = option(
        "Where to publish; repeat it for more. Without it only --output is kept up to date.",
        type=Destination(),
    )
    full_sync_every: timedelta = option(
        "Time between two full syncs, give or take a tenth; 0 for none.", default="24h"
    )
    no_sync_at_start: bool = option(
        "No full sync at the start, unless the last process did not shut down cleanly."
    )
    grace: timedelta = option(
        "How long a run may go on after SIGTERM; then it is left for the next start.", default="8s"
    )


@option_group("Notices")
class NoticeTimes:
    notify_after: int = option(
        "How many failures in a row before a notice is sent.",
        "N",
        type=click.IntRange(1, 1000),
        default=2,
    )
    notify_every: timedelta = option(
        "Time between two notices about one destination; a recovery is reported at once.",
        default="1h",
    )


@option_group()
class ServeSettings:
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
    cert, key = listening.tls_cert, listening.tls_key
    if key is not None and cert is None:
        raise InputError("--tls-key needs --tls-cert")
    tls = sockets.server_context(cert, key) if cert else None
    allow_http = settings.export.api.allow_http
    channels = partial(channels_of, settings.notices, console.warn_once, allow_http=allow_http)

    def read_secrets() -> tuple[bytes, ...]:
        # The certificate is renewed, and the notices' secrets are replaced, with the same signal.
        if tls is not None and cert is not None:
            sockets.load_certificate(tls, cert, key)
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
    from myop_cdn.inputs import SIGNING_SECRET

    if given := settings.secrets.secret_file:
        return all(one == "-" for one in given)
    return bool(os.environ.get(SIGNING_SECRET.variable))


def _files_of(settings: ServeSettings) -> list[Path]:
    """The files with secrets and certificates, which are read again when they change."""
    from myop_cdn import inputs

    listening, given = settings.listening, settings.secrets.secret_file
    names = [*given, inputs.NOTICE_URL.file(), inputs.NOTICE_SECRET.file()]
    if not given and not _are_in_environment(settings):
        names.append(inputs.SIGNING_SECRET.file())
    files = [Path(one) for one in names if one and one != "-" and not inputs.is_kept(one)]
    return [*filter(None, (listening.tls_cert, listening.tls_key)), *files]


def check(settings: ServeSettings, publishers: list[CommandPublisher], console: Console) -> None:
    """Raise InputError for settings that no run could work with. Makes no request."""
    from myop_cdn.deploy import check_destinations

    export, limits, path = settings.export, settings.limits, settings.listening.path
    if not path.startswith("/") or not path.isprintable():
        raise InputError(f"--path {path!r} does not begin with a slash")
    sync_options(export, limits)
    exporter_of(export, console.warn_once)
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


@dataclass(frozen=True, slots=True)
class CommandPublisher:
    """Sync, then deploy, as `publish` does it. Everything is opened anew for each run, so that a
    key that was changed is seen. It is pickled: runs happen in a process of their own.

    destination: the one it brings up to date, None for the output folder alone.
    """

    settings: ServeSettings
    destination: str | None

    def __call__(
        self, scope: Scope, progress: Progress | None = None, deliveries: tuple[str, ...] = ()
    ) -> PublishReport:
        """Export what `scope` names and bring the destination up to it."""
        from myop_cdn.publish import Cause, publish
        from myop_cdn.tree import Tree

        export, limits = self.settings.export, self.settings.limits
        return publish(
            scope,
            # What there is to warn of was said when the listener started.
            lambda: exporter_of(export, lambda _: None),
            Tree(export.output),
            () if self.destination is None else (self.destination,),
            # What is behind is retried beside the others, and a name that no component has yet
            # is not a reason to publish nothing.
            replace(sync_options(export, limits), ask_again_seconds=0.0, unknown_is_error=False),
            deploy_options_of(self.settings),
            progress,
            Cause("serve", delivery=_named(deliveries)),
        )

    @property
    def name(self) -> str:
        """What the listener calls the destination."""
        from myop_cdn.text import shown_url

        return shown_url(self.destination or self.settings.export.output.absolute().as_uri())

    @property
    def modules(self) -> tuple[str, ...]:
        """What a publishing process needs for its first run, whatever is to be published."""
        scheme = (self.destination or "").partition("://")[0].lower()
        return (
            "myop_cdn.publish",
            "myop_cdn.export.api",
            "myop_cdn.export.npx",
            *_MODULES.get(scheme, ()),
        )


def _named(deliveries: tuple[str, ...]) -> str:
    """Deliveries as a destination's log names them."""
    more = len(deliveries) - _NAMED
    return ", ".join(deliveries[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def deploy_options_of(settings: ServeSettings) -> DeployOptions:
    """How a listener's runs deploy."""
    return deploy_options(settings.deploy, settings.limits, delete_after=_DELETE_AFTER)


def publishers_of(settings: ServeSettings) -> list[CommandPublisher]:
    """One for each destination. None knows whom the listener tells, or where its journal is."""
    known = replace(
        settings,
        notices=NoticeSettings(notify=(), on_failure=None),
        state=replace(settings.state, journal=None),
    )
    destinations = settings.publishing.deploy or (None,)
    return [CommandPublisher(known, destination) for destination in destinations]


def child_of(publisher: CommandPublisher, queue: Queue, lock: int | None = None) -> ChildPublisher:
    """A process for one destination: where it hangs it is cut off, and holds up no other.

    lock: of the state folder, which the process is to hold, too.
    """
    from myop_cdn.listener.child import ChildPublisher

    return ChildPublisher(
        publisher,
        lock,
        without=NOT_FOR_CHILDREN,
        modules=publisher.modules,
        held_until=partial(queue.held_until, publisher.name),
    )


def _note_signals() -> list[int]:
    """Signals that come before there is a listener: one that asks for the end is heard then."""
    early: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: early.append(got))
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return early


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
    from myop_cdn.inputs import API_KEY
    from myop_cdn.listener.admin.desk import DeskLimits, DestinationDesk
    from myop_cdn.listener.admin.handler import Admin, is_public
    from myop_cdn.listener.admin.session import Sessions
    from myop_cdn.listener.child import Child
    from myop_cdn.listener.http import sockets

    output = settings.export.output.absolute().as_uri()
    urls = {one.name: one.destination or output for one in publishers}
    work = DestinationDesk(urls, deploy_options(settings.deploy, settings.limits))
    without = (API_KEY.variable, *NOT_FOR_CHILDREN)

    def desk() -> Desk:
        """A process that asks destinations, started when somebody looks at the page."""
        child = Child(work, DeskLimits().of, linger=_DESK_LINGER, without=without)
        stack.callback(child.kill)
        return child.do

    listening, sessions, acting = settings.listening, None, None
    if (file := listening.admin_token_file) is not None:
        admin_tokens(file, console)
        sessions, acting = Sessions(lambda: admin_tokens(file, console)), desk()
    reading = desk()
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
    admin = Admin(listener, found, log, names=names, desk=reading, sessions=sessions, acting=acting)
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
