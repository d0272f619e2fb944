"""A Google Cloud Storage service: gcp-storage-emulator, with what it lacks (gcs_emulator.py)."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.process import free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def gcs_emulator() -> Iterator[str]:
    """The emulator's URL, for STORAGE_EMULATOR_HOST."""
    with running() as url:
        yield url


@contextmanager
def running() -> Iterator[str]:
    """The emulator, as long as it is needed."""
    port = free_port()
    script = Path(__file__).with_name("gcs_emulator.py")
    with serving([sys.executable, str(script), str(port)], port) as url:
        yield url
