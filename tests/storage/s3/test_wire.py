"""The lean S3 client beside the SDK's: same signatures, same endpoints, same certificates."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.errors import CredentialsError, StorageUnreachable
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import OpenOptions
from myop_cdn.storage.s3.place import find_place
from myop_cdn.storage.s3.sigv4 import Keys, Signer
from tests.servers.process import free_port

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = {"AWS_ACCESS_KEY_ID": "AKTEST", "AWS_SECRET_ACCESS_KEY": "secretkey"}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of AWS in the environment but two keys and a region."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


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


@pytest.mark.parametrize(
    ("bucket", "region"),
    [("bucket", "eu-west-1"), ("bucket", "us-west-2"), ("a.bucket", "ap-southeast-2")],
)
def test_endpoints_are_those_of_the_sdk(
    bucket: str, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    place = find_place(bucket, None)
    assert place is not None
    client = boto3.client("s3", region_name=region)
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    # A presigned URL of the SDK is for the global endpoint; its client asks the regional one.
    assert place.origin.netloc.replace(f".{region}", "") == url.split("/")[2].replace(
        f".{region}", ""
    )
    assert f"{place.root}k" == "/" + url.split("/", 3)[3].partition("?")[0]
    assert client.meta.endpoint_url in f"https://{place.origin.netloc.removeprefix('bucket.')}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "http://127.0.0.1:3128"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_DEFAULT_REGION", "cn-north-1"),
        ("AWS_DEFAULT_REGION", "us-gov-west-1"),
    ],
)
def test_the_odd_is_left_to_the_sdk(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_place("bucket", None) is not None
    monkeypatch.setenv(name, value)
    assert find_place("bucket", None) is None


def test_a_proxy_that_is_passed_by_for_the_endpoint_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:3128")
    assert find_place("bucket", "http://s3.internal:9000") is None
    monkeypatch.setenv("no_proxy", "s3.internal")
    assert find_place("bucket", "http://s3.internal:9000") is not None


def test_a_profile_s_credentials_and_region_come_by_the_sdk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (*VARIABLES, "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text("[profile ci]\nregion = eu-north-1\n")
    (tmp_path / "credentials").write_text(
        "[ci]\naws_access_key_id = AKPROFILE\naws_secret_access_key = s\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "ci")
    place = find_place("bucket", None)
    assert place is not None
    assert place.keys().access_key == "AKPROFILE"
    assert place.region == "eu-north-1"


def test_a_profile_that_changes_how_s3_is_spoken_to_is_the_sdk_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\ns3 =\n  use_accelerate_endpoint = true\n")
    assert find_place("bucket", None) is None


def test_no_credentials_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name)
    with pytest.raises(CredentialsError):
        open_backend("s3://bucket").list(None)


def test_nobody_there_is_told_as_with_the_sdk() -> None:
    backend = open_backend("s3://bucket", OpenOptions(1, f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(StorageUnreachable):
        backend.list(None)
