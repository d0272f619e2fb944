"""`gunicorn myop_cdn.wsgi:app`: Myop's webhooks under any WSGI server (PEP 3333).

Configured by the environment as `serve` is; see 'myop-cdn help replicas'.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from myop_cdn.cli.hosted import receiver
from myop_cdn.listener.hosted import request_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from myop_cdn.listener.http.response import Response

_NOT_HTTP = ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH")


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The application."""
    response = _answer(environ)
    phrase = HTTPStatus(response.status).phrase
    headers = [("Content-Type", response.content_type), ("Content-Length", str(len(response.body)))]
    start_response(f"{response.status} {phrase}", [*headers, *response.headers])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else response.body]


def _answer(environ: WSGIEnvironment) -> Response:
    path = (environ.get("SCRIPT_NAME") or "") + (environ.get("PATH_INFO") or "")
    request = request_of(environ["REQUEST_METHOD"], path, _fields(environ))
    peer = f"{environ.get('REMOTE_ADDR') or 'unknown'}:{environ.get('REMOTE_PORT') or 0}"
    return receiver().respond(request, peer, lambda most: _read(environ, most))


def _fields(environ: WSGIEnvironment) -> Iterable[tuple[str, bytes]]:
    for name, value in environ.items():
        if name.startswith("HTTP_") and name not in _NOT_HTTP:
            yield name[5:].replace("_", "-"), str(value).encode("latin-1")
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            yield name.replace("_", "-"), str(environ[name]).encode("latin-1")


def _read(environ: WSGIEnvironment, most: int) -> bytes:
    """The body, byte for byte, and no more of it than `most`."""
    length = environ.get("CONTENT_LENGTH") or ""
    left = min(int(length), most) if length.isdigit() else most
    chunks = []
    while left > 0 and (chunk := environ["wsgi.input"].read(left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)
