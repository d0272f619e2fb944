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
from urllib.parse import urlsplit

from myop_cdn.storage import certificates
from myop_cdn.wire import Origin
from myop_cdn.wire.proxies import proxy_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

GOOGLE = Origin("https", "storage.googleapis.com", 443)
_UNIVERSE = "googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/devstorage.full_control"  # as the library asks for
_ODD_VARIABLES = (
    "API_ENDPOINT_OVERRIDE", "GOOGLE_CLOUD_UNIVERSE_DOMAIN", "GOOGLE_API_CERTIFICATE_CONFIG",
    "GOOGLE_API_USE_CLIENT_CERTIFICATE", "GOOGLE_API_USE_MTLS_ENDPOINT",
    "CLOUDSDK_CONTEXT_AWARE_USE_CLIENT_CERTIFICATE",
)  # fmt: skip
_CLIENT_CERTIFICATE = "~/.config/gcloud/certificate_config.json"  # where the library looks


@dataclass(frozen=True, slots=True)
class Place:
    """origin: the host that is asked.

    authorization: the headers that say who asks. Its argument is whether those of before were
    refused, so that they have to be renewed.
    """

    origin: Origin
    authorization: Callable[[bool], Mapping[str, str]]

    def context(self) -> ssl.SSLContext:
        """The TLS context. Raises OSError where the file of certificates can't be read."""
        get = os.environ.get
        return certificates.context(get("REQUESTS_CA_BUNDLE") or get("CURL_CA_BUNDLE") or None)


def find_place() -> Place | None:
    """Where the buckets are, or None where only the library can tell.

    Raises what the library raises where there are no credentials that can be used.
    """
    if any(os.environ.get(name) for name in _ODD_VARIABLES):
        return None
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    origin = _origin(emulator) if emulator else GOOGLE
    if origin is None or proxy_for(origin.scheme, origin.netloc):
        return None
    if emulator:  # it is asked by nobody in particular, as the library does it
        return Place(origin, lambda _: {})
    if Path(_CLIENT_CERTIFICATE).expanduser().exists():
        return None
    authorization = _by_default_credentials()
    return Place(origin, authorization) if authorization else None


def _origin(url: str) -> Origin | None:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    plain = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in ("http", "https") or not plain or not (parts.hostname or "").isascii():
        return None
    return Origin(parts.scheme, parts.hostname, port) if parts.hostname else None


def _by_default_credentials() -> Callable[[bool], Mapping[str, str]] | None:
    import google.auth
    from google.auth.transport.requests import Request

    credentials: Any
    credentials, _ = google.auth.default(scopes=[_SCOPE])
    if credentials.universe_domain != _UNIVERSE:
        return None
    request = Request()
    lock = threading.Lock()

    def authorization(renewed: bool) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        with lock:
            if renewed:
                credentials.refresh(request)
            credentials.before_request(
                request, "GET", f"https://{GOOGLE.host}/storage/v1/b", headers
            )
        return headers

    return authorization
