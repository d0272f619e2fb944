"""Objects of Google Cloud Storage by Google's own library: for proxies, client certificates,
other universes, and whatever else `place.py` does not know.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from myop_cdn.storage.base import SHA256_METADATA, Blob, Headers, ObjectInfo, Page, hex_md5
from myop_cdn.storage.gcs.errors import is_about_bucket, mapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.cloud.storage import Bucket

    from myop_cdn.errors import StorageError
    from myop_cdn.storage.base import Body, Precondition
    from myop_cdn.storage.location import Location

_ITEM = "name,size,generation,md5Hash,contentType,cacheControl,contentEncoding,metadata,updated"
_FIELDS = f"items({_ITEM}),nextPageToken"
SECONDS = 60


class SdkObjects:
    """See `Objects`. jobs: how many connections are kept."""

    def __init__(self, location: Location, jobs: int) -> None:
        self._url = location.url
        self._location = location
        self._jobs = jobs
        self._opened: Bucket | None = None
        self._lock = threading.Lock()

    @property
    def bucket(self) -> Bucket:
        """The library's bucket, opened when first asked for."""
        with self._lock:
            if self._opened is None:
                self._opened = _open(self._location.bucket, self._jobs)
            return self._opened

    def list(self, cursor: str | None, page_size: int, prefix: str = "") -> Page:
        """A page of objects.list."""
        with mapped(self._url):
            found = self.bucket.client.list_blobs(
                self.bucket,
                prefix=self._location.full(prefix) or None,
                page_token=cursor,
                page_size=page_size,
                fields=_FIELDS,
                timeout=SECONDS,
                retry=None,
            )
            page = next(found.pages, ())
            objects = [self._facts(item) for item in page]
            return Page([one for one in objects if one.key], found.next_page_token)

    def head(self, key: str) -> ObjectInfo | None:
        """objects.get, without the content."""
        with mapped(self._url, key):
            found = self.bucket.get_blob(self._location.full(key), timeout=SECONDS, retry=None)
            return self._facts(found) if found else None

    def get(self, key: str) -> Blob | None:
        """The content as stored, with its generation."""
        from google.api_core.exceptions import NotFound

        with mapped(self._url, key):
            blob = self.bucket.blob(self._location.full(key))
            try:
                data = self._download(blob)
                if blob.generation is None:  # an emulator that does not tell with the content
                    blob.reload(timeout=SECONDS, retry=None)
                    data = self._download(self.bucket.blob(self._location.full(key)))
            except NotFound as error:
                if is_about_bucket(str(error.message)):
                    raise
                return None
            return Blob(data, str(blob.generation), _headers(blob))

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """objects.insert in one request, its content checked by the service (MD5)."""
        condition = None if precondition is None else int(precondition.version or 0)
        with mapped(self._url, key):
            blob = self.bucket.blob(self._location.full(key))
            blob.cache_control = headers.cache_control or None
            blob.content_encoding = headers.content_encoding or None
            blob.metadata = {**(metadata or {}), SHA256_METADATA: body.sha256}
            blob.md5_hash = body.content_md5
            blob.upload_from_string(
                body.data,
                content_type=headers.content_type,
                if_generation_match=condition,
                checksum=None,
                timeout=SECONDS,
                retry=None,
            )
            return str(blob.generation)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """objects.delete."""
        from google.api_core.exceptions import NotFound

        for key in keys:
            with mapped(self._url, key):
                try:
                    self.bucket.blob(self._location.full(key)).delete(timeout=SECONDS, retry=None)
                except NotFound as error:
                    if is_about_bucket(str(error.message)):
                        raise
        return {}

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.client.close()

    def _download(self, blob: Any) -> bytes:
        data: bytes = blob.download_as_bytes(
            raw_download=True, single_shot_download=True, timeout=SECONDS, retry=None
        )
        return data

    def _facts(self, blob: Any) -> ObjectInfo:
        return ObjectInfo(
            self._location.relative(blob.name),
            blob.size,
            str(blob.generation),
            md5=hex_md5(blob.md5_hash),
            metadata=dict(blob.metadata or {}),
            headers=_headers(blob),
            modified=blob.updated,
        )


def _headers(blob: Any) -> Headers:
    return Headers(blob.content_type or "", blob.cache_control or "", blob.content_encoding or "")


def _open(name: str, jobs: int) -> Bucket:
    from google.cloud.storage import Client
    from requests.adapters import HTTPAdapter

    # No project: it is needed only to make buckets.
    client = Client(project=None)
    # It would ask for the bucket's own facts (for traces), which needs one more permission.
    client._bucket_metadata_cache = None
    session = client._http  # the one way to more than ten connections
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=jobs + 4))
    return client.bucket(name)
