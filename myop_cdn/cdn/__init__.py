"""What caches the destinations' objects: opened by name, `kind:which`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from myop_cdn import names
from myop_cdn.errors import InputError

if TYPE_CHECKING:
    from myop_cdn.cdn.base import Cdn

KINDS = {
    "cloudfront": "myop_cdn.cdn.cloudfront:open_cloudfront",
    "cloudcdn": "myop_cdn.cdn.cloudcdn:open_cloudcdn",
    "frontdoor": "myop_cdn.cdn.frontdoor:open_frontdoor",
    "cloudflare": "myop_cdn.cdn.cloudflare:open_cloudflare",
}


def open_cdn(name: str) -> Cdn:
    """The CDN called `name`, not asked anything yet. Raises InputError."""
    kind, _, which = name.partition(":")
    if kind not in KINDS or not which:
        known = ", ".join(f"{one}:…" for one in KINDS)
        raise InputError(f"{names.shown(name)!r} is not a CDN", f"known: {known}")
    module, _, opener = KINDS[kind].partition(":")
    cdn: Cdn = getattr(import_module(module), opener)(which)
    return cdn
