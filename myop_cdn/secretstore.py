"""Secrets that are kept by a cloud's service, by URL, as whoever the cloud's own tools would be.

    aws-sm://NAME-OR-ARN[#KEY]             AWS Secrets Manager
    gcp-sm://PROJECT/NAME[/VERSION][#KEY]  Google Secret Manager
    az-kv://VAULT/NAME[/VERSION][#KEY]     Azure Key Vault

KEY is a member of a secret that is a JSON object. Sources: the services' API references
(`GetSecretValue`; `projects.secrets.versions.access`; "Get Secret", version 7.4).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol, cast

from myop_cdn.azurelogin import AzureLogin
from myop_cdn.errors import InputError, SecretError
from myop_cdn.retry import Retries, RetryPolicy
from myop_cdn.text import shown, shown_url
from myop_cdn.transport import Limits, Transport, TransportError, parse_base_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from myop_cdn.transport import Response

MAX_BYTES = 64 * 1024  # of a secret: as much as a file of one may have
_POLICY = RetryPolicy(attempts=3, first_pause=0.25, request_seconds=40.0)
_BUSY = (408, 429, 500, 502, 503, 504)
# A secret comes with its base64, and with what the service has to say of it.
_LIMITS = Limits(connect_seconds=5.0, silence_seconds=10.0, total_seconds=20.0, body_bytes=2**18)
_GOOGLE = "https://secretmanager.googleapis.com"
_GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_VAULT = "https://{}"
# A login's token is sent to Azure's own hosts alone.
_VAULT_HOSTS = (".vault.azure.net", ".vault.azure.cn", ".vault.usgovcloudapi.net")
_VAULT_VERSION = "7.4"
_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):\d{12}:secret:.+")


class SecretsManager(Protocol):
    """The part of the SDK's client that is used."""

    def get_secret_value(self, **parameters: str) -> Mapping[str, Any]:
        """The secret `SecretId`."""

    def close(self) -> None:
        """Close its connections."""


def is_url(name: str) -> bool:
    """Whether `name` is meant for the URL of a service's secret, and not for a file's name."""
    return name.partition("://")[0].lower() in _STORES and "://" in name


def read(url: str) -> bytes:
    """The secret at `url`, which `is_url`.

    Raises InputError for a URL that is not of the form above; SecretError, StorageError where the
    service does not give it, each with one line that holds no part of it.
    """
    scheme, _, rest = url.partition("://")
    where, hash_, key = rest.partition("#")
    name = shown_url(f"{scheme.lower()}://{where}")
    form, reader = _STORES[scheme.lower()]
    match = re.fullmatch(form, where, re.ASCII)
    if match is None or (hash_ and not key):
        raise InputError(f"{name} is not the URL of a secret", _HINT)
    data = reader(name, match)
    if hash_:
        data = _member(name, data, key)
    if len(data) > MAX_BYTES:
        raise SecretError(f"{name} has more than {MAX_BYTES >> 10} KiB: it is not a key")
    return data


def _member(name: str, data: bytes, key: str) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SecretError(f"{name} is not a JSON object, so it has no member {shown(key)!r}")
    if not isinstance(value.get(key), str):
        raise SecretError(f"{name} has no member {shown(key)!r} that is a string")
    return str(value[key]).encode("utf-8", "surrogatepass")


def _from_aws(name: str, match: re.Match[str]) -> bytes:
    from botocore.config import Config
    from botocore.exceptions import ClientError

    from myop_cdn.storage.s3.access import sdk_session
    from myop_cdn.storage.s3.errors import sdk_errors

    arn = _ARN.fullmatch(match[0])
    config = Config(
        connect_timeout=5,
        read_timeout=10,
        retries={"total_max_attempts": _POLICY.attempts, "mode": "standard"},
    )
    with sdk_errors(name):
        session = sdk_session()
        region = arn[1] if arn else session.get_config_variable("region")
        region = region or os.environ.get("AWS_REGION")
        if not region:
            raise SecretError(f"{name}: no AWS region is set", "set AWS_REGION, or give the ARN")
        made = session.create_client("secretsmanager", region_name=region, config=config)
        client = cast("SecretsManager", made)  # botocore's types know what all services have
        try:
            answer = client.get_secret_value(SecretId=match[0])
        except ClientError as error:
            code = shown(error.response.get("Error", {}).get("Code", ""))
            raise SecretError(
                f"{name}: AWS Secrets Manager refused it ({code})",
                "check the name and the region, and allow secretsmanager:GetSecretValue, and "
                "kms:Decrypt for a key of your own",
            ) from None
        finally:
            client.close()
    text, binary = answer.get("SecretString"), answer.get("SecretBinary")
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(binary or b"")


