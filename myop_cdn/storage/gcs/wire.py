"""Objects of Google Cloud Storage without Google's library: requests of the JSON API, made over
kept connections. The notes in `tests/benchmarks` have the figures that speak for it.
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from myop_cdn.errors import StorageError
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
from myop_cdn.storage.gcs.errors import is_about_bucket, mapped, refused
from myop_cdn.wire import AGENT, Pool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from myop_cdn.storage.base import Body, Precondition
    from myop_cdn.storage.gcs.place import Place
    from myop_cdn.storage.location import Location
    from myop_cdn.wire import Answer

_ITEM = "name,size,generation,md5Hash,contentType,cacheControl,contentEncoding,metadata,updated"
_PAGE = f"items({_ITEM}),nextPageToken"
# Without it the service unpacks what is stored as gzip.
_AS_STORED = {"Accept-Encoding": "gzip"}


class WireObjects:
    """See `Objects`. Safe between threads."""

    def __init__(self, location: Location, place: Place) -> None:
        self._url = location.url
        self._location = location
        self._authorization = place.authorization
        self._pool = Pool(place.origin, context_of_requests, max_body_bytes=MAX_OBJECT_BYTES)
        self._objects = f"/storage/v1/b/{quote(location.bucket, safe='')}/o"

    def list(self, cursor: str | None, page_size: int, prefix: str = "") -> Page:
        """A page of objects.list."""
        fields = {"fields": _PAGE, "maxResults": str(page_size), "prettyPrint": "false"}
        if start := self._location.full(prefix):
            fields["prefix"] = start
        if cursor:
            fields["pageToken"] = cursor
        with mapped(self._url):
            answer = self._ask("GET", f"{self._objects}?{urlencode(fields)}")
            if answer.status != 200:
                raise refused(answer.status, _said(answer), self._url)
            page = _read(answer, self._url)
            objects = [self._facts(item) for item in page.get("items") or ()]
            return Page([one for one in objects if one.key], page.get("nextPageToken"))

    def head(self, key: str) -> ObjectInfo | None:
        """objects.get, without the content."""
        with mapped(self._url, key):
            answer = self._ask("GET", f"{self._target(key)}?fields={_ITEM}&prettyPrint=false")
            if self._is_missing(answer, key):
                return None
            return self._facts(_read(answer, self._url))

    def get(self, key: str) -> Blob | None:
        """The content as stored, with its generation."""
        target = f"/download{self._target(key)}?alt=media"
        with mapped(self._url, key):
            answer = self._ask("GET", target, _AS_STORED)
            if self._is_missing(answer, key):
                return None
            headers = answer.headers
            if generation := headers.get("x-goog-generation"):
                stored = headers.get("x-goog-stored-content-encoding", "identity")
                return Blob(
                    answer.body,
                    generation,
                    Headers(
                        headers.get("content-type", ""),
                        headers.get("cache-control", ""),
                        "" if stored == "identity" else stored,
                    ),
                )
            # An emulator that does not tell with the content. What is told first may be older
            # than the content, never newer: a condition on it fails then, and all is well.
            facts = self.head(key)
            again = self._ask("GET", target, _AS_STORED)
            if facts is None or self._is_missing(again, key):
                return None
            return Blob(again.body, facts.version, facts.headers or Headers(""))

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """objects.insert in one request, its content checked by the service (MD5)."""
        facts: dict[str, Any] = {
            "name": self._location.full(key),
            "contentType": headers.content_type,
            "md5Hash": body.content_md5,
            "metadata": {**(metadata or {}), SHA256_METADATA: body.sha256},
        }
        if headers.cache_control:
            facts["cacheControl"] = headers.cache_control
        if headers.content_encoding:
            facts["contentEncoding"] = headers.content_encoding
        target = f"/upload{self._objects}?uploadType=multipart&fields=generation"
        if precondition is not None:
            target += f"&ifGenerationMatch={int(precondition.version or 0)}"
        content_type, related = _related(facts, headers.content_type, body.data)
        with mapped(self._url, key):
            answer = self._ask("POST", target, {"Content-Type": content_type}, related)
            if answer.status != 200:
                raise refused(answer.status, _said(answer), self._where(key))
            return str(_read(answer, self._url).get("generation", ""))

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """objects.delete."""
        for key in keys:
            with mapped(self._url, key):
                answer = self._ask("DELETE", self._target(key))
                if answer.status not in (200, 204):
                    self._is_missing(answer, key)
        return {}

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _where(self, key: str) -> str:
        return f"{self._url}: {key}"

    def _target(self, key: str) -> str:
        return f"{self._objects}/{quote(self._location.full(key), safe='')}"

    def _ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        sent = {**AGENT, **(headers or {})}
        who = self._authorization(None)
        answer = self._pool.ask(method, target, {**sent, **who}, body)
        if answer.status == 401 and who:
            renewed = self._authorization(who)
            answer = self._pool.ask(method, target, {**sent, **renewed}, body)
        return answer

    def _is_missing(self, answer: Answer, key: str) -> bool:
        """Whether there is no such object. Raises StorageError for any other refusal."""
        if answer.status == 200:
            return False
        said = _said(answer)
        if answer.status == 404 and not is_about_bucket(said):
            return True
        raise refused(answer.status, said, self._where(key))

    def _facts(self, item: Mapping[str, Any]) -> ObjectInfo:
        try:
            updated = item.get("updated")
            return ObjectInfo(
                self._location.relative(item["name"]),
                int(item["size"]),
                str(item["generation"]),
                md5=hex_md5(item.get("md5Hash")),
                metadata=dict(item.get("metadata") or {}),
                headers=Headers(
                    item.get("contentType") or "",
                    item.get("cacheControl") or "",
                    item.get("contentEncoding") or "",
                ),
                modified=datetime.fromisoformat(updated) if updated else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageError(
                f"{self._url}: the service's answer can't be read ({type(error).__name__})"
            ) from None


def _related(facts: Mapping[str, Any], content_type: str, data: bytes) -> tuple[str, bytes]:
    """An object's facts and content in one body (RFC 2387), and the type of that."""
    boundary = secrets.token_hex(16)  # nobody can have put it into the content
    about = json.dumps(facts, ensure_ascii=False).encode("utf-8", "surrogatepass")
    head = (
        f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n".encode(),
        about,
        f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\r\n".encode(),
        data,
        f"\r\n--{boundary}--".encode(),
    )
    return f"multipart/related; boundary={boundary}", b"".join(head)


def _read(answer: Answer, where: str) -> dict[str, Any]:
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise StorageError(f"{where}: the service's answer is no JSON object")
    return value


def _said(answer: Answer) -> str:
    """What the service says of its refusal: JSON, or a line of text where content was asked."""
    try:
        said = json.loads(answer.body)["error"]["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        said = answer.body[:400].decode("utf-8", "replace")
    return str(said)
