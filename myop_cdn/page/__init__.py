"""The page that shows what is live, what changed and what waits: one file that asks for nothing.

    page.html, page.css, page.js   plain and our own, put together here without a build step
    render                         what a document's frame shows

The listener serves it (`served`), and it asks that listener for its data; or it is a file
(`as_file`) that holds its data, for a CI system's artifacts.

Documents are written by others. Served, each is a page of its own in a frame that has neither an
origin nor a network (`render.FRAME_POLICY`). In a file a frame inherits the file's policy, and no
header can keep a script from reaching out in other ways than by requests (WebRTC, the connections
that browsers make ahead): there documents are shown without their scripts.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATA = '<script type="application/json" id="data">{}</script>'
_POLICY = '<meta http-equiv="Content-Security-Policy" content="{}">'


@dataclass(frozen=True, slots=True)
class ServedPage:
    """The page and the headers that it has to be served with. body: UTF-8."""

    body: bytes
    headers: tuple[tuple[str, str], ...]


@cache
def served() -> ServedPage:
    """The page without data, which it asks the server for, by URLs relative to its own."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)};"
        " connect-src 'self'; frame-src 'self'; img-src data:; form-action 'none';"
        " base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script';"
        " trusted-types 'none'"
    )
    headers = (
        ("Content-Security-Policy", policy),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    )
    return ServedPage(_assembled(style, script), headers)


def as_file(data: Mapping[str, object], *, trusted: bool = False) -> bytes:
    """The page with its data in it, UTF-8. data: see `page.snapshot`.

    trusted: the documents are our own, so their scripts may run.
    """
    style, script = _asset("page.css"), _asset("page.js")
    scripts = "'unsafe-inline'" if trusted else _hash(script)
    # Frames inherit it: documents bring their styles, pictures and fonts with them.
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline';"
        " img-src data: blob:; font-src data:; media-src data: blob:; frame-src 'none';"
        " form-action 'none'; base-uri 'none'"
    )
    # Nothing in the data may end the script element or open a comment in it.
    text = json.dumps({**data, "scripts": trusted}, separators=(",", ":")).replace("<", "\\u003c")
    return _assembled(style, script, _POLICY.format(policy), _DATA.format(text))


def _assembled(style: str, script: str, policy: str = "", data: str = "") -> bytes:
    parts = {"policy": policy, "style": style, "data": data, "script": script}
    return Template(_asset("page.html")).substitute(parts).encode()


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
