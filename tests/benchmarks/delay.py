"""A proxy that holds each request back for a while, as a real network does, and counts them.

A process of its own (`python -m tests.benchmarks.delay HOST:PORT MILLISECONDS`), so that its
work is not accounted to anybody. Bytes pass unchanged: signatures of requests stay good.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

if TYPE_CHECKING:
    from types import TracebackType

_COUNTS = "/-/counts"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_LIMIT = 2**20


class Delay:
    """The running proxy before `upstream` ("host:port"). url: where it listens."""

    def __init__(self, upstream: str, milliseconds: float = 0) -> None:
        self._arguments = (upstream, str(milliseconds))
        self.url = ""

    def __enter__(self) -> Delay:
        command = [sys.executable, "-m", "tests.benchmarks.delay", *self._arguments]
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root)
        assert self._process.stdout is not None  # asked for above
        self.url = self._process.stdout.readline().decode().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def netloc(self) -> str:
        """Where it listens, as "host:port"."""
        return self.url.removeprefix("http://")

    def take_counts(self) -> dict[str, int]:
        """How many requests passed since last asked, by method; a listing counts as LIST."""
        with urlopen(self.url + _COUNTS, timeout=10) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts


class _Relay:
    def __init__(self, upstream: str, seconds: float) -> None:
        self.host, _, port = upstream.partition(":")
        self.port = int(port)
        self.seconds = seconds
        self.counts: Counter[str] = Counter()
        self._pumps: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: asyncio.StreamWriter | None = None
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if f" {_COUNTS} ".encode() in head[:40]:
                    self._answer_counts(writer)
                    break
                self._count(head)
                if upstream is None:
                    answers, upstream = await asyncio.open_connection(
                        self.host, self.port, limit=_LIMIT
                    )
                    back = asyncio.create_task(_pump(answers, writer))
                    self._pumps.add(back)  # the loop itself would forget it
                    back.add_done_callback(self._pumps.discard)
                    back.add_done_callback(lambda _: writer.close())
                if self.seconds:
                    await asyncio.sleep(self.seconds)
                upstream.write(head)
                await _pass_body(head, reader, upstream)
        if upstream is not None:
            upstream.close()
        else:
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.close()

    def _answer_counts(self, writer: asyncio.StreamWriter) -> None:
        body = json.dumps(self.counts).encode()
        self.counts.clear()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)

    def _count(self, head: bytes) -> None:
        method, target, _ = head.split(b" ", 2)
        lists = method == b"GET" and re.search(rb"list-type=|comp=list|/o\?|[?&]prefix=", target)
        copies = method == b"PUT" and b"\r\nx-amz-copy-source:" in head.lower()
        self.counts["LIST" if lists else "COPY" if copies else method.decode()] += 1


async def _pass_body(
    head: bytes, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter
) -> None:
    found = _LENGTH.search(head)
    left = int(found[1]) if found else 0
    while left:
        data = await reader.read(min(left, _LIMIT))
        if not data:
            raise ConnectionError
        left -= len(data)
        upstream.write(data)
        await upstream.drain()
    size = 1 if _CHUNKED.search(head) else 0
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        upstream.write(line + await reader.readexactly(size + 2))


async def _pump(answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await answers.read(_LIMIT):
            writer.write(data)
            await writer.drain()


async def _main(upstream: str, milliseconds: float) -> None:
    relay = _Relay(upstream, milliseconds / 1000)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0, limit=_LIMIT, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], float(sys.argv[2])))
