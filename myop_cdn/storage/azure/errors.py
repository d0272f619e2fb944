"""What went wrong at Azure Blob Storage, in the words of this program. The codes are those of
the Blob service's REST API reference ("Blob service error codes").
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    CredentialsError,
    PreconditionFailed,
    StorageError,
    StorageUnavailable,
    StorageUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.core.exceptions import HttpResponseError

_KEY_HINT = "check AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN"
_UNKNOWN = {"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"}
_BUSY = {"ServerBusy", "InternalError", "OperationTimedOut", "Md5Mismatch"}


@contextmanager
def mapped(url: str, key: str = "", *, conditional: bool = False) -> Iterator[None]:
    """The one place where the SDK's errors become StorageErrors.

    conditional: whether the request had a condition, which is then what a 404 or 409 is about.
    """
    from azure.core.exceptions import (
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )

    where = f"{url}: {key}" if key else url
    try:
        yield
    except HttpResponseError as error:
        if isinstance(error, ClientAuthenticationError) and error.response is None:
            raise CredentialsError(f"{where}: no Azure credentials were found", _KEY_HINT) from None
        raise _of_answer(error, where, conditional) from None
    except ServiceRequestError:
        raise StorageUnreachable(
            f"{where}: no connection to the service",
            "check the account's name (AZURE_STORAGE_ACCOUNT) and the network",
        ) from None
    except ServiceResponseError:
        raise StorageUnavailable(f"{where}: the connection broke") from None
    except AzureError as error:
        raise StorageUnavailable(f"{where}: {type(error).__name__}") from None
    except ValueError as error:  # the SDK's word for a key that is no base64, among others
        raise CredentialsError(
            f"{where}: the Azure settings can't be used ({type(error).__name__})", _KEY_HINT
        ) from None


def _of_answer(error: HttpResponseError, where: str, conditional: bool) -> StorageError:
    status = int(error.status_code or 0)
    code = str(getattr(error, "error_code", "") or "")
    if code in _UNKNOWN or status == 401:
        return CredentialsError(
            f"{where}: the credentials were refused or have expired ({code or status})", _KEY_HINT
        )
    if status == 403:
        return AccessDenied(
            f"{where}: not allowed ({code or status})",
            "the role Storage Blob Data Contributor is enough",
        )
    if code.startswith("Container") and status in (404, 409):
        return ContainerMissing(
            f"{where}: no such container ({code})",
            "check its name, or make it first; none is made up",
        )
    if conditional and status in (404, 409, 412):
        return PreconditionFailed(f"{where}: was changed by somebody else")
    if status in (408, 429) or status >= 500 or code in _BUSY:
        return StorageUnavailable(f"{where}: the service answered {status} {code}".rstrip())
    return StorageError(f"{where}: the service answered {status} {code}".rstrip())
