"""What one writes first with a cloud's SDK: 16 threads that upload every file.

    python -m tests.benchmarks.naive gs|az FOLDER BUCKET

Where to and as whom is in the environment, as for this tool.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_THREADS = 16
_CACHE = "public, max-age=300"
_TYPE = "application/json; charset=utf-8"


def google(folder: Path, bucket: str) -> Callable[[str], object]:
    """Uploads one file by google-cloud-storage."""
    from google.cloud import storage  # type: ignore[import-untyped]

    there = storage.Client().bucket(bucket)

    def upload(key: str) -> None:
        blob = there.blob(key)
        blob.cache_control = _CACHE
        blob.upload_from_filename(str(folder / key), content_type=_TYPE)

    return upload


def azure(folder: Path, bucket: str) -> Callable[[str], object]:
    """Uploads one file by azure-storage-blob."""
    from azure.storage.blob import BlobServiceClient, ContentSettings

    text = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    container = BlobServiceClient.from_connection_string(text).get_container_client(bucket)
    settings = ContentSettings(content_type=_TYPE, cache_control=_CACHE)

    def upload(key: str) -> None:
        with (folder / key).open("rb") as file:
            container.upload_blob(key, file, overwrite=True, content_settings=settings)

    return upload


def main(kind: str, folder: Path, bucket: str) -> None:
    """Upload every file of the folder."""
    upload = (google if kind == "gs" else azure)(folder, bucket)
    keys = [path.relative_to(folder).as_posix() for path in folder.rglob("*.json")]
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(upload, keys))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
