"""A load generator: many connections, one thread, every answer timed.

Run by `listener.py`, in a process of its own, where there is no wrk, which takes far less of the
machine; `--write` makes what that one sends (see `load.lua`).
"""

from __future__ import annotations

import argparse
import hmac
import json
import random
import selectors
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path


def requests(host: str, path: str, secret: bytes, count: int, seed: int) -> list[bytes]:
    """Valid, signed, distinct deliveries, as they go over the wire."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = json.dumps(
            {
                "event": "components.deployed",
                "timestamp": now,
                "organizationId": f"org-{seed}-{number}",
                "data": {
                    "releases": [
                        {
                            "componentId": f"component-{chance.randrange(20)}",
                            "variantId": f"variant-{chance.getrandbits(64):016x}",
                            "environment": "production",
                            "environmentId": "5d3c9c3e-9a0b-4a53-8d1c-2f2f7b1b8f10",
                        }
                    ]
                },
            }
        ).encode()
        digest = hmac.digest(secret, body, "sha256").hex()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"X-Myop-Event: components.deployed\r\nX-Myop-Signature: sha256={digest}\r\n"
            f"User-Agent: Myop\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


class Client:
    """One of the connections: sends a request, waits for the answer, sends the next."""

    def __init__(self, address: tuple[str, int], queue: list[bytes], results: list[float]) -> None:
        self._address = address
        self._queue = queue
        self._results = results
        self.bad: dict[str, int] = {}
        self._sock: socket.socket | None = None
        self._sent = 0.0
        self._answer = b""
        self._left = b""

    def next(self, selector: selectors.BaseSelector) -> bool:
        """Send the next request; False when there is none."""
        if not self._queue:
            self._hang_up(selector)
            return False
        self._left = self._queue.pop()
        self._answer = b""
        self._sent = time.perf_counter()
        if self._sock is None:
            self._sock = socket.socket()
            self._sock.setblocking(False)
            self._sock.connect_ex(self._address)
            selector.register(self._sock, selectors.EVENT_WRITE, self)
        else:
            self._send(selector)
        return True

    def event(self, selector: selectors.BaseSelector, events: int) -> bool:
        """Go on; False when this client is done."""
        if events & selectors.EVENT_WRITE:
            self._send(selector)
            return True
        assert self._sock is not None
        try:
            data = self._sock.recv(65536)
        except OSError:
            data = b""
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = _length(head) if end else None
        if data and (length is None or len(body) < length):
            return True
        self._results.append(time.perf_counter() - self._sent)
        status = head[9:12].decode("latin-1") or "none"
        if status != "200":
            self.bad[status] = self.bad.get(status, 0) + 1
        if not data or b"connection: close" in head.lower():
            self._hang_up(selector)
        return self.next(selector)

    def _send(self, selector: selectors.BaseSelector) -> None:
        assert self._sock is not None
        try:
            sent = self._sock.send(self._left)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self._left)  # the answer, or the end, is read next
        self._left = self._left[sent:]
        wanted = selectors.EVENT_WRITE if self._left else selectors.EVENT_READ
        if selector.get_key(self._sock).events != wanted:
            selector.modify(self._sock, wanted, self)

    def _hang_up(self, selector: selectors.BaseSelector) -> None:
        if self._sock is not None:
            selector.unregister(self._sock)
            self._sock.close()
            self._sock = None


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


def run(
    host: str,
    ports: list[int],
    path: str,
    secret: bytes,
    connections: int,
    count: int,
    seed: int,
) -> dict[str, object]:
    """Send `count` deliveries over `connections` connections, to each of the ports in turn; the
    figures, times in seconds.
    """
    queue = requests(f"{host}:{ports[0]}", path, secret, count, seed)
    results: list[float] = []
    clients = [
        Client((host, ports[number % len(ports)]), queue, results) for number in range(connections)
    ]
    with selectors.DefaultSelector() as selector:
        started = time.perf_counter()
        busy = sum(client.next(selector) for client in clients)
        while busy and time.perf_counter() - started < 300:
            for key, events in selector.select(1.0):
                if not key.data.event(selector, events):
                    busy -= 1
        seconds = time.perf_counter() - started
    results.sort()
    bad: dict[str, int] = {}
    for client in clients:
        for status, times in client.bad.items():
            bad[status] = bad.get(status, 0) + times
    return {
        "requests": len(results),
        "seconds": round(seconds, 3),
        "per_second": round(len(results) / seconds),
        "p50_ms": round(results[len(results) // 2] * 1000, 1),
        "p99_ms": round(results[int(len(results) * 0.99)] * 1000, 1),
        "max_ms": round(results[-1] * 1000, 1),
        "not_200": bad,
    }


def main() -> None:
    """Print the figures of one run as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, nargs="+", required=True)
    parser.add_argument("--path", default="/webhooks/myop")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help="write the requests there instead")
    given = parser.parse_args()
    secret = sys.stdin.buffer.readline().strip()
    if given.write is not None:
        host = f"{given.host}:{given.port[0]}"
        with given.write.open("wb") as file:
            for made in requests(host, given.path, secret, given.requests, given.seed):
                file.write(b"%d\n%s" % (len(made), made))
        return
    figures = run(
        given.host, given.port, given.path, secret, given.connections, given.requests, given.seed
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
