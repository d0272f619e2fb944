"""Which Azure storage account, and as whom it is asked.

For `az://` the account comes from AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT; an
`https://` destination names it. Credentials, the first of: the connection string, where it is of
that account; AZURE_STORAGE_KEY; AZURE_STORAGE_SAS_TOKEN; azure-identity's default chain
(environment, workload identity, managed identity, az login) where that is installed.

The signature by key is that of "Authorize with Shared Key" in the REST API reference, for versions
of 2015-02-21 and later; a test holds it against the SDK's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from myop_cdn.azurelogin import AzureLogin, is_installed
from myop_cdn.errors import CredentialsError, StorageError, how_to_install
from myop_cdn.transport import Endpoint, parse_base_url
from myop_cdn.transport.dates import written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION = "2023-11-03"  # of the Blob service's API
CREDENTIALS_HINT = (
    "check AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN"
)
_SETUP = (
    "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or "
    "AZURE_STORAGE_SAS_TOKEN"
)
_SCOPE = "https://storage.azure.com/.default"
_SIGNED = (
    "content-encoding", "content-language", "content-length", "content-md5", "content-type",
    "date", "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
)  # fmt: skip
_OWN = "x-ms-"


class Signer(Protocol):
    """Makes a request somebody's. source_query: what makes the URL of a copy's source readable."""

    source_query: str

    def sign(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str],
        headers: Mapping[str, str],
        length: int,
    ) -> tuple[str, Mapping[str, str]]:
        """The request's target and its headers.

        path: percent-encoded. fields: of the query. headers: as they are sent, without the
        body's length. length: of the body, in bytes. Raises StorageError.
        """


@dataclass(frozen=True, slots=True)
class Account:
    """Where an account's containers are, and who asks. The signer is never shown.

    path: percent-encoded, without a slash at its end.
    """

    endpoint: Endpoint
    path: str
    signer: Signer = field(repr=False)


class SharedKey:
    """Signs with an account's key. key: in base64. clock: seconds since the epoch.

    Raises ValueError for a key that is not base64.
    """

    source_query = ""  # a source in the same account is read by the same right

    def __init__(self, account: str, key: str, clock: Callable[[], float] = time.time) -> None:
        self._account = account
        self._key = base64.b64decode(key, validate=True)
        self._clock = clock

    def sign(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str],
        headers: Mapping[str, str],
        length: int,
    ) -> tuple[str, Mapping[str, str]]:
        """See `Signer.sign`."""
        sent = {**headers, "x-ms-date": written(self._clock()), "x-ms-version": VERSION}
        low = {name.lower(): value for name, value in sent.items()}
        if length:
            low["content-length"] = str(length)
        lines = [method, *(low.get(name, "") for name in _SIGNED)]
        lines += [f"{name}:{low[name]}" for name in sorted(low) if name.startswith(_OWN)]
        lines.append(f"/{self._account}{path}")
        lines += [f"{name}:{fields[name]}" for name in sorted(fields)]
        mac = hmac.digest(self._key, "\n".join(lines).encode(), hashlib.sha256)
        sent["Authorization"] = f"SharedKey {self._account}:{base64.b64encode(mac).decode()}"
        return _target(path, fields), sent


class SharedAccess:
    """Carries a shared access signature. token: a query, without its question mark.

    Raises ValueError for what can't be one.
    """

    def __init__(self, token: str) -> None:
        if re.fullmatch("[!-~]+", token) is None:
            raise ValueError("a signature with other characters than a URL's")
        self.source_query = f"?{token}"
        self._token = token

    def sign(
        self,
        method: str,  # noqa: ARG002 - the token says what it is good for
        path: str,
        fields: Mapping[str, str],
        headers: Mapping[str, str],
        length: int,  # noqa: ARG002 - as above
    ) -> tuple[str, Mapping[str, str]]:
        """See `Signer.sign`."""
        target = _target(path, fields)
        joined = f"{target}{'&' if fields else '?'}{self._token}"
        return joined, {**headers, "x-ms-version": VERSION}


class Bearer:
    """Carries the token of a login. Safe between threads."""

    source_query = ""  # a source in the same account is read by the same right

    def __init__(self, login: AzureLogin) -> None:
        self._login = login

    def sign(
        self,
        method: str,  # noqa: ARG002 - the token is for all requests
        path: str,
        fields: Mapping[str, str],
        headers: Mapping[str, str],
        length: int,  # noqa: ARG002 - as above
    ) -> tuple[str, Mapping[str, str]]:
        """See `Signer.sign`."""
        who = {"Authorization": f"Bearer {self._login.token()}", "x-ms-version": VERSION}
        return _target(path, fields), {**headers, **who}


def find_account(url: str, endpoint: str | None) -> Account:
    """The account of a destination.

    endpoint: the account's URL, None where the environment names it. Raises CredentialsError.
    """
    parts = _connection_string(os.environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    named = parts.get("accountname")
    if endpoint is None and named:
        suffix = parts.get("endpointsuffix", "core.windows.net")
        scheme = parts.get("defaultendpointsprotocol", "https")
        endpoint = parts.get("blobendpoint") or f"{scheme}://{named}.blob.{suffix}"
    elif endpoint is None and parts.get("blobendpoint"):
        endpoint = parts["blobendpoint"]
    elif endpoint is None:
        account = os.environ.get("AZURE_STORAGE_ACCOUNT", "").strip()
        if not account:
            raise CredentialsError(f"{url}: no storage account is named", _SETUP)
        endpoint = f"https://{account}.blob.core.windows.net"
        parts = {}
    elif named is None or f"//{named}.".lower() not in endpoint.lower():
        parts = {}  # the connection string is about another account
    try:
        where, path = parse_base_url(endpoint)
    except ValueError as error:
        raise CredentialsError(
            f"{url}: the account's blob endpoint is {error}",
            "check AZURE_STORAGE_CONNECTION_STRING and AZURE_STORAGE_ACCOUNT",
        ) from None
    try:
        return Account(where, path, _signer(url, where, parts))
    except (ValueError, OSError, binascii.Error) as error:
        raise _unusable(url, error) from None


def _signer(url: str, endpoint: Endpoint, parts: Mapping[str, str]) -> Signer:
    name = parts.get("accountname") or endpoint.host.partition(".")[0]
    if parts.get("accountkey"):
        return SharedKey(name, parts["accountkey"])
    if parts.get("sharedaccesssignature"):
        return SharedAccess(parts["sharedaccesssignature"].removeprefix("?"))
    if key := os.environ.get("AZURE_STORAGE_KEY", "").strip():
        return SharedKey(name, key)
    if token := os.environ.get("AZURE_STORAGE_SAS_TOKEN", "").strip():
        return SharedAccess(token.removeprefix("?"))
    if not is_installed():
        raise CredentialsError(f"{url}: no Azure credentials were found", _setup())
    if endpoint.scheme != "https":
        raise CredentialsError(f"{url}: a login's token is sent over https alone", _SETUP)
    return Bearer(AzureLogin(url, _SCOPE))


def _setup() -> str:
    install = how_to_install("azure-identity")
    return f"{_SETUP}; for a managed or workload identity and az login: {install}"


def _unusable(url: str, error: Exception) -> StorageError:
    """What a setting that can't be used is told as: without its value, which may be a secret."""
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return CredentialsError(
            f"{url}: {named}{error.strerror or type(error).__name__}", CREDENTIALS_HINT
        )
    return CredentialsError(
        f"{url}: the Azure settings can't be used ({type(error).__name__})", CREDENTIALS_HINT
    )


def _target(path: str, fields: Mapping[str, str]) -> str:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
    return f"{path}?{query}" if query else path


def _connection_string(text: str) -> dict[str, str]:
    pairs = (part.split("=", 1) for part in text.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, value in pairs}
