"""`s3://bucket[/prefix]`: Amazon S3, and services that speak its protocol.

boto3 finds credentials and region as every AWS tool does: environment, profile, web identity,
container or instance role. boto3 is imported at the first request.

Facts from the S3 API Reference: an ETag is the MD5 of the content unless the object is encrypted
with KMS or customer keys, or was uploaded in parts ("Checking object integrity"); `If-Match` and
`If-None-Match: *` make PutObject conditional, answering 412, or 409 while another write to the
key is under way ("Conditional requests").
"""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from myop_cdn.errors import AccessDenied, InputError, StorageError
from myop_cdn.storage.base import MAX_OBJECT_BYTES, SHA256_METADATA, Blob, Headers, ObjectInfo, Page
from myop_cdn.storage.location import Location
from myop_cdn.storage.s3.errors import client_error, code, mapped
from myop_cdn.storage.s3.wire import open_client

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_s3 import S3Client

    from myop_cdn.storage.base import Body, OpenOptions, Precondition

BUCKET_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}"
PAGE_SIZE = 1000  # the most that S3 lists at once
DELETE_BATCH = 1000  # the most that DeleteObjects takes
_CORS_MAX_AGE = 86400
_MISSING = ("404", "NoSuchKey", "NotFound")


class S3Backend:
    """The objects of one bucket below a prefix."""

    keeps_headers = True

    def __init__(self, location: Location, endpoint: str | None, jobs: int) -> None:
        self.url = location.url
        self.origin_path = f"/{location.root}"
        self.location = location
        self.page_size = PAGE_SIZE
        # Look-alikes differ in which checksum header they want with DeleteObjects; some lack it.
        self.delete_batch = 1 if endpoint else DELETE_BATCH
        self._endpoint = endpoint
        self._jobs = jobs
        self._opened: S3Client | None = None
        self._lock = threading.Lock()

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:
        """A page of ListObjectsV2."""
        more: dict[str, Any] = {"ContinuationToken": cursor} if cursor else {}
        with mapped(self.url):
            answer = self._client.list_objects_v2(
                Bucket=self.location.bucket,
                Prefix=self.location.full(prefix),
                MaxKeys=min(self.page_size, limit or self.page_size),
                **more,
            )
        objects = []
        for item in answer.get("Contents", ()):
            etag = item.get("ETag", "").strip('"')
            key = self.location.relative(item["Key"])
            if not key:
                continue
            md5 = etag if re.fullmatch("[0-9a-f]{32}", etag) else None
            objects.append(
                ObjectInfo(
                    key,
                    item["Size"],
                    etag,
                    md5=md5,
                    md5_is_content=False,
                    modified=item.get("LastModified"),
                )
            )
        return Page(objects, answer.get("NextContinuationToken"))

    def head(self, key: str) -> ObjectInfo | None:
        """HeadObject; tells by the encryption whether the ETag is the content's MD5."""
        with mapped(self.url, key):
            try:
                answer: Mapping[str, Any] = self._client.head_object(
                    Bucket=self.location.bucket, Key=self.location.full(key)
                )
            except client_error() as error:
                if code(error) in _MISSING:
                    return None
                raise
        etag = answer.get("ETag", "").strip('"')
        encrypted = answer.get("ServerSideEncryption", "AES256") != "AES256"
        encrypted = encrypted or "SSECustomerAlgorithm" in answer
        is_md5 = re.fullmatch("[0-9a-f]{32}", etag) is not None and not encrypted
        return ObjectInfo(
            key,
            answer["ContentLength"],
            etag,
            md5=etag if is_md5 else None,
            metadata=_metadata(answer),
            headers=_headers(answer),
            modified=answer.get("LastModified"),
        )

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """GetObject, whole."""
        with mapped(self.url, key):
            try:
                answer: Mapping[str, Any] = self._client.get_object(
                    Bucket=self.location.bucket, Key=self.location.full(key)
                )
            except client_error() as error:
                if code(error) in _MISSING:
                    return None
                raise
            data = answer["Body"].read()
            if len(data) > limit:
                raise StorageError(f"{self.url}: {key} has more than {limit} bytes")
            return Blob(data, answer["ETag"].strip('"'), _headers(answer))

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """PutObject, in one request, its content checked by the service (Content-MD5)."""
        more: dict[str, Any] = {}
        if headers.cache_control:
            more["CacheControl"] = headers.cache_control
        if headers.content_encoding:
            more["ContentEncoding"] = headers.content_encoding
        if precondition is not None and precondition.version is None:
            more["IfNoneMatch"] = "*"
        elif precondition is not None:
            more["IfMatch"] = f'"{precondition.version}"'
        with mapped(self.url, key, conditional=precondition is not None):
            answer = self._client.put_object(
                Bucket=self.location.bucket,
                Key=self.location.full(key),
                Body=body.data,
                ContentType=headers.content_type,
                ContentMD5=body.content_md5,
                Metadata={**(metadata or {}), SHA256_METADATA: body.sha256},
                **more,
            )
        return answer["ETag"].strip('"')

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """DeleteObjects; DeleteObject at look-alikes."""
        if self.delete_batch == 1:
            for key in keys:
                with mapped(self.url, key):
                    self._client.delete_object(
                        Bucket=self.location.bucket, Key=self.location.full(key)
                    )
            return {}
        with mapped(self.url):
            answer = self._client.delete_objects(
                Bucket=self.location.bucket,
                Delete={
                    "Objects": [{"Key": self.location.full(key)} for key in keys],
                    "Quiet": True,
                },
            )
        failed: dict[str, StorageError] = {}
        for one in answer.get("Errors", ()):
            key, reason = self.location.relative(one.get("Key", "")), one.get("Code", "error")
            kind = AccessDenied if reason == "AccessDenied" else StorageError
            failed[key] = kind(f"{self.url}: {key}: could not be deleted ({reason})")
        return failed

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Add one rule to the bucket's CORS configuration for the origins it lacks."""
        with mapped(self.url):
            rules, missing = _rules(self._client, self.location.bucket, origins)
            if not missing:
                return False
            rule: Any = {
                "AllowedHeaders": ["*"],
                "AllowedMethods": ["GET", "HEAD"],
                "AllowedOrigins": missing,
                "MaxAgeSeconds": _CORS_MAX_AGE,
            }
            self._client.put_bucket_cors(
                Bucket=self.location.bucket, CORSConfiguration={"CORSRules": [*rules, rule]}
            )
        return True

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """Whether the bucket's CORS configuration lacks some."""
        with mapped(self.url):
            return bool(_rules(self._client, self.location.bucket, origins)[1])

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()

    @property
    def _client(self) -> S3Client:
        with self._lock:
            if self._opened is None:
                self._opened = open_client(
                    self.location.bucket,
                    self._endpoint,
                    lambda: _open(self._endpoint, self._jobs),
                )
            return self._opened


