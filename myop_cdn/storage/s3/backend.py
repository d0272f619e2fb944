"""`s3://bucket[/prefix]`: Amazon S3, and services that speak its protocol.

Facts from the S3 API Reference: an ETag is the MD5 of the content unless the object is encrypted
with KMS or customer keys, or was uploaded in parts ("Checking object integrity"). `If-Match` and
`If-None-Match: *` make PutObject, CopyObject's target and (the first alone) DeleteObject
conditional, answering 412, or 409 while another write to the key is under way ("Conditional
requests"). CopyObject may answer 200 and tell an error in the body. Look-alikes know less: there
the target of a copy, and what is deleted on a condition, are looked at just before.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from datetime import datetime
from sys import intern
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from myop_cdn.errors import AccessDenied, InputError, PreconditionFailed, StorageError
from myop_cdn.storage.base import (
    MAX_OBJECT_BYTES,
    SHA256_METADATA,
    Blob,
    Headers,
    ObjectInfo,
    Page,
    Precondition,
)
from myop_cdn.storage.flat_xml import flat
from myop_cdn.storage.location import Location
from myop_cdn.storage.responses import FACTS_BYTES, PAGE_BYTES, readable
from myop_cdn.storage.s3.client import BucketClient, quote_key
from myop_cdn.storage.s3.errors import error_fields, refusal, sdk_errors
from myop_cdn.text import shown, shown_url
from myop_cdn.transport import Response, dates, parse_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_s3.type_defs import CORSRuleOutputTypeDef, CORSRuleTypeDef

    from myop_cdn.storage.base import Backend, Body, OpenOptions

BUCKET_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}"
PAGE_SIZE = 1000  # the most that S3 lists at once
DELETE_BATCH = 1000  # the most that DeleteObjects takes
_CORS_MAX_AGE = 86400
_META = "x-amz-meta-"
_MD5 = re.compile("[0-9a-f]{32}")
_ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
_NOT_IN_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


class S3Backend:
    """The objects of one bucket below a prefix."""

    keeps_headers = True

    def __init__(self, location: Location, endpoint: str | None, options: OpenOptions) -> None:
        self.url = location.url
        self.origin_path = f"/{location.root}"
        self.location = location
        self.page_size = PAGE_SIZE
        # Look-alikes differ in which checksum header they want with DeleteObjects; some lack it.
        self.delete_batch = 1 if endpoint else DELETE_BATCH
        self.endpoint = endpoint
        self._client = BucketClient(self.url, location.bucket, endpoint)
        self._write_headers = {
            name: value
            for name, value in (
                ("x-amz-acl", options.acl),
                ("x-amz-storage-class", options.storage_class),
            )
            if value
        }

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:
        """A page of ListObjectsV2, keys percent-encoded: XML can't hold all."""
        fields = {
            "encoding-type": "url",
            "list-type": "2",
            "max-keys": str(min(self.page_size, limit or self.page_size)),
            "prefix": self.location.full(prefix),
        }
        if cursor:
            fields["continuation-token"] = cursor
        response = self._client.request("GET", fields=fields, body_limit=PAGE_BYTES)
        if response.status != 200:
            raise refusal(response, self.url)
        try:
            page = flat(response.body, "Contents")
            encoded = page.fields.get("EncodingType") == "url"
            objects = [self._listed(item, encoded) for item in page.items]
            if not objects and not page.fields.keys() & {"Name", "KeyCount", "IsTruncated"}:
                raise ValueError("no element of one")
        except (ValueError, KeyError) as error:
            raise StorageError(
                f"{self.url}: the service's answer is not a listing ({shown(error)})",
                "is --endpoint-url the service's S3 API, and not its web pages?",
            ) from None
        more = page.fields.get("NextContinuationToken")
        return Page([info for info in objects if info.key], more or None)

    def head(self, key: str) -> ObjectInfo | None:
        """HeadObject; tells by the encryption whether the ETag is the content's MD5."""
        response = self._request("HEAD", key)
        if response is None:
            return None
        headers = response.headers
        encrypted = headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
        encrypted = encrypted or "x-amz-server-side-encryption-customer-algorithm" in headers
        etag = headers.get("etag", "").strip('"')  # some look-alikes lack it for an object or two
        with readable(self._where(key)):
            return ObjectInfo(
                key,
                int(headers["content-length"]),
                etag,
                md5=etag if _MD5.fullmatch(etag) and not encrypted else None,
                metadata={
                    name.removeprefix(_META): value
                    for name, value in headers.items()
                    if name.startswith(_META)
                },
                headers=_headers(response),
                modified=dates.read(headers.get("last-modified")),
                storage_class=_storage_class(headers.get("x-amz-storage-class")),
            )

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """GetObject, whole."""
        # A refusal's body has to fit, too.
        response = self._request("GET", key, body_limit=max(limit, FACTS_BYTES))
        if response is None:
            return None
        if len(response.body) > limit:
            raise StorageError(f"{self._where(key)}: {limit} bytes are the most that is read")
        return Blob(response.body, self._etag(response, key), _headers(response))

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """PutObject, in one request, its content checked by the service (Content-MD5)."""
        sent = {
            "Content-Type": headers.content_type,
            "Content-MD5": body.content_md5,
            **self._write_headers,
            **{_META + name: value for name, value in (metadata or {}).items()},
            _META + SHA256_METADATA: body.sha256,
            **_condition(precondition),
        }
        if headers.cache_control:
            sent["Cache-Control"] = headers.cache_control
        if headers.content_encoding:
            sent["Content-Encoding"] = headers.content_encoding
        response = self._client.request(
            "PUT", self.location.full(key), headers=sent, body=body.data, sha256=body.sha256
        )
        if response.status != 200:
            raise refusal(response, self._where(key), conditional=precondition is not None)
        return self._etag(response, key)

    def can_copy_from(self, source: Backend) -> bool:
        """Whether it is a bucket of the same service, opened with the same credentials."""
        return isinstance(source, S3Backend) and source.endpoint == self.endpoint

    def copy(
        self,
        source: Backend,
        source_key: str,
        source_version: str,
        key: str,
        precondition: Precondition | None = None,
    ) -> str:
        """CopyObject."""
        assert isinstance(source, S3Backend)  # as `can_copy_from` has said
        # Not every look-alike keeps the conditions. Without one for the target the copy's own ETag
        # tells what was copied.
        tells_by_etag = precondition is None and _MD5.fullmatch(source_version) is not None
        if self.endpoint is not None:
            if not tells_by_etag:
                self._check_source(source, source_key, source_version)
            self._check(key, precondition)
        bucket, full = source.location.bucket, source.location.full(source_key)
        sent = {
            "x-amz-copy-source": f"/{bucket}/{quote_key(full)}",
            "x-amz-copy-source-if-match": f'"{source_version}"',
            "x-amz-metadata-directive": "COPY",
            **self._write_headers,
            **_condition(precondition),
        }
        response = self._client.request("PUT", self.location.full(key), headers=sent)
        fields = error_fields(response)
        if response.status == 200 and "ETag" in fields:
            version = fields["ETag"].strip('"')
            if self.endpoint is not None and tells_by_etag and version != source_version:
                try:  # encryption changes ETags, too
                    self._check_source(source, source_key, source_version)
                except PreconditionFailed:
                    self._delete(key, {})
                    raise
            return version
        if response.status == 200:
            response = Response(500, response.headers, response.body)
        raise refusal(response, self._where(key), conditional=True)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """DeleteObjects; DeleteObject at look-alikes, and for keys that XML can't hold."""
        if self.delete_batch == 1 or any(_NOT_IN_XML.search(key) for key in keys):
            for key in keys:
                self._delete(key, {})
            return {}
        from html import escape

        objects = "".join(
            f"<Object><Key>{escape(self.location.full(key))}</Key></Object>" for key in keys
        )
        body = f"<Delete><Quiet>true</Quiet>{objects}</Delete>".encode()
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        sent = {"Content-MD5": base64.b64encode(md5).decode(), "Content-Type": "application/xml"}
        response = self._client.request(
            "POST",
            fields={"delete": ""},
            headers=sent,
            body=body,
            sha256=hashlib.sha256(body).hexdigest(),
            body_limit=PAGE_BYTES,
        )
        if response.status != 200:
            raise refusal(response, self.url)
        with readable(self.url):
            failed = flat(response.body, "Error").items
        return dict(self._not_deleted(item) for item in failed)

    def delete_version(self, key: str, version: str) -> None:
        """DeleteObject with If-Match."""
        if self.endpoint is not None:
            there = self.head(key)
            if there is None:
                return
            if there.version != version:
                raise self._changed(key)
        self._delete(key, {"If-Match": f'"{version}"'})

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Add one rule to the bucket's CORS configuration for the origins it lacks."""
        rules, missing = self._cors(origins)
        if not missing:
            return False
        rule: CORSRuleTypeDef = {
            "AllowedHeaders": ["*"],
            "AllowedMethods": ["GET", "HEAD"],
            "AllowedOrigins": missing,
            "MaxAgeSeconds": _CORS_MAX_AGE,
        }
        with sdk_errors(self.url):
            self._client.control_plane().put_bucket_cors(
                Bucket=self.location.bucket, CORSConfiguration={"CORSRules": [*rules, rule]}
            )
        return True

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """Whether the bucket's CORS configuration lacks some."""
        return bool(self._cors(origins)[1])

    def is_public_by_acl(self, key: str) -> bool | None:
        """GetObjectAcl: whether everybody is granted to read."""
        response = self._client.request("GET", self.location.full(key), {"acl": ""})
        if response.status != 200:
            return None
        with readable(self._where(key)):
            grants = flat(response.body, "Grant").items
        return any(
            grant.get("Grantee/URI") == _ALL_USERS
            and grant.get("Permission") in ("READ", "FULL_CONTROL")
            for grant in grants
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _where(self, key: str) -> str:
        return f"{self.url}: {key}"

    def _changed(self, key: str) -> PreconditionFailed:
        return PreconditionFailed(f"{self._where(key)}: was changed by somebody else")

    def _request(self, method: str, key: str, body_limit: int = FACTS_BYTES) -> Response | None:
        """The response about an object that is there. Raises StorageError for a refusal."""
        response = self._client.request(method, self.location.full(key), body_limit=body_limit)
        if response.status == 200:
            return response
        # A HEAD's refusal has no code, so that other requests have to tell of a missing bucket.
        if response.status == 404 and error_fields(response).get("Code") != "NoSuchBucket":
            return None
        raise refusal(response, self._where(key))

    def _etag(self, response: Response, key: str) -> str:
        etag = response.headers.get("etag", "").strip('"')
        if not etag:
            raise StorageError(
                f"{self._where(key)}: the service does not tell the object's version (ETag)",
                "is --endpoint-url the service's S3 API?",
            )
        return etag

    def _listed(self, item: Mapping[str, str], encoded: bool) -> ObjectInfo:
        key, etag = item["Key"], intern(item.get("ETag", "").strip('"'))
        modified = item.get("LastModified")
        return ObjectInfo(
            self.location.relative(unquote_plus(key) if encoded else key),
            int(item["Size"]),
            etag,
            md5=etag if _MD5.fullmatch(etag) else None,
            md5_is_content=False,
            modified=datetime.fromisoformat(modified) if modified else None,
            storage_class=_storage_class(item.get("StorageClass")),
        )

    def _delete(self, key: str, headers: Mapping[str, str]) -> None:
        response = self._client.request("DELETE", self.location.full(key), headers=headers)
        if response.status in (200, 204):
            return
        if response.status == 404 and error_fields(response).get("Code") != "NoSuchBucket":
            return
        raise refusal(response, self._where(key), conditional=bool(headers))

    def _not_deleted(self, item: Mapping[str, str]) -> tuple[str, StorageError]:
        key, code = self.location.relative(item.get("Key", "")), item.get("Code", "error")
        kind = AccessDenied if code == "AccessDenied" else StorageError
        return key, kind(f"{self._where(shown(key))}: could not be deleted ({shown(code)})")

    def _check(self, key: str, precondition: Precondition | None) -> None:
        """Look whether the condition holds now, for a service that may ignore it."""
        if precondition is None:
            return
        there = self.head(key)
        if (there.version if there else None) != precondition.version:
            raise self._changed(key)

    def _check_source(self, source: S3Backend, key: str, version: str) -> None:
        there = source.head(key)
        if there is None or there.version != version:
            raise source._changed(key)

    def _cors(
        self, origins: Sequence[str]
    ) -> tuple[Sequence[CORSRuleOutputTypeDef], Sequence[str]]:
        """The bucket's CORS rules, and the origins that none of them lets read."""
        client = self._client.control_plane()
        rules: Sequence[CORSRuleOutputTypeDef] = []
        with sdk_errors(self.url):
            try:
                rules = client.get_bucket_cors(Bucket=self.location.bucket)["CORSRules"]
            except client.exceptions.ClientError as error:
                if error.response.get("Error", {}).get("Code") != "NoSuchCORSConfiguration":
                    raise
        return rules, [one for one in origins if not any(_allows(rule, one) for rule in rules)]


def _condition(precondition: Precondition | None) -> dict[str, str]:
    if precondition is None:
        return {}
    if precondition.version is None:
        return {"If-None-Match": "*"}
    return {"If-Match": f'"{precondition.version}"'}


def _storage_class(name: str | None) -> str:
    return "" if name in (None, "STANDARD") else str(name)


def _headers(response: Response) -> Headers:
    headers = response.headers
    # "aws-chunked" is how a body travelled, not how it is stored; some look-alikes keep it.
    encodings = [part.strip() for part in headers.get("content-encoding", "").split(",")]
    return Headers(
        headers.get("content-type", ""),
        headers.get("cache-control", ""),
        ",".join(part for part in encodings if part and part != "aws-chunked"),
    )


def _allows(rule: CORSRuleOutputTypeDef, origin: str) -> bool:
    origins = rule.get("AllowedOrigins", ())
    return {"GET", "HEAD"} <= set(rule.get("AllowedMethods", ())) and (
        origin in origins or "*" in origins
    )


def open_s3(url: str, options: OpenOptions) -> S3Backend:
    """The backend for `url`. Raises InputError for a malformed URL, endpoint or option."""
    location = Location.parse(url, BUCKET_PATTERN)
    for name, value, pattern in (
        ("ACL", options.acl, "[a-z]+(-[a-z]+)*"),
        ("storage class", options.storage_class, "[A-Z]+(_[A-Z]+)*"),
    ):
        if value and re.fullmatch(pattern, value) is None:
            raise InputError(
                f"{shown(value)!r} is not the name of an S3 {name}",
                "public-read is a canned ACL, STANDARD_IA a storage class",
            )
    endpoint = options.endpoint_url or _endpoint_of_the_environment()
    if endpoint is not None:
        try:
            parse_base_url(endpoint.strip())
        except ValueError as error:
            raise InputError(
                f"the endpoint of the S3 service is {error} ({shown_url(endpoint)})",
                "write https://s3.example.com, credentials come from the environment",
            ) from None
        endpoint = endpoint.strip()
    return S3Backend(location, endpoint, options)


def _endpoint_of_the_environment() -> str | None:
    get = os.environ.get
    if get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return get("AWS_ENDPOINT_URL_S3") or get("AWS_ENDPOINT_URL") or None
