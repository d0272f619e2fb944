"""Where S3 answers, and who asks: endpoint, region, credentials, certificates.

What the environment says plainly is read without the SDK, which takes longer to load than a
deploy that has nothing to do. Profiles, roles and everything that has to be fetched come from
the SDK's own chain. Whatever is out of the ordinary gives None here, and the SDK's client does
all the work: proxies, FIPS and dual-stack endpoints, other partitions than the public one,
settings of the configuration file that change how S3 is spoken to.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from myop_cdn.storage import certificates
from myop_cdn.storage.s3.sigv4 import Keys
from myop_cdn.wire import Origin
from myop_cdn.wire.proxies import proxy_for
from myop_cdn.wire.straight import straight

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

# botocore's partitions.json, "aws": the regions whose endpoints end in amazonaws.com.
_PUBLIC_REGION = re.compile(r"(us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-\d+")
# A name that can stand before the service's own in a certificate: no dots.
_HOST_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_SPECIAL_BUCKET = ("--x-s3", "--table-s3", ".mrap")
_SDK_VARIABLES = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_EXPIRATION",
)  # fmt: skip
_ODD_VARIABLES = (
    "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",
    "AWS_AUTH_SCHEME_PREFERENCE", "AWS_SIGV4A_SIGNING_REGION_SET", "AWS_DATA_PATH",
)  # fmt: skip
# Settings of a profile that say who asks, or nothing that concerns S3; others are the SDK's.
_PLAIN_SETTING = re.compile(
    "region|output|cli_.*|aws_(access_key_id|secret_access_key|session_token|account_id)|"
    "role_.*|source_profile|credential_.*|external_id|mfa_serial|duration_seconds|"
    "web_identity_token_file|sso_.*|sts_regional_endpoints|max_attempts|retry_mode|login_session"
)


@dataclass(frozen=True, slots=True)
class Place:
    """origin: the host that is asked. root: what a key's path begins with, percent-encoded.

    region: to sign for. keys: the credentials at this moment. ca_file: certificates to trust,
    None for those of the SDK.
    """

    origin: Origin
    root: str
    region: str
    keys: Callable[[], Keys]
    ca_file: str | None = None

    def context(self) -> ssl.SSLContext:
        """The TLS context. Raises StorageError where the file of certificates can't be read."""
        return certificates.context(self.ca_file)


def find_place(bucket: str, endpoint: str | None) -> Place | None:
    """Where `bucket` is asked for, or None where only the SDK can tell.

    endpoint: the URL of another service, None for Amazon's own. Raises what the SDK raises for
    credentials that can't be used.
    """
    if any(os.environ.get(name) for name in _ODD_VARIABLES) or bucket.endswith(_SPECIAL_BUCKET):
        return None
    who = _from_variables() or _from_sdk()
    if who is None:
        return None
    keys, region, ca_file = who
    where = _at_endpoint(bucket, endpoint) if endpoint else _at_amazon(bucket, region)
    if where is None or proxy_for(where[0].scheme, where[0].netloc):
        return None
    return Place(where[0], where[1], region or "us-east-1", keys, ca_file)


def _at_endpoint(bucket: str, endpoint: str) -> tuple[Origin, str] | None:
    way = straight(endpoint)
    if way is None or way[1] or ".amazonaws." in way[0].host:
        return None
    return way[0], f"/{bucket}/"


def _at_amazon(bucket: str, region: str | None) -> tuple[Origin, str] | None:
    if region is None or _PUBLIC_REGION.fullmatch(region) is None:
        return None
    host = f"s3.{region}.amazonaws.com"
    if _HOST_BUCKET.fullmatch(bucket):
        return Origin("https", f"{bucket}.{host}", 443), "/"
    return Origin("https", host, 443), f"/{bucket}/"


_Who = tuple["Callable[[], Keys]", str | None, str | None]


def _from_variables() -> _Who | None:
    """Credentials, region and certificates, where the environment alone decides on them."""
    get = os.environ.get
    access, secret = get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret or any(get(name) for name in _SDK_VARIABLES):
        return None
    files = (
        get("AWS_CONFIG_FILE") or "~/.aws/config",
        get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials",
    )
    if any(Path(file).expanduser().is_file() for file in files):
        return None
    keys = Keys(access, secret, get("AWS_SESSION_TOKEN") or get("AWS_SECURITY_TOKEN") or None)
    region = get("AWS_DEFAULT_REGION") or get("AWS_REGION") or None
    return (lambda: keys), region, get("AWS_CA_BUNDLE") or None


def _from_sdk() -> _Who | None:
    """The same by the SDK's chain. Raises what it raises for a profile that does not exist."""
    from botocore.session import Session

    session: Any = Session()
    settings: Mapping[str, Any] = session.get_scoped_config()
    if any(_PLAIN_SETTING.fullmatch(name) is None for name in settings):
        return None
    credentials = session.get_credentials()
    if credentials is None:
        return None

    def keys() -> Keys:
        frozen = credentials.get_frozen_credentials()
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)

    region = session.get_config_variable("region") or os.environ.get("AWS_REGION") or None
    return keys, region, os.environ.get("AWS_CA_BUNDLE") or None
