"""`gs://bucket[/prefix]`: Google Cloud Storage, by its JSON API.

Facts from the JSON API reference: an object's generation changes with its content;
`ifGenerationMatch` makes an upload, a copy or a deletion conditional, 0 meaning that there is no
such object; `md5Hash` is the MD5 of the content as stored, absent for composite objects; a
listing is in order of the names; a rewrite keeps headers and metadata where its body is empty.
"""

from __future__ import annotations

import json
import re
import secrets
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from myop_cdn.errors import InputError, PreconditionFailed, StorageError
from myop_cdn.storage.base import (
    MAX_OBJECT_BYTES,
    SHA256_METADATA,
    Blob,
    Headers,
    ObjectInfo,
    Page,
    hex_md5,
)
from myop_cdn.storage.gcs.credentials import LOGIN_HINT, Authorization, find_endpoint
from myop_cdn.storage.location import Location
from myop_cdn.storage.responses import (
    FACTS_BYTES,
    PAGE_BYTES,
    Service,
    content,
    json_object,
    readable,
)
from myop_cdn.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from myop_cdn.storage.base import Backend, Body, OpenOptions, Precondition
    from myop_cdn.transport import Response

BUCKET_PATTERN = r"[a-z0-9](?=.{2,62}$|.*\.)[a-z0-9._-]{1,220}[a-z0-9]"
BUCKET_RULE = (
    "a bucket's name has 3 to 63 lower-case letters, digits, hyphens and underscores; with dots "
    "up to 222"
)
PAGE_SIZE = 1000
SERVICE = Service(
    container="bucket",
    credentials=LOGIN_HINT,
    access="myop-cdn help iam names the smallest role that is enough",
    network="check the network, and STORAGE_EMULATOR_HOST",
)
_ACLS = (
    "authenticatedRead", "bucketOwnerFullControl", "bucketOwnerRead", "private", "projectPrivate",
    "publicRead",
)  # fmt: skip
_STORAGE_CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")
_ITEM = (
    "name,size,generation,md5Hash,contentType,cacheControl,contentEncoding,metadata,updated,"
    "storageClass"
)
_PAGE = f"items({_ITEM}),nextPageToken"
_AS_STORED = {"Accept-Encoding": "gzip"}  # without it the service unpacks what is stored as gzip
_CORS_MAX_AGE = 86400
_MAX_REWRITES = 1000  # requests for one copy; the service goes on by a gigabyte or so in each


