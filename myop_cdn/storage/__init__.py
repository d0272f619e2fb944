"""Where the documents go: destinations, opened by URL.

The scheme of a URL is the name of an entry point of the group `myop_cdn.storage`: a function
that takes the URL and an `OpenOptions` and returns a `Backend`. It checks the URL (InputError)
and makes no request. This program's own backends are registered the same way.
"""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from myop_cdn import names
from myop_cdn.errors import InputError
from myop_cdn.storage.base import OpenOptions

if TYPE_CHECKING:
    from myop_cdn.storage.base import Backend

GROUP = "myop_cdn.storage"


def open_backend(url: str, options: OpenOptions | None = None) -> Backend:
    """The backend for `url`, not asked anything yet.

    Raises InputError for a URL that is malformed or of a scheme that nobody registered.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) is None:
        raise InputError(
            f"{names.shown(url)!r} is no destination",
            "write s3://bucket/prefix or file:///folder, for instance",
        )
    found = entry_points(group=GROUP, name=scheme)
    if not found:
        known = ", ".join(sorted(f"{name}://" for name in entry_points(group=GROUP).names))
        raise InputError(
            f"no backend for {scheme}:// destinations", f"known: {known}; others are plug-ins"
        )
    opener = next(iter(found)).load()
    backend: Backend = opener(url, options or OpenOptions())
    return backend
