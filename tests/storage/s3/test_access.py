"""Where a bucket answers and who asks: held against the SDK's own client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import CredentialsError, StorageError, StorageUnreachable
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import OpenOptions
from myop_cdn.storage.s3 import access
from myop_cdn.storage.s3.access import Site, find_access
from tests.servers.process import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from botocore.awsrequest import AWSPreparedRequest

VARIABLES = {"AWS_ACCESS_KEY_ID": "AKTEST", "AWS_SECRET_ACCESS_KEY": "secretkey"}
URL = "s3://bucket/site"


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


def site_of(bucket: str = "bucket", endpoint: str | None = None) -> Site:
    """Where the bucket is asked for first."""
    found = find_access(URL, bucket, endpoint)
    return found.site(found.region)


def where(site: Site) -> str:
    return f"{site.endpoint.url}{site.root}"


def by_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the SDK decide, as it does for all that the environment does not say plainly."""
    monkeypatch.setattr(access, "_by_variables", lambda *_: None)


def sdk_url(bucket: str, region: str) -> str:
    """Where the SDK's own client sends a request for an object."""
    import boto3

    seen: list[str] = []

    class Sent(Exception):
        """Before anything is sent."""

    def note(request: AWSPreparedRequest, **_: object) -> None:
        seen.append(request.url)
        raise Sent

    client = boto3.client("s3", region_name=region)
    client.meta.events.register("before-send.s3", note)
    with pytest.raises(Sent):
        client.head_object(Bucket=bucket, Key="k")
    return seen[0].removesuffix("k")


@pytest.mark.parametrize("by", ["variables", "sdk"])
@pytest.mark.parametrize("bucket", ["bucket", "a.bucket", "Bucket_1"])
@pytest.mark.parametrize("region", ["eu-west-1", "us-west-2", "ap-southeast-2"])
def test_endpoints_are_those_of_the_sdk(
    bucket: str, region: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    if by == "sdk":
        by_sdk(monkeypatch)
    site = site_of(bucket)
    assert where(site) == sdk_url(bucket, region)
    assert site.region == region


@pytest.mark.parametrize(
    ("variable", "value", "host", "region"),
    [
        ("AWS_USE_FIPS_ENDPOINT", "true", "bucket.s3-fips.us-east-2.amazonaws.com", "us-east-2"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true", "bucket.s3.dualstack.us-east-2.amazonaws.com",
         "us-east-2"),
        ("AWS_DEFAULT_REGION", "cn-north-1", "bucket.s3.cn-north-1.amazonaws.com.cn",
         "cn-north-1"),
        ("AWS_DEFAULT_REGION", "us-gov-west-1", "bucket.s3.us-gov-west-1.amazonaws.com",
         "us-gov-west-1"),
    ],
)  # fmt: skip
def test_other_partitions_and_kinds_of_endpoints_come_by_the_sdk_s_rules(
    variable: str, value: str, host: str, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
    monkeypatch.setenv(variable, value)
    site = site_of()
    assert (where(site), site.region) == (f"https://{host}/", region)
    assert where(site) == sdk_url("bucket", region)


def test_a_profile_s_settings_for_s3_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\ns3 =\n  use_accelerate_endpoint = true\n")
    assert where(site_of()) == "https://bucket.s3-accelerate.amazonaws.com/"


def test_a_profile_s_endpoint_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[default]\nendpoint_url = http://127.0.0.1:9000\ns3 =\n  addressing_style = path\n"
    )
    assert where(site_of()) == "http://127.0.0.1:9000/bucket/"


def test_another_service_is_asked_by_path_unless_a_profile_says_otherwise(
    tmp_path: Path,
) -> None:
    endpoint = "http://s3.internal:9000/base"
    assert where(site_of(endpoint=endpoint)) == "http://s3.internal:9000/base/bucket/"
    (tmp_path / "config").write_text("[default]\nregion = eu-west-1\n")
    assert where(site_of(endpoint=endpoint)) == "http://s3.internal:9000/base/bucket/"
    (tmp_path / "config").write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    assert where(site_of(endpoint="http://s3.internal:9000")) == "http://bucket.s3.internal:9000/"


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
    found = find_access(URL, "bucket", None)
    assert found.keys().access_key == "AKPROFILE"
    assert found.region == "eu-north-1"


@pytest.mark.parametrize("by", ["variables", "sdk"])
@pytest.mark.parametrize(
    ("default", "other", "region"),
    [
        ("", None, "us-east-1"),
        ("", "eu-west-3", "eu-west-3"),
        ("eu-west-1 ", None, "eu-west-1"),
        ("eu-west-1", "eu-west-3", "eu-west-1"),
    ],
)
def test_a_blank_region_is_none_and_blanks_around_one_are_not_of_it(
    default: str, other: str | None, region: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", default)
    if other is not None:
        monkeypatch.setenv("AWS_REGION", other)
    if by == "sdk":
        by_sdk(monkeypatch)
    site = site_of()
    assert site.region == region
    assert site.endpoint.host.startswith("bucket.s3.")


@pytest.mark.parametrize("by", ["variables", "sdk"])
@pytest.mark.parametrize("region", ["us_east_1", "eu west", "-eu", "evil.example#"])
def test_what_can_not_be_a_region_is_named(
    region: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    if by == "sdk":
        by_sdk(monkeypatch)
    with pytest.raises(StorageError, match="is not the name of a region") as caught:
        open_backend(URL).list(None)
    assert region in caught.value.message
    assert "AWS_REGION" in caught.value.hint


@pytest.mark.parametrize("bucket", ["name--use1-az4--x-s3", "mfzwi23gnjvgw.mrap"])
def test_buckets_of_another_protocol_are_refused(bucket: str) -> None:
    with pytest.raises(StorageError, match="is not supported"):
        open_backend(f"s3://{bucket}").list(None)


def test_a_profile_of_sso_without_a_login_is_told_how_to_log_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (*VARIABLES, "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(
        "[profile ci]\nregion = eu-north-1\nsso_session = corp\nsso_role_name = Deploy\n"
        "sso_account_id = 123456789012\n[sso-session corp]\nsso_region = us-east-1\n"
        "sso_start_url = https://corp.awsapps.com/start\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "ci")
    with pytest.raises(CredentialsError) as caught:
        find_access(URL, "bucket", None).keys()
    assert caught.value.hint.startswith("run aws sso login")


def test_no_credentials_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name)
    with pytest.raises(CredentialsError):
        open_backend("s3://bucket").list(None)


def test_nobody_there_is_told() -> None:
    backend = open_backend("s3://bucket", OpenOptions(1, f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(StorageUnreachable):
        backend.list(None)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_a_folder_of_settings_that_may_not_be_looked_at_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with the SDK: the HOME of another user, say."""
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "config").write_text("[default]\nregion = eu-north-1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name)
    tmp_path.chmod(0o755)
    folder.chmod(0o000)
    root = os.geteuid() == 0  # whom no permission stops
    try:
        if root:
            os.seteuid(65534)
        assert site_of().region == "eu-west-1"
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


def test_a_file_that_the_sdk_stumbles_over_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/home/other/.aws/config")

    by_sdk(monkeypatch)
    monkeypatch.setattr(access, "sdk_session", stumble)
    with pytest.raises(CredentialsError, match=r"/home/other/.aws/config can't be read"):
        open_backend(URL).list(None)


def test_a_proxy_that_is_not_one_is_told_as_the_destination_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "ftp://u:secret@proxy")
    with pytest.raises(StorageError, match="http_proxy") as caught:
        open_backend(URL, OpenOptions(1, "http://s3.internal")).list(None)
    assert "secret" not in caught.value.message