class GcsBackend:
    """The objects of one bucket below a prefix. An object's version is its generation."""

    keeps_headers = True
    delete_batch = 1

    def __init__(self, location: Location, acl: str = "", storage_class: str = "") -> None:
        self.url = location.url
        self.origin_path = f"/{location.root}"
        self.page_size = PAGE_SIZE
        self._location = location
        self._acl = acl
        self._storage_class = storage_class
        endpoint, path, is_emulator = find_endpoint(location.url)
        self._transport = Transport(endpoint)
        self._authorization = None if is_emulator else Authorization(location.url)
        self._base = path
        self._bucket = f"/storage/v1/b/{quote(location.bucket, safe='')}"

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:
        """A page of objects.list."""
        fields = {"fields": _PAGE, "maxResults": str(min(self.page_size, limit or self.page_size))}
        if start := self._location.full(prefix):
            fields["prefix"] = start
        if cursor:
            fields["pageToken"] = cursor
        response = self._request("GET", f"{self._bucket}/o", fields, limit=PAGE_BYTES)
        if response.status != 200:
            raise _refusal(self.url, response)
        with readable(self.url):
            page = json_object(response)
            objects = [self._info(item) for item in _list(page, "items")]
            cursor = _text(page, "nextPageToken") or None
        return Page([info for info in objects if info.key], cursor)

    def head(self, key: str) -> ObjectInfo | None:
        """objects.get, without the content."""
        response = self._request("GET", self._object(key), {"fields": _ITEM}, key=key)
        if self._is_missing(response, key):
            return None
        with readable(self._where(key)):
            return self._info(json_object(response))

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """objects.get, the content as stored."""
        target = f"/download{self._object(key)}"
        response = self._request(
            "GET", target, {"alt": "media"}, _AS_STORED, key=key, limit=max(limit, FACTS_BYTES)
        )
        if self._is_missing(response, key):
            return None
        stored = response.headers.get("x-goog-stored-content-encoding", "identity")
        headers = Headers(
            response.headers.get("content-type", ""),
            response.headers.get("cache-control", ""),
            "" if stored == "identity" else stored,
        )
        with readable(self._where(key)):
            return Blob(
                content(self._where(key), response, limit),
                response.headers["x-goog-generation"],
                headers,
            )

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """objects.insert in one request, its content checked by the service (MD5)."""
        facts = self._facts(headers, {**(metadata or {}), SHA256_METADATA: body.sha256})
        facts |= {"name": self._location.full(key), "md5Hash": body.content_md5}
        fields = {"uploadType": "multipart", "fields": "generation", **_condition(precondition)}
        if self._acl:
            fields["predefinedAcl"] = self._acl
        content_type, related = _related(facts, headers.content_type, body.data)
        response = self._request(
            "POST", f"/upload{self._bucket}/o", fields, {"Content-Type": content_type}, related, key
        )
        return self._generation(response, key, conditional=precondition is not None)

    def can_copy_from(self, source: Backend) -> bool:
        """Whether it is in Google's storage, too."""
        return isinstance(source, GcsBackend) and source._base == self._base

    def copy(
        self,
        source: Backend,
        source_key: str,
        source_version: str,
        key: str,
        precondition: Precondition | None = None,
    ) -> str:
        """objects.rewrite, in as many requests as the service wants."""
        assert isinstance(source, GcsBackend)
        fields = {
            "fields": "done,rewriteToken,resource(generation)",
            "ifSourceGenerationMatch": source_version,
            **_condition(precondition),
        }
        if self._acl:
            fields["destinationPredefinedAcl"] = self._acl
        facts = b""
        if self._storage_class:  # a body is taken for all of the object's facts
            info = source.head(source_key)
            if info is None or info.version != source_version:
                raise PreconditionFailed(f"{source.url}: {source_key} was changed by somebody else")
            facts = _json(self._facts(info.headers or Headers(), info.metadata or {}))
        target = (
            f"{source._object(source_key)}/rewriteTo{self._object(key).removeprefix('/storage/v1')}"
        )
        for _ in range(_MAX_REWRITES):
            sent = {"Content-Type": "application/json"} if facts else {}
            response = self._request("POST", target, fields, sent, facts, key)
            if response.status != 200:
                break
            with readable(self._where(key)):
                answer = json_object(response)
                if answer.get("done") is True:
                    return _text(answer["resource"], "generation")
                fields["rewriteToken"] = _text(answer, "rewriteToken")
        raise _refusal(self._where(key), response, conditional=True)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """objects.delete."""
        for key in keys:
            self._delete(key, {})
        return {}

    def delete_version(self, key: str, version: str) -> None:
        """objects.delete on the condition that the generation is this one."""
        try:
            self._delete(key, {"ifGenerationMatch": version})
        except PreconditionFailed:
            if self.head(key) is not None:  # an object that is gone is of no generation
                raise

    def is_public_by_acl(self, key: str) -> bool | None:
        """Whether allUsers are in the object's ACL. None without the right to see it, and where
        the bucket has uniform access.
        """
        fields = {"projection": "full", "fields": "acl(entity)"}
        response = self._request("GET", self._object(key), fields, key=key)
        if response.status in (400, 403) or self._is_missing(response, key):
            return None
        with readable(self._where(key)):
            acl = _list(json_object(response), "acl")
            return any(_text(entry, "entity") == "allUsers" for entry in acl) if acl else None

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Add one rule to the bucket's CORS configuration for the origins it lacks."""
        rules, metageneration = self._cors()
        missing = _missing(rules, origins)
        if not missing:
            return False
        rule = {
            "origin": missing,
            "method": ["GET", "HEAD"],
            "responseHeader": ["*"],
            "maxAgeSeconds": _CORS_MAX_AGE,
        }
        body = _json({"cors": [*rules, rule]})
        fields = {"ifMetagenerationMatch": metageneration, "fields": "metageneration"}
        sent = {"Content-Type": "application/json"}
        response = self._request("PATCH", self._bucket, fields, sent, body)
        if response.status != 200:
            raise _refusal(self.url, response)
        return True

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """Whether the bucket's CORS configuration lacks some."""
        return bool(_missing(self._cors()[0], origins))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
        if self._authorization is not None:
            self._authorization.close()

    def _cors(self) -> tuple[Sequence[object], str]:
        response = self._request("GET", self._bucket, {"fields": "cors,metageneration"})
        if response.status != 200:
            raise _refusal(self.url, response)
        with readable(self.url):
            bucket = json_object(response)
            return _list(bucket, "cors"), _text(bucket, "metageneration")

    def _where(self, key: str) -> str:
        return f"{self.url}: {key}" if key else self.url

    def _object(self, key: str) -> str:
        return f"{self._bucket}/o/{quote(self._location.full(key), safe='')}"

    def _request(
        self,
        method: str,
        target: str,
        fields: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        key: str = "",
        limit: int = FACTS_BYTES,
    ) -> Response:
        target = f"{self._base}{target}?{urlencode({**fields, 'prettyPrint': 'false'})}"
        sent = headers or {}
        who = self._authorization.headers() if self._authorization else {}
        with SERVICE.answering(self._where(key), self._transport.endpoint.netloc, limit):
            response = self._transport.request(method, target, {**sent, **who}, body, limit)
            if response.status == 401 and self._authorization:
                who = self._authorization.headers(who)
                response = self._transport.request(method, target, {**sent, **who}, body, limit)
        return response

    def _is_missing(self, response: Response, key: str) -> bool:
        """Whether there is no such object. Raises StorageError for any other refusal."""
        if response.status in (200, 204):
            return False
        if response.status == 404 and not _is_about_bucket(_message(response)):
            return True
        raise _refusal(self._where(key), response)

    def _generation(self, response: Response, key: str, *, conditional: bool) -> str:
        if response.status != 200:
            raise _refusal(self._where(key), response, conditional=conditional)
        with readable(self._where(key)):
            return _text(json_object(response), "generation")

    def _delete(self, key: str, fields: Mapping[str, str]) -> None:
        self._is_missing(self._request("DELETE", self._object(key), fields, key=key), key)

    def _facts(self, headers: Headers, metadata: Mapping[str, str]) -> dict[str, object]:
        facts: dict[str, object] = {
            "contentType": headers.content_type,
            "cacheControl": headers.cache_control,
            "contentEncoding": headers.content_encoding,
            "storageClass": self._storage_class,
            "metadata": dict(metadata),
        }
        return {name: value for name, value in facts.items() if value}

    def _info(self, item: object) -> ObjectInfo:
        if not isinstance(item, dict):
            raise TypeError
        updated, storage_class = _text(item, "updated"), _text(item, "storageClass")
        metadata = item.get("metadata") or {}
        return ObjectInfo(
            self._location.relative(item["name"]),
            int(item["size"]),
            str(item["generation"]),
            md5=hex_md5(_text(item, "md5Hash")),
            metadata={name.lower(): _text(metadata, name) for name in metadata},
            headers=Headers(
                _text(item, "contentType"),
                _text(item, "cacheControl"),
                _text(item, "contentEncoding"),
            ),
            modified=datetime.fromisoformat(updated) if updated else None,
            storage_class="" if storage_class == "STANDARD" else storage_class,
        )


