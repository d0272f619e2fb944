"""`az://container[/prefix]` and `https://ACCOUNT.blob.core.windows.net/container[/prefix]`.

Azure Blob Storage, by its REST API; `account.py` says where account and credentials come from.

Facts from the REST API reference: Put Blob checks `x-ms-blob-content-md5` and keeps it; a blob's
ETag changes with its content and its headers; creating a blob that is there answers 409; Copy Blob
keeps headers and metadata, and is done when it answers within one account, mostly; a listing is in
order of the names; service properties that are not sent stay as they are.
"""

from __future__ import annotations

import re
import threading
import time
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from myop_cdn import names
from myop_cdn.errors import InputError, PreconditionFailed, StorageError, StorageUnavailable
from myop_cdn.storage.azure.account import CREDENTIALS_HINT, find_account
from myop_cdn.storage.base import (
    MAX_OBJECT_BYTES,
    SHA256_METADATA,
    Blob,
    Headers,
    ObjectInfo,
    Page,
    hex_md5,
)
from myop_cdn.storage.flat_xml import flat
from myop_cdn.storage.location import Location, check_prefix
from myop_cdn.storage.responses import FACTS_BYTES, PAGE_BYTES, Service, content, readable
from myop_cdn.text import shown_url
from myop_cdn.transport import Transport
from myop_cdn.transport.dates import read as read_date

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from myop_cdn.storage.azure.account import Account
    from myop_cdn.storage.base import Backend, Body, OpenOptions, Precondition
    from myop_cdn.transport import Response

CONTAINER_PATTERN = r"\$web|\$root|[a-z0-9](?:[a-z0-9]|-(?=[a-z0-9])){2,62}"
CONTAINER_RULE = "a container's name has 3 to 63 lower-case letters, digits and single hyphens"
PAGE_SIZE = 5000  # the most that Azure lists at once
SERVICE = Service(
    container="container",
    credentials=CREDENTIALS_HINT,
    access="the role Storage Blob Data Contributor is enough",
    network="check the account's name (AZURE_STORAGE_ACCOUNT) and the network",
    unknown=frozenset(
        ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation")
    ),
    busy=frozenset(("ServerBusy", "InternalError", "OperationTimedOut", "Md5Mismatch")),
)
_TIERS = ("Hot", "Cool", "Cold")
_META = "x-ms-meta-"
_CORS_MAX_AGE = 86400
_COPY_LOOKS, _COPY_SECONDS = 120, 0.5  # how often, and how long apart, a pending copy is looked at


