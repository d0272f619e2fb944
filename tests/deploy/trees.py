"""Small trees in the static format, made by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from myop_cdn.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


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
