"""An S3 service: moto's server, a process of its own, on a free port."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.process import free_port, serving
from tests.servers.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEYS = {"AWS_ACCESS_KEY_ID": "AKTEST", "AWS_SECRET_ACCESS_KEY": "secretkey"}


@dataclass
class Bucket:
    """An empty bucket of a service, seen past this program."""

    endpoint: str
    name: str
    client: Any

    @property
    def url(self) -> str:
        """The bucket as a destination."""
        return f"s3://{self.name}"

    def put(self, key: str, data: bytes, **more: Any) -> None:
        """Put an object as some other tool would."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data, **more)

    def objects(self) -> dict[str, bytes]:
        """Every object's bytes."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {key: self.get(key)["Body"].read() for key in keys}

    def get(self, key: str) -> Any:
        """GetObject's answer."""
        return self.client.get_object(Bucket=self.name, Key=key)


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """The URL of moto's server."""
    with running() as url:
        yield url


@contextmanager
def running(env: Mapping[str, str] | None = None) -> Iterator[str]:
    """moto's server, as long as it is needed."""
    port = free_port()
    script = Path(__file__).with_name("moto_server.py")
    with serving([sys.executable, "-P", str(script), str(port)], port, env) as url:
        yield url


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that moto takes, and nothing else of AWS in the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


_serial = iter(range(10_000))


@pytest.fixture
def bucket(moto_endpoint: str, aws: None) -> Iterator[Bucket]:
    """An empty bucket at moto's server."""
    import boto3

    client: Any = boto3.client("s3", endpoint_url=moto_endpoint)
    name = f"bucket-{next(_serial)}"
    client.create_bucket(Bucket=name)
    yield Bucket(moto_endpoint, name, client)
    client.close()


@pytest.fixture
def proxy(moto_endpoint: str) -> Iterator[Proxy]:
    """A proxy before moto's server that counts requests and makes trouble on demand."""
    with Proxy(moto_endpoint) as running:
        yield running
