"""Strangers who ask as much as they can: 100 connections, pipelined, read, and opened again.

Run as a program, so that it takes none of the test's own interpreter.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import time

PACE = 1_500_000  # bytes per second: 12 Mbit/s
BURST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 400


def main(port: int, connections: int, seconds: float) -> None:
    """Flood 127.0.0.1:`port`; says "flooding" once every connection has sent its first burst."""
    selector = selectors.DefaultSelector()
    began = time.monotonic()
    sent, first = 0, connections
    for _ in range(connections):
        _open(selector, port)
    while (spent := time.monotonic() - began) < seconds:
        if sent > PACE * spent:
            time.sleep(0.001)
        for key, events in selector.select(0.1):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                if events & selectors.EVENT_READ and not sock.recv(1 << 16):
                    raise ConnectionError
                if events & selectors.EVENT_WRITE and sent <= PACE * (time.monotonic() - began):
                    sent += sock.send(BURST)
                    first -= 1
                    if first == 0:
                        print("flooding", flush=True)
            except BlockingIOError:
                continue
            except OSError:
                selector.unregister(sock)
                sock.close()
                _open(selector, port)


def _open(selector: selectors.BaseSelector, port: int) -> None:
    sock = socket.socket()
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect(("127.0.0.1", port))
    selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
