"""What only S3 has: deletions by the thousand, and ETags that are not a hash of the content."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import AccessDenied
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import Body, Headers, OpenOptions
from myop_cdn.storage.contract import listing
from tests.servers.proxy import Answer

if TYPE_CHECKING:
    from myop_cdn.storage.base import Backend
    from tests.servers.proxy import Proxy
    from tests.servers.s3 import Bucket

KEYS = [f"components/c {number}+/qa.json" for number in range(5)]


def backend_at(bucket: Bucket, endpoint: str = "") -> Backend:
    """The bucket's `site/`, as AWS itself would be spoken to."""
    options = OpenOptions(endpoint_url=endpoint or bucket.endpoint)
    backend = open_backend(f"{bucket.url}/site", options)
    assert backend.delete_batch == 1  # a look-alike may lack DeleteObjects
    backend.delete_batch = 1000
    return backend


def test_many_are_deleted_in_one_request(bucket: Bucket, proxy: Proxy) -> None:
    backend = backend_at(bucket, proxy.url)
    for key in KEYS:
        backend.put(key, Body.of(b"{}"), Headers())
    proxy.forget()
    assert backend.delete([*KEYS[1:], "components/gone/qa.json"]) == {}
    assert proxy.counted() == {"POST": 1}
    assert set(listing(backend)) == {KEYS[0]}


def test_those_that_could_not_be_deleted_are_told(bucket: Bucket, proxy: Proxy) -> None:
    errors = "".join(
        f"<Error><Key>site/components/{name}/qa.json</Key><Code>{code}</Code></Error>"
        for name, code in (("a", "AccessDenied"), ("b", "InternalError"))
    )
    body = f"<DeleteResult>{errors}</DeleteResult>".encode()
    proxy.meddle = lambda seen: Answer(200, body) if seen.method == "POST" else None
    keys = [f"components/{name}/qa.json" for name in "abc"]
    failed = backend_at(bucket, proxy.url).delete(keys)
    assert list(failed) == keys[:2]
    assert isinstance(failed[keys[0]], AccessDenied)
    assert "InternalError" in failed[keys[1]].message


@pytest.mark.parametrize(("encryption", "is_md5"), [("AES256", True), ("aws:kms", False)])
def test_the_etag_of_an_encrypted_object_is_not_taken_for_its_md5(
    bucket: Bucket, encryption: str, is_md5: bool
) -> None:
    bucket.put("site/components/a/qa.json", b"{}", ServerSideEncryption=encryption)
    backend = backend_at(bucket)
    head = backend.head("components/a/qa.json")
    assert head is not None
    assert (head.md5 is not None) == is_md5
    assert not listing(backend)["components/a/qa.json"].md5_is_content
