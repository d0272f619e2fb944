"""Whether the environment wants a host to be asked by way of a proxy."""

from __future__ import annotations

import os
import sys


def proxy_for(scheme: str, netloc: str) -> str | None:
    """The proxy's URL as the environment has it; None for none.

    As the standard library reads `http_proxy`, `https_proxy` and `no_proxy`, on macOS and
    Windows the system's settings too.
    """
    # The common case, without importing what asks the system: that takes 25 ms.
    named = any(name.lower() == f"{scheme}_proxy" and value for name, value in os.environ.items())
    if not named and sys.platform not in ("darwin", "win32"):
        return None
    from urllib.request import getproxies, proxy_bypass

    proxy = getproxies().get(scheme)
    return proxy if proxy and not proxy_bypass(netloc) else None
