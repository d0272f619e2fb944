"""What a deploy to a cloud loads: its SDK only where that is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
from azure.storage.blob import BlobServiceClient

from tests.samples import full_tree, write
from tests.servers.azure import connection_string
from tests.test_startup import HEAVY, loaded, tops

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("service", ["az", "gs"])
def test_a_deploy_to_another_service_that_goes_well_loads_no_sdk(
    service: str, tmp_path: Path, azurite: str, gcs_emulator: str
) -> None:
    tree = str(write(tmp_path / "tree", full_tree({"card": ["qa"]})))
    bucket = f"startup-{tmp_path.parent.name}".lower().replace("_", "-")
    if service == "gs":
        variables: dict[str, Any] = {"STORAGE_EMULATOR_HOST": gcs_emulator}
        bodies: dict[str, Any] = {"json": {"name": bucket}, "timeout": 30}
        requests.post(f"{gcs_emulator}/storage/v1/b", **bodies).raise_for_status()
    else:
        variables = {"AZURE_STORAGE_CONNECTION_STRING": connection_string(azurite)}
        text = variables["AZURE_STORAGE_CONNECTION_STRING"]
        with BlobServiceClient.from_connection_string(text) as client:
            client.create_container(bucket)
    words = ("deploy", f"{service}://{bucket}", "--source", tree)
    loaded(*words, **variables)
    modules = loaded(*words, **variables)
    assert not tops(modules) & (HEAVY | {"urllib3", "ssl", "email"})
