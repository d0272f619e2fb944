"""What goes wrong at a service is told once, clearly, and with what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    CredentialsError,
    InputError,
    MyopCdnError,
    StorageError,
    StorageUnavailable,
    StorageUnreachable,
)
from myop_cdn.retry import RetryPolicy
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import OpenOptions
from myop_cdn.storage.store import Store
from myop_cdn.text import line
from tests.servers.azure import ACCOUNT, connection_string
from tests.servers.process import free_port, serving
from tests.servers.proxy import Answer, Proxy

if TYPE_CHECKING:
    from tests.servers.s3 import Bucket


def s3(endpoint: str, bucket: str = "bucket") -> Store:
    """A store at an S3 endpoint, in no hurry and without policy."""
    backend = open_backend(f"s3://{bucket}", OpenOptions(endpoint_url=endpoint))
    return Store(backend, RetryPolicy(attempts=2, unreachable_attempts=2), lambda _: True)


def xml(code: str, more: str = "") -> bytes:
    """An S3 error's body."""
    return f"<Error><Code>{code}</Code><Message>no</Message>{more}</Error>".encode()


@pytest.mark.parametrize(
    ("status", "code", "kind", "word"),
    [
        (400, "ExpiredToken", CredentialsError, "expired"),
        (403, "InvalidAccessKeyId", CredentialsError, "refused"),
        (403, "SignatureDoesNotMatch", CredentialsError, "refused"),
        (403, "RequestTimeTooSkewed", CredentialsError, "clock"),
        (403, "AccessDenied", AccessDenied, "not allowed"),
        (404, "NoSuchBucket", ContainerMissing, "no such bucket"),
        (503, "SlowDown", StorageUnavailable, "503"),
        (500, "InternalError", StorageUnavailable, "500"),
        (400, "Strange", StorageError, "Strange"),
    ],
)
def test_s3_answers(
    proxy: Proxy, aws: None, status: int, code: str, kind: type[MyopCdnError], word: str
) -> None:
    proxy.meddle = lambda _: Answer(status, xml(code))
    with pytest.raises(kind) as caught:
        s3(proxy.url).list()
    assert type(caught.value) is kind
    assert word in caught.value.message
    assert "s3://bucket" in caught.value.message


def test_a_bucket_in_another_region_names_the_region(proxy: Proxy, aws: None) -> None:
    body = xml("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>")
    proxy.meddle = lambda _: Answer(400, body)
    with pytest.raises(StorageError) as caught:
        s3(proxy.url).list()
    assert "AWS_REGION=eu-west-1" in caught.value.hint


def test_a_bucket_that_is_missing_is_told_by_the_server(bucket: Bucket) -> None:
    with pytest.raises(ContainerMissing):
        s3(bucket.endpoint, "nobody-made-this").list()


def test_a_service_that_does_not_listen_is_unreachable(aws: None) -> None:
    with pytest.raises(StorageUnreachable) as caught:
        s3(f"http://127.0.0.1:{free_port()}").list()
    assert "--endpoint-url" in caught.value.hint


def test_no_aws_credentials_say_where_they_come_from(
    proxy: Proxy, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError) as caught:
        s3(proxy.url).list()
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint
    assert proxy.arrived == []


def test_a_profile_that_is_missing_is_told(
    proxy: Proxy, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CredentialsError, match="nobody"):
        s3(proxy.url).list()


def test_a_wrong_key_is_found_out_by_a_server_that_checks(
    tmp_path: Path, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bucket").mkdir()
    port = free_port()
    rclone = str(Path(sys.executable).with_name("rclone"))
    where = ["--addr", f"127.0.0.1:{port}", "--auth-key", "AKTEST,another-secret"]
    words = [rclone, "serve", "s3", "--config", "/nonexistent.conf", *where, str(tmp_path)]
    with serving(words, port) as url, pytest.raises(CredentialsError):
        s3(url).list()


def test_a_wrong_key_of_azure(azurite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = connection_string(azurite).replace("Eby8", "AAAA")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    with pytest.raises(MyopCdnError) as caught:
        Store(open_backend("az://container")).list()
    assert isinstance(caught.value, CredentialsError | AccessDenied)
    assert caught.value.hint
    assert "AAAA" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("variable", ["nothing", "broken"])
def test_no_azure_credentials(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONNECTION_STRING", "ACCOUNT", "KEY", "SAS_TOKEN"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)
    if variable == "broken":
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", ACCOUNT)
        monkeypatch.setenv("AZURE_STORAGE_KEY", "not base64!")
    with pytest.raises(CredentialsError) as caught:
        Store(open_backend("az://container")).list()
    assert "AZURE_STORAGE" in caught.value.hint


def test_an_azure_account_that_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    text = connection_string(f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    store = Store(open_backend("az://container"), wait=lambda _: True)
    with pytest.raises(StorageUnreachable):
        store.list()


def test_no_google_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with pytest.raises(CredentialsError) as caught:
        Store(open_backend("gs://bucket")).list()
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, CredentialsError),
        (403, AccessDenied),
        (404, ContainerMissing),
        (429, StorageUnavailable),
        (503, StorageUnavailable),
        (400, StorageError),
    ],
)
def test_google_answers(
    gcs_emulator: str, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[MyopCdnError]
) -> None:
    body = b'{"error": {"message": "no"}}'
    with Proxy(gcs_emulator) as proxy:
        proxy.meddle = lambda _: Answer(status, body, "application/json")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        store = Store(open_backend("gs://bucket"), wait=lambda _: True)
        with pytest.raises(kind) as caught:
            store.list()
        assert type(caught.value) is kind


def test_google_that_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StorageUnreachable):
        Store(open_backend("gs://bucket"), wait=lambda _: True).list()


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3://b/..",
        "s3://user:pw@bucket",
        "s3://b\x00d",
        "gs://UPPER",
        "az://no_underscore",
        "https://example.com/x",
        "https://acc.blob.core.windows.net/",
        "https://acc.blob.core.windows.net/c?sv=SECRET",
        "https://u:SECRET@acc.blob.core.windows.net/c",
        "file://relative",
        "file:///",
        "file:///a%00b",
        "nothing",
        "://x",
        "S3://bucket",
    ],
)
def test_a_url_that_is_none_is_bad_usage_and_shows_no_secret(url: str) -> None:
    with pytest.raises(InputError) as caught:
        open_backend(url)
    assert "SECRET" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.parametrize("end", ["?token=SECRET", "/myop?token=SECRET", "/myop#SECRET", "/a?"])
def test_a_destination_takes_no_query_and_no_fragment(scheme: str, end: str) -> None:
    with pytest.raises(InputError) as caught:
        open_backend(f"{scheme}://my-bucket{end}")
    said = line(caught.value.message)
    assert "SECRET" not in said
    assert said.startswith(f"{scheme}://my-bucket")
    assert said.endswith(": a destination takes neither a ? nor a #")
    assert caught.value.hint.startswith(f"write {scheme}://")


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://x", "http://", "http://a:pw@host/"])
def test_an_endpoint_that_is_none_is_bad_usage(endpoint: str) -> None:
    with pytest.raises(InputError) as caught:
        open_backend("s3://bucket", OpenOptions(endpoint_url=endpoint))
    assert "pw" not in caught.value.message


def test_an_https_url_names_its_account(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://acc1.blob.core.windows.net/container/my%20site"
    assert open_backend(url).url.startswith("https://acc1.blob.core.windows.net/container/my")
