"""Where the documents go: destinations, opened by URL.

The scheme of a URL is the name of an entry point of the group `myop_cdn.storage`: a function
that takes the URL and an `OpenOptions` and returns a `Backend`. It checks the URL (InputError)
and makes no request. This program's own backends are registered the same way, but looked up in
`OWN`: reading what every installed package registers takes longer than a run with nothing to do.
A plug-in can't take one of these schemes over.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

from myop_cdn.errors import InputError
from myop_cdn.storage.base import OpenOptions
from myop_cdn.text import shown_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from myop_cdn.storage.base import Backend

    Opener = Callable[[str, OpenOptions], Backend]

GROUP = "myop_cdn.storage"
OWN = {
    "az": "azure.backend:open_azure",
    "file": "local:open_local",
    "gs": "gcs.backend:open_gcs",
    "https": "azure.backend:open_https",
    "memory": "memory:open_memory",
    "s3": "s3.backend:open_s3",
}  # as in pyproject.toml, which a test checks


def open_backend(url: str, options: OpenOptions | None = None) -> Backend:
    """The backend for `url`, not asked anything yet.

    Raises InputError for a URL that is malformed or of a scheme that nobody registered.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) is None:
        raise _not_a_destination(url)
    opener = _own(scheme) or _plugged_in(scheme)
    return opener(url, options or OpenOptions())


def _not_a_destination(url: str) -> InputError:
    scheme, colon, rest = url.partition(":")
    if colon and scheme in OWN and "://" not in url and rest.strip("/"):
        absolute = "/" if scheme == "file" else ""
        meant = shown_url(f"{scheme}://{absolute}{rest.lstrip('/')}")
        return InputError(f"{scheme}:… is not a destination without //", f"write {meant}")
    if scheme != scheme.lower() and scheme.lower() in OWN:
        meant = shown_url(f"{scheme.lower()}{colon}{rest}")
        return InputError(
            f"{scheme}:… is not a destination: schemes are in lower case", f"write {meant}"
        )
    return InputError(
        f"{shown_url(url)!r} is not a destination",
        "write s3://bucket/prefix or file:///folder, for instance",
    )


def _own(scheme: str) -> Opener | None:
    if scheme not in OWN:
        return None
    module, _, name = OWN[scheme].partition(":")
    opener: Opener = getattr(import_module(f"{__name__}.{module}"), name)
    return opener


def _plugged_in(scheme: str) -> Opener:
    from importlib.metadata import entry_points

    found = entry_points(group=GROUP, name=scheme)
    if not found:
        schemes = {*OWN, *entry_points(group=GROUP).names}
        known = ", ".join(sorted(f"{name}://" for name in schemes))
        raise InputError(
            f"no backend for {scheme}:// destinations", f"known: {known}; others are plug-ins"
        )
    opener: Opener = next(iter(found)).load()
    return opener
