"""What went wrong at S3, in the words of this program. The codes are those of the S3 API
Reference ("Error responses") and of the STS API Reference.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    CredentialsError,
    InputError,
    PreconditionFailed,
    StorageError,
    StorageUnavailable,
    StorageUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.exceptions import BotoCoreError, ClientError

_NO_KEYS_HINT = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or let the CI system "
    "assume a role (AWS_ROLE_ARN with AWS_WEB_IDENTITY_TOKEN_FILE)"
)
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN = {
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "InvalidToken",
    "IDPRejectedClaim",
    "NotSignedUp",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden"}
_REGION = {
    "301",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
}
_BUSY = {
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    # The body that arrived is not the one that was sent.
    "BadDigest",
    "IncompleteBody",
}


def code(error: ClientError) -> str:
    """The service's code for an error, or the HTTP status where it gave none (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def client_error() -> type[ClientError]:
    """The class of errors that the service answered with.

    `except client_error()` imports it when something was raised, and not for a run in which
    all goes well: loading it takes as long as a listing.
    """
    from botocore.exceptions import ClientError

    return ClientError


def _connection_error() -> type[BotoCoreError]:
    from botocore.exceptions import HTTPClientError

    return HTTPClientError


def _any_other() -> type[BotoCoreError]:
    from botocore.exceptions import BotoCoreError

    return BotoCoreError


@contextmanager
def mapped(url: str, key: str = "", *, conditional: bool = False) -> Iterator[None]:
    """The one place where botocore's errors become StorageErrors.

    conditional: whether the request had a condition, which is then what a 404 or 409 is about.
    """
    where = f"{url}: {key}" if key else url
    try:
        yield
    except client_error() as error:
        raise _of_answer(error, where, conditional) from None
    except _connection_error() as error:
        raise _of_connection(error, where) from None
    except _any_other() as error:
        raise _of_setup(error, where) from None
    except ValueError as error:  # boto3's word for an endpoint that is no URL
        raise InputError(f"{where}: {error}") from None


def _of_answer(error: ClientError, where: str, conditional: bool) -> StorageError:
    name = code(error)
    details: Any = error.response.get("Error", {})
    meta: Any = error.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0))
    said = " ".join(str(details.get("Message", "")).split())[:200]
    if name in _EXPIRED:
        return CredentialsError(
            f"{where}: the credentials have expired", "sign in again, or renew the session token"
        )
    if name == "RequestTimeTooSkewed":
        return CredentialsError(f"{where}: this machine's clock is wrong", "set the clock")
    if error.operation_name.startswith(("AssumeRole", "GetRoleCredentials")):
        return CredentialsError(
            f"{where}: the role could not be assumed ({name}: {said})",
            "check AWS_ROLE_ARN and the role's trust policy",
        )
    if name in _UNKNOWN:
        return CredentialsError(
            f"{where}: the service does not know these credentials ({name})",
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
        )
    if name == "NoSuchBucket":
        return ContainerMissing(
            f"{where}: no such bucket", "check its name, or make it first; none is made up"
        )
    if conditional and (status in (404, 409, 412) or name == "PreconditionFailed"):
        return PreconditionFailed(f"{where}: was changed by somebody else")
    if name in _DENIED or status == 403:
        return AccessDenied(
            f"{where}: {error.operation_name} is not allowed",
            "the README has the smallest policy that is enough",
        )
    if name in _REGION or status == 301:
        region = details.get("Region") or meta.get("HTTPHeaders", {}).get("x-amz-bucket-region")
        right = f"set AWS_REGION={region}" if region else "set AWS_REGION to the bucket's region"
        return StorageError(f"{where}: the bucket is in another region", right)
    if name in _BUSY or status >= 500 or status == 429:
        return StorageUnavailable(f"{where}: the service answered {status} {name}".rstrip())
    return StorageError(f"{where}: {error.operation_name}: {name} {said}".rstrip())


def _of_connection(error: BotoCoreError, where: str) -> StorageError:
    from botocore.exceptions import (
        ConnectTimeoutError,
        EndpointConnectionError,
        ProxyConnectionError,
        SSLError,
    )

    if isinstance(error, SSLError):
        return StorageError(
            f"{where}: no trusted TLS connection to the service",
            "check --endpoint-url, and AWS_CA_BUNDLE where a proxy has its own certificates",
        )
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError | ProxyConnectionError):
        return StorageUnreachable(
            f"{where}: no connection to the service",
            "check the network, --endpoint-url and AWS_REGION",
        )
    return StorageUnavailable(f"{where}: the connection broke ({type(error).__name__})")


def _of_setup(error: BotoCoreError, where: str) -> StorageError | InputError:
    from botocore import exceptions as boto

    if isinstance(error, boto.ConnectionError):
        return _of_connection(error, where)
    if isinstance(error, boto.NoCredentialsError):
        return CredentialsError(f"{where}: no AWS credentials were found", _NO_KEYS_HINT)
    if isinstance(error, boto.ParamValidationError | boto.InvalidRegionError):
        return InputError(f"{where}: {' '.join(str(error).split())[:200]}")
    kinds = (
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.ConfigNotFound,
        boto.ProfileNotFound,
        boto.UnauthorizedSSOTokenError,
        boto.SSOTokenLoadError,
        boto.TokenRetrievalError,
    )
    if isinstance(error, kinds):
        said = " ".join(str(error).split())[:200]
        return CredentialsError(
            f"{where}: the AWS credentials can't be used: {said}", _NO_KEYS_HINT
        )
    if isinstance(error, boto.IncompleteReadError | boto.ResponseStreamingError):
        return StorageUnavailable(f"{where}: the answer was cut short")
    return StorageError(f"{where}: {type(error).__name__}")
