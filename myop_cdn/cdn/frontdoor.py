"""`frontdoor:SUBSCRIPTION/GROUP/PROFILE/ENDPOINT`: Azure Front Door (Standard and Premium).

Facts from the Azure REST API reference (AFD Endpoints, Purge Content): `contentPaths`, `*` at the
end alone; 202 with a `Location` to ask at until it answers 200. azure-identity signs in, so the
extra `azure` is needed.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from myop_cdn.azurelogin import AzureLogin
from myop_cdn.cdn.api import Api
from myop_cdn.errors import InputError, InvalidationError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.cdn.base import Place

BASE = "https://management.azure.com"
VERSION = "2024-02-01"
_POLLS = 120
_POLL_SECONDS = 10.0


class FrontDoor:
    """One endpoint of a profile."""

    def __init__(
        self,
        subscription: str,
        group: str,
        profile: str,
        endpoint: str,
        api: Api,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = f"frontdoor:{subscription}/{group}/{profile}/{endpoint}"
        self._path = (
            f"subscriptions/{subscription}/resourceGroups/{group}"
            f"/providers/Microsoft.Cdn/profiles/{profile}/afdEndpoints/{endpoint}"
        )
        self._api = api
        self._sleep = sleep

    def invalidate(self, keys: Sequence[str], place: Place) -> tuple[list[str], list[str]]:
        """One purge with all paths."""
        paths = place.paths(keys)
        answer = self._api.call(
            "POST", f"{self._path}/purge?api-version={VERSION}", {"contentPaths": paths}
        )
        running = answer.headers.get("location") if answer.status == 202 else None
        return paths, [running] if running else []

    def wait(self, running: Sequence[str]) -> None:
        """Ask every ten seconds, twenty minutes at the most."""
        for operation in running:
            for _ in range(_POLLS):
                if self._api.call("GET", operation).status != 202:
                    break
                self._sleep(_POLL_SECONDS)
            else:
                raise InvalidationError(f"{self.name}: the purge takes too long")


def _token(name: str) -> Callable[[], str]:
    login = AzureLogin(name, f"{BASE}/.default")

    def token() -> str:
        try:
            return login.token()
        except StorageError as error:
            raise InvalidationError(error.message, error.hint) from None

    return token


def open_frontdoor(which: str) -> FrontDoor:
    """The endpoint called `which`. Raises InputError."""
    parts = which.split("/")
    if len(parts) != 4 or not all(re.fullmatch(r"[A-Za-z0-9._()-]{1,90}", one) for one in parts):
        raise InputError(
            f"frontdoor:{which!r} is not an endpoint",
            "write frontdoor:SUBSCRIPTION/GROUP/PROFILE/ENDPOINT",
        )
    subscription, group, profile, endpoint = parts
    base = os.environ.get("AZURE_RESOURCE_MANAGER_ENDPOINT") or BASE
    name = f"frontdoor:{which}"
    api = Api(name, base, _token(name), "allow Microsoft.Cdn/profiles/afdendpoints/purge/action")
    return FrontDoor(subscription, group, profile, endpoint, api)
