"""`gs://bucket[/prefix]`: Google Cloud Storage.

Credentials are found as every Google tool does (Application Default Credentials: a key file, a
workload identity configuration, gcloud's login, the metadata server). google-cloud-storage is
imported at the first request.

Facts from the JSON API reference: an object's generation changes with its content;
`ifGenerationMatch` makes an upload conditional, 0 meaning that there is no such object; `md5Hash`
is the MD5 of the content as stored, absent for composite objects.
"""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Any

from myop_cdn.storage.base import SHA256_METADATA, Blob, Headers, Listed, Page
from myop_cdn.storage.gcs.errors import is_about_bucket, mapped
from myop_cdn.storage.location import Location

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.cloud.storage import Bucket

    from myop_cdn.errors import StorageError
    from myop_cdn.storage.base import Body, Expect, OpenOptions

BUCKET_PATTERN = r"[a-z0-9][a-z0-9._-]{1,221}"
PAGE_SIZE = 1000
_ITEM = "name,size,generation,md5Hash,contentType,cacheControl,contentEncoding,metadata,updated"
_FIELDS = f"items({_ITEM}),nextPageToken"
_SECONDS = 60
_CORS_MAX_AGE = 86400


class GcsBackend:
    """The objects of one bucket below a prefix. An object's version is its generation."""

    keeps_headers = True
    delete_batch = 1

    def __init__(self, location: Location, jobs: int) -> None:
        self.url = location.url
        self.location = location
        self.page_size = PAGE_SIZE
        self._jobs = jobs
        self._opened: Bucket | None = None
        self._lock = threading.Lock()

    def list(self, cursor: str | None) -> Page:
        """A page of objects.list."""
        with mapped(self.url):
            found = self._bucket.client.list_blobs(
                self._bucket,
                prefix=self.location.root or None,
                page_token=cursor,
                page_size=self.page_size,
                fields=_FIELDS,
                timeout=_SECONDS,
                retry=None,
            )
            page = next(found.pages, ())
            objects = [self._facts(item) for item in page]
            return Page([one for one in objects if one.key], found.next_page_token)

    def head(self, key: str) -> Listed | None:
        """objects.get, without the content."""
        with mapped(self.url, key):
            found = self._bucket.get_blob(self.location.full(key), timeout=_SECONDS, retry=None)
            return self._facts(found) if found else None

    def get(self, key: str) -> Blob | None:
        """The content as stored, with its generation."""
        from google.api_core.exceptions import NotFound

        with mapped(self.url, key):
            blob = self._bucket.blob(self.location.full(key))
            try:
                data = self._download(blob)
                if blob.generation is None:  # an emulator that does not tell with the content
                    blob.reload(timeout=_SECONDS, retry=None)
                    data = self._download(self._bucket.blob(self.location.full(key)))
            except NotFound as error:
                if is_about_bucket(error):
                    raise
                return None
            return Blob(data, str(blob.generation), _headers(blob))

    def put(self, key: str, body: Body, headers: Headers, expect: Expect | None = None) -> str:
        """objects.insert in one request, its content checked by the service (MD5)."""
        condition = None if expect is None else int(expect.version or 0)
        with mapped(self.url, key):
            blob = self._bucket.blob(self.location.full(key))
            blob.cache_control = headers.cache_control or None
            blob.content_encoding = headers.content_encoding or None
            blob.metadata = {SHA256_METADATA: body.sha256}
            blob.md5_hash = base64.b64encode(bytes.fromhex(body.md5)).decode()
            blob.upload_from_string(
                body.data,
                content_type=headers.content_type,
                if_generation_match=condition,
                checksum=None,
                timeout=_SECONDS,
                retry=None,
            )
            return str(blob.generation)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """objects.delete."""
        from google.api_core.exceptions import NotFound

        for key in keys:
            with mapped(self.url, key):
                try:
                    self._bucket.blob(self.location.full(key)).delete(timeout=_SECONDS, retry=None)
                except NotFound as error:
                    if is_about_bucket(error):
                        raise
        return {}

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Add one rule to the bucket's CORS configuration for the origins it lacks."""
        with mapped(self.url):
            bucket = self._bucket
            rules, missing = _rules(self._bucket, origins)
            if not missing:
                return False
            rule = {
                "origin": missing,
                "method": ["GET", "HEAD"],
                "responseHeader": ["*"],
                "maxAgeSeconds": _CORS_MAX_AGE,
            }
            bucket.cors = [*rules, rule]
            bucket.patch(
                if_metageneration_match=bucket.metageneration, timeout=_SECONDS, retry=None
            )
        return True

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """Whether the bucket's CORS configuration lacks some."""
        with mapped(self.url):
            return bool(_rules(self._bucket, origins)[1])

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.client.close()

    @property
    def _bucket(self) -> Bucket:
        with self._lock:
            if self._opened is None:
                self._opened = _open(self.location.bucket, self._jobs)
            return self._opened

    def _download(self, blob: Any) -> bytes:
        data: bytes = blob.download_as_bytes(
            raw_download=True, single_shot_download=True, timeout=_SECONDS, retry=None
        )
        return data

    def _facts(self, blob: Any) -> Listed:
        md5 = base64.b64decode(blob.md5_hash).hex() if blob.md5_hash else None
        return Listed(
            self.location.relative(blob.name),
            blob.size,
            str(blob.generation),
            md5=md5,
            sha256=(blob.metadata or {}).get(SHA256_METADATA),
            headers=_headers(blob),
            modified=blob.updated,
        )


def _headers(blob: Any) -> Headers:
    return Headers(blob.content_type or "", blob.cache_control or "", blob.content_encoding or "")


def _rules(bucket: Bucket, origins: Sequence[str]) -> tuple[list[Any], list[str]]:
    """The bucket's CORS rules, and the origins that none of them lets read."""
    bucket.reload(timeout=_SECONDS, retry=None)
    rules = list(bucket.cors)
    return rules, [one for one in origins if not any(_allows(rule, one) for rule in rules)]


def _allows(rule: Mapping[str, Any], origin: str) -> bool:
    methods = set(rule.get("method", ()))
    origins = rule.get("origin", ())
    return ({"GET", "HEAD"} <= methods or "*" in methods) and (origin in origins or "*" in origins)


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


def open_gcs(url: str, options: OpenOptions) -> GcsBackend:
    """The backend for `url`. Raises InputError for a malformed one."""
    return GcsBackend(Location.parse(url, BUCKET_PATTERN), options.jobs)
