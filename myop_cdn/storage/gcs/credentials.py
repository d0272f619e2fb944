"""Who asks Google Cloud Storage, and where.

The credentials are Application Default Credentials, found and renewed by google-auth: a key file,
a workload identity configuration, gcloud's login, the metadata server. Its requests go over this
program's transport, so that proxies and certificates are the same for all.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from myop_cdn.errors import (
    CredentialsError,
    InputError,
    StorageError,
    StorageUnavailable,
    StorageUnreachable,
)
from myop_cdn.storage.responses import FACTS_BYTES
from myop_cdn.text import shown, shown_url
from myop_cdn.transport import Endpoint, Limits, Transport, TransportError, parse_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.auth.exceptions import GoogleAuthError

LOGIN_HINT = (
    "set GOOGLE_APPLICATION_CREDENTIALS to a key file or a workload identity configuration, "
    "or run gcloud auth application-default login"
)
_UNIVERSE = "googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/devstorage.full_control"
_GOOGLE = f"https://storage.{_UNIVERSE}"
# What a request without a client certificate would be refused for.
_CLIENT_CERTIFICATES = {
    "GOOGLE_API_USE_CLIENT_CERTIFICATE": "true",
    "GOOGLE_API_USE_MTLS_ENDPOINT": "always",
    "CLOUDSDK_CONTEXT_AWARE_USE_CLIENT_CERTIFICATE": "true",
}


def find_endpoint(url: str) -> tuple[Endpoint, str, bool]:
    """Where the service is, the path before its API's, and whether it is an emulator.

    Raises InputError for variables that ask for what is not supported, or are not URLs.
    """
    for name, value in _CLIENT_CERTIFICATES.items():
        if os.environ.get(name, "").strip().lower() == value:
            raise InputError(
                f"{url}: client certificates for Google Cloud ({name}) are not supported",
                f"unset {name}, or upload by way of gcloud storage",
            )
    universe = os.environ.get("GOOGLE_CLOUD_UNIVERSE_DOMAIN") or _UNIVERSE
    if universe != _UNIVERSE:
        raise InputError(*_foreign(url, universe))
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    name = "STORAGE_EMULATOR_HOST" if emulator else "API_ENDPOINT_OVERRIDE"
    where = emulator or os.environ.get(name) or _GOOGLE
    try:
        return *parse_base_url(where if "://" in where else f"http://{where}"), bool(emulator)
    except ValueError as error:
        raise InputError(
            f"{name}={shown_url(where)} is {error}", "write http://HOST:PORT"
        ) from None


def _foreign(url: str, universe: str) -> tuple[str, str]:
    message = f"{url}: the Google Cloud universe {shown(universe)} is not supported"
    return message, f"only {_UNIVERSE} is"


class GoogleCredentials(Protocol):
    """What google-auth's credentials have in common, as far as it is used here."""

    @property
    def universe_domain(self) -> str:
        """Whose cloud they are for."""

    def before_request(
        self, request: object, method: str, url: str, headers: dict[str, str]
    ) -> None:
        """Add the headers that say who asks; renew what has expired."""

    def refresh(self, request: object) -> None:
        """Renew the token."""


class Authorization:
    """The headers that say who asks. url: the destination, for messages. scope: what they are to
    be good for. Safe between threads.
    """

    def __init__(self, url: str, scope: str = _SCOPE) -> None:
        self._url = url
        self._scope = scope
        self._credentials: GoogleCredentials | None = None
        self._request = _Request()
        self._lock = threading.Lock()

    def headers(self, refused: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """The headers. refused: those that were refused and have to be renewed.

        Raises CredentialsError, StorageUnavailable.
        """
        with self._lock:
            try:
                return self._headers(refused)
            except Exception as error:
                # Imported when something was raised: loading it takes longer than a short run.
                from google.auth.exceptions import GoogleAuthError

                if isinstance(error, GoogleAuthError):
                    raise _translated(error, self._url) from None
                raise

    def close(self) -> None:
        """Close the connections to the sign-in service."""
        self._request.close()

    def _headers(self, refused: Mapping[str, str] | None) -> Mapping[str, str]:
        if self._credentials is None:
            self._credentials = _find(self._scope)
        if self._credentials.universe_domain != _UNIVERSE:
            raise CredentialsError(*_foreign(self._url, self._credentials.universe_domain))
        headers = self._now(self._credentials)
        if headers == refused:  # else another thread has had it renewed meanwhile
            self._credentials.refresh(self._request)
            headers = self._now(self._credentials)
        return headers

    def _now(self, credentials: GoogleCredentials) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        credentials.before_request(self._request, "GET", f"{_GOOGLE}/storage/v1/b", headers)
        return headers


def _find(scope: str) -> GoogleCredentials:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        found: tuple[GoogleCredentials, object] = google.auth.default(scopes=[scope])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The library's way to say that a file of credentials holds something else.
        raise DefaultCredentialsError(type(error).__name__) from None  # type: ignore[no-untyped-call]
    return found[0]


def _translated(error: GoogleAuthError, url: str) -> StorageError:
    from google.auth import exceptions

    if isinstance(error, exceptions.DefaultCredentialsError):
        return CredentialsError(
            f"{url}: no usable Google credentials were found{_file()}", LOGIN_HINT
        )
    if isinstance(error, exceptions.TransportError):
        return StorageUnreachable(
            f"{url}: no connection to Google's sign-in service", "check the network"
        )
    if error.retryable:
        return StorageUnavailable(f"{url}: Google's sign-in service can't answer now")
    return CredentialsError(
        f"{url}: the Google credentials have expired or were refused", LOGIN_HINT
    )


def _file() -> str:
    """What is wrong with the file that was named, without what it holds."""
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not named:
        return ""
    is_there = os.path.isfile(named)  # noqa: PTH113 - a name with a NUL is one that is not there
    why = "holds none of a form that Google's library knows" if is_there else "is not there"
    return f": the file of GOOGLE_APPLICATION_CREDENTIALS, {shown(named, 200)}, {why}"


@dataclass(frozen=True, slots=True)
class _Response:
    """As google.auth.transport.Response."""

    status: int
    headers: Mapping[str, str]
    data: bytes


@dataclass(slots=True)
class _Request:
    """As google.auth.transport.Request: how google-auth asks for tokens."""

    transports: dict[Endpoint, Transport] = field(default_factory=dict)

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> _Response:
        from google.auth.exceptions import TransportError as GoogleTransportError

        base, mark, query = url.partition("?")
        data = body.encode() if isinstance(body, str) else body or b""
        try:
            endpoint, path = parse_base_url(base)
            if endpoint not in self.transports:
                self.transports[endpoint] = Transport(endpoint, Limits(body_bytes=FACTS_BYTES))
            target = (path or "/") + mark + query
            response = self.transports[endpoint].request(
                method, target, headers or {}, data, seconds=timeout
            )
        except (ValueError, TransportError) as error:
            raise GoogleTransportError(error) from None  # type: ignore[no-untyped-call]
        return _Response(response.status, response.headers, response.body)

    def close(self) -> None:
        for transport in self.transports.values():
            transport.close()
