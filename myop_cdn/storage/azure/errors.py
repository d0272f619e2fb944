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
)
from myop_cdn.storage.translating import translated, unanswered
from myop_cdn.wire import NoConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEY_HINT = "check AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN"
_UNREACHED = "check the account's name (AZURE_STORAGE_ACCOUNT) and the network"
_UNKNOWN = {"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"}
_BUSY = {"ServerBusy", "InternalError", "OperationTimedOut", "Md5Mismatch"}


@contextmanager
def mapped(url: str, key: str = "", *, conditional: bool = False) -> Iterator[None]:
    """The one place where what Azure's library and our own requests raise becomes StorageErrors.

    conditional: as for `refused`.
    """
    where = f"{url}: {key}" if key else url

    def of_library(error: Exception, where: str) -> StorageError | None:
        return _of_library(error, where, conditional=conditional)

    with translated(where, _UNREACHED, of_library):
        yield


def is_about_container(code: str) -> bool:
    """Whether a 404 with this code says that the container is missing, not the blob."""
    return "Container" in code


def refused(status: int, code: str, where: str, *, conditional: bool = False) -> StorageError:
    """An answer that refuses. code: the service's own.

    conditional: whether the request had a condition, which is then what a 404 or 409 is about.
    """
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


def _of_library(error: Exception, where: str, *, conditional: bool) -> StorageError | None:
    if isinstance(error, ValueError):  # a key that is no base64, among others
        return CredentialsError(
            f"{where}: the Azure settings can't be used ({type(error).__name__})", _KEY_HINT
        )
    if isinstance(error, OSError):  # a login's certificate that is not there
        reason = error.strerror or type(error).__name__
        named = f"{error.filename}: " if error.filename else ""
        return CredentialsError(f"{where}: {named}{reason}", _KEY_HINT)
    # Imported when something was raised: loading it takes longer than a short run.
    from azure.core.exceptions import (
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )

    if isinstance(error, HttpResponseError):
        if isinstance(error, ClientAuthenticationError) and error.response is None:
            return CredentialsError(f"{where}: no Azure credentials were found", _KEY_HINT)
        code = str(getattr(error, "error_code", "") or "")
        return refused(int(error.status_code or 0), code, where, conditional=conditional)
    if isinstance(error, ServiceRequestError):
        return unanswered(NoConnection(), where, _UNREACHED)
    if isinstance(error, ServiceResponseError):
        return StorageUnavailable(f"{where}: the connection broke")
    if isinstance(error, AzureError):
        return StorageUnavailable(f"{where}: {type(error).__name__}")
    return None
