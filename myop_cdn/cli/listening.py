"""The options of `serve` that say where and how it listens, and the sockets they make."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from myop_cdn.cli.types import DURATION
from myop_cdn.errors import InputError, ListenerError

if TYPE_CHECKING:
    import socket
    import ssl
    from datetime import timedelta

    from myop_cdn.cli.options import Option
    from myop_cdn.listener.http.sockets import Address

_UNITS = {"": 1, "b": 1, "kib": 1024, "k": 1024, "mib": 1024**2, "m": 1024**2}


class Size(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A number of bytes, or one with KiB or MiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The size in bytes; a usage error for anything else."""
        match = re.fullmatch(r"(\d{1,12})\s*([a-z]*)", str(value).strip().lower(), re.ASCII)
        if match is None or match[2] not in _UNITS or not int(match[1]):
            self.fail(f"{value!r} is no size: write 65536, 64KiB or 1MiB", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


class AddressType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """HOST:PORT, with an IPv6 address in brackets."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The address; a usage error for anything else."""
        from myop_cdn.listener.http.sockets import Address

        if isinstance(value, Address):
            return value
        try:
            return Address.parse(str(value).strip())
        except ValueError as error:
            self.fail(str(error), param, ctx)


def default_state_dir() -> Path:
    """systemd's `StateDirectory=`, else the user's state folder (XDG base directories)."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "myop-cdn"


STATE_DIR = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state_dir,
    metavar="DIR",
    show_default="$STATE_DIRECTORY, else $XDG_STATE_HOME/myop-cdn",
    help="The folder with the journal of deliveries; on a local disk, one for each listener.",
)

LISTEN_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        help="The address to listen on; 0.0.0.0 or :: for all.",
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=3000,
        show_default=True,
        help="The port to listen on; 0 picks a free one.",
    ),
    click.option(
        "--unix",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="PATH",
        help="Listen on a Unix socket instead; on both if --host or --port is given too.",
    ),
    click.option(
        "--tls-cert",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="Certificate chain (PEM): speak HTTPS.",
    ),
    click.option(
        "--tls-key",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="The certificate's private key (PEM), if it is not in the same file.",
    ),
    click.option(
        "--admin",
        type=AddressType(),
        metavar="HOST:PORT",
        help="Serve /healthz, /readyz, /metrics and /status there; keep it to yourself.",
    ),
    click.option(
        "--max-connections",
        type=click.IntRange(1, 65536),
        default=1024,
        show_default=True,
        metavar="N",
        help="Connections at once; of more, those that have stalled longest are closed.",
    ),
    click.option(
        "--max-connections-per-peer",
        type=click.IntRange(1, 65536),
        metavar="N",
        show_default="a quarter of --max-connections; for peers on this machine all",
        help="Connections at once of one address (IPv6: of one /64); not of trusted proxies.",
    ),
    click.option(
        "--trusted-proxy",
        "trusted_proxy",
        multiple=True,
        metavar="CIDR",
        help="A proxy whose X-Forwarded-For or Forwarded names the peer; `unix` for a Unix"
        " socket's clients. Repeat it for more.",
    ),
    click.option(
        "--admin-host",
        "admin_host",
        multiple=True,
        metavar="NAME",
        help="A name by which --admin is asked, besides localhost and addresses. Repeat it for"
        " more.",
    ),
)


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """LISTEN_OPTIONS as given."""

    host: str
    port: int
    unix: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    admin: Address | None
    max_connections: int
    max_connections_per_peer: int | None
    trusted_proxy: tuple[str, ...]
    admin_host: tuple[str, ...]


def open_sockets(settings: ListenSettings, *, tcp_too: bool) -> list[socket.socket]:
    """The listening sockets: systemd's if it gave any, else what the options name.

    tcp_too: whether host and port count beside a Unix socket. Raises ListenerError.
    """
    from myop_cdn.listener.http import sockets

    found = sockets.inherited(os.environ, os.getpid())
    if found:
        return found
    if settings.unix is not None:
        found.append(sockets.listen_unix(settings.unix))
    if settings.unix is None or tcp_too:
        found += sockets.listen(sockets.Address(settings.host, settings.port))
    return found


def tls_context(settings: ListenSettings) -> ssl.SSLContext | None:
    """The server's side of TLS, or None. Raises InputError for files that don't fit."""
    if settings.tls_cert is None:
        if settings.tls_key is not None:
            raise InputError("--tls-key needs --tls-cert")
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, settings)
    return context


def load_certificate(context: ssl.SSLContext, settings: ListenSettings) -> None:
    """Read the certificate and its key; connections to come use them. Raises InputError."""
    assert settings.tls_cert is not None
    try:
        # Without a password asked for: nobody is there to type it.
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise InputError(
            f"can't use the certificate {settings.tls_cert}: {_certificate_trouble(error)}"
        ) from None


def _certificate_trouble(error: OSError | ValueError) -> str:
    import ssl

    if not isinstance(error, ssl.SSLError):
        return getattr(error, "strerror", None) or "unusable"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the private key is another one's"
    return "it, or its private key, is not there in PEM form, or has a password"


def allow_descriptors(connections: int) -> None:
    """Raise this process's soft limit of open files, if it is too low for so many connections.

    Raises ListenerError when the hard limit forbids it.
    """
    try:
        import resource
    except ImportError:  # not on Windows, where there is no such limit
        return
    needed = connections + 128
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ListenerError(
            f"{connections} connections need {needed} open files; the limit is {hard}",
            "raise it (ulimit -n), or lower --max-connections",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


SERVE_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--path",
        default="/webhooks/myop",
        show_default=True,
        help="The path that deliveries are POSTed to.",
    ),
    click.option(
        "--deploy",
        "deploy",
        multiple=True,
        metavar="DESTINATION",
        help="Where to publish; repeat it for more. Without it only --output is kept up to date.",
    ),
    STATE_DIR,
    click.option(
        "--max-age",
        type=DURATION,
        default="5m",
        show_default=True,
        help="How old, or how far ahead, a signed timestamp may be; 0 for any.",
    ),
    click.option(
        "--max-body",
        type=Size(),
        default="1MiB",
        show_default=True,
        help="The largest body that is taken.",
    ),
    click.option(
        "--full-sync-every",
        type=DURATION,
        default="24h",
        show_default=True,
        help="Time between two full syncs, give or take a tenth; 0 for none.",
    ),
    click.option(
        "--no-sync-at-start",
        is_flag=True,
        help="No full sync at the start, unless the last process did not end in order.",
    ),
    click.option(
        "--grace",
        type=DURATION,
        default="8s",
        show_default=True,
        help="How long a run may go on after SIGTERM; then it is left for the next start.",
    ),
)


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """SERVE_OPTIONS as given."""

    path: str
    deploy: tuple[str, ...]
    state_dir: Path
    max_age: timedelta
    max_body: int
    full_sync_every: timedelta
    no_sync_at_start: bool
    grace: timedelta