def _from_google(name: str, match: re.Match[str]) -> bytes:
    from myop_cdn.storage.gcs.credentials import Authorization

    project, secret, version = match.groups()
    target = f"/v1/projects/{project}/secrets/{secret}/versions/{version or 'latest'}:access"
    with closing(Authorization(name, _GOOGLE_SCOPE)) as authorization:
        headers = authorization.headers()
    base = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER") or _GOOGLE
    answer = _ask(name, base, target, headers, "grant roles/secretmanager.secretAccessor")
    payload = answer.get("payload")
    try:
        return base64.b64decode(payload["data"], validate=True)  # type: ignore[index]
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise SecretError(f"{name}: the service's answer holds no secret") from None


def _from_azure(name: str, match: re.Match[str]) -> bytes:
    vault, secret, version = match.groups()
    host = vault.lower() if "." in vault else vault + _VAULT_HOSTS[0]
    if not host.endswith(_VAULT_HOSTS):
        raise InputError(f"{name}: {host} is not one of Azure's key vaults", _HINT)
    target = f"/secrets/{secret}{'/' + version if version else ''}?api-version={_VAULT_VERSION}"
    token = AzureLogin(name, f"https://{host.partition('.')[2]}/.default").token()
    headers = {"Authorization": f"Bearer {token}"}
    answer = _ask(name, _VAULT.format(host), target, headers, "grant Key Vault Secrets User")
    if not isinstance(answer.get("value"), str):
        raise SecretError(f"{name}: the service's answer holds no secret")
    return str(answer["value"]).encode("utf-8", "surrogatepass")


def _ask(
    name: str, base: str, target: str, headers: Mapping[str, str], right: str
) -> Mapping[str, Any]:
    """The JSON object that the service answers. right: what to do where it is not allowed."""
    try:
        endpoint, path = parse_base_url(base)
    except ValueError as error:
        raise InputError(f"{name}: the address of the service is {error}") from None

    def attempt() -> Response:
        try:
            response = transport.request("GET", path + target, {**headers, "Accept": "*/*"})
        except TransportError as error:
            what, hint = f"{name}: no answer: the service {error.phrase}", error.hint
            temporary = error.temporary
            raise SecretError(what, hint or "check the network", is_temporary=temporary) from None
        if response.status in _BUSY:
            what, after = f"{name}: the service answered {response.status}", response.retry_after()
            raise SecretError(what, is_temporary=True, retry_after=after)
        return response

    with closing(Transport(endpoint, _LIMITS)) as transport:
        response = Retries(_POLICY).call(attempt)
    if response.status in (401, 403):
        raise SecretError(f"{name}: reading it is not allowed ({response.status})", right)
    if response.status == 404:
        raise SecretError(f"{name}: there is no such secret, or no such version of it")
    if response.status != 200:
        raise SecretError(f"{name}: the service answered {response.status}")
    try:
        value = json.loads(response.body)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


_STORES: dict[str, tuple[str, Callable[[str, re.Match[str]], bytes]]] = {
    "aws-sm": (r"[\w/+=.@:-]{1,2048}", _from_aws),
    "gcp-sm": (r"([a-z0-9.:-]{1,100})/([\w-]{1,255})(?:/([\w-]{1,63}))?", _from_google),
    "az-kv": (
        r"([A-Za-z0-9.-]{3,127})/([A-Za-z0-9-]{1,127})(?:/([0-9A-Za-z]{1,64}))?",
        _from_azure,
    ),
}
_HINT = (
    "write aws-sm://NAME-OR-ARN, gcp-sm://PROJECT/NAME[/VERSION] or az-kv://VAULT/NAME[/VERSION], "
    "and #KEY for a member of a JSON object"
)
