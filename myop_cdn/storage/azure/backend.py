"""`az://container[/prefix]` and `https://ACCOUNT.blob.core.windows.net/container[/prefix]`.

Azure Blob Storage; `account.py` says where account and credentials come from.

Facts from the REST API reference: Put Blob checks `x-ms-blob-content-md5` and keeps it; a blob's
ETag changes with its content and its headers; creating a blob that is there answers 409.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from myop_cdn import names
from myop_cdn.errors import InputError
from myop_cdn.storage.azure.account import find_account
from myop_cdn.storage.azure.errors import mapped
from myop_cdn.storage.azure.sdk import SdkObjects
from myop_cdn.storage.azure.wire import find_wire
from myop_cdn.storage.location import Location, check_prefix
from myop_cdn.storage.objects import ByObjects
from myop_cdn.text import shown_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myop_cdn.storage.base import OpenOptions
    from myop_cdn.storage.objects import Objects

CONTAINER_PATTERN = r"\$web|\$root|[a-z0-9](?:[a-z0-9]|-(?=[a-z0-9])){1,62}"
PAGE_SIZE = 5000  # the most that Azure lists at once
_CORS_MAX_AGE = 86400


class AzureBackend(ByObjects):
    """The blobs of one container below a prefix. A blob's version is its ETag.

    endpoint: the account's URL, or None where the environment names the account.
    """

    def __init__(self, url: str, location: Location, endpoint: str | None, jobs: int) -> None:
        super().__init__(url, f"/{location.bucket}/{location.root}", PAGE_SIZE, self._find)
        self._location = location
        self._account = cache(lambda: find_account(url, endpoint))
        self._sdk = SdkObjects(url, location, self._account, jobs)

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Add one rule to the account's CORS rules for the origins it lacks."""
        from azure.storage.blob import CorsRule

        with mapped(self.url):
            service = self._sdk.container._get_blob_service_client()
            rules, missing = _rules(service, origins)
            if not missing:
                return False
            rule = CorsRule(
                missing,
                ["GET", "HEAD"],
                allowed_headers=["*"],
                exposed_headers=["*"],
                max_age_in_seconds=_CORS_MAX_AGE,
            )
            service.set_service_properties(cors=[*rules, rule])
        return True

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """Whether the account's CORS rules lack some."""
        with mapped(self.url):
            return bool(_rules(self._sdk.container._get_blob_service_client(), origins)[1])

    def close(self) -> None:
        """Close the connections, the library's too."""
        super().close()
        self._sdk.close()

    def _find(self) -> Objects:
        with mapped(self.url):
            account = self._account()
        return find_wire(self.url, self._location, account) or self._sdk


def _rules(service: Any, origins: Sequence[str]) -> tuple[list[Any], list[str]]:
    """The rules there are, and the origins that none of them lets read."""
    rules: list[Any] = list(service.get_service_properties().get("cors") or ())
    return rules, [one for one in origins if not any(_allows(rule, one) for rule in rules)]


def _allows(rule: Any, origin: str) -> bool:
    methods = {one.strip() for one in rule.allowed_methods.split(",")}
    origins = {one.strip() for one in rule.allowed_origins.split(",")}
    return {"GET", "HEAD"} <= methods and bool({origin, "*"} & origins)


def open_azure(url: str, options: OpenOptions) -> AzureBackend:
    """The backend for an `az://` URL. Raises InputError for a malformed one."""
    location = Location.parse(url, CONTAINER_PATTERN)
    return AzureBackend(location.url, location, None, options.jobs)


def open_https(url: str, options: OpenOptions) -> AzureBackend:
    """The backend for the `https://` URL of a container, or of a part of one.

    Raises InputError for any other URL; one with a query or a password is not shown.
    """
    host, _, rest = url.removeprefix("https://").partition("/")
    if "@" in host or "?" in url or "#" in url:
        raise InputError(
            "an https:// destination takes no query and no password",
            "a shared access signature goes into AZURE_STORAGE_SAS_TOKEN",
        )
    if re.fullmatch(r"[a-z0-9]{3,24}\.blob\.core\.[a-z.]+", host) is None:
        raise InputError(
            f"{shown_url(url)} is not a destination",
            "of https:// URLs only https://ACCOUNT.blob.core.windows.net/container[/prefix] is",
        )
    container, _, prefix = rest.partition("/")
    if re.fullmatch(CONTAINER_PATTERN, container) is None:
        raise InputError(f"{shown_url(url)}: {names.shown(container)!r} is no container's name")
    location = Location("https", container, check_prefix(prefix, url))
    endpoint = f"https://{host}"
    shown = f"{endpoint}/{container}" + (f"/{quote(location.prefix)}" if location.prefix else "")
    return AzureBackend(shown, location, endpoint, options.jobs)
