"""The sockets that a listener listens on, addresses, a Unix one, or systemd's; and their TLS."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from myop_cdn.errors import InputError, ListenerError

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

_BACKLOG = 4096  # the kernel cuts it down to its own limit
_FIRST_FD = 3  # sd_listen_fds(3): the first descriptor that systemd hands over


@dataclass(frozen=True, slots=True)
class Address:
    """A host (a name, or an IPv4 or IPv6 address; empty for all) and a port (0 for any)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From `HOST:PORT`, `[v6]:PORT`, or `:PORT` for all. Raises ValueError in words."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{text!r} is not HOST:PORT")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"{text!r}: an IPv6 address goes in brackets: [::1]:3000")
        return cls(host, int(port))


def listen(address: Address) -> list[socket.socket]:
    """Listening sockets for every address that the host has. Raises ListenerError."""
    host = address.host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(
            host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenerError(f"can't listen on {host}: {error.strerror or error}") from None
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for family, _, _, _, where in dict.fromkeys(found):
            # IPv6's takes IPv6 alone, so :: never takes IPv4's port away.
            address_ = (where[0], port, *where[2:])
            sockets.append(socket.create_server(address_, family=family, backlog=_BACKLOG))
            port = sockets[-1].getsockname()[1]  # one chosen by the kernel is the same for all
    except OSError as error:
        for one in sockets:
            one.close()
        raise ListenerError(
            f"can't listen on {host or '*'} port {port}: {os.strerror(error.errno or 0)}",
            "is another server running there? --port chooses another port",
        ) from None
    return sockets


def listen_unix(path: Path) -> socket.socket:
    """A listening Unix socket that owner and group may use. Raises ListenerError.

    A socket that a killed process left behind is replaced; one that is answered is not.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise ListenerError("there are no Unix sockets on this system")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            _remove_dead(path)
        sock.bind(str(path))
        path.chmod(0o660)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        reason = error.strerror or str(error)
        raise ListenerError(f"can't listen on the Unix socket {path}: {reason}") from None
    return sock


def _remove_dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def is_unix(sock: socket.socket) -> bool:
    """Whether clients find it by a path."""
    return sock.family == socket.AF_UNIX


def remove_unix(path: Path) -> None:
    """Take a Unix socket away at the end; never raises."""
    with suppress(OSError):
        path.unlink()


def inherited(environ: MutableMapping[str, str], pid: int) -> list[socket.socket]:
    """The sockets that systemd opened for this process (sd_listen_fds(3)); may be none.

    The variables are taken out of `environ`, so that no child takes them for its own.
    """
    meant_for = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if meant_for != str(pid) or not count.isdigit():
        return []
    sockets = []
    for descriptor in range(_FIRST_FD, _FIRST_FD + int(count)):
        os.set_inheritable(descriptor, False)
        try:
            sockets.append(socket.socket(fileno=descriptor))
        except OSError as error:
            reason = error.strerror or error
            raise ListenerError(f"descriptor {descriptor} is not a socket: {reason}") from None
    return sockets


def notify(environ: MutableMapping[str, str], message: str) -> None:
    """Tell systemd how it goes (sd_notify(3)); silent where nobody listens."""
    where = environ.get("NOTIFY_SOCKET", "")
    if not where or not hasattr(socket, "AF_UNIX"):
        return
    target = "\0" + where[1:] if where.startswith("@") else where
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(target)
        sock.send(message.encode())


def described(sock: socket.socket, scheme: str, path: str) -> str:
    """Where `sock` listens, as a URL."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return f"unix:{sock.getsockname()}{path}"
    host, port = sock.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"


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


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """What speaks HTTPS with a certificate; see `load_certificate`. Raises InputError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, certificate, key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Read a certificate chain (PEM) and its key, which may be in the same file; connections to
    come use them. Raises InputError.
    """
    try:
        # Without a password asked for: nobody is there to type it.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise InputError(f"can't use the certificate {certificate}: {_reason(error)}") from None


def _reason(error: OSError | ValueError) -> str:
    if not isinstance(error, ssl.SSLError):
        return getattr(error, "strerror", None) or "unusable"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the private key is another one's"
    return "it, or its private key, is not there in PEM form, or has a password"
