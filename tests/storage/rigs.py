"""What the contract suite needs of each backend, on servers that the tests start."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests

from myop_cdn.storage import open_backend
from myop_cdn.storage.base import OpenOptions
from tests.servers.azure import ACCOUNT, KEY, connection_string
from tests.servers.proxy import CUT, Answer, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pytest

    from myop_cdn.storage.base import Backend
    from myop_cdn.storage.contract import Rig
    from tests.servers.proxy import Seen

_serial = count()


def _writes(seen: Seen) -> bool:
    return seen.method in ("PUT", "POST", "DELETE", "PATCH")


class MemoryRig:
    """Objects of this process: nothing that could be missing, denied or broken."""

    def __init__(self) -> None:
        self._name = f"memory://rig-{next(_serial)}"

    def open(self, prefix: str = "") -> Backend:
        """A part of this test's memory."""
        return open_backend(f"{self._name}/{prefix}" if prefix else self._name)

    def small_pages(self) -> None:
        """Pages of 1000."""

    missing = denied = broken = small_pages


class FolderRig:
    """A folder below the test's own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch

    def open(self, prefix: str = "") -> Backend:
        """The folder of that name, percent-encoded in the URL."""
        quoted = quote(prefix)
        return open_backend(f"file://{self._folder}/site/{quoted}")

    def small_pages(self) -> Backend | None:
        """A folder is one page."""
        return None

    def missing(self) -> Backend | None:
        """It is made if missing."""
        return None

    def denied(self) -> AbstractContextManager[Backend]:
        """As somebody who may not write there."""
        return self._as_nobody()

    @contextmanager
    def _as_nobody(self) -> Iterator[Backend]:
        root = os.geteuid() == 0  # whom no permission stops
        self._folder.chmod(0o500)
        if root:
            os.seteuid(65534)
        try:
            yield self.open()
        finally:
            if root:
                os.seteuid(0)
            self._folder.chmod(0o700)

    @contextmanager
    def broken(self) -> Iterator[Backend]:
        """A disk that fails when the file is synced."""

        def fail(_: int) -> None:
            raise OSError(5, "Input/output error")

        with self._monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            yield self.open()


@dataclass
class CloudRig:
    """A bucket at a server. opener: the backend at an endpoint, for a bucket and prefix."""

    endpoint: str
    bucket: str
    opener: Callable[[str, str, str], Backend]

    def open(self, prefix: str = "") -> Backend:
        """Straight at the server."""
        return self.opener(self.endpoint, self.bucket, prefix)

    def small_pages(self) -> Backend:
        """Ten objects a page."""
        backend = self.open()
        backend.page_size = 10  # type: ignore[attr-defined]
        return backend

    def missing(self) -> Backend:
        """A bucket that nobody made."""
        return self.opener(self.endpoint, "no-such-bucket", "")

    @contextmanager
    def denied(self) -> Iterator[Backend]:
        """By way of a proxy that forbids writes in the service's name."""
        body = b"<Error><Code>AccessDenied</Code></Error>"
        with Proxy(self.endpoint) as proxy:
            proxy.meddle = lambda seen: Answer(403, body) if _writes(seen) else None
            yield self.opener(proxy.url, self.bucket, "")

    @contextmanager
    def broken(self) -> Iterator[Backend]:
        """By way of a proxy that cuts uploads."""
        with Proxy(self.endpoint) as proxy:
            proxy.meddle = lambda seen: CUT if _writes(seen) else None
            yield self.opener(proxy.url, self.bucket, "")


def s3_rig(endpoint: str, bucket: str) -> Rig:
    """A bucket at a service that speaks S3's protocol."""

    def opener(where: str, name: str, prefix: str) -> Backend:
        return open_backend(f"s3://{name}/{prefix}", OpenOptions(jobs=8, endpoint_url=where))

    return CloudRig(endpoint, bucket, opener)


def gcs_rig(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A new bucket at the emulator of Google Cloud Storage."""

    def opener(where: str, name: str, prefix: str) -> Backend:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", where)
        backend = open_backend(f"gs://{name}/{prefix}", OpenOptions(jobs=8))
        backend.list(None) if name == bucket else None  # connects now, to this endpoint
        return backend

    bucket = f"bucket-{next(_serial)}"
    requests.post(f"{endpoint}/storage/v1/b", json={"name": bucket}, timeout=30).raise_for_status()
    return CloudRig(endpoint, bucket, opener)


class AzureRig(CloudRig):
    """Azurite checks who may do what."""

    def denied(self) -> Any:
        """With a signature that allows reading and listing alone."""
        return self.shared("rl")

    @contextmanager
    def shared(self, rights: str) -> Iterator[Backend]:
        """With a signature that has these rights."""
        from datetime import UTC, datetime, timedelta

        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        token = generate_container_sas(
            ACCOUNT,
            self.bucket,
            account_key=KEY,
            permission=ContainerSasPermissions.from_string(rights),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        where = f"BlobEndpoint={self.endpoint}/{ACCOUNT};SharedAccessSignature={token}"
        yield self.opener(where, self.bucket, "")


def azure_rig(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A new container at Azurite."""

    def opener(where: str, name: str, prefix: str) -> Backend:
        text = where if "=" in where else connection_string(where)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        backend = open_backend(f"az://{name}/{prefix}", OpenOptions(jobs=8))
        backend.list(None) if name == bucket else None  # connects now, with these credentials
        return backend

    from azure.storage.blob import BlobServiceClient

    bucket = f"container-{next(_serial)}"
    with BlobServiceClient.from_connection_string(connection_string(endpoint)) as service:
        service.create_container(bucket)
    return AzureRig(endpoint, bucket, opener)
