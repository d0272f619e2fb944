"""A synthetic S3 service for benchmarks that grow: in memory, fast, conditional, and counting.

A process of its own: `python -m tests.benchmarks.fake_s3 OBJECTS MILLISECONDS`. It has one bucket,
any name, with OBJECTS made-up documents beside what is put there; each answer is held back for
MILLISECONDS, as is each new connection. Signatures are not looked at.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, unquote
from urllib.request import urlopen
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from types import TracebackType

COUNTS = "/-/counts"
ENVIRONMENTS = ("preview", "production", "qa", "staging")
_DATE = "Tue, 24 Mar 2026 10:00:00 GMT"
_PAGE = 1000


class Counts(NamedTuple):
    """What passed since last asked: requests by method, and the bytes of bodies each way."""

    requests: dict[str, int]
    sent: int
    received: int


class FakeS3:
    """The running service. url: where it listens."""

    def __init__(self, objects: int = 0, milliseconds: float = 0) -> None:
        self._arguments = (str(objects), str(milliseconds))
        self.url = ""

    def __enter__(self) -> FakeS3:
        command = [sys.executable, "-m", "tests.benchmarks.fake_s3", *self._arguments]
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root)
        assert self._process.stdout is not None  # as asked for above
        self.url = self._process.stdout.readline().decode().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def take_counts(self) -> Counts:
        """What passed since last asked."""
        with urlopen(self.url + COUNTS, timeout=30) as answer:
            found = json.load(answer)
        return Counts(found["requests"], found["sent"], found["received"])


def document_key(number: int) -> str:
    """The key of the made-up document of this number."""
    component, environment = divmod(number, len(ENVIRONMENTS))
    return (
        f"components/{component:08x}-5eed-4000-8000-000000000000/{ENVIRONMENTS[environment]}.json"
    )


def manifest(objects: int) -> bytes:
    """The manifest of so many made-up documents."""
    entries = [
        {
            "id": document_key(number).split("/")[1],
            "name": f"Component {number // len(ENVIRONMENTS)}",
            "environments": [one for one in ENVIRONMENTS if one != "preview"],
        }
        for number in range(0, objects, len(ENVIRONMENTS))
    ]
    return json.dumps(
        {
            "version": 1,
            "exportedAt": "2026-03-24T10:00:00.000Z",
            "organization": "benchmark",
            "components": entries,
        }
    ).encode()


class Stored(NamedTuple):
    """An object. headers: those to answer with, x-amz-meta-… among them."""

    body: bytes
    etag: str
    headers: tuple[tuple[str, str], ...] = ()


class _Shelf:
    """The objects by key, in order, and what passed."""

    def __init__(self, objects: int) -> None:
        self.objects: dict[str, Stored] = {}
        for number in range(objects):
            body = b'{"version":"0.2.10","item":{"id":"%d","consume_variant":[]}}' % number
            self.put(document_key(number), body, ())
        if objects:
            self.put("manifest.json", manifest(objects), ())
        self.keys = sorted(self.objects, key=str.encode)
        self.requests: Counter[str] = Counter()
        self.sent = self.received = 0

    def put(self, key: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> str:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if key not in self.objects and hasattr(self, "keys"):
            insort(self.keys, key, key=str.encode)
        self.objects[key] = Stored(body, etag, headers)
        return etag

    def delete(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key.encode(), key=str.encode)]


class _Connection(asyncio.Protocol):
    def __init__(self, shelf: _Shelf, seconds: float) -> None:
        self.shelf, self.seconds = shelf, seconds
        self.buffer = bytearray()
        self.ready_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # TCP's
        self.transport = transport
        # The handshake of a connection takes a round trip, too.
        self.ready_at = asyncio.get_running_loop().time() + self.seconds

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            lines = self.buffer[:end].decode("latin-1").split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
            headers = {name.lower(): value for name, value in fields.items()}
            length = int(headers.get("content-length", "0"))
            if len(self.buffer) < end + 4 + length:
                return
            body = bytes(self.buffer[end + 4 : end + 4 + length])
            del self.buffer[: end + 4 + length]
            method, target, _ = lines[0].split(" ")
            answer = self.answer(method, target, headers, body)
            loop = asyncio.get_running_loop()
            at = max(self.ready_at, loop.time()) + self.seconds
            if self.seconds and target != COUNTS:
                loop.call_at(at, self.transport.write, answer)
            else:
                self.transport.write(answer)

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        shelf = self.shelf
        path, _, query = target.partition("?")
        if path == COUNTS:
            found = {"requests": shelf.requests, "sent": shelf.sent, "received": shelf.received}
            data = json.dumps(found).encode()
            shelf.requests, shelf.sent, shelf.received = Counter(), 0, 0
            return _response(200, data, (("Content-Type", "application/json"),))
        key = unquote(path.lstrip("/").partition("/")[2])
        what = "COPY" if "x-amz-copy-source" in headers else method
        what = "LIST" if method == "GET" and not key else what
        shelf.requests[what] += 1
        shelf.sent += len(body)
        status, data, more = self._do(what, key, query, headers, body)
        shelf.received += 0 if method == "HEAD" else len(data)
        return _response(status, data, more, has_body=method != "HEAD")

    def _do(
        self, what: str, key: str, query: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
        shelf = self.shelf
        there = shelf.objects.get(key)
        if what == "LIST":
            return 200, self._listing(parse_qs(query)), (("Content-Type", "application/xml"),)
        if what in ("GET", "HEAD"):
            if there is None:
                return 404, _error("NoSuchKey"), ()
            facts = (("ETag", f'"{there.etag}"'), ("Last-Modified", _DATE))
            return 200, there.body, (*facts, *there.headers)
        if not _holds(headers, there):
            return 412, _error("PreconditionFailed"), ()
        if what == "PUT":
            kept = tuple(
                (name, value)
                for name, value in headers.items()
                if name.startswith("x-amz-meta-") or name in ("content-type", "cache-control")
            )
            return 200, b"", (("ETag", f'"{shelf.put(key, body, kept)}"'),)
        if what == "COPY":
            source = shelf.objects.get(unquote(headers["x-amz-copy-source"]).split("/", 2)[2])
            if source is None:
                return 404, _error("NoSuchKey"), ()
            etag = shelf.put(key, source.body, source.headers)
            return 200, f'<CopyObjectResult><ETag>"{etag}"</ETag></CopyObjectResult>'.encode(), ()
        shelf.delete(key)
        return 204, b"", ()

    def _listing(self, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        count = int(query.get("max-keys", [str(_PAGE)])[0])
        after = query.get("continuation-token", [""])[0]
        keys = self.shelf.keys
        start = bisect_left(keys, prefix.encode(), key=str.encode)
        if after:
            start = bisect_right(keys, after.encode(), key=str.encode)
        found: list[str] = []
        while start < len(keys) and len(found) < count and keys[start].startswith(prefix):
            found.append(keys[start])
            start += 1
        more = start < len(keys) and keys[start].startswith(prefix)
        token = (
            f"<NextContinuationToken>{escape(found[-1])}</NextContinuationToken>" if more else ""
        )
        objects = self.shelf.objects
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-03-24T10:00:00.000Z"
            f"</LastModified><ETag>&quot;{objects[key].etag}&quot;</ETag>"
            f"<Size>{len(objects[key].body)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key in found
        )
        head = f"<Name>b</Name><IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<ListBucketResult>{head}{token}{items}</ListBucketResult>".encode()


def _holds(headers: dict[str, str], there: Stored | None) -> bool:
    if headers.get("if-none-match") == "*" and there is not None:
        return False
    wanted = headers.get("if-match")
    return wanted is None or (there is not None and wanted.strip('"') == there.etag)


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code></Error>".encode()


def _response(
    status: int, body: bytes, headers: tuple[tuple[str, str], ...], *, has_body: bool = True
) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"HTTP/1.1 {status} x\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1")
    return head + body if has_body and status != 204 else head


async def _main(objects: int, seconds: float) -> None:
    shelf = _Shelf(objects)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(shelf, seconds), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]) / 1000))
