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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

_LOGIN = (
    "set GOOGLE_APPLICATION_CREDENTIALS to a key file or a workload identity configuration, "
    "or run gcloud auth application-default login"
)


@contextmanager
def mapped(url: str, key: str = "") -> Iterator[None]:
    """The one place where the SDK's errors become StorageErrors."""
    import requests
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    where = f"{url}: {key}" if key else url
    try:
        yield
    except GoogleAPICallError as error:
        raise _of_answer(error, where) from None
    except GoogleAuthError as error:
        raise _of_credentials(error, where) from None
    except (DataCorruption, InvalidResponse) as error:
        raise StorageUnavailable(f"{where}: {type(error).__name__}") from None
    except requests.exceptions.SSLError:
        raise StorageError(
            f"{where}: no trusted TLS connection to the service",
            "REQUESTS_CA_BUNDLE names a proxy's own certificates",
        ) from None
    except (requests.exceptions.ReadTimeout, requests.exceptions.ChunkedEncodingError) as error:
        raise StorageUnavailable(
            f"{where}: the connection broke ({type(error).__name__})"
        ) from None
    except requests.exceptions.ConnectionError as error:
        raise _of_connection(error, where) from None
    except requests.exceptions.RequestException as error:
        raise StorageError(f"{where}: {type(error).__name__}") from None


def is_about_bucket(error: GoogleAPICallError) -> bool:
    """Whether a 404 says that the bucket is missing, not the object ("No such object")."""
    return "bucket does not exist" in str(error.message)


def _of_answer(error: GoogleAPICallError, where: str) -> StorageError:
    status = int(error.code or 0)
    said = " ".join(str(error.message).split())[:200]
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
    return StorageError(f"{where}: the service answered {status}: {said}")


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
    return StorageUnreachable(
        f"{where}: no connection to the service", "check the network, and STORAGE_EMULATOR_HOST"
    )
