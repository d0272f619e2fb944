"""`--cors-origin`: the rule the SDK needs is there, and those of others stay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import requests

from myop_cdn.deploy import DeployOptions, deploy
from myop_cdn.errors import ExitCode
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import Backend, Cors, OpenOptions
from myop_cdn.storage.readonly import ReadOnly
from tests.deploy.trees import make_tree
from tests.servers.azure import connection_string

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.servers.proxy import Proxy
    from tests.servers.s3 import Bucket

APP = "https://app.example.com"
OTHERS: dict[str, Any] = {
    "AllowedMethods": ["PUT"],
    "AllowedOrigins": ["https://admin.example.com"],
    "MaxAgeSeconds": 5,
}


def ruled(backend: Backend) -> Cors:
    """A backend whose service keeps rules."""
    assert isinstance(backend, Cors)
    return backend


def lacks(backend: Any) -> bool:
    """Whether it lacks a rule for the app, as a dry run asks."""
    return ReadOnly(backend).allow_origins([APP])


def rules(bucket: Bucket) -> list[dict[str, Any]]:
    """The bucket's rules."""
    found: list[dict[str, Any]] = bucket.client.get_bucket_cors(Bucket=bucket.name)["CORSRules"]
    return found


def test_s3_gets_one_rule_beside_those_of_others(
    tmp_path: Path, bucket: Bucket, proxy: Proxy
) -> None:
    bucket.client.put_bucket_cors(Bucket=bucket.name, CORSConfiguration={"CORSRules": [OTHERS]})
    tree = make_tree(tmp_path, {"card": ["qa"]})
    options = DeployOptions(endpoint_url=proxy.url, cors_origins=(APP,))
    report = deploy(tree, [bucket.url], options)
    assert report.exit_code is ExitCode.DONE
    assert report.destinations[0].warnings == (f"CORS: a rule for {APP} was added",)
    mine = {
        "AllowedHeaders": ["*"],
        "AllowedMethods": ["GET", "HEAD"],
        "AllowedOrigins": [APP],
        "MaxAgeSeconds": 86400,
    }
    assert rules(bucket) == [OTHERS, mine]
    proxy.forget()
    again = deploy(tree, [bucket.url], options)
    assert (again.exit_code, again.destinations[0].warnings) == (ExitCode.DONE, ())
    assert rules(bucket) == [OTHERS, mine]
    assert proxy.counted()["PUT"] == 0


def test_a_dry_run_changes_no_rules(tmp_path: Path, bucket: Bucket, proxy: Proxy) -> None:
    tree = make_tree(tmp_path, {"card": ["qa"]})
    options = DeployOptions(endpoint_url=proxy.url, cors_origins=(APP,), dry_run=True)
    first = deploy(tree, [bucket.url], options)
    assert proxy.counted()["PUT"] == 0
    assert first.destinations[0].warnings == (f"CORS: a rule for {APP} would be added",)
    ruled(open_backend(bucket.url, OpenOptions(1, proxy.url))).allow_origins([APP])
    assert deploy(tree, [bucket.url], options).destinations[0].warnings == ()


def test_a_folder_says_what_to_do_and_gets_its_files(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"card": ["qa"]})
    options = DeployOptions(cors_origins=(APP,))
    report = deploy(tree, [f"file://{tmp_path}/out"], options)
    assert report.exit_code is ExitCode.PARTLY
    rehearsed = deploy(tree, [f"file://{tmp_path}/out"], replace(options, dry_run=True))
    assert rehearsed.destinations[0].failed == report.destinations[0].failed
    failure = report.destinations[0].failed[0]
    assert failure.key == "CORS"
    assert f"Access-Control-Allow-Origin: {APP}" in failure.error
    assert (tmp_path / "out" / "manifest.json").exists()


def test_azure_gets_one_rule_beside_those_of_others(
    azurite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.storage.blob import BlobServiceClient, CorsRule

    text = connection_string(azurite)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    with BlobServiceClient.from_connection_string(text) as service:
        service.create_container("cors")
        service.set_service_properties(cors=[CorsRule(["https://a.example.com"], ["PUT"])])
        backend = ruled(open_backend("az://cors"))
        assert lacks(backend)
        assert backend.allow_origins([APP])
        assert not backend.allow_origins([APP])
        assert not lacks(backend)
        found = service.get_service_properties()["cors"]
        assert [one.allowed_origins for one in found] == ["https://a.example.com", APP]
        assert found[1].allowed_methods == "GET,HEAD"
        assert found[1].max_age_in_seconds == 86400


def test_google_gets_one_rule_beside_those_of_others(
    gcs_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_emulator)
    others: dict[str, Any] = {
        "origin": ["https://a.example.com"],
        "method": ["PUT"],
        "maxAgeSeconds": 5,
    }
    requests.post(f"{gcs_emulator}/storage/v1/b", json={"name": "cors"}, timeout=30)
    bucket = f"{gcs_emulator}/storage/v1/b/cors"
    requests.patch(bucket, json={"cors": [others]}, timeout=30).raise_for_status()
    backend = ruled(open_backend("gs://cors"))
    assert lacks(backend)
    assert backend.allow_origins([APP])
    assert not backend.allow_origins([APP])
    assert not lacks(backend)
    found = requests.get(bucket, timeout=30).json()["cors"]
    assert found[0] == others
    assert found[1]["origin"] == [APP]
    assert found[1]["method"] == ["GET", "HEAD"]
    assert found[1]["maxAgeSeconds"] == 86400


def test_memory_remembers() -> None:
    backend = ruled(open_backend("memory://cors"))
    assert lacks(backend)
    assert backend.allow_origins([APP])
    assert not backend.allow_origins([APP])
    assert not lacks(backend)
