"""What went wrong at S3, in the words of this program. The codes are those of the S3 API
Reference ("Error responses") and of the STS API Reference.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from myop_cdn.errors import (
    CredentialsError,
    MyopCdnError,
    StorageError,
    StorageUnavailable,
    StorageUnreachable,
)
from myop_cdn.storage.flat_xml import flat
from myop_cdn.storage.responses import Service
from myop_cdn.text import shown, without_credentials
from myop_cdn.transport import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.exceptions import BotoCoreError, ClientError

NO_KEYS_HINT = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or let the CI system "
    "assume a role (AWS_ROLE_ARN with AWS_WEB_IDENTITY_TOKEN_FILE)"
)
_SSO_HINT = "run aws sso login, with --profile where AWS_PROFILE names one"
SERVICE = Service(
    container="bucket",
    credentials="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; a session "
    "may have expired",
    access="myop-cdn help iam has the smallest policy that is enough",
    network="check the network, --endpoint-url and AWS_REGION",
    unknown=frozenset(
        {
            "ExpiredToken", "ExpiredTokenException", "IDPRejectedClaim", "InvalidAccessKeyId",
            "InvalidClientTokenId", "InvalidIdentityToken", "InvalidToken", "NotSignedUp",
            "RequestExpired", "SignatureDoesNotMatch", "TokenRefreshRequired",
            "UnrecognizedClientException",
        }
    ),
    busy=frozenset(
        {
            "InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable",
            "SlowDown", "TemporaryRedirect", "Throttling", "ThrottlingException",
            "TooManyRequestsException",
            # The body that arrived is not the one that was sent.
            "BadDigest", "IncompleteBody",
        }
    ),
)  # fmt: skip
REGION_CODES = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect",
     "TemporaryRedirect"}
)  # fmt: skip


def error_fields(response: Response) -> dict[str, str]:
    """The elements of a refusal's body, `Code` and `Message` among them; none where it has no
    readable one (a HEAD's, a proxy's).
    """
    try:
        return flat(response.body).fields
    except ValueError:
        return {}


def refusal(response: Response, where: str, *, conditional: bool = False) -> StorageError:
    """The error that a refusing response stands for. conditional: whether the request had a
    condition, which is then what a 404 or 409 is about.
    """
    fields = error_fields(response)
    code, status = fields.get("Code", ""), response.status
    if code == "RequestTimeTooSkewed":
        return CredentialsError(f"{where}: this machine's clock is wrong", "set the clock")
    if code in REGION_CODES - {"TemporaryRedirect"} or status == 301:
        region = shown(fields.get("Region") or response.headers.get("x-amz-bucket-region", ""))
        right = f"set AWS_REGION={region}" if region else "set AWS_REGION to the bucket's region"
        return StorageError(f"{where}: the bucket is in another region", right)
    if code == "AccessControlListNotSupported":
        return StorageError(
            f"{where}: the bucket does not take ACLs", "leave --acl out; a policy says who may read"
        )
    return SERVICE.refusal(
        where,
        response,
        code,
        fields.get("Message", ""),
        conditional=conditional,
        about_container=code == "NoSuchBucket",
    )


@contextmanager
def sdk_errors(where: str) -> Iterator[None]:
    """The one place where what the SDK raises becomes a StorageError."""
    try:
        yield
    except MyopCdnError:
        raise
    except OSError as error:
        what = f"{error.filename} can't be read" if error.filename else "a file can't be read"
        raise CredentialsError(
            f"{where}: the AWS credentials can't be used: {shown(what, 200)}: {error.strerror}",
            NO_KEYS_HINT,
        ) from None
    except Exception as error:
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, ClientError):
            raise _of_service(error, where) from None
        if isinstance(error, BotoCoreError | ValueError):  # boto3's word for what is not a URL
            raise _of_setup(error, where) from None
        raise


def _of_service(error: ClientError, where: str) -> StorageError:
    details = error.response.get("Error", {})
    code, message = shown(details.get("Code", "")), shown(details.get("Message", ""), 200)
    if error.operation_name.startswith(("AssumeRole", "GetRoleCredentials")):
        return CredentialsError(
            f"{where}: the role could not be assumed ({code}: {message})",
            "check AWS_ROLE_ARN and the role's trust policy",
        )
    response = Response(
        error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0), {}, b""
    )
    about = f"{where}: {error.operation_name}"
    return SERVICE.refusal(about, response, code, message, about_container=code == "NoSuchBucket")


def _of_setup(error: BotoCoreError | ValueError, where: str) -> StorageError:
    from botocore import exceptions as boto

    said = shown(without_credentials(" ".join(str(error).split())), 200)
    if isinstance(error, boto.NoCredentialsError):
        return CredentialsError(f"{where}: no AWS credentials were found", NO_KEYS_HINT)
    if isinstance(error, boto.SSLError):
        return StorageError(
            f"{where}: the service has a certificate that can't be verified",
            "SSL_CERT_FILE names a file of certificates to trust, a proxy's own for instance",
        )
    if isinstance(
        error,
        boto.EndpointConnectionError | boto.ConnectTimeoutError | boto.ProxyConnectionError,
    ):
        return StorageUnreachable(f"{where}: the service can't be reached", SERVICE.network)
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError):
        return StorageUnavailable(f"{where}: the connection broke ({type(error).__name__})")
    kinds = (
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.ConfigNotFound,
        boto.ConfigParseError,
        boto.ProfileNotFound,
    )
    sso = (boto.UnauthorizedSSOTokenError, boto.SSOTokenLoadError, boto.TokenRetrievalError)
    if isinstance(error, (*kinds, *sso)):
        hint = _SSO_HINT if isinstance(error, sso) else NO_KEYS_HINT
        return CredentialsError(f"{where}: the AWS credentials can't be used: {said}", hint)
    return StorageError(f"{where}: the AWS SDK can't say where the bucket is: {said}")
