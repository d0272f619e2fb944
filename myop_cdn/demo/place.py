"""Where a run of the demo lies: one folder, and everything in it."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from myop_cdn.errors import RefusedError, TreeError
from myop_cdn.model import is_layout


@dataclass(frozen=True, slots=True)
class Place:
    """The parts of the folder at `root`."""

    root: Path

    @property
    def myop(self) -> Path:
        """What the sandbox serves: Myop's side."""
        return self.root / "myop"

    @property
    def state(self) -> Path:
        """The listener's journal."""
        return self.root / "listener" / "state"

    @property
    def static(self) -> Path:
        """The listener's exported tree."""
        return self.root / "listener" / "myop-static"

    @property
    def cdn(self) -> Path:
        """The published folder: what stands for the CDN."""
        return self.root / "cdn"

    @property
    def page(self) -> Path:
        """The page, beside the published folder."""
        return self.root / "index.html"


def fresh(output: Path | None) -> Place:
    """The place of one run: `output`, new or empty, or a temporary folder.

    Raises RefusedError where `output` holds anything, TreeError where it can't be made.
    """
    try:
        if output is None:
            return Place(Path(tempfile.mkdtemp(prefix="myop-cdn-demo-")))
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            raise RefusedError(
                f"{output} is not empty", "give a new folder, or none for a temporary one"
            )
    except OSError as error:
        where = output or tempfile.gettempdir()
        raise TreeError(f"can't make the folder {where}: {error.strerror}") from None
    return Place(output.absolute())


def snapshot(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file of the layout with its hash and its modification time in nanoseconds.

    Two equal snapshots: nothing was written in between, not even the same bytes again. The
    ledger of a deploy is not a part of what is published.
    """
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.json"))}
    return {
        name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for name, path in files.items()
        if is_layout(name)
    }
