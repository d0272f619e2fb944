"""`az://container[/prefix]` and `https://ACCOUNT.blob.core.windows.net/container[/prefix]`.

Azure Blob Storage; `account.py` says where account and credentials come from. The SDK is
imported at the first request.

Facts from the REST API reference: Put Blob checks `x-ms-blob-content-md5` and keeps it; a blob's
ETag changes with its content and its headers; creating a blob that is there answers 409.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from myop_cdn import names
from myop_cdn.errors import InputError
from myop_cdn.storage.azure.account import find_account
from myop_cdn.storage.azure.errors import mapped
from myop_cdn.storage.base import SHA256_METADATA, Blob, Headers, Listed, Page
from myop_cdn.storage.location import Location, check_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from azure.storage.blob import ContainerClient

    from myop_cdn.errors import StorageError
    from myop_cdn.storage.base import Body, Expect, OpenOptions

CONTAINER_PATTERN = r"\$web|\$root|[a-z0-9](?:[a-z0-9]|-(?=[a-z0-9])){1,62}"
PAGE_SIZE = 5000  # the most that Azure lists at once
_SINGLE_PUT = 256 * 1024 * 1024  # above it the SDK uploads in blocks, which have no MD5
_CORS_MAX_AGE = 86400


class AzureBackend:
    """The blobs of one container below a prefix. A blob's version is its ETag.

    endpoint: the account's URL, or None where the environment names the account.
    """

    keeps_headers = True
    delete_batch = 1

    def __init__(self, url: str, location: Location, endpoint: str | None, jobs: int) -> None:
        self.url = url
        self.location = location
        self.page_size = PAGE_SIZE
        self._endpoint = endpoint
        self._jobs = jobs
        self._opened: ContainerClient | None = None
        self._lock = threading.Lock()

    def list(self, cursor: str | None) -> Page:
        """A page of List Blobs."""
        with mapped(self.url):
            pages = self._container.list_blobs(
                name_starts_with=self.location.root or None,
                include=["metadata"],
                results_per_page=self.page_size,
            ).by_page(cursor or None)
            objects = [self._facts(item) for item in next(pages, ())]
            more = getattr(pages, "continuation_token", None)
            return Page([one for one in objects if one.key], more or None)

    def head(self, key: str) -> Listed | None:
        """Get Blob Properties."""
        from azure.core.exceptions import ResourceNotFoundError

        with mapped(self.url, key):
            try:
                found = self._container.get_blob_client(
                    self.location.full(key)
                ).get_blob_properties()
            except ResourceNotFoundError as error:
                if _is_about_container(error):
                    raise
                return None
            return self._facts(found)

    def get(self, key: str) -> Blob | None:
        """Get Blob, not decoded."""
        from azure.core.exceptions import ResourceNotFoundError

        with mapped(self.url, key):
            try:
                stream = self._container.download_blob(self.location.full(key), decompress=False)
                data = stream.readall()
            except ResourceNotFoundError as error:
                if _is_about_container(error):
                    raise
                return None
            facts = self._facts(stream.properties)
            return Blob(data, facts.version, facts.headers or Headers(""))

    def put(self, key: str, body: Body, headers: Headers, expect: Expect | None = None) -> str:
        """Put Blob in one request, its content checked by the service (MD5)."""
        from azure.core import MatchConditions
        from azure.storage.blob import ContentSettings

        condition: dict[str, Any] = {"overwrite": True}
        if expect is not None and expect.version is None:
            condition = {"overwrite": False}
        elif expect is not None:
            condition |= {
                "etag": f'"{expect.version}"',
                "match_condition": MatchConditions.IfNotModified,
            }
        settings = ContentSettings(
            content_type=headers.content_type,
            content_encoding=headers.content_encoding or None,
            cache_control=headers.cache_control or None,
            content_md5=bytearray.fromhex(body.md5),
        )
        with mapped(self.url, key, conditional=expect is not None):
            answer = self._container.get_blob_client(self.location.full(key)).upload_blob(
                body.data,
                length=len(body.data),
                content_settings=settings,
                metadata={SHA256_METADATA: body.sha256},
                **condition,
            )
        return str(answer["etag"]).strip('"')

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Delete Blob."""
        from azure.core.exceptions import ResourceNotFoundError

        for key in keys:
            with mapped(self.url, key):
                try:
                    self._container.delete_blob(self.location.full(key))
                except ResourceNotFoundError as error:
                    if _is_about_container(error):
                        raise
        return {}

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Add one rule to the account's CORS rules for the origins it lacks."""
        from azure.storage.blob import CorsRule

        with mapped(self.url):
            service = self._container._get_blob_service_client()
            rules, missing = _rules(service, origins)
            if not missing:
                return False
            rule = CorsRule(
                missing,
                ["GET", "HEAD"],
                allowed_headers=["*"],
                exposed_headers=["*"],
                max_age_in_seconds=_CORS_MAX_AGE,
            )
            service.set_service_properties(cors=[*rules, rule])
        return True

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """Whether the account's CORS rules lack some."""
        with mapped(self.url):
            return bool(_rules(self._container._get_blob_service_client(), origins)[1])

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()

    @property
    def _container(self) -> ContainerClient:
        with self._lock:
            if self._opened is None:
                self._opened = _open(self.url, self.location.bucket, self._endpoint, self._jobs)
            return self._opened

    def _facts(self, blob: Any) -> Listed:
        settings = blob.content_settings
        metadata = {name.lower(): value for name, value in (blob.metadata or {}).items()}
        return Listed(
            self.location.relative(blob.name),
            blob.size,
            blob.etag.strip('"'),
            md5=bytes(settings.content_md5).hex() if settings.content_md5 else None,
            sha256=metadata.get(SHA256_METADATA),
            headers=Headers(
                settings.content_type or "",
                settings.cache_control or "",
                settings.content_encoding or "",
            ),
            modified=blob.last_modified,
        )


