"""A backend of somebody else's: registered by an entry point, held to the same contract."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import InputError
from myop_cdn.storage import OWN, open_backend
from tests.deploy.trees import make_tree
from tests.readme import DOCS

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
from dataclasses import replace
import pytest
from myop_cdn.storage.base import Page
from myop_cdn.storage.contract import BackendContract
from shelf import SHELF, Shelf

class Below(Shelf):
    def __init__(self, prefix):
        self.inner = Shelf()
        self.root = f"{prefix}/" if prefix else ""
    def list(self, cursor, prefix="", limit=None):
        page = self.inner.list(cursor, self.root + prefix, limit)
        found = [one._replace(key=one.key.removeprefix(self.root)) for one in page.objects]
        return Page(found, page.cursor)
    def head(self, key):
        found = self.inner.head(self.root + key)
        return found and found._replace(key=key)
    def get(self, key, *rest):
        return self.inner.get(self.root + key, *rest)
    def put(self, key, *rest, **more):
        return self.inner.put(self.root + key, *rest, **more)
    def delete(self, keys):
        return self.inner.delete([self.root + key for key in keys])

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


def documented_backend() -> str:
    """The example of `myop-cdn help storage`, as a reader would copy it."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "storage.md").read_text("utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if "def open_shelf" in block]
    return str(found)


def install(folder: Path) -> None:
    """The plug-in as pip would leave it: a module and its entry point."""
    (folder / "shelf.py").write_text(documented_backend())
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
    end = python(tmp_path, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test_shelf.py")
    assert end.returncode == 0, end.stdout
    # What the rig or the backend lacks is reported, not passed over.
    assert "SKIPPED" in end.stdout, end.stdout


def test_our_own_schemes_are_those_that_are_registered() -> None:
    from importlib.metadata import entry_points

    registered = {one.name: one.value for one in entry_points(group="myop_cdn.storage")}
    for scheme, value in OWN.items():
        assert registered[scheme] == f"myop_cdn.storage.{value}"


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("s3:my-bucket/x", "s3://my-bucket/x"),
        ("gs:/my-bucket", "gs://my-bucket"),
        ("file:/srv/www", "file:///srv/www"),
        ("S3://my-bucket/x", "s3://my-bucket/x"),
        ("GS://key:secret@my-bucket", "gs://***@my-bucket"),
        ("s3:key:secret@my-bucket", "s3://***@my-bucket"),
        ("my-bucket/x", "s3://bucket/prefix or file:///folder, for instance"),
    ],
)
def test_a_destination_that_is_nearly_one_is_told_as_it_was_meant(url: str, meant: str) -> None:
    with pytest.raises(InputError, match="is not a destination") as caught:
        open_backend(url)
    assert caught.value.hint == f"write {meant}"
    assert "***" not in caught.value.message
    assert "secret" not in caught.value.message
