"""Who one is to Azure where no key is given: azure-identity's default chain, where that is
installed (environment, workload identity, managed identity, az login).
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from myop_cdn.errors import (
    CredentialsError,
    StorageUnreachable,
    how_to_install,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LOGIN_HINT = (
    "az login, a managed or workload identity, or AZURE_CLIENT_ID with AZURE_TENANT_ID and "
    "AZURE_CLIENT_SECRET"
)
_RENEW_SECONDS = 300  # before a token expires
_FAILED_SECONDS = 10  # for which another thread need not try what has just failed
# Sign-in services that azure-identity may ask Microsoft about, by the ending of the host's name.
_MICROSOFT = (".microsoftonline.com", ".microsoftonline.us", ".chinacloudapi.cn", ".microsoft.com")
_FAILED = re.compile(r"(\w+Credential): Authentication failed")
_REASON = re.compile(r"\bAADSTS\d+|(?<=HTTPSConnection\(host=')[\w.-]+|(?<=Pool\(host=')[\w.-]+")


class AccessToken(Protocol):
    """azure-identity's."""

    @property
    def token(self) -> str:
        """What is sent."""

    @property
    def expires_on(self) -> int:
        """Seconds since the epoch."""


class TokenCredential(Protocol):
    """Whatever azure-identity gives tokens by."""

    def get_token(self, *scopes: str) -> AccessToken:
        """A token, asked for over the network where none is kept."""


def is_installed() -> bool:
    """Whether azure-identity is there."""
    try:
        import azure.identity  # noqa: F401 - only to see
    except ImportError:
        return False
    return True


class AzureLogin:
    """A token for one service, renewed before it expires. Safe between threads.

    name: what it is needed for, in messages. scope: of the service. credential: None for
    azure-identity's default chain. clock: seconds since the epoch.
    """

    def __init__(
        self,
        name: str,
        scope: str,
        credential: TokenCredential | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._scope = scope
        self._credential = credential
        self._clock = clock
        self._token = ""
        self._expires = 0.0
        self._failed_until = 0.0
        self._error: CredentialsError | None = None
        self._lock = threading.Lock()

    def token(self) -> str:
        """The token. Raises CredentialsError, StorageUnreachable."""
        with self._lock:
            if self._error is not None and self._clock() < self._failed_until:
                raise self._error
            if self._clock() > self._expires - _RENEW_SECONDS:
                try:
                    self._token, self._expires = self._ask()
                except CredentialsError as error:
                    self._error, self._failed_until = error, self._clock() + _FAILED_SECONDS
                    raise
            return self._token

    def _ask(self) -> tuple[str, float]:
        try:
            if self._credential is None:
                self._credential = _default_credential()
            from azure.core.exceptions import AzureError, ClientAuthenticationError
        except ImportError:
            hint = how_to_install("azure-identity")
            raise CredentialsError(f"{self._name}: azure-identity is not installed", hint) from None
        try:
            found = self._credential.get_token(self._scope)
        except ClientAuthenticationError as error:
            what = f"{self._name}: no Azure login was {_outcome(error.message)}"
            raise CredentialsError(what, LOGIN_HINT) from None
        except AzureError:
            raise StorageUnreachable(
                f"{self._name}: no connection to Azure's sign-in service", "check the network"
            ) from None
        except OSError as error:  # a certificate that is not there
            named = f"{error.filename}: " if error.filename else ""
            what = f"{self._name}: {named}{error.strerror or type(error).__name__}"
            raise CredentialsError(what, LOGIN_HINT) from None
        except ValueError as error:  # a tenant that is none
            what = f"{self._name}: the Azure settings can't be used ({type(error).__name__})"
            raise CredentialsError(what, LOGIN_HINT) from None
        return found.token, float(found.expires_on)


def _default_credential() -> TokenCredential:
    """azure-identity's default chain. Raises ImportError, ValueError and OSError as it does."""
    import logging

    from azure.identity import DefaultAzureCredential

    for name in ("azure", "msal"):  # what they log is told in one line, as an error
        logging.getLogger(name).addHandler(logging.NullHandler())
    authority = os.environ.get("AZURE_AUTHORITY_HOST", "")
    host = urlsplit(authority if "://" in authority else f"https://{authority}").hostname or ""
    # Microsoft knows nothing of a private cloud's sign-in service, and may be out of reach there.
    is_private = bool(host) and not f".{host}".endswith(_MICROSOFT)
    made: TokenCredential = DefaultAzureCredential(disable_instance_discovery=is_private)
    return made


def _outcome(message: str) -> str:
    """What azure-identity's many lines come to: which login failed, and Microsoft's code or the
    host that was not reached. Nothing else is quoted: it could hold a setting.
    """
    failed = _FAILED.search(message)
    if failed is None:
        return "found" if "unavailable" in message else "accepted"
    reason = _REASON.search(message, failed.end())
    return f"accepted: {failed[1]} failed" + (f" ({reason[0]})" if reason else "")
