"""Limits on what clients may use up, TLS, and the end."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from myop_cdn.listener.http.protocol import ServerLimits
from tests.listener import certificate
from tests.listener.rig import PATIENCE, Rig, Wire, request, until, webhook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUICK = ServerLimits(connections=8, request=0.3, idle=0.3, linger=0.3)


def test_a_request_that_is_not_complete_in_time_is_408(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(limits=QUICK).start()
    with rig.wire() as wire:
        reply = wire.send(request(webhook("a/prod"))[:-1]).reply()
        assert reply is not None
        assert reply.status == 408
        assert wire.closed()


def test_dripping_bytes_do_not_put_the_deadline_off(make_rig: Callable[..., Rig]) -> None:
    """One deadline for the whole request, not one for each read."""
    rig = make_rig(limits=QUICK).start()
    gone = threading.Event()
    with rig.wire() as wire:

        def drip() -> None:
            while not gone.wait(0.05):
                wire.send(b"x")

        wire.send(b"POST /webhooks/myop HTTP/1.1\r\nHost: a\r\nX: ")
        dripping = threading.Thread(target=drip)
        dripping.start()
        reply = wire.reply()
        gone.set()
        dripping.join()
    assert reply is not None
    assert reply.status == 408


def test_a_connection_that_says_nothing_is_closed(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(limits=QUICK).start()
    with rig.wire() as wire:
        assert wire.closed()
    with rig.wire() as wire:
        assert wire.send(request(webhook("a/prod"))).reply() is not None
        assert wire.closed()


def test_of_too_many_connections_the_ones_that_stall_longest_are_closed(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(limits=replace(QUICK, request=60.0, idle=60.0)).start()
    stalled = [rig.wire().send(b"POST /web") for _ in range(12)]
    assert rig.post(webhook("a/prod")).status == 200
    closed = until(lambda: len(ready := readable(stalled)) >= 3 and ready)
    assert rig.listener.server.connections <= 9
    assert all(wire.closed() for wire in closed)
    for wire in stalled:
        wire.close()


def readable(wires: list[Wire]) -> list[Wire]:
    ready, _, _ = select.select([wire.sock for wire in wires], [], [], 0)
    return [wire for wire in wires if wire.sock in ready]


def test_connections_that_are_being_worked_on_are_never_shed(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(limits=replace(QUICK, request=60.0)).start()
    with rig.journal_busy():
        wires = [rig.wire().send(request(webhook(f"c{number}/prod"))) for number in range(12)]
        until(lambda: rig.listener.server.connections >= QUICK.connections)
    replies = [wire.reply() for wire in wires]
    assert [reply.status for reply in replies if reply] == [200] * 12
    for wire in wires:
        wire.close()


def test_a_valid_delivery_is_answered_beside_300_stalled_ones(rig: Rig) -> None:
    whole = request(webhook("stalled/prod"))
    stalled = [rig.wire().send(whole[: number % len(whole)]) for number in range(300)]
    assert rig.post(webhook("a/prod")).status == 200
    for wire in stalled:
        wire.close()


def test_when_the_journal_can_t_be_written_the_answer_is_503_and_the_process_stays_up(
    rig: Rig,
) -> None:
    import sqlite3

    other = sqlite3.connect(rig.journal, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert rig.post(webhook("a/prod")).status == 503
    other.execute("ROLLBACK")
    other.close()
    until(lambda: "full" in rig.publisher.kinds)
    assert rig.post(webhook("b/prod")).status == 200


def test_a_journal_that_is_locked_at_the_start_delays_the_work_not_the_start(rig: Rig) -> None:
    import sqlite3

    rig.stop()
    other = sqlite3.connect(rig.journal, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    rig.start()
    assert rig.post(webhook("a/prod")).status == 503
    other.execute("ROLLBACK")
    other.close()
    until(lambda: "full" in rig.publisher.kinds)


def test_draining_answers_what_has_arrived_and_accepts_nothing_more(rig: Rig) -> None:
    with rig.wire() as wire:
        with rig.journal_busy():
            wire.send(request(webhook("a/prod")))
            until(lambda: rig.listener.server.connections == 1)
            rig.listener.terminate()
            until(lambda: refuses(rig.address))
        reply = wire.reply()
    assert reply is not None
    assert reply.status == 200
    assert reply.headers["connection"] == "close"
    until(lambda: not rig.running)


def refuses(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        probe.settimeout(PATIENCE)
        return probe.connect_ex(address) != 0


def test_an_idle_connection_does_not_hold_up_the_end(rig: Rig) -> None:
    with rig.wire() as wire:
        assert wire.send(request(webhook("a/prod"))).reply() is not None
        rig.stop()


def test_a_run_that_ends_within_the_grace_is_finished(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(grace=timedelta(seconds=PATIENCE)).start()
    rig.publisher.gate.clear()
    rig.post(webhook("a/prod"))
    rig.publisher.entered.wait(PATIENCE)
    rig.listener.terminate()
    rig.publisher.gate.set()
    until(lambda: not rig.running)
    rig.publisher.scopes.clear()
    rig.start()
    rig.post(webhook("b/prod"))
    until(lambda: rig.publisher.scopes)
    assert [one.component_id for one in rig.publisher.scopes[0].releases] == ["b"]


def test_a_run_that_outlasts_the_grace_is_done_again_at_the_next_start(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(grace=timedelta(seconds=0.1)).start()
    rig.publisher.gate.clear()
    rig.post(webhook("a/prod"))
    rig.publisher.entered.wait(PATIENCE)
    rig.stop()
    rig.publisher.gate.set()
    rig.publisher.scopes.clear()
    rig.start()
    until(lambda: rig.publisher.kinds == ["incremental"])


def test_secrets_are_read_again_without_dropping_a_connection(rig: Rig) -> None:
    with rig.wire() as wire:
        assert wire.send(request(webhook("a/prod"))).reply() is not None
        rig.listener._read_secrets = lambda: (b"renewed",)
        rig.listener.reload()
        reply = wire.send(request(webhook("b/prod"), secret=b"renewed")).reply()
        assert reply is not None
        assert reply.status == 200
    assert rig.post(webhook("c/prod")).status == 401


def test_secrets_that_can_t_be_read_again_leave_the_old_ones_in_force(rig: Rig) -> None:
    from myop_cdn.errors import InputError

    def unreadable() -> tuple[bytes, ...]:
        raise InputError("the signing secret file is empty or blank")

    rig.listener._read_secrets = unreadable
    rig.listener.reload()
    assert rig.post(webhook("a/prod")).status == 200
    assert "not read again" in rig.log.text()


def test_a_secret_s_file_that_changes_is_read_again_without_a_signal(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("first")
    rig = make_rig()
    rig.files = (file,)
    rig.secrets = lambda: (file.read_bytes(),)
    rig.start()
    assert rig.post(webhook("a/prod"), secret=b"first").status == 200
    file.with_suffix(".new").write_text("other")
    file.with_suffix(".new").replace(file)
    until(lambda: "read the secrets again" in rig.log.text())
    assert rig.post(webhook("b/prod"), secret=b"other").status == 200


class Tls:
    """A listener that speaks TLS, and clients that trust it."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        cert, key = certificate.make(folder)
        rig.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        rig.tls.load_cert_chain(cert, key)
        self.rig = rig.start()
        self._trust = ssl.create_default_context(cafile=cert)

    def wire(self) -> Wire:
        sock = socket.create_connection(self.rig.address, timeout=PATIENCE)
        return Wire(self._trust.wrap_socket(sock, server_hostname="127.0.0.1"))


