"""A bucket in memory that knows who wrote what when: S3's data requests, conditional writes too.

It listens on a port for each writer. Signatures are not looked at: what is tried here is order.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_KEPT = ("content-type", "cache-control", "content-encoding")


@dataclass(frozen=True)
class Write:
    """One change that was made. started, ended: seconds since the epoch."""

    writer: str
    key: str
    method: str
    started: float
    ended: float


@dataclass(frozen=True)
class Stored:
    """An object."""

    body: bytes
    headers: dict[str, str]
    modified: float = field(default_factory=time.time)

    @property
    def etag(self) -> str:
        """As S3 makes it for an object in one part."""
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


class Bucket:
    """The bucket `cdn`. delay: seconds that each write takes."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.objects: dict[str, Stored] = {}
        self.writes: list[Write] = []
        self.guard = threading.Lock()
        self._servers: list[ThreadingHTTPServer] = []

    def listen(self, writer: str) -> str:
        """Where one more writer finds it: an endpoint's URL."""
        bucket = self

        class Handler(_Handler):
            """With this bucket and writer."""

            def __init__(self, *args: Any) -> None:
                self.bucket, self.writer = bucket, writer
                super().__init__(*args)

        server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def read(self, key: str) -> bytes | None:
        """An object's bytes now."""
        with self.guard:
            found = self.objects.get(key)
        return None if found is None else found.body


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket
    writer: str

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).partition("/cdn/")[2]

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if self._key:
            self._object(with_body=True)
        elif "list-type" in query:
            self._list({name: values[0] for name, values in query.items()})
        else:
            self._error(404, "NoSuchCORSConfiguration")

    def do_HEAD(self) -> None:
        if self._key:
            self._object(with_body=False)
        else:
            self._answer(200)

    def _object(self, *, with_body: bool) -> None:
        with self.bucket.guard:
            found = self.bucket.objects.get(self._key)
        if found is None:
            self._error(404, "NoSuchKey", with_body=with_body)
            return
        headers = {**found.headers, "ETag": found.etag, "Last-Modified": _date(found.modified)}
        self._answer(200, found.body, headers, with_body=with_body)

    def _list(self, query: dict[str, str]) -> None:
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        after = after or query.get("start-after", "")
        most = int(query.get("max-keys", "1000"))
        with self.bucket.guard:
            keys = sorted(key for key in self.bucket.objects if key.startswith(prefix))
            found = [(key, self.bucket.objects[key]) for key in keys if key > after][: most + 1]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(one.body)}</Size>"
            f"<ETag>{escape(one.etag)}</ETag><LastModified>{_iso(one.modified)}</LastModified>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key, one in found[:most]
        )
        more = len(found) > most
        last = escape(found[most - 1][0]) if more else ""
        text = (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>cdn</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{min(most, len(found))}"
            f"</KeyCount><MaxKeys>{most}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"<NextContinuationToken>{last}</NextContinuationToken>{rows}</ListBucketResult>"
        )
        self._answer(200, text.encode(), {"Content-Type": "application/xml"})

    def do_PUT(self) -> None:
        body = self._body()
        source = self.headers.get("x-amz-copy-source")
        headers = {
            name.lower(): value
            for name, value in self.headers.items()
            if name.lower() in _KEPT or name.lower().startswith("x-amz-meta-")
        }
        self._write("PUT", body, headers, unquote(source) if source else None)

    def do_DELETE(self) -> None:
        self._write("DELETE", None, {}, None)

    def do_POST(self) -> None:
        self._body()
        self._error(501, "NotImplemented")

    def _write(
        self, method: str, body: bytes | None, headers: dict[str, str], source: str | None
    ) -> None:
        started = time.time()
        time.sleep(self.bucket.delay)
        with self.bucket.guard:
            objects = self.bucket.objects
            before = objects.get(self._key)
            match, none = self.headers.get("If-Match"), self.headers.get("If-None-Match")
            if (match and (before is None or before.etag != match)) or (none == "*" and before):
                status, answer = 412, None
            elif source is not None:
                origin = objects.get(source.lstrip("/").partition("/")[2])
                status, answer = (404, None) if origin is None else (200, origin)
                if origin is not None:
                    replaces = self.headers.get("x-amz-metadata-directive") == "REPLACE"
                    objects[self._key] = Stored(
                        origin.body, headers if replaces else origin.headers
                    )
            else:
                status, answer = 200, None
                objects.pop(self._key, None)
                if body is not None:
                    objects[self._key] = answer = Stored(body, headers)
            if status == 200:
                self.bucket.writes.append(
                    Write(self.writer, self._key, method, started, time.time())
                )
        if status == 404:
            self._error(404, "NoSuchKey")
        elif status == 412:
            self._error(412, "PreconditionFailed")
        elif source is not None and answer is not None:
            text = (
                f"<CopyObjectResult><ETag>{escape(answer.etag)}</ETag>"
                f"<LastModified>{_iso(answer.modified)}</LastModified></CopyObjectResult>"
            )
            self._answer(200, text.encode(), {"Content-Type": "application/xml"})
        else:
            self._answer(200, b"", {} if answer is None else {"ETag": answer.etag})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _error(self, status: int, code: str, *, with_body: bool = True) -> None:
        text = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self._answer(
            status, text.encode(), {"Content-Type": "application/xml"}, with_body=with_body
        )

    def _answer(
        self,
        status: int,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        with_body: bool = True,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def _date(moment: float) -> str:
    return formatdate(moment, usegmt=True)


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))