def _is_about_container(error: Any) -> bool:
    return "Container" in str(getattr(error, "error_code", "") or "")


def _rules(service: Any, origins: Sequence[str]) -> tuple[list[Any], list[str]]:
    """The rules there are, and the origins that none of them lets read."""
    rules: list[Any] = list(service.get_service_properties().get("cors") or ())
    return rules, [one for one in origins if not any(_allows(rule, one) for rule in rules)]


def _allows(rule: Any, origin: str) -> bool:
    methods = {one.strip() for one in rule.allowed_methods.split(",")}
    origins = {one.strip() for one in rule.allowed_origins.split(",")}
    return {"GET", "HEAD"} <= methods and bool({origin, "*"} & origins)


def _open(url: str, container: str, endpoint: str | None, jobs: int) -> ContainerClient:
    import requests
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.blob import ContainerClient
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=jobs + 4))
    account = find_account(url, endpoint)
    return ContainerClient(
        account.endpoint,
        container,
        credential=account.credential,
        transport=RequestsTransport(session=session),
        retry_total=0,  # `Store` tries again, the same way for every service
        max_single_put_size=_SINGLE_PUT,
        connection_timeout=10,
        read_timeout=60,
    )


def open_azure(url: str, options: OpenOptions) -> AzureBackend:
    """The backend for an `az://` URL. Raises InputError for a malformed one."""
    location = Location.parse(url, CONTAINER_PATTERN)
    return AzureBackend(location.url, location, None, options.jobs)


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
            f"{names.shown(url)} is no destination",
            "of https:// URLs only https://ACCOUNT.blob.core.windows.net/container[/prefix] is",
        )
    container, _, prefix = rest.partition("/")
    if re.fullmatch(CONTAINER_PATTERN, container) is None:
        raise InputError(f"{names.shown(url)}: {names.shown(container)!r} is no container's name")
    location = Location("https", container, check_prefix(prefix, url))
    endpoint = f"https://{host}"
    shown = f"{endpoint}/{container}" + (f"/{quote(location.prefix)}" if location.prefix else "")
    return AzureBackend(shown, location, endpoint, options.jobs)
