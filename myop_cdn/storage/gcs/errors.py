"""What went wrong at Google Cloud Storage, in the words of this program."""

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
from myop_cdn.storage.translating import translated, unanswered
from myop_cdn.wire import NoConnection, Untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.auth.exceptions import GoogleAuthError

_LOGIN = (
    "set GOOGLE_APPLICATION_CREDENTIALS to a key file or a workload identity configuration, "
    "or run gcloud auth application-default login"
)
_UNREACHED = "check the network, and STORAGE_EMULATOR_HOST"


@contextmanager
def mapped(url: str, key: str = "") -> Iterator[None]:
    """The one place where what Google's libraries and our own requests raise becomes
    StorageErrors.
    """
    where = f"{url}: {key}" if key else url
    with translated(where, _UNREACHED, _of_library):
        yield


def is_about_bucket(said: str) -> bool:
    """Whether a 404 says that the bucket is missing, not the object ("No such object")."""
    return "bucket does not exist" in said


def refused(status: int, said: str, where: str) -> StorageError:
    """An answer that refuses. said: the service's own words."""
    if status == 401:
        return CredentialsError(f"{where}: the credentials were refused", _LOGIN)
    if status == 403:
        return AccessDenied(
            f"{where}: not allowed", "the README has the smallest role that is enough"
        )
    if status == 404:
        return ContainerMissing(
            f"{where}: no such bucket", "check its name, or make it first; none is made up"
        )
    if status in (409, 412):
        return PreconditionFailed(f"{where}: was changed by somebody else")
    if status == 429 or status >= 500 or status == 408:
        return StorageUnavailable(f"{where}: the service answered {status}")
    said = " ".join(said.split())[:200]
    return StorageError(f"{where}: the service answered {status}: {said}")


def _of_library(error: Exception, where: str) -> StorageError | None:
    # Imported when something was raised: loading them takes longer than a short run.
    import requests
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    if isinstance(error, GoogleAPICallError):
        return refused(int(error.code or 0), str(error.message), where)
    if isinstance(error, GoogleAuthError):
        return _of_credentials(error, where)
    if isinstance(error, DataCorruption | InvalidResponse):
        return StorageUnavailable(f"{where}: {type(error).__name__}")
    if isinstance(error, requests.exceptions.SSLError):
        return unanswered(Untrusted(), where, _UNREACHED)
    if isinstance(
        error, requests.exceptions.ReadTimeout | requests.exceptions.ChunkedEncodingError
    ):
        return StorageUnavailable(f"{where}: the connection broke ({type(error).__name__})")
    if isinstance(error, requests.exceptions.ConnectionError):
        return _of_connection(error, where)
    if isinstance(error, requests.exceptions.RequestException):
        return StorageError(f"{where}: {type(error).__name__}")
    return None


def _of_credentials(error: GoogleAuthError, where: str) -> StorageError:
    from google.auth.exceptions import DefaultCredentialsError, TransportError

    if isinstance(error, DefaultCredentialsError):
        return CredentialsError(f"{where}: no usable Google credentials were found", _LOGIN)
    if isinstance(error, TransportError):
        return StorageUnreachable(
            f"{where}: no connection to Google's sign-in service", "check the network"
        )
    return CredentialsError(f"{where}: the Google credentials have expired or were refused", _LOGIN)


def _of_connection(error: Exception, where: str) -> StorageError:
    # requests has one class for "no connection" and "connection lost"; urllib3's words differ.
    if any(word in str(error) for word in ("Connection aborted", "RemoteDisconnected")):
        return StorageUnavailable(f"{where}: the connection broke")
    return unanswered(NoConnection(), where, _UNREACHED)