def _metadata(answer: Mapping[str, Any]) -> dict[str, str]:
    # Some look-alikes write metadata names with capitals.
    return {name.lower(): value for name, value in answer.get("Metadata", {}).items()}


def _headers(answer: Mapping[str, Any]) -> Headers:
    # "aws-chunked" is how a body travelled, not how it is stored; some look-alikes keep it.
    encodings = [one.strip() for one in answer.get("ContentEncoding", "").split(",")]
    return Headers(
        answer.get("ContentType", ""),
        answer.get("CacheControl", ""),
        ",".join(one for one in encodings if one and one != "aws-chunked"),
    )


def _rules(client: S3Client, bucket: str, origins: Sequence[str]) -> tuple[list[Any], list[str]]:
    """The bucket's CORS rules, and the origins that none of them lets read."""
    from botocore.exceptions import ClientError

    try:
        rules: list[Any] = list(client.get_bucket_cors(Bucket=bucket)["CORSRules"])
    except ClientError as error:
        if code(error) != "NoSuchCORSConfiguration":
            raise
        rules = []
    return rules, [one for one in origins if not any(_allows(rule, one) for rule in rules)]


def _allows(rule: Mapping[str, Any], origin: str) -> bool:
    methods = set(rule.get("AllowedMethods", ()))
    origins = rule.get("AllowedOrigins", ())
    return {"GET", "HEAD"} <= methods and (origin in origins or "*" in origins)


def open_s3(url: str, options: OpenOptions) -> S3Backend:
    """The backend for `url`. Raises InputError for a malformed URL or endpoint."""
    location = Location.parse(url, BUCKET_PATTERN)
    endpoint = (
        options.endpoint_url
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or None
    )
    if endpoint is not None:
        _check_endpoint(endpoint)
    return S3Backend(location, endpoint, options.jobs)


def _check_endpoint(endpoint: str) -> None:
    hint = "write https://s3.example.com, credentials come from the environment"
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise InputError("the endpoint of the S3 service is no URL", hint) from None
    if not good or parts.username or parts.query or parts.fragment:
        raise InputError("the endpoint of the S3 service is no plain http(s) URL", hint)


def _open(endpoint: str | None, jobs: int) -> S3Client:
    import boto3
    from botocore.config import Config

    settings: dict[str, Any] = {
        # One connection for each job, and a few for the listing and the ledger.
        "max_pool_connections": jobs + 4,
        # `Store` tries again, the same way for every service.
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        # boto3's default trailing checksums are unknown to many look-alikes.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "connect_timeout": 10,
        "read_timeout": 60,
    }
    if endpoint:
        settings["s3"] = {"addressing_style": "path"}
    # boto3 itself reads AWS_DEFAULT_REGION only; AWS's own runtimes and other SDKs set both.
    session = boto3.Session()
    region = session.region_name or os.environ.get("AWS_REGION") or None
    return session.client(
        "s3", endpoint_url=endpoint, region_name=region, config=Config(**settings)
    )
