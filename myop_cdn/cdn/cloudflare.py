"""`cloudflare:ZONE[/HOST]`: Cloudflare.

Facts from Cloudflare's documentation ("Purge cache"): `POST /zones/ZONE/purge_cache` takes at most
100 items in one call, 30 of them where they are prefixes; done when it is answered. A purge of
`files` leaves copies that were asked for with an `Origin` header, as the SDK's are; one of
`prefixes` takes them too, and a whole path is a prefix. HOST is the name the objects are served
under; without it the zone's own name.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from myop_cdn.cdn.api import Api
from myop_cdn.errors import InputError, InvalidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myop_cdn.cdn.base import Place

BASE = "https://api.cloudflare.com/client/v4"
MOST_ITEMS = 30
_TOKEN = "CLOUDFLARE_API_TOKEN"  # noqa: S105 - the variable's name


class Cloudflare:
    """One zone."""

    def __init__(self, zone: str, host: str | None, api: Api) -> None:
        self.name = f"cloudflare:{zone}" + (f"/{host}" if host else "")
        self._zone = zone
        self._host = host
        self._api = api

    def invalidate(self, keys: Sequence[str], place: Place) -> tuple[list[str], list[str]]:
        """One purge for every thirty paths."""
        host = self._host or self._zone_name()
        paths = place.paths(keys)
        items = [f"{host}{path.removesuffix('*')}" for path in paths]
        for start in range(0, len(items), MOST_ITEMS):
            body = {"prefixes": items[start : start + MOST_ITEMS]}
            answer = self._api.call("POST", f"zones/{self._zone}/purge_cache", body)
            if answer.value.get("success") is not True:
                raise InvalidationError(f"{self.name}: the purge was not taken")
        return paths, []

    def wait(self, running: Sequence[str]) -> None:
        """Nothing runs: a purge is done when it is answered."""

    def _zone_name(self) -> str:
        result = self._api.call("GET", f"zones/{self._zone}").value.get("result")
        name = result.get("name") if isinstance(result, dict) else None
        if not isinstance(name, str):
            raise InvalidationError(f"{self.name}: Cloudflare does not give the zone's name")
        return name


def open_cloudflare(which: str) -> Cloudflare:
    """The zone called `which`. The token comes from CLOUDFLARE_API_TOKEN. Raises InputError."""
    zone, _, host = which.partition("/")
    bad_host = host and re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]+)?", host) is None
    if re.fullmatch(r"[0-9A-Za-z]{8,64}", zone) is None or bad_host:
        raise InputError(
            f"cloudflare:{which!r} is not a zone",
            "write cloudflare:ZONEID or cloudflare:ZONEID/HOST",
        )
    token = os.environ.get(_TOKEN, "").strip()
    if not token:
        raise InputError(
            "there is no token for Cloudflare", f"set {_TOKEN} to one that may purge the cache"
        )
    base = os.environ.get("CLOUDFLARE_BASE_URL") or BASE
    api = Api(f"cloudflare:{zone}", base, lambda: token, f"check {_TOKEN} and its permissions")
    return Cloudflare(zone, host or None, api)