@pytest.fixture
def tls(make_rig: Callable[..., Rig], tmp_path: Path) -> Tls:
    return Tls(make_rig(limits=replace(ServerLimits(), request=2.0)), tmp_path)


def test_deliveries_are_taken_over_tls(tls: Tls) -> None:
    with tls.wire() as wire:
        for number in range(3):
            reply = wire.send(request(webhook(f"c{number}/prod"))).reply()
            assert reply is not None
            assert reply.status == 200


def test_a_large_body_over_tls_is_read_to_its_end(tls: Tls) -> None:
    body = webhook("a/prod", padding="x" * 900_000)
    with tls.wire() as wire:
        reply = wire.send(request(body)).reply()
    assert reply is not None
    assert reply.status == 200


def test_a_handshake_that_stalls_holds_up_nobody_and_is_closed(tls: Tls) -> None:
    stalled = [tls.rig.wire() for _ in range(50)]
    stalled[0].send(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
    with tls.wire() as wire:
        reply = wire.send(request(webhook("a/prod"))).reply()
    assert reply is not None
    assert reply.status == 200
    assert all(wire.closed() for wire in stalled)


def test_plain_http_to_a_tls_port_is_closed(tls: Tls) -> None:
    with tls.rig.wire() as wire:
        wire.send(request(webhook("a/prod")))
        until(lambda: tls.rig.listener.server.connections == 0)
    with tls.wire() as wire:
        assert wire.send(request(webhook("b/prod"))).reply() is not None
