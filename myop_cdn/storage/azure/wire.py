"""Blobs without Azure's library: requests of the REST API, made over kept connections. The notes
in `tests/benchmarks` have the figures that speak for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from myop_cdn.errors import StorageError
from myop_cdn.storage.azure.errors import is_about_container, mapped, refused
from myop_cdn.storage.azure.signing import SharedAccess, SharedKey
from myop_cdn.storage.base import (
    MAX_OBJECT_BYTES,
    SHA256_METADATA,
    Blob,
    Headers,
    ObjectInfo,
    Page,
    hex_md5,
)
from myop_cdn.storage.certificates import context_of_requests
from myop_cdn.storage.flat_xml import flat
from myop_cdn.wire import AGENT, Pool, dates
from myop_cdn.wire.straight import straight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from myop_cdn.storage.azure.account import Account
    from myop_cdn.storage.azure.signing import Signer
    from myop_cdn.storage.base import Body, Precondition
    from myop_cdn.storage.location import Location
    from myop_cdn.wire import Answer, Origin

_META = "x-ms-meta-"


class WireObjects:
    """See `Objects`. Safe between threads.

    url: the destination as shown. origin, base: where the account's containers are, base a
    percent-encoded path without a slash at its end.
    """

    def __init__(
        self, url: str, location: Location, origin: Origin, base: str, signer: Signer
    ) -> None:
        self._url = url
        self._location = location
        self._container = f"{base}/{quote(location.bucket)}"
        self._signer = signer
        self._pool = Pool(origin, context_of_requests, max_body_bytes=MAX_OBJECT_BYTES)

    def list(self, cursor: str | None, page_size: int, prefix: str = "") -> Page:
        """A page of List Blobs."""
        fields = {"restype": "container", "comp": "list", "include": "metadata"}
        fields["maxresults"] = str(page_size)
        if start := self._location.full(prefix):
            fields["prefix"] = start
        if cursor:
            fields["marker"] = cursor
        with mapped(self._url):
            answer = self._ask("GET", self._container, fields)
            if answer.status != 200:
                raise refused(answer.status, _code(answer), self._url)
            try:
                page = flat(answer.body, "Blob")
                objects = [self._listed(item) for item in page.items]
            except (ValueError, KeyError) as error:
                raise StorageError(
                    f"{self._url}: the service's listing can't be read ({type(error).__name__})"
                ) from None
            more = page.fields.get("NextMarker")
            return Page([one for one in objects if one.key], more or None)

    def head(self, key: str) -> ObjectInfo | None:
        """Get Blob Properties."""
        with mapped(self._url, key):
            answer = self._ask("HEAD", self._path(key))
            return None if self._is_missing(answer, key) else self._told(answer, key)

    def get(self, key: str) -> Blob | None:
        """Get Blob, not decoded."""
        with mapped(self._url, key):
            answer = self._ask("GET", self._path(key))
            if self._is_missing(answer, key):
                return None
            return Blob(answer.body, _version(answer), _headers(answer))

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
            "x-ms-blob-content-type": headers.content_type,
            "x-ms-blob-content-md5": body.content_md5,
            **{_META + name: value for name, value in (metadata or {}).items()},
            _META + SHA256_METADATA: body.sha256,
        }
        if headers.cache_control:
            sent["x-ms-blob-cache-control"] = headers.cache_control
        if headers.content_encoding:
            sent["x-ms-blob-content-encoding"] = headers.content_encoding
        if precondition is not None and precondition.version is None:
            sent["If-None-Match"] = "*"
        elif precondition is not None:
            sent["If-Match"] = f'"{precondition.version}"'
        with mapped(self._url, key):
            answer = self._ask("PUT", self._path(key), {}, sent, body.data)
            if answer.status != 201:
                code, conditional = _code(answer), precondition is not None
                raise refused(answer.status, code, self._where(key), conditional=conditional)
            return _version(answer)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Delete Blob."""
        for key in keys:
            with mapped(self._url, key):
                answer = self._ask("DELETE", self._path(key))
                if answer.status != 202:
                    self._is_missing(answer, key)
        return {}

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _where(self, key: str) -> str:
        return f"{self._url}: {key}"

    def _path(self, key: str) -> str:
        return f"{self._container}/{quote(self._location.full(key), safe='~/')}"

    def _ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        sent = {**AGENT, **(headers or {})}
        target, signed = self._signer.sign(method, path, fields or {}, sent, len(body))
        return self._pool.ask(method, target, signed, body)

    def _is_missing(self, answer: Answer, key: str) -> bool:
        """Whether there is no such blob. Raises StorageError for any other refusal."""
        if answer.status == 200:
            return False
        code = _code(answer)
        if answer.status == 404 and not is_about_container(code):
            return True
        raise refused(answer.status, code, self._where(key))

    def _listed(self, item: Mapping[str, str]) -> ObjectInfo:
        about = "Properties/"
        metadata = {
            name.lower(): value for name, value in item.items() if name.startswith("Metadata/")
        }
        return ObjectInfo(
            self._location.relative(item["Name"]),
            int(item[about + "Content-Length"]),
            item[about + "Etag"].strip('"'),
            md5=hex_md5(item.get(about + "Content-MD5")),
            metadata={
                name.removeprefix("metadata/").lower(): value
                for name, value in metadata.items()
                if name.startswith("metadata/")
            },
            headers=Headers(
                item.get(about + "Content-Type", ""),
                item.get(about + "Cache-Control", ""),
                item.get(about + "Content-Encoding", ""),
            ),
            modified=dates.read(item.get(about + "Last-Modified")),
        )

    def _told(self, answer: Answer, key: str) -> ObjectInfo:
        return ObjectInfo(
            key,
            int(answer.headers.get("content-length", "0")),
            _version(answer),
            md5=hex_md5(answer.headers.get("content-md5")),
            metadata={
                name.removeprefix(_META): value
                for name, value in answer.headers.items()
                if name.startswith(_META)
            },
            headers=_headers(answer),
            modified=dates.read(answer.headers.get("last-modified")),
        )


def find_wire(url: str, location: Location, account: Account) -> WireObjects | None:
    """The lean way to an account's blobs, or None where only the library knows one.

    Raises CredentialsError for a key that can't be one.
    """
    way = straight(account.endpoint)
    if way is None:
        return None
    with mapped(url):
        signer = _signer(account)
    if signer is None:
        return None
    return WireObjects(url, location, *way, signer)


def _signer(account: Account) -> Signer | None:
    who = account.credential
    if isinstance(who, dict):
        return SharedKey(who["account_name"], who["account_key"])
    return SharedAccess(who) if isinstance(who, str) else None


def _code(answer: Answer) -> str:
    """The service's code for a refusal; "" where it gives none."""
    if code := answer.headers.get("x-ms-error-code"):
        return code
    try:
        return flat(answer.body).fields.get("Code", "")
    except ValueError:
        return ""


def _version(answer: Answer) -> str:
    return answer.headers.get("etag", "").strip('"')


def _headers(answer: Answer) -> Headers:
    return Headers(
        answer.headers.get("content-type", ""),
        answer.headers.get("cache-control", ""),
        answer.headers.get("content-encoding", ""),
    )