class AzureBackend:
    """The blobs of one container below a prefix. A blob's version is its ETag.

    endpoint: the account's URL, or None where the environment names the account. tier: the access
    tier of what is written, "" for the account's. sleep: waits for a pending copy.
    """

    keeps_headers = True
    delete_batch = 1

    def __init__(
        self,
        url: str,
        location: Location,
        endpoint: str | None,
        tier: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self.origin_path = f"/{location.bucket}/{location.root}"
        self.page_size = PAGE_SIZE
        self._location = location
        self._given = endpoint
        self._tier = {"x-ms-access-tier": tier} if tier else {}
        self._sleep = sleep
        self._opened: tuple[Account, Transport] | None = None
        self._lock = threading.Lock()

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:
        """A page of List Blobs."""
        size = min(self.page_size, limit or self.page_size)
        fields = {"restype": "container", "comp": "list", "include": "metadata"}
        fields["maxresults"] = str(size)
        if start := self._location.full(prefix):
            fields["prefix"] = start
        if cursor:
            fields["marker"] = cursor
        response = self._request("GET", self._container, fields, limit=PAGE_BYTES)
        if response.status != 200:
            raise _refusal(self.url, response)
        with readable(self.url):
            page = flat(response.body, "Blob")
            objects = [self._listed(item) for item in page.items]
            cursor = page.fields.get("NextMarker") or None
        return Page([info for info in objects if info.key], cursor)

    def head(self, key: str) -> ObjectInfo | None:
        """Get Blob Properties."""
        response = self._request("HEAD", self._blob(key), key=key)
        if self._is_missing(response, key):
            return None
        with readable(self._where(key)):
            return _info(key, response)

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """Get Blob, not decoded."""
        response = self._request("GET", self._blob(key), key=key, limit=max(limit, FACTS_BYTES))
        if self._is_missing(response, key):
            return None
        with readable(self._where(key)):
            return Blob(
                content(self._where(key), response, limit), _version(response), _headers(response)
            )

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """Put Blob in one request, its content checked by the service (MD5)."""
        sent = {
            "x-ms-blob-type": "BlockBlob",
            "x-ms-blob-content-md5": body.content_md5,
            **{_META + name: value for name, value in (metadata or {}).items()},
            _META + SHA256_METADATA: body.sha256,
            **_condition(precondition),
            **self._tier,
        }
        for name, value in (
            ("content-type", headers.content_type),
            ("cache-control", headers.cache_control),
            ("content-encoding", headers.content_encoding),
        ):
            if value:
                sent[f"x-ms-blob-{name}"] = value
        response = self._request("PUT", self._blob(key), {}, sent, body.data, key)
        if response.status != 201:
            conditional = precondition is not None
            raise _refusal(self._where(key), response, conditional=conditional)
        with readable(self._where(key)):
            return _version(response)

    def can_copy_from(self, source: Backend) -> bool:
        """Whether it is in the same account."""
        if not isinstance(source, AzureBackend):
            return False
        ours, theirs = self._account, source._account
        return (ours.endpoint, ours.path) == (theirs.endpoint, theirs.path)

    def copy(
        self,
        source: Backend,
        source_key: str,
        source_version: str,
        key: str,
        precondition: Precondition | None = None,
    ) -> str:
        """Copy Blob, waited for where the service does not do it at once."""
        assert isinstance(source, AzureBackend)
        account = source._account
        sent = {
            "x-ms-copy-source": account.endpoint.url
            + account.path
            + source._blob(source_key)
            + account.signer.source_query,
            "x-ms-source-if-match": f'"{source_version}"',
            **_condition(precondition),
            **self._tier,
        }
        response = self._request("PUT", self._blob(key), {}, sent, key=key)
        if response.status != 202:
            raise _refusal(self._where(key), response, conditional=True)
        for _ in range(_COPY_LOOKS):
            status = response.headers.get("x-ms-copy-status", "success")
            if status != "pending":
                break
            self._sleep(_COPY_SECONDS)
            response = self._request("HEAD", self._blob(key), key=key)
        if status != "success":
            raise StorageUnavailable(f"{self._where(key)}: the copy is {names.shown(status)}")
        with readable(self._where(key)):
            return _version(response)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Delete Blob."""
        for key in keys:
            self._delete(key, {})
        return {}

    def delete_version(self, key: str, version: str) -> None:
        """Delete Blob on the condition that the ETag is this one."""
        try:
            self._delete(key, {"If-Match": f'"{version}"'})
        except PreconditionFailed:
            if self.head(key) is not None:  # a blob that is gone is of no version
                raise

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Add one rule to the account's CORS rules for the origins it lacks."""
        rules = self._rules()
        missing = _missing(rules, origins)
        if not missing:
            return False
        rule = {
            "AllowedOrigins": ",".join(missing),
            "AllowedMethods": "GET,HEAD",
            "MaxAgeInSeconds": str(_CORS_MAX_AGE),
            "ExposedHeaders": "*",
            "AllowedHeaders": "*",
        }
        sent = {"Content-Type": "application/xml"}
        response = self._request("PUT", "/", _PROPERTIES, sent, _written([*rules, rule]))
        if response.status != 202:
            raise _refusal(self.url, response)
        return True

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """Whether the account's CORS rules lack some."""
        return bool(_missing(self._rules(), origins))

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened[1].close()

    @property
    def _account(self) -> Account:
        return self._open()[0]

    @property
    def _container(self) -> str:
        return f"/{quote(self._location.bucket)}"

    def _open(self) -> tuple[Account, Transport]:
        with self._lock:
            if self._opened is None:
                account = find_account(self.url, self._given)
                try:
                    self._opened = account, Transport(account.endpoint)
                except InputError as error:  # a proxy that is not one
                    raise StorageError(f"{self.url}: {error.message}", error.hint) from None
            return self._opened

    def _where(self, key: str) -> str:
        return f"{self.url}: {key}" if key else self.url

    def _blob(self, key: str) -> str:
        return f"{self._container}/{quote(self._location.full(key), safe='~/')}"

    def _request(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        key: str = "",
        limit: int = FACTS_BYTES,
    ) -> Response:
        account, transport = self._open()
        target, sent = account.signer.sign(
            method, account.path + path, fields or {}, headers or {}, len(body)
        )
        with SERVICE.answering(self._where(key), transport.endpoint.netloc, limit):
            return transport.request(method, target, sent, body, limit)

    def _delete(self, key: str, condition: Mapping[str, str]) -> None:
        response = self._request("DELETE", self._blob(key), {}, condition, key=key)
        if response.status != 202:
            self._is_missing(response, key)

    def _is_missing(self, response: Response, key: str) -> bool:
        """Whether there is no such blob. Raises StorageError for any other refusal."""
        if response.status == 200:
            return False
        if response.status == 404 and "Container" not in _code(response):
            return True
        raise _refusal(self._where(key), response)

    def _listed(self, item: Mapping[str, str]) -> ObjectInfo:
        about, metadata = "Properties/", "Metadata/"
        inferred = item.get(about + "AccessTierInferred") == "true"
        return ObjectInfo(
            self._location.relative(item["Name"]),
            int(item[about + "Content-Length"]),
            item[about + "Etag"].strip('"'),
            md5=hex_md5(item.get(about + "Content-MD5")),
            metadata={
                name.removeprefix(metadata).lower(): value
                for name, value in item.items()
                if name.startswith(metadata)
            },
            headers=Headers(
                item.get(about + "Content-Type", ""),
                item.get(about + "Cache-Control", ""),
                item.get(about + "Content-Encoding", ""),
            ),
            modified=read_date(item.get(about + "Last-Modified")),
            storage_class="" if inferred else item.get(about + "AccessTier", ""),
        )

    def _rules(self) -> Sequence[Mapping[str, str]]:
        response = self._request("GET", "/", _PROPERTIES)
        if response.status != 200:
            raise _refusal(self.url, response)
        with readable(self.url):
            return flat(response.body, "CorsRule").items


_PROPERTIES = {"restype": "service", "comp": "properties"}


def _condition(precondition: Precondition | None) -> Mapping[str, str]:
    if precondition is None:
        return {}
    if precondition.version is None:
        return {"If-None-Match": "*"}
    return {"If-Match": f'"{precondition.version}"'}


def _refusal(where: str, response: Response, *, conditional: bool = False) -> StorageError:
    code = _code(response)
    missing = code.startswith("Container") and response.status in (404, 409)
    return SERVICE.refusal(where, response, code, conditional=conditional, about_container=missing)


def _code(response: Response) -> str:
    """The service's code for a refusal; "" where it gives none."""
    if code := response.headers.get("x-ms-error-code"):
        return code
    try:
        return flat(response.body).fields.get("Code", "")
    except ValueError:
        return ""


def _version(response: Response) -> str:
    return response.headers["etag"].strip('"')


def _headers(response: Response) -> Headers:
    return Headers(
        response.headers.get("content-type", ""),
        response.headers.get("cache-control", ""),
        response.headers.get("content-encoding", ""),
    )


def _info(key: str, response: Response) -> ObjectInfo:
    headers = response.headers
    inferred = headers.get("x-ms-access-tier-inferred") == "true"
    return ObjectInfo(
        key,
        int(headers["content-length"]),
        _version(response),
        md5=hex_md5(headers.get("content-md5")),
        metadata={
            name.removeprefix(_META): value
            for name, value in headers.items()
            if name.startswith(_META)
        },
        headers=_headers(response),
        modified=read_date(headers.get("last-modified")),
        storage_class="" if inferred else headers.get("x-ms-access-tier", ""),
    )


def _missing(rules: Sequence[Mapping[str, str]], origins: Sequence[str]) -> Sequence[str]:
    """The origins that none of the rules lets read."""
    return [origin for origin in origins if not any(_allows(rule, origin) for rule in rules)]


def _allows(rule: Mapping[str, str], origin: str) -> bool:
    methods = {method.strip() for method in rule.get("AllowedMethods", "").split(",")}
    allowed = {one.strip() for one in rule.get("AllowedOrigins", "").split(",")}
    return {"GET", "HEAD"} <= methods and not allowed.isdisjoint({origin, "*"})


def _written(rules: Sequence[Mapping[str, str]]) -> bytes:
    """The service's properties with these CORS rules and nothing else."""
    items = (
        "".join(f"<{name}>{escape(value)}</{name}>" for name, value in rule.items())
        for rule in rules
    )
    body = "".join(f"<CorsRule>{item}</CorsRule>" for item in items)
    start = '<?xml version="1.0" encoding="utf-8"?><StorageServiceProperties><Cors>'
    return f"{start}{body}</Cors></StorageServiceProperties>".encode()


def open_azure(url: str, options: OpenOptions) -> AzureBackend:
    """The backend for an `az://` URL. Raises InputError for a malformed one."""
    location = Location.parse(url, CONTAINER_PATTERN, "container", CONTAINER_RULE)
    return AzureBackend(location.url, location, None, _tier(location.url, options))


def open_https(url: str, options: OpenOptions) -> AzureBackend:
    """The backend for the `https://` URL of a container, or of a part of one.

    Raises InputError for any other URL; one with a query or a password is not shown.
    """
    host, _, rest = url.removeprefix("https://").partition("/")
    if "@" in host or "?" in url or "#" in url:
        raise InputError(
            "an https:// destination takes no query and no password",
            "a shared access signature goes into AZURE_STORAGE_SAS_TOKEN",
        )
    if re.fullmatch(r"[a-z0-9]{3,24}\.blob\.core\.[a-z.]+", host) is None:
        raise InputError(
            f"{shown_url(url)} is not a destination",
            "of https:// URLs only https://ACCOUNT.blob.core.windows.net/container[/prefix] is",
        )
    container, _, prefix = rest.partition("/")
    if re.fullmatch(CONTAINER_PATTERN, container) is None:
        raise InputError(f"{shown_url(url)}: that is not a container name", CONTAINER_RULE)
    location = Location("https", container, check_prefix(prefix, url))
    endpoint = f"https://{host}"
    shown = f"{endpoint}/{container}" + (f"/{quote(location.prefix)}" if location.prefix else "")
    return AzureBackend(shown, location, endpoint, _tier(shown, options))


def _tier(url: str, options: OpenOptions) -> str:
    if options.acl:
        raise InputError(
            f"{url}: Azure has no ACL for a blob", "who may read is a matter of the container"
        )
    tier = options.storage_class.capitalize()
    if tier and tier not in _TIERS:
        raise InputError(
            f"{url}: Azure has no access tier {names.shown(options.storage_class)!r} to serve from",
            f"one of {', '.join(_TIERS)}",
        )
    return tier
