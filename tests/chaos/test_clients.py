"""Clients that stall, and clients that talk nonsense."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from tests.listener.rig import PATH, Wire, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.chaos.stand import Stand

TORN = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"\t",
    b"\xff",
    b"chunked",
    b"0",
    b"-1",
    b"HTTP/1.1",
)


def test_beside_stalled_connections_deliveries_are_answered(
    make_stand: Callable[..., Stand], chance: Random
) -> None:
    """300 connections that stall in every phase, over a bound of 256, hold up nobody."""
    stand = make_stand()
    stand.start("--no-sync-at-start", "--max-connections", "256")
    whole = stand.request(stand.release(0))
    stalled = []
    for _ in range(300):
        sock = socket.create_connection(("127.0.0.1", stand.port), timeout=10)
        sock.sendall(whole[: chance.randrange(len(whole))])
        stalled.append(sock)
    for number in range(10):
        assert stand.post(stand.release(number))[0] == 200
    for sock in stalled:
        sock.close()


def test_nonsense_gets_no_5xx_no_traceback_and_no_memory(
    make_stand: Callable[..., Stand], chance: Random, long: bool
) -> None:
    """Mutated, torn and made-up requests: answered 2xx or 4xx or closed, and forgotten."""
    stand = make_stand()
    stand.start("--no-sync-at-start")
    count = 100_000 if long else 1500
    fuzz(stand, chance, count // 10)
    before = stand.resident()
    statuses = fuzz(stand, chance, count)
    assert all(200 <= status < 500 for status in statuses), statuses
    assert stand.resident() - before < 20 * 1024 * 1024
    assert stand.post(stand.release(1))[0] == 200
    log = stand.log.read_text()
    assert "Traceback" not in log
    assert stand.terminate() == 0


def fuzz(stand: Stand, chance: Random, count: int) -> set[int]:
    """Send so many requests, four at a time; the statuses of the answers."""
    statuses: set[int] = set()
    lanes = [[nonsense(stand, chance) for _ in range(count // 4)] for _ in range(4)]
    workers = [threading.Thread(target=say, args=(stand.port, lane, statuses)) for lane in lanes]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return statuses


def say(port: int, lane: list[bytes], statuses: set[int]) -> None:
    """Send each on a connection of its own, and end our side, so that nobody waits."""
    for data in lane:
        with (
            contextlib.suppress(OSError),
            Wire(socket.create_connection(("127.0.0.1", port), timeout=10)) as wire,
        ):
            wire.send(data)
            wire.sock.shutdown(socket.SHUT_WR)
            while (reply := wire.reply()) is not None:
                statuses.add(reply.status)


def nonsense(stand: Stand, chance: Random) -> bytes:
    """A request with something wrong with it, or a valid one now and then."""
    kind = chance.randrange(6)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 300))
    if kind == 1:
        return head(chance) + chance.randbytes(chance.randrange(40))
    body = b'{"event":"x.%d"}' % chance.getrandbits(64)
    data = bytearray(stand.request(body))
    for _ in range(chance.randrange(0, 4)):
        at = chance.randrange(len(data))
        if kind == 2:
            data[at] = chance.randrange(256)
        elif kind == 3:
            data[at:at] = chance.choice(TORN)
        elif kind == 4:
            del data[at : at + chance.randrange(1, 20)]
        else:
            end = data.find(b"\r\n") + 2
            data[end:end] = field(chance)
        if not data:
            return b"x"
    return bytes(data)


def head(chance: Random) -> bytes:
    """A head put together from parts that don't go together."""
    method = chance.choice(["POST", "GET", "PRI", "", "post", "P\0ST", "OPTIONS"])
    target = chance.choice([PATH, PATH + "?a", "*", "http://a" + PATH, "/", "", "/" + "a" * 9000])
    version = chance.choice(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "", "HTTP/1.1 "])
    fields = b"".join(field(chance) for _ in range(chance.randrange(8)))
    return f"{method} {target} {version}\r\n".encode() + fields + b"\r\n"


def field(chance: Random) -> bytes:
    """A header field that matters, with a value that may not be one."""
    name = chance.choice(
        [b"Content-Length", b"Transfer-Encoding", b"Host", b"Expect", b"Connection", b"X" * 3000]
    )
    value = chance.choice(
        [b"0", b"5", b"-5", b"99999999999999999999", b"chunked", b"gzip", b"100-continue", b"close",
         b"\x00", b"\xff", b"a\r\n b", b"", b"5, 5"]
    )  # fmt: skip
    return name + b": " + value + b"\r\n"


def test_a_client_that_never_reads_is_closed_in_the_end(make_stand: Callable[..., Stand]) -> None:
    stand = make_stand()
    stand.start("--no-sync-at-start")
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    deaf.settimeout(1)
    deaf.connect(("127.0.0.1", stand.port))
    with contextlib.suppress(OSError):
        for _ in range(20_000):
            deaf.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 10)
    assert stand.post(stand.release(1))[0] == 200
    deaf.close()
    until(lambda: stand.post(stand.release(2))[0] == 200)
