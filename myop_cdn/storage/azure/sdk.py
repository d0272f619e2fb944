"""Blobs by Azure's own library: for proxies, for credentials of azure-identity, and whatever
else `signing.py` does not know.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from myop_cdn.storage.azure.errors import is_about_container, mapped
from myop_cdn.storage.base import SHA256_METADATA, Blob, Headers, ObjectInfo, Page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from azure.storage.blob import ContainerClient

    from myop_cdn.errors import StorageError
    from myop_cdn.storage.azure.account import Account
    from myop_cdn.storage.base import Body, Precondition
    from myop_cdn.storage.location import Location

_SINGLE_PUT = 256 * 1024 * 1024  # above it the SDK uploads in blocks, which have no MD5


class SdkObjects:
    """See `Objects`. account: finds the account. jobs: how many connections are kept."""

    def __init__(
        self, url: str, location: Location, account: Callable[[], Account], jobs: int
    ) -> None:
        self._url = url
        self._location = location
        self._account = account
        self._jobs = jobs
        self._opened: ContainerClient | None = None
        self._lock = threading.Lock()

    @property
    def container(self) -> ContainerClient:
        """The library's client of the container, opened when first asked for."""
        with self._lock:
            if self._opened is None:
                self._opened = _open(self._account(), self._location.bucket, self._jobs)
            return self._opened

    def list(self, cursor: str | None, page_size: int, prefix: str = "") -> Page:
        """A page of List Blobs."""
        with mapped(self._url):
            pages = self.container.list_blobs(
                name_starts_with=self._location.full(prefix) or None,
                include=["metadata"],
                results_per_page=page_size,
            ).by_page(cursor or None)
            objects = [self._facts(item) for item in next(pages, ())]
            more = getattr(pages, "continuation_token", None)
            return Page([one for one in objects if one.key], more or None)

    def head(self, key: str) -> ObjectInfo | None:
        """Get Blob Properties."""
        from azure.core.exceptions import ResourceNotFoundError

        with mapped(self._url, key):
            try:
                blob = self.container.get_blob_client(self._location.full(key))
                return self._facts(blob.get_blob_properties())
            except ResourceNotFoundError as error:
                if is_about_container(_code(error)):
                    raise
                return None

    def get(self, key: str) -> Blob | None:
        """Get Blob, not decoded."""
        from azure.core.exceptions import ResourceNotFoundError

        with mapped(self._url, key):
            try:
                stream = self.container.download_blob(self._location.full(key), decompress=False)
                data = stream.readall()
            except ResourceNotFoundError as error:
                if is_about_container(_code(error)):
                    raise
                return None
            facts = self._facts(stream.properties)
            return Blob(data, facts.version, facts.headers or Headers(""))

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """Put Blob in one request, its content checked by the service (MD5)."""
        from azure.core import MatchConditions
        from azure.storage.blob import ContentSettings

        condition: dict[str, Any] = {"overwrite": True}
        if precondition is not None and precondition.version is None:
            condition = {"overwrite": False}
        elif precondition is not None:
            condition |= {
                "etag": f'"{precondition.version}"',
                "match_condition": MatchConditions.IfNotModified,
            }
        settings = ContentSettings(
            content_type=headers.content_type,
            content_encoding=headers.content_encoding or None,
            cache_control=headers.cache_control or None,
            content_md5=bytearray.fromhex(body.md5),
        )
        with mapped(self._url, key, conditional=precondition is not None):
            answer = self.container.get_blob_client(self._location.full(key)).upload_blob(
                body.data,
                length=len(body.data),
                content_settings=settings,
                metadata={**(metadata or {}), SHA256_METADATA: body.sha256},
                **condition,
            )
        return str(answer["etag"]).strip('"')

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Delete Blob."""
        from azure.core.exceptions import ResourceNotFoundError

        for key in keys:
            with mapped(self._url, key):
                try:
                    self.container.delete_blob(self._location.full(key))
                except ResourceNotFoundError as error:
                    if is_about_container(_code(error)):
                        raise
        return {}

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()

    def _facts(self, blob: Any) -> ObjectInfo:
        settings = blob.content_settings
        metadata = {name.lower(): value for name, value in (blob.metadata or {}).items()}
        return ObjectInfo(
            self._location.relative(blob.name),
            blob.size,
            blob.etag.strip('"'),
            md5=bytes(settings.content_md5).hex() if settings.content_md5 else None,
            metadata=dict(metadata),
            headers=Headers(
                settings.content_type or "",
                settings.cache_control or "",
                settings.content_encoding or "",
            ),
            modified=blob.last_modified,
        )


def _code(error: Any) -> str:
    return str(getattr(error, "error_code", "") or "")


def _open(account: Account, container: str, jobs: int) -> ContainerClient:
    import requests
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.blob import ContainerClient
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=jobs + 4))
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
