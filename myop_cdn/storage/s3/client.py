"""S3's requests: signed, made, and followed to the region that the bucket is in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from myop_cdn.errors import InputError, StorageError
from myop_cdn.storage.responses import FACTS_BYTES
from myop_cdn.storage.s3.access import find_access, is_region
from myop_cdn.storage.s3.errors import REGION_CODES, SERVICE, error_fields
from myop_cdn.storage.s3.sigv4 import EMPTY_SHA256, Signer
from myop_cdn.transport import Transport
from myop_cdn.transport.certificates import AWS_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client

    from myop_cdn.storage.s3.access import Access, Site
    from myop_cdn.transport import Response

UNRESERVED = "-_.~"  # what SigV4 leaves as it is besides letters and digits
_MOVES = 2  # to another region, for one request


class BucketClient:
    """Requests to one bucket. Safe between threads; nothing is looked up before the first.

    url: the destination, for messages. endpoint: as for `find_access`.
    """

    def __init__(self, url: str, bucket: str, endpoint: str | None) -> None:
        self._url = url
        self._bucket = bucket
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._access: Access | None = None
        self._line: _Line | None = None
        self._sdk: S3Client | None = None

    def request(
        self,
        method: str,
        key: str | None = None,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        sha256: str = EMPTY_SHA256,
        body_limit: int = FACTS_BYTES,
    ) -> Response:
        """The response, whatever its status, from the region that the bucket is in.

        key: in the bucket, None for the bucket itself. fields: of the query. sha256: of `body`,
        in hex. body_limit: bytes of the response's. Raises StorageError where there is none.
        """
        query = "&".join(
            f"{name}={quote(value, safe=UNRESERVED)}"
            for name, value in sorted((fields or {}).items())
        )
        moves = 0
        while True:
            line = self._current()
            root = line.site.root
            path = (root.rstrip("/") or "/") if key is None else root + quote_key(key)
            signed = line.signer.sign(method, path, query, headers or {}, sha256)
            with SERVICE.answering(self._where(key), line.site.endpoint.netloc, body_limit):
                response = line.transport.request(
                    method, f"{path}?{query}" if query else path, signed, body, body_limit
                )
            region = _other_region(response, line.site.region)
            if region is None or moves == _MOVES:
                return response
            moves += 1
            self._move(line, region)

    def control_plane(self) -> S3Client:
        """The SDK's client, for what is not about an object."""
        region = self._current().site.region
        with self._lock:
            if self._sdk is None:
                assert self._access is not None  # as `_current` leaves it
                self._sdk = self._access.sdk(region)
            return self._sdk

    def close(self) -> None:
        """Close the connections."""
        if self._line is not None:
            self._line.transport.close()
        if self._sdk is not None:
            self._sdk.close()

    def _where(self, key: str | None) -> str:
        return self._url if key is None else f"{self._url}: {key}"

    def _current(self) -> _Line:
        line = self._line
        if line is not None:
            return line
        with self._lock:
            if self._line is None:
                access = find_access(self._url, self._bucket, self._endpoint)
                self._access = access
                self._line = self._line_to(access.site(access.region), access)
            return self._line

    def _move(self, line: _Line, region: str) -> None:
        """Go on in this region, unless another thread has done so already."""
        with self._lock:
            if self._line is line and self._access is not None:
                self._line = self._line_to(self._access.site(region), self._access)
                line.transport.close()

    def _line_to(self, site: Site, access: Access) -> _Line:
        try:
            transport = Transport(site.endpoint, variables=AWS_VARIABLES)
        except InputError as error:  # the environment's proxy
            raise StorageError(f"{self._url}: {error.message}", error.hint) from None
        signer = Signer(site.endpoint.netloc, site.region, access.keys)
        return _Line(site, transport, signer)


class _Line(NamedTuple):
    """How a bucket is asked at one site."""

    site: Site
    transport: Transport
    signer: Signer


def quote_key(key: str) -> str:
    """A key as a part of a path, as it is signed too."""
    return quote(key, safe="/" + UNRESERVED)


def _other_region(response: Response, region: str) -> str | None:
    """The region that a response sends to; None where it does not.

    The header comes with every refusal that is about the region, a HEAD's included.
    """
    if response.status not in (301, 307, 400):
        return None
    named = response.headers.get("x-amz-bucket-region")
    if named is None:
        fields = error_fields(response)
        named = fields.get("Region") if fields.get("Code") in REGION_CODES else None
    return named if named and named != region and is_region(named) else None
