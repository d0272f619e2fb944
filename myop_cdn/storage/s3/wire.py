"""S3's requests for single objects, made without the SDK's machinery.

A `WireClient` answers the SDK client's methods that a deploy calls by the thousand, with the
same arguments, results and exceptions. Everything else, and every answer that is out of the
ordinary (a redirect to another region), it hands on to the SDK's own client, made when first
needed. The notes in `tests/benchmarks` have the figures that speak for it.
"""

from __future__ import annotations

import hashlib
import io
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_plus

from myop_cdn.storage.base import MAX_OBJECT_BYTES, SHA256_METADATA
from myop_cdn.storage.flat_xml import flat
from myop_cdn.storage.s3.place import find_place
from myop_cdn.storage.s3.sigv4 import EMPTY_SHA256, Signer
from myop_cdn.wire import AGENT, NoConnection, Pool, TimedOut, Untrusted, WireError, dates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from myop_cdn.storage.s3.place import Place
    from myop_cdn.wire import Answer

_UNRESERVED = "-_.~"  # what SigV4 leaves as it is besides letters and digits
_PUT_HEADERS = {
    "CacheControl": "Cache-Control",
    "ContentEncoding": "Content-Encoding",
    "ContentMD5": "Content-MD5",
    "ContentType": "Content-Type",
    "IfMatch": "If-Match",
    "IfNoneMatch": "If-None-Match",
}
_RESULT_FIELDS = {
    "CacheControl": "cache-control",
    "ContentEncoding": "content-encoding",
    "ContentType": "content-type",
    "ETag": "etag",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSECustomerAlgorithm": "x-amz-server-side-encryption-customer-algorithm",
}
_META = "x-amz-meta-"
# Answers about the region, which the SDK knows how to follow.
_ELSEWHERE = {
    "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect",
    "TemporaryRedirect",
}  # fmt: skip


