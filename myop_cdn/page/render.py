"""What a document's frame shows: the HTML that it holds, and the headers that keep it in.

Tested in Chromium against documents that try to get out (tests/page): neither the page's origin
nor the network can be reached. `Connection-Allowlist` closes what a Content-Security-Policy leaves
open, WebRTC and the connections that a browser makes ahead; browsers that do not know it yet leave
those two open.
"""

from __future__ import annotations

from html import escape
from typing import Any

from myop_cdn import jsontext
from myop_cdn.text import shown

FRAME_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data:"
    " blob:; style-src 'unsafe-inline' data:; img-src data: blob:; font-src data:; media-src data:"
    " blob:; connect-src 'none'; worker-src 'none'; form-action 'none'; base-uri 'none';"
    " frame-ancestors 'self'"
)
FRAME_HEADERS = (
    ("Content-Security-Policy", FRAME_POLICY),
    ("Connection-Allowlist", "()"),
    ("X-DNS-Prefetch-Control", "off"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
)
_NOTE = (
    '<!DOCTYPE html><meta charset="utf-8"><title>{0}</title><style>body{{margin:0;display:grid;'
    "place-items:center;height:100vh;font:15px/1.5 system-ui,sans-serif;color:#5f6b65;"
    "background:#f4f1ea;text-align:center}}p{{padding:0 24px;max-width:30em}}</style><p>{0}</p>"
)


def html_of(document: bytes) -> str:
    """The HTML of the first variant that a component's document holds.

    Where it holds none: a page that says so.
    """
    try:
        value: Any = jsontext.loads(document)
        loader = value["item"]["consume_variant"][0]["loader"]
        html = loader["HTML"]
    except (ValueError, KeyError, IndexError, TypeError):
        return note("There is no HTML in this document to be shown.")
    if not isinstance(html, str) or not html.strip():
        return note("There is no HTML in this document.")
    return html


def note(words: str) -> str:
    """A page that says why there is nothing to see."""
    return _NOTE.format(escape(shown(words, 300)))
