"""Deploys that are killed without warning: every object is whole, the manifest names nothing
that is not there, and the next run completes the work. TEST_KILLS: how often, per backend.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import requests

from myop_cdn.manifest import Manifest
from myop_cdn.model import is_layout
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import OpenOptions
from myop_cdn.storage.contract import listing
from tests.deploy.trees import make_tree
from tests.servers.azure import connection_string

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from myop_cdn.storage.base import Backend
    from myop_cdn.tree import Tree
    from tests.servers.s3 import Bucket

KILLS = int(os.environ.get("TEST_KILLS", "1"))
COMPONENTS = 250 if KILLS > 5 else 30


def command(tree: Tree, url: str) -> list[str]:
    """The deploy as a process of its own."""
    words = ["deploy", "--source", str(tree.root), "--delete", "--max-delete", "100%", "--json"]
    return [sys.executable, "-m", "myop_cdn", *words, url]


def run_whole(tree: Tree, url: str) -> tuple[float, dict[str, object]]:
    """A deploy that nobody disturbs: its seconds and its report."""
    began = time.monotonic()
    end = subprocess.run(command(tree, url), capture_output=True, check=False)
    assert end.returncode == 0, end.stderr
    return time.monotonic() - began, json.loads(end.stdout)["destinations"][0]


def run_killed(tree: Tree, url: str, after: float) -> None:
    """A deploy that is killed after so many seconds."""
    with subprocess.Popen(
        command(tree, url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(after)
        process.send_signal(signal.SIGKILL)


def check_whole(backend: Backend, trees: list[Tree]) -> None:
    """Every object is of one of the trees, and the manifest names only what is there."""
    keys = [key for key in listing(backend) if is_layout(key)]
    for key in keys:
        blob = backend.get(key)
        assert blob is not None
        possible = [tree.read(key) for tree in trees if (tree.root / key).exists()]
        assert blob.data in possible, key
    blob = backend.get("manifest.json")
    if blob is not None:
        named = {ref.path for ref in Manifest.parse(blob.data).refs()}
        assert named <= set(keys)


def kill_again_and_again(folder: Path, url: str, backend: Backend) -> None:
    """Deploy two trees in turn, each once killed at some moment and once to its end."""
    old = {f"c{number}": ["qa"] for number in range(COMPONENTS)}
    new = {f"c{number}": ["qa"] for number in range(10, COMPONENTS + 10)}
    trees = [make_tree(folder / "old", old, html="old"), make_tree(folder / "new", new, html="new")]
    seconds, _ = run_whole(trees[0], url)
    chance = random.Random(7)
    for number in range(KILLS):
        tree = trees[(number + 1) % 2]
        run_killed(tree, url, chance.uniform(0.2, 1.0) * seconds)
        check_whole(backend, trees)
        run_whole(tree, url)
        there = {key for key in listing(backend) if is_layout(key)}
        assert there == {*(ref.path for ref in tree.refs()), "manifest.json"}
        check_whole(backend, [tree])
    _, report = run_whole(trees[KILLS % 2], url)
    assert report["uploaded"] == report["deleted"] == []


def test_in_a_folder(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/out"
    kill_again_and_again(tmp_path, url, open_backend(url))
    assert not list((tmp_path / "out").rglob("tmp/*"))


def test_at_s3(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
    url = f"{bucket.url}/site"
    kill_again_and_again(tmp_path, url, open_backend(url, OpenOptions()))


def test_at_google(tmp_path: Path, gcs_emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_emulator)
    body = {"name": "killed"}
    requests.post(f"{gcs_emulator}/storage/v1/b", json=body, timeout=30).raise_for_status()
    kill_again_and_again(tmp_path, "gs://killed/site", open_backend("gs://killed/site"))


def test_at_azure(tmp_path: Path, azurite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.storage.blob import BlobServiceClient

    text = connection_string(azurite)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    with BlobServiceClient.from_connection_string(text) as service:
        service.create_container("killed")
    kill_again_and_again(tmp_path, "az://killed/site", open_backend("az://killed/site"))
