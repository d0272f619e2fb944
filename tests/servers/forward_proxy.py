"""A forward proxy as companies have one: tinyproxy, from the system's packages."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.servers.process import free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def forward_proxy(tmp_path: Path) -> Iterator[str]:
    """Its URL, for HTTP_PROXY and HTTPS_PROXY. Fails a test whose requests went past it."""
    program = shutil.which("tinyproxy")
    if program is None:
        pytest.fail("tinyproxy is not installed (apt-get install tinyproxy)")
    port, log = free_port(), tmp_path / "tinyproxy.log"
    config = tmp_path / "tinyproxy.conf"
    config.write_text(
        f"Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 100\n"
        f'LogFile "{log}"\nLogLevel Connect\nDisableViaHeader Yes\n'
    )
    with serving([program, "-d", "-c", str(config)], port) as url:
        yield url
    assert re.search(r"Request \(.*: (CONNECT|[A-Z]+ http://)", log.read_text())
