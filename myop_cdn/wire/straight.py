"""Whether a URL can be asked straight, without a library that knows the ways of odd ones."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from myop_cdn.wire.pool import Origin
from myop_cdn.wire.proxies import proxy_for

_PLAIN_PATH = re.compile(r"[\w/.~%-]*", re.ASCII)


def straight(url: str) -> tuple[Origin, str] | None:
    """The host and the path, without a slash at its end, of a plain http(s) URL.

    None for all that is out of the ordinary: a user, a query, a fragment, a host or path with
    other characters than ASCII's, a proxy that the environment wants between, `all_proxy` among
    them, which some libraries know and others don't.
    """
    if any(name.lower() == "all_proxy" and value for name, value in os.environ.items()):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or not host.isascii():
        return None
    odd = parts.query or parts.fragment or "@" in parts.netloc
    if odd or _PLAIN_PATH.fullmatch(parts.path) is None:
        return None
    origin = Origin(parts.scheme, host, port)
    return None if proxy_for(origin.scheme, origin.netloc) else (origin, parts.path.rstrip("/"))
