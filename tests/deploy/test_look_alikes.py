"""rclone's S3 service: it checks signatures and Content-MD5, and ignores conditional writes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy import DeployOptions, deploy
from myop_cdn.deploy.commit import CONDITIONS_IGNORED
from myop_cdn.errors import ExitCode
from tests.deploy.trees import make_tree
from tests.servers.process import free_port, serving
from tests.servers.s3 import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def rclone(tmp_path: Path, aws: None) -> Iterator[str]:
    (tmp_path / "served" / "bucket").mkdir(parents=True)
    port = free_port()
    program = str(Path(sys.executable).with_name("rclone"))
    where = ["--addr", f"127.0.0.1:{port}", "--auth-key", ",".join(KEYS.values())]
    folder = str(tmp_path / "served")
    words = [program, "serve", "s3", "--config", "/nonexistent.conf", *where, folder]
    with serving(words, port) as url:
        yield url


def test_a_service_that_ignores_conditions_is_noticed_and_warned_about_once(
    tmp_path: Path, rclone: str
) -> None:
    tree = make_tree(tmp_path / "tree", {"card": ["qa"], "form": ["qa"]})
    options = DeployOptions(endpoint_url=rclone)
    first = deploy(tree, ["s3://bucket/site"], options)
    assert first.exit_code is ExitCode.DONE
    assert first.destinations[0].warnings == (CONDITIONS_IGNORED,)
    second = deploy(tree, ["s3://bucket/site"], options)
    assert second.destinations[0].warnings == ()
    assert second.destinations[0].unchanged == 5
    served = tmp_path / "served" / "bucket" / "site"
    assert (served / "manifest.json").read_bytes() == tree.read("manifest.json")
    names = {path.name for path in (served / ".myop-cdn").iterdir()}
    assert "log" in names
    assert "probe.json" not in names