def _condition(precondition: Precondition | None) -> Mapping[str, str]:
    return {} if precondition is None else {"ifGenerationMatch": precondition.version or "0"}


def _refusal(where: str, response: Response, *, conditional: bool = False) -> StorageError:
    message = _message(response)
    missing = response.status == 404 and (_is_about_bucket(message) or not conditional)
    return SERVICE.refusal(
        where, response, message=message, conditional=conditional, about_container=missing
    )


def _is_about_bucket(message: str) -> bool:
    """Whether a 404 says that the bucket is missing, not the object ("No such object")."""
    return "bucket does not exist" in message


def _message(response: Response) -> str:
    """The service's words for a refusal: JSON, or a line of text where content was asked for."""
    try:
        return _text(json_object(response)["error"], "message")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return response.body[:400].decode("utf-8", "replace")


def _text(fields: object, name: str) -> str:
    """A field's text, "" where there is none. Raises TypeError for anything else."""
    value = fields.get(name, "") if isinstance(fields, dict) else None
    if not isinstance(value, str):
        raise TypeError
    return value


def _list(fields: Mapping[str, object], name: str) -> Sequence[object]:
    value = fields.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TypeError
    return value


def _missing(rules: Sequence[object], origins: Sequence[str]) -> Sequence[str]:
    """The origins that none of the rules lets read."""
    return [origin for origin in origins if not any(_allows(rule, origin) for rule in rules)]


def _allows(rule: object, origin: str) -> bool:
    if not isinstance(rule, dict):
        return False
    methods = set(_list(rule, "method"))
    return ({"GET", "HEAD"} <= methods or "*" in methods) and not {origin, "*"}.isdisjoint(
        _list(rule, "origin")
    )


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _related(facts: Mapping[str, object], content_type: str, data: bytes) -> tuple[str, bytes]:
    """An object's facts and content in one body (RFC 2387), and the type of that."""
    boundary = secrets.token_hex(16)  # nobody can have put it into the content
    parts = (
        f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n".encode(),
        _json(facts),
        f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\r\n".encode(),
        data,
        f"\r\n--{boundary}--".encode(),
    )
    return f"multipart/related; boundary={boundary}", b"".join(parts)


def open_gcs(url: str, options: OpenOptions) -> GcsBackend:
    """The backend for `url`. Raises InputError for a malformed one, for an ACL or a storage class
    that Google does not have, and for a setup that is not supported.
    """
    location = Location.parse(url, BUCKET_PATTERN, "bucket", BUCKET_RULE)
    # S3 writes public-read, and so does gcloud storage's older sister.
    acl = re.sub("-([a-z])", lambda found: found[1].upper(), options.acl)
    storage_class = options.storage_class.upper()
    if acl and acl not in _ACLS:
        raise InputError(
            f"{location.url}: Google has no predefined ACL {options.acl!r}",
            f"one of {', '.join(_ACLS)}",
        )
    if storage_class and storage_class not in _STORAGE_CLASSES:
        raise InputError(
            f"{location.url}: Google has no storage class {options.storage_class!r}",
            f"one of {', '.join(_STORAGE_CLASSES)}",
        )
    return GcsBackend(location, acl, storage_class)
