"""`cloudcdn:PROJECT/URLMAP`: Google Cloud CDN.

Facts from the Compute Engine API reference (`urlMaps.invalidateCache`) and Cloud CDN's guide
("Invalidate cached content"): one path a call, `*` at its end alone; the answer is a global
operation; 500 calls a minute.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from myop_cdn.cdn.api import Api
from myop_cdn.errors import InputError, InvalidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.cdn.base import Place

BASE = "https://compute.googleapis.com/compute/v1"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_POLLS = 120
_POLL_SECONDS = 10.0


class CloudCdn:
    """The caches behind one URL map."""

    def __init__(
        self,
        project: str,
        url_map: str,
        api: Api,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = f"cloudcdn:{project}/{url_map}"
        self._project = project
        self._url_map = url_map
        self._api = api
        self._sleep = sleep

    def invalidate(self, keys: Sequence[str], place: Place) -> tuple[list[str], list[str]]:
        """One call for each path."""
        paths = place.paths(keys)
        path = f"projects/{self._project}/global/urlMaps/{self._url_map}/invalidateCache"
        running = [
            str(self._api.call("POST", path, {"path": one}).value.get("name", "")) for one in paths
        ]
        return paths, [operation for operation in running if operation]

    def wait(self, running: Sequence[str]) -> None:
        """Ask for each operation every ten seconds, twenty minutes at the most."""
        for operation in running:
            path = f"projects/{self._project}/global/operations/{operation}"
            for _ in range(_POLLS):
                if self._api.call("GET", path).value.get("status") == "DONE":
                    break
                self._sleep(_POLL_SECONDS)
            else:
                raise InvalidationError(f"{self.name}: {operation} takes too long")


def _token(name: str) -> Callable[[], str]:
    def token() -> str:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        try:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
            credentials.refresh(Request())  # type: ignore[no-untyped-call]
        except GoogleAuthError:
            raise InvalidationError(
                f"{name}: no usable Google credentials were found",
                "set GOOGLE_APPLICATION_CREDENTIALS",
            ) from None
        return str(credentials.token)

    return token


def open_cloudcdn(which: str) -> CloudCdn:
    """The URL map called `which`. Raises InputError."""
    project, _, url_map = which.partition("/")
    if not all(re.fullmatch(r"[a-z0-9][a-z0-9.:-]{0,99}", part) for part in (project, url_map)):
        raise InputError(f"cloudcdn:{which!r} is not a URL map", "write cloudcdn:PROJECT/URLMAP")
    base = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE") or BASE
    name = f"cloudcdn:{which}"
    api = Api(name, base, _token(name), "allow compute.urlMaps.invalidateCache")
    return CloudCdn(project, url_map, api)
