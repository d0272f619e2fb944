"""Where Google Cloud Storage answers, and who asks.

The credentials are those of Google's own chain, renewed by its library. Whatever is out of the
ordinary gives None here, and the library does all the work: proxies, client certificates, other
universes than googleapis.com, endpoints of one's own.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from myop_cdn.wire import Origin
from myop_cdn.wire.straight import straight

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GOOGLE = Origin("https", "storage.googleapis.com", 443)
_UNIVERSE = "googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/devstorage.full_control"  # as the library asks for
_ODD_VARIABLES = (
    "API_ENDPOINT_OVERRIDE", "GOOGLE_CLOUD_UNIVERSE_DOMAIN", "GOOGLE_API_CERTIFICATE_CONFIG",
    "GOOGLE_API_USE_CLIENT_CERTIFICATE", "GOOGLE_API_USE_MTLS_ENDPOINT",
    "CLOUDSDK_CONTEXT_AWARE_USE_CLIENT_CERTIFICATE",
    "CLOUDSDK_CONTEXT_AWARE_CERTIFICATE_CONFIG_FILE_PATH",
)  # fmt: skip
_CLIENT_CERTIFICATE = "~/.config/gcloud/certificate_config.json"  # where the library looks


@dataclass(frozen=True, slots=True)
class Place:
    """origin: the host that is asked.

    authorization: the headers that say who asks. Its argument is those that were refused, None
    for none: they have to be renewed.
    """

    origin: Origin
    authorization: Callable[[Mapping[str, str] | None], Mapping[str, str]]


def find_place() -> Place | None:
    """Where the buckets are, or None where only the library can tell.

    Raises what the library raises where there are no credentials that can be used.
    """
    if any(os.environ.get(name) for name in _ODD_VARIABLES):
        return None
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    way = straight(emulator or f"https://{GOOGLE.netloc}")
    if way is None or way[1]:
        return None
    if emulator:  # it is asked by nobody in particular, as the library does it
        return Place(way[0], lambda _: {})
    if Path(_CLIENT_CERTIFICATE).expanduser().exists():
        return None
    authorization = _by_default_credentials()
    return Place(way[0], authorization) if authorization else None


def _by_default_credentials() -> Callable[[Mapping[str, str] | None], Mapping[str, str]] | None:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    from google.auth.transport.requests import Request

    credentials: Any
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The library's way to say that a file of credentials holds something else.
        raise DefaultCredentialsError(type(error).__name__) from None  # type: ignore[no-untyped-call]
    if credentials.universe_domain != _UNIVERSE:
        return None
    request = Request()
    lock = threading.Lock()

    def now() -> Mapping[str, str]:
        headers: dict[str, str] = {}
        credentials.before_request(request, "GET", f"https://{GOOGLE.host}/storage/v1/b", headers)
        return headers

    def authorization(refused: Mapping[str, str] | None) -> Mapping[str, str]:
        with lock:
            headers = now()
            if headers == refused:  # else another thread has had it renewed meanwhile
                credentials.refresh(request)
                headers = now()
        return headers

    return authorization
