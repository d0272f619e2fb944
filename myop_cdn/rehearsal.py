"""A tree that takes every change and keeps none: what a dry run works on."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from myop_cdn.errors import TreeError
from myop_cdn.tree import MAX_FILE_BYTES, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myop_cdn.model import DocumentRef


class Rehearsal(Tree):
    """The folder at `root` as it would be. What is written goes to a scratch folder, for a
    deploy to be planned from; `root` is only read, and need not be there.
    """

    may_write = False

    def __init__(self, root: Path, scratch: Tree) -> None:
        super().__init__(root)
        self._scratch = scratch
        self._removed: set[str] = set()

    def exists(self) -> bool:
        """Whether there is, or would be, anything."""
        return super().exists() or self._scratch.exists()

    def refs(self) -> list[DocumentRef]:
        """The documents as they would be, sorted."""
        kept = {ref for ref in super().refs() if ref.path not in self._removed}
        return sorted(kept.union(self._scratch.refs()))

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """The bytes that would be at `path`."""
        if (self._scratch.root / path).exists():
            return self._scratch.read(path)
        if path in self._removed:
            raise TreeError(f"{self.root / path}: would be removed")
        return super().read(path, max_bytes)

    def read_if_there(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """The bytes that would be at `path`, or None."""
        if (self._scratch.root / path).exists():
            return self._scratch.read(path)
        return None if path in self._removed else super().read_if_there(path, max_bytes)

    def write(self, path: str, body: bytes, *, durable: bool = False) -> None:  # noqa: ARG002
        """Keep `body` in the scratch folder."""
        self._scratch.write(path, body, durable=False)

    def remove(self, path: str) -> None:
        """Hide the file at `path`."""
        self._removed.add(path)

    @contextmanager
    def writing(self, wait_seconds: float = 0.0) -> Iterator[None]:  # noqa: ARG002
        """Nothing is written, so nobody is kept out."""
        yield


@contextmanager
def rehearsal(root: Path) -> Iterator[Rehearsal]:
    """A rehearsal for the folder at `root`, its scratch folder gone at the end."""
    with tempfile.TemporaryDirectory(prefix="myop-cdn-") as scratch:
        yield Rehearsal(root, Tree(Path(scratch) / "tree"))
