"""Small trees in the static format, made by hand, and one without a folder."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from myop_cdn.errors import TreeError
from myop_cdn.model import DocumentRef
from myop_cdn.tree import MAX_FILE_BYTES, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence


class MemoryTree(Tree):
    """A tree without a folder, for tests of thousands of runs: a disk takes longer than they do."""

    may_write = False

    def __init__(self) -> None:
        super().__init__(Path("no-folder"))
        self.files: dict[str, bytes] = {}

    def exists(self) -> bool:
        """Whether it holds anything."""
        return bool(self.files)

    def paths(self) -> list[str]:
        """The documents that it holds."""
        return sorted(path for path in list(self.files) if DocumentRef.of(path))

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """The bytes at `path`. Raises TreeError."""
        data = self.read_if_there(path, max_bytes)
        if data is None:
            raise TreeError(f"{path}: there is no such file")
        return data

    def read_again(self, path: str) -> bytes:
        """As `read`."""
        return self.read(path)

    def read_each(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Each path with its bytes."""
        for path in paths:
            yield path, self.read(path)

    def read_if_there(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """The bytes at `path`, or None."""
        return self.files.get(path)

    def write(self, path: str, body: bytes, *, durable: bool = True) -> None:
        """Put `body` at `path`."""
        self.files[path] = body

    def remove(self, path: str) -> None:
        """Take away what is at `path`."""
        self.files.pop(path, None)

    @contextmanager
    def writing(
        self,
        wait_seconds: float = 0.0,
        waited: Callable[[float], None] = lambda _: None,
    ) -> Iterator[None]:
        """Each run has one of its own."""
        yield


def document(component: str, html: str = "<p>hello</p>") -> bytes:
    """A component document as the service answers it."""
    variant = {"id": "v1", "name": "Main", "loader": {"type": "HTMLLoader", "HTML": html}}
    item = {"name": component.title(), "id": component, "consume_variant": [variant]}
    return json.dumps({"version": "0.2.10", "item": item}, indent=2).encode()


def manifest(
    components: Mapping[str, Sequence[str]], exported_at: str = "2026-03-24T10:00:00.000Z"
) -> bytes:
    """A manifest that names these components and environments."""
    entries = [
        {"id": name, "name": name.title(), "environments": list(environments)}
        for name, environments in components.items()
    ]
    value = {"version": 1, "exportedAt": exported_at, "organization": "o", "components": entries}
    return json.dumps(value, indent=2).encode()


def make_tree(
    root: Path,
    components: Mapping[str, Sequence[str]],
    *,
    complete: bool = True,
    html: str = "<p>hello</p>",
    exported_at: str = "2026-03-24T10:00:00.000Z",
) -> Tree:
    """A tree with these components, each with its preview; complete: with a manifest."""
    tree = Tree(root)
    for name, environments in components.items():
        for environment in (*environments, "preview"):
            body = document(name, f"{html}<!-- {environment} -->")
            tree.write(f"components/{name}/{environment}.json", body)
    if complete:
        tree.write("manifest.json", manifest(components, exported_at))
    return tree
