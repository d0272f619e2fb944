"""A backend of somebody else's: registered by an entry point, held to the same contract."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

from myop_cdn.storage import OWN
from tests.deploy.trees import make_tree

if TYPE_CHECKING:
    from pathlib import Path

# As in the README: dictionaries stand for a service's own calls.
BACKEND = """
from myop_cdn.errors import PreconditionFailed
from myop_cdn.storage.base import Blob, Listed, Page

SHELF = {}

class Shelf:
    url = "shelf://"
    keeps_headers = True
    delete_batch = 1

    def _facts(self, key):
        body, headers, version = SHELF[key]
        return Listed(key, len(body.data), version, md5=body.md5, headers=headers)

    def list(self, cursor):
        return Page([self._facts(key) for key in SHELF])

    def head(self, key):
        return self._facts(key) if key in SHELF else None

    def get(self, key):
        return Blob(SHELF[key][0].data, SHELF[key][2], SHELF[key][1]) if key in SHELF else None

    def put(self, key, body, headers, expect=None):
        there = SHELF[key][2] if key in SHELF else None
        if expect is not None and expect.version != there:
            raise PreconditionFailed(f"shelf://{key} was changed by somebody else")
        SHELF[key] = body, headers, str(int(there or 0) + 1)
        return SHELF[key][2]

    def delete(self, keys):
        for key in keys:
            SHELF.pop(key, None)
        return {}

    def allow_origins(self, origins):
        return False

    def close(self):
        pass

def open_shelf(url, options):
    return Shelf()
"""
SUITE = """
import pytest
from myop_cdn.storage.contract import BackendContract
from shelf import SHELF, Shelf

class Below(Shelf):
    def __init__(self, prefix):
        self.root = f"{prefix}/" if prefix else ""
    def list(self, cursor):
        from dataclasses import replace
        from myop_cdn.storage.base import Page
        found = [one for one in super().list(cursor).objects if one.key.startswith(self.root)]
        return Page([replace(one, key=one.key.removeprefix(self.root)) for one in found])
    def head(self, key):
        from dataclasses import replace
        found = super().head(self.root + key)
        return found and replace(found, key=key)
    def get(self, key):
        return super().get(self.root + key)
    def put(self, key, *rest, **more):
        return super().put(self.root + key, *rest, **more)
    def delete(self, keys):
        return super().delete([self.root + key for key in keys])

class Rig:
    def open(self, prefix=""):
        return Below(prefix)
    def small_pages(self):
        return None
    missing = denied = broken = small_pages

class TestShelf(BackendContract):
    @pytest.fixture
    def rig(self):
        SHELF.clear()
        return Rig()
"""


def install(folder: Path) -> None:
    """The plug-in as pip would leave it: a module and its entry point."""
    (folder / "shelf.py").write_text(BACKEND)
    (folder / "test_shelf.py").write_text(SUITE)
    about = folder / "shelf-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[myop_cdn.storage]\nshelf = shelf:open_shelf\n")


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python with the plug-in installed."""
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )


def test_it_is_opened_by_its_scheme_and_deployed_to(tmp_path: Path) -> None:
    install(tmp_path)
    make_tree(tmp_path / "tree", {"card": ["qa"]})
    script = """
        from pathlib import Path
        from myop_cdn.deploy import deploy
        from myop_cdn.tree import Tree
        for _ in range(2):
            print(deploy(Tree(Path("tree")), ["shelf://"]).destinations[0].unchanged)
    """
    end = python(tmp_path, "-c", textwrap.dedent(script))
    assert end.stdout.split() == ["0", "3"], end.stderr


def test_it_passes_the_contract(tmp_path: Path) -> None:
    install(tmp_path)
    end = python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shelf.py")
    assert end.returncode == 0, end.stdout


def test_our_own_schemes_are_those_that_are_registered() -> None:
    from importlib.metadata import entry_points

    registered = {one.name: one.value for one in entry_points(group="myop_cdn.storage")}
    for scheme, value in OWN.items():
        assert registered[scheme] == f"myop_cdn.storage.{value}"
