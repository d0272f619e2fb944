"""Which Azure storage account, and what it is opened with.

For `az://` the account comes from AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT; an
`https://` destination names it. Credentials, the first of: the connection string, where it is of
that account; AZURE_STORAGE_KEY; AZURE_STORAGE_SAS_TOKEN; azure-identity's default chain
(environment, workload identity, managed identity, az login) where that is installed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from myop_cdn.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SETUP = (
    "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or "
    "AZURE_STORAGE_SAS_TOKEN, or pip install 'myop-cdn[azure]' for managed and workload identity"
)


@dataclass(frozen=True, slots=True)
class Account:
    """Where an account is and what it is opened with. The credential is never shown."""

    endpoint: str
    credential: Any = field(repr=False)


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
    if "://" not in endpoint:
        raise CredentialsError(
            f"{url}: the BlobEndpoint of AZURE_STORAGE_CONNECTION_STRING is no URL", _SETUP
        )
    return Account(endpoint, _credential(url, endpoint, parts))


def _credential(url: str, endpoint: str, parts: Mapping[str, str]) -> Any:
    name = parts.get("accountname") or endpoint.split("://")[1].split(".")[0]
    if parts.get("accountkey"):
        return {"account_name": name, "account_key": parts["accountkey"]}
    if parts.get("sharedaccesssignature"):
        return parts["sharedaccesssignature"].removeprefix("?")
    if key := os.environ.get("AZURE_STORAGE_KEY", "").strip():
        return {"account_name": name, "account_key": key}
    if token := os.environ.get("AZURE_STORAGE_SAS_TOKEN", "").strip():
        return token.removeprefix("?")
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise CredentialsError(f"{url}: no Azure credentials were found", _SETUP) from None
    return DefaultAzureCredential()


def _connection_string(text: str) -> dict[str, str]:
    pairs = (part.split("=", 1) for part in text.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, value in pairs}
