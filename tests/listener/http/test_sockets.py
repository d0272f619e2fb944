"""Where a listener listens."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import ListenerError
from myop_cdn.listener.http import sockets
from myop_cdn.listener.http.sockets import Address

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:80", "127.0.0.1", 80), ("[::1]:0", "::1", 0), (":9", "", 9), ("a.b:1", "a.b", 1)],
)
def test_an_address_is_host_and_port(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize(
    "text", ["", "80", "host", "host:", "host:x", "host:65536", "::1:80", "h:²"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        Address.parse(text)


def test_a_port_that_is_taken_is_an_error_with_a_hint() -> None:
    (first,) = sockets.listen(Address("127.0.0.1", 0))
    with first, pytest.raises(ListenerError, match="port") as error:
        sockets.listen(Address("127.0.0.1", first.getsockname()[1]))
    assert "--port" in error.value.hint


def test_a_host_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ListenerError, match="can't listen"):
        sockets.listen(Address("no-such-host.invalid", 0))


def test_ipv6_is_listened_on() -> None:
    try:
        (sock,) = sockets.listen(Address("::1", 0))
    except ListenerError:
        pytest.skip("this machine has no IPv6")
    with sock:
        socket.create_connection(sock.getsockname()[:2], timeout=5).close()
        assert sockets.described(sock, "http", "/x").startswith("http://[::1]:")


def test_all_addresses_share_one_port() -> None:
    found = sockets.listen(Address("", 0))
    assert len({sock.getsockname()[1] for sock in found}) == 1
    for sock in found:
        sock.close()


def test_a_unix_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    sockets.listen_unix(path).close()
    with sockets.listen_unix(path) as sock:
        assert path.stat().st_mode & 0o777 == 0o660
        assert sockets.described(sock, "http", "/x") == f"unix:{path}/x"
    sockets.remove_unix(path)
    sockets.remove_unix(path)
    assert not path.exists()


def test_a_unix_socket_that_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    with sockets.listen_unix(tmp_path / "s"), pytest.raises(ListenerError):
        sockets.listen_unix(tmp_path / "s")


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ListenerError):
        sockets.listen_unix(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "precious"


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": "2", "LISTEN_FDS": "x"}]
)
def test_sockets_for_another_process_are_not_taken(environ: dict[str, str]) -> None:
    assert sockets.inherited(environ, 2) == []
    assert environ == {}


def test_systemd_is_told_and_nobody_is_missed_when_there_is_none(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(5)
        sockets.notify({"NOTIFY_SOCKET": str(tmp_path / "notify")}, "READY=1")
        assert ear.recv(100) == b"READY=1"
    sockets.notify({}, "READY=1")
    sockets.notify({"NOTIFY_SOCKET": str(tmp_path / "nowhere")}, "READY=1")
