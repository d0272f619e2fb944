"""An empty destination at each service."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from tests.servers.azure import connection_string

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.servers.s3 import Bucket

EVERYWHERE = ["memory", "folder", "s3", "google", "azure"]
_serial = count()


def empty_destination(
    service: str, request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The URL of one with a prefix; the environment is set for it."""
    name = f"cloud-{next(_serial)}"
    if service == "memory":
        return f"memory://{name}/site"
    if service == "folder":
        return f"file://{folder}/out/site"
    if service == "s3":
        bucket: Bucket = request.getfixturevalue("bucket")
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
        return f"{bucket.url}/site"
    if service == "google":
        import requests

        endpoint = request.getfixturevalue("gcs_emulator")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
        requests.post(f"{endpoint}/storage/v1/b", json={"name": name}, timeout=30)
        return f"gs://{name}/site"
    from azure.storage.blob import BlobServiceClient

    text = connection_string(request.getfixturevalue("azurite"))
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    with BlobServiceClient.from_connection_string(text) as service_client:
        service_client.create_container(name)
    return f"az://{name}/site"
