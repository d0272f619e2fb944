"""Where a bucket answers, and who asks: endpoint, region, credentials, certificates.

What the environment says plainly is read without the SDK, which takes longer to load than a
deploy that has nothing to do. Everything else comes from botocore: profiles, roles, web
identity, SSO and instances from its chain of credentials; other partitions, FIPS, dual-stack and
accelerated endpoints from its rules, by way of a request that is stopped before it is sent.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlsplit

from myop_cdn.errors import CredentialsError, StorageError
from myop_cdn.storage.s3.errors import NO_KEYS_HINT, sdk_errors
from myop_cdn.storage.s3.sigv4 import Keys
from myop_cdn.text import shown
from myop_cdn.transport import Endpoint, parse_base_url
from myop_cdn.transport.certificates import named_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSPreparedRequest
    from botocore.session import Session
    from mypy_boto3_s3 import S3Client

# botocore's partitions.json, "aws": the regions whose endpoints end in amazonaws.com.
_PUBLIC_REGION = re.compile(r"(us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-\d+")
_REGION = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")  # what botocore takes for one
_DEFAULT_REGION = "us-east-1"
# A name that can stand before the service's own in a certificate: no dots.
_HOST_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_OTHER_PROTOCOLS = {
    "--x-s3": "S3 Express One Zone",
    "--table-s3": "S3 Tables",
    ".mrap": "a multi-region access point",
}
_SDK_VARIABLES = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_EXPIRATION", "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT", "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "AWS_DATA_PATH",
)  # fmt: skip


class Site(NamedTuple):
    """Where a bucket answers. root: what a key's path begins with, percent-encoded."""

    endpoint: Endpoint
    root: str
    region: str


class Access(NamedTuple):
    """site: where the bucket answers, if it is in that region. region: the one to begin with.

    keys: the credentials at this moment. sdk: makes the SDK's client, for what is not an object.
    """

    site: Callable[[str], Site]
    region: str
    keys: Callable[[], Keys]
    sdk: Callable[[str], S3Client]


def find_access(url: str, bucket: str, endpoint: str | None) -> Access:
    """The access to `bucket`.

    url: the destination, for messages. endpoint: the URL of another service, None for Amazon's
    own. Raises StorageError, CredentialsError.
    """
    for ending, name in _OTHER_PROTOCOLS.items():
        if bucket.endswith(ending):
            raise StorageError(f"{url}: {name} is not supported", "name a general purpose bucket")
    return _by_variables(url, bucket, endpoint) or _by_sdk(url, bucket, endpoint)


def _by_variables(url: str, bucket: str, endpoint: str | None) -> Access | None:
    """The access where the environment alone decides on it."""
    get = os.environ.get
    access, secret = get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret or any(get(name) for name in _SDK_VARIABLES):
        return None
    files = (
        get("AWS_CONFIG_FILE") or "~/.aws/config",
        get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials",
    )
    # As the SDK: one that may not be looked at is not there.
    if any(os.path.isfile(os.path.expanduser(file)) for file in files):  # noqa: PTH111, PTH113
        return None
    region = _region(url, get("AWS_DEFAULT_REGION"), get("AWS_REGION"))
    if endpoint is None and _PUBLIC_REGION.fullmatch(region) is None:
        return None
    keys = Keys(access, secret, get("AWS_SESSION_TOKEN") or get("AWS_SECURITY_TOKEN") or None)
    site = _at_endpoint(bucket, endpoint) if endpoint else _at_amazon(bucket)

    def sdk(region: str) -> S3Client:
        with sdk_errors(url):
            return _client(sdk_session(), region, endpoint)

    return Access(site, region, lambda: keys, sdk)


def _at_endpoint(bucket: str, endpoint: str) -> Callable[[str], Site]:
    host, path = parse_base_url(endpoint)
    return lambda region: Site(host, f"{path}/{bucket}/", region)


def _at_amazon(bucket: str) -> Callable[[str], Site]:
    def site(region: str) -> Site:
        host = f"s3.{region}.amazonaws.com"
        if _HOST_BUCKET.fullmatch(bucket):
            return Site(Endpoint("https", f"{bucket}.{host}", 443), "/", region)
        return Site(Endpoint("https", host, 443), f"/{bucket}/", region)

    return site


def _by_sdk(url: str, bucket: str, endpoint: str | None) -> Access:
    with sdk_errors(url):
        session = sdk_session()
        credentials = session.get_credentials()
        named = session.get_config_variable("region")
    if credentials is None:
        raise CredentialsError(f"{url}: no AWS credentials were found", NO_KEYS_HINT)
    region = _region(url, named, os.environ.get("AWS_REGION"))

    def keys() -> Keys:
        with sdk_errors(url):
            frozen = credentials.get_frozen_credentials()
        return Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token)

    def sdk(region: str) -> S3Client:
        with sdk_errors(url):
            return _client(session, region, endpoint)

    def site(region: str) -> Site:
        with sdk_errors(url):
            return _site_of_sdk(sdk(region), bucket)

    plain = endpoint and not (session.get_scoped_config().get("s3") or {})
    return Access(_at_endpoint(bucket, endpoint) if endpoint and plain else site, region, keys, sdk)


def _site_of_sdk(client: S3Client, bucket: str) -> Site:
    """Where the SDK's client is about to send a request to when it is stopped."""
    try:
        client.meta.events.register("before-send.s3", _stop)
        client.head_object(Bucket=bucket, Key="k")
    except _Stopped as stopped:
        parts = urlsplit(stopped.request.url)
        endpoint, path = parse_base_url(f"{parts.scheme}://{parts.netloc}{parts.path}")
        _, _, scope = str(stopped.request.headers["Authorization"]).partition("Credential=")
        return Site(endpoint, path.removesuffix("k"), scope.split("/")[2])
    finally:
        client.close()
    raise AssertionError("the event comes before each request")


class _Stopped(Exception):
    """Before the SDK sends a request."""

    def __init__(self, request: AWSPreparedRequest) -> None:
        super().__init__()
        self.request = request


def _stop(request: AWSPreparedRequest, **_: object) -> None:
    raise _Stopped(request)


def _region(url: str, *candidates: str | None) -> str:
    """The first region that is named. Without one a bucket's own is found by its redirects."""
    for candidate in candidates:
        if region := (candidate or "").strip():
            if not is_region(region):
                raise StorageError(
                    f"{url}: {shown(region)!r} is not the name of a region",
                    "set AWS_REGION to the bucket's, eu-west-1 for instance",
                )
            return region
    return _DEFAULT_REGION


def is_region(name: str) -> bool:
    """Whether that can be the name of a region, and a part of a host's."""
    return _REGION.fullmatch(name) is not None


def sdk_session() -> Session:
    """A session of the SDK that trusts the certificates that everything else does."""
    from botocore.session import Session

    session = Session()
    if not os.environ.get("AWS_CA_BUNDLE") and (file := named_file()):
        session.set_config_variable("ca_bundle", file)
    return session


def _client(session: Session, region: str, endpoint: str | None) -> S3Client:
    from botocore.config import Config

    # Look-alikes seldom have a name for each bucket; a profile may say that one has.
    chosen = (session.get_scoped_config().get("s3") or {}).get("addressing_style")
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"} if endpoint and not chosen else None,
        # `Store` tries again, the same way for every service.
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=5,
        read_timeout=10,
    )
    client = session.create_client("s3", region_name=region, endpoint_url=endpoint, config=config)
    return cast("S3Client", client)  # botocore's own types know only what all services have