class WireClient:
    """The SDK's S3 client, as far as this program uses it, for one bucket.

    sdk: makes the SDK's client. Safe between threads.
    """

    def __init__(self, bucket: str, place: Place, sdk: Callable[[], Any]) -> None:
        self._bucket = bucket
        self._place = place
        self._make_sdk = sdk
        self._sdk: Any = None
        self._pool = Pool(place.origin, place.context, max_body_bytes=MAX_OBJECT_BYTES)
        self._signer = Signer(place.origin.netloc, place.region, place.keys)

    def __getattr__(self, name: str) -> Any:
        """The methods that are rarely called: the SDK's own."""
        return getattr(self._sdk_client(), name)

    def list_objects_v2(self, **given: Any) -> Mapping[str, Any]:
        """ListObjectsV2. As the SDK, asks for keys percent-encoded: XML can't hold all."""
        if not given.keys() <= {"Bucket", "Prefix", "MaxKeys", "ContinuationToken"}:
            return self._by_sdk("list_objects_v2", given)
        fields = {"encoding-type": "url", "list-type": "2"}
        fields["max-keys"] = str(given.get("MaxKeys", 1000))
        fields["prefix"] = given.get("Prefix", "")
        if "ContinuationToken" in given:
            fields["continuation-token"] = given["ContinuationToken"]
        path = self._place.root if self._place.root == "/" else self._place.root[:-1]
        answer = self._ask("GET", path, fields)
        if answer.status != 200:
            return self._refused("ListObjectsV2", "list_objects_v2", given, answer)
        page = flat(answer.body, "Contents")
        decode = unquote_plus if page.fields.get("EncodingType") == "url" else str
        contents = [
            {
                "Key": decode(item["Key"]),
                "Size": int(item["Size"]),
                "ETag": item.get("ETag", ""),
                "LastModified": _iso(item.get("LastModified")),
            }
            for item in page.items
        ]
        result: dict[str, Any] = {"Contents": contents}
        if token := page.fields.get("NextContinuationToken"):
            result["NextContinuationToken"] = token
        return result

    def head_object(self, **given: Any) -> Mapping[str, Any]:
        """HeadObject."""
        if given.keys() != {"Bucket", "Key"}:
            return self._by_sdk("head_object", given)
        answer = self._ask("HEAD", self._path(given["Key"]))
        if answer.status != 200:
            return self._refused("HeadObject", "head_object", given, answer)
        return {**_facts(answer), "LastModified": dates.read(answer.headers.get("last-modified"))}

    def get_object(self, **given: Any) -> Mapping[str, Any]:
        """GetObject; the body is read already."""
        if given.keys() != {"Bucket", "Key"}:
            return self._by_sdk("get_object", given)
        answer = self._ask("GET", self._path(given["Key"]))
        if answer.status != 200:
            return self._refused("GetObject", "get_object", given, answer)
        return {**_facts(answer), "Body": io.BytesIO(answer.body)}

    def put_object(self, **given: Any) -> Mapping[str, Any]:
        """PutObject, in one request."""
        body, metadata = given.get("Body", b""), given.get("Metadata", {})
        known = {"Bucket", "Key", "Body", "Metadata", *_PUT_HEADERS}
        if not given.keys() <= known or not isinstance(body, bytes):
            return self._by_sdk("put_object", given)
        headers = {name: given[key] for key, name in _PUT_HEADERS.items() if key in given}
        headers |= {_META + name: value for name, value in metadata.items()}
        # Kept beside the object anyway; were it wrong, the service would refuse the request.
        sha256 = metadata.get(SHA256_METADATA) or hashlib.sha256(body).hexdigest()
        answer = self._ask("PUT", self._path(given["Key"]), {}, headers, body, sha256)
        if answer.status != 200:
            return self._refused("PutObject", "put_object", given, answer)
        return {"ETag": answer.headers.get("etag", "")}

    def delete_object(self, **given: Any) -> Mapping[str, Any]:
        """DeleteObject."""
        if given.keys() != {"Bucket", "Key"}:
            return self._by_sdk("delete_object", given)
        answer = self._ask("DELETE", self._path(given["Key"]))
        if answer.status not in (200, 204):
            return self._refused("DeleteObject", "delete_object", given, answer)
        return {}

    def close(self) -> None:
        """Close the connections, the SDK's too."""
        self._pool.close()
        if self._sdk is not None:
            self._sdk.close()

    def _path(self, key: str) -> str:
        return self._place.root + quote(key, safe="/" + _UNRESERVED)

    def _ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        sha256: str = EMPTY_SHA256,
    ) -> Answer:
        query = "&".join(
            f"{name}={quote(value, safe=_UNRESERVED)}"
            for name, value in sorted((fields or {}).items())
        )
        signed = self._signer.sign(method, path, query, headers or {}, sha256)
        target = f"{path}?{query}" if query else path
        try:
            return self._pool.ask(method, target, signed | AGENT, body)
        except WireError as error:
            raise _sdk_words(error, self._place) from None

    def _refused(
        self, operation: str, method: str, given: Mapping[str, Any], answer: Answer
    ) -> Mapping[str, Any]:
        from botocore.exceptions import ClientError

        details = _error(answer)
        # A HEAD's 400 has no body to say so: it may be about the region too.
        about_region = answer.status == 400 and "x-amz-bucket-region" in answer.headers
        if 300 <= answer.status < 400 or about_region or details["Code"] in _ELSEWHERE:
            return self._by_sdk(method, given)
        meta = {"HTTPStatusCode": answer.status, "HTTPHeaders": answer.headers}
        value: Any = {"Error": details, "ResponseMetadata": meta}
        raise ClientError(value, operation)

    def _by_sdk(self, method: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        result: Mapping[str, Any] = getattr(self._sdk_client(), method)(**given)
        return result

    def _sdk_client(self) -> Any:
        if self._sdk is None:
            self._sdk = self._make_sdk()  # two of them, should two threads meet here, do no harm
        return self._sdk


def open_client(bucket: str, endpoint: str | None, sdk: Callable[[], Any]) -> Any:
    """The client to ask for `bucket` with: a WireClient, or the SDK's own where only that will do.

    endpoint: the URL of another service than Amazon's, None for that. sdk: makes the SDK's
    client. Raises what the SDK raises for credentials that can't be used.
    """
    place = find_place(bucket, endpoint)
    return sdk() if place is None else WireClient(bucket, place, sdk)


def _facts(answer: Answer) -> dict[str, Any]:
    headers = answer.headers
    facts: dict[str, Any] = {
        key: headers[name] for key, name in _RESULT_FIELDS.items() if name in headers
    }
    facts["ContentLength"] = int(headers.get("content-length", len(answer.body)))
    facts["Metadata"] = {
        name.removeprefix(_META): value for name, value in headers.items() if name.startswith(_META)
    }
    return facts


def _error(answer: Answer) -> dict[str, str]:
    """The service's own words; the status where it has none, as the SDK does it."""
    try:
        fields = flat(answer.body).fields
    except ValueError:
        fields = {}
    return {"Message": "", **fields, "Code": fields.get("Code") or str(answer.status)}


def _iso(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def _sdk_words(error: WireError, place: Place) -> Exception:
    from botocore import exceptions as boto

    url = f"{place.origin.scheme}://{place.origin.netloc}"
    if isinstance(error, NoConnection):
        return boto.EndpointConnectionError(endpoint_url=url, error=error)
    if isinstance(error, Untrusted):
        return boto.SSLError(endpoint_url=url, error=error)
    if isinstance(error, TimedOut):
        return boto.ReadTimeoutError(endpoint_url=url, error=error)
    return boto.ConnectionClosedError(endpoint_url=url, error=error)
