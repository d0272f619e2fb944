"""Signatures of requests, held against the SDK's."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.storage.s3.sigv4 import Keys, Signer


@given(
    st.sampled_from(["GET", "PUT", "HEAD"]),
    st.text("abc/ ü+%~-_.&=☃", max_size=20),
    st.dictionaries(
        st.sampled_from(["Content-Type", "x-amz-meta-a", "If-Match", "Cache-Control"]),
        st.text("ab  ,=;", max_size=12).map(str.strip),
    ),
    st.sampled_from([None, "token"]),
)
def test_signatures_are_those_of_the_sdk(
    method: str, key: str, headers: dict[str, str], token: str | None
) -> None:
    path = "/bucket/" + quote(key, safe="/-_.~")
    query = "list-type=2&prefix=" + quote(key, safe="-_.~")
    digest = hashlib.sha256(key.encode()).hexdigest()
    signer = Signer("s3.example.com:9000", "eu-west-1", lambda: Keys("AK", "secret", token))
    signed = signer.sign(method, path, query, headers, digest)

    request = AWSRequest(method, f"http://s3.example.com:9000{path}?{query}", headers=headers)
    request.headers["X-Amz-Content-SHA256"] = digest
    request.headers["X-Amz-Date"] = signed["x-amz-date"]
    request.context["timestamp"] = signed["x-amz-date"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    theirs = S3SigV4Auth(Credentials("AK", "secret", token), "s3", "eu-west-1")
    text = theirs.string_to_sign(request, theirs.canonical_request(request))
    assert signed["Authorization"].rpartition("=")[2] == theirs.signature(text, request)


def test_keys_don_t_show_the_secret() -> None:
    assert "secret" not in repr(Keys("AK", "secret", "token"))
    assert "token" not in repr(Keys("AK", "secret", "token"))
