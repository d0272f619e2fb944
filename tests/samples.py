"""Documents, indexes and trees as Myop's API and the official tool write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from myop_cdn import exportnote
from myop_cdn.model import DocumentRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

KEY = "myop_sk_" + "0123456789abcdef" * 4
SECRET = "whsec_b8f1c2d3e4a5"
ORGANIZATION = "8d2f5c1e-0000-4000-8000-000000000001"


def official(value: Any) -> bytes:
    """JSON.stringify(value, null, 2) for values that Python writes the same."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def document(component_id: str, environment: str, variant: str = "v-1", **more: Any) -> bytes:
    """A component document."""
    loader = {"type": "HTMLLoader", "HTML": f"<!DOCTYPE html><p>{environment} größer 🎉</p>"}
    item = {
        "name": f"The {component_id}",
        "id": component_id,
        "organizationId": ORGANIZATION,
        "consume_variant": [{"id": variant, "name": "Main", "loader": loader}],
    }
    return official({"version": "0.2.10", "item": item, **more})


def index(
    components: Mapping[str, Sequence[str]], at: str = "2026-03-24T10:00:00.000Z", **more: Any
) -> bytes:
    """An index, or manifest, of these components and environments."""
    entries = [
        {"id": one, "name": f"The {one}", "environments": list(environments)}
        for one, environments in components.items()
    ]
    value = {"version": 1, "exportedAt": at, "organization": ORGANIZATION, "components": entries}
    return official({**value, **more})


def documents(components: Mapping[str, Sequence[str]], variant: str = "v-1") -> dict[str, bytes]:
    """Path and bytes of every document, previews too."""
    refs = [
        DocumentRef(one, environment)
        for one, environments in components.items()
        for environment in (*environments, "preview")
    ]
    return {ref.path: document(ref.component_id, ref.environment, variant) for ref in refs}


def full_tree(components: Mapping[str, Sequence[str]], variant: str = "v-1") -> dict[str, bytes]:
    """Path and bytes of every file of a complete tree."""
    return {"manifest.json": index(components), **documents(components, variant)}


def write(root: Path, contents: Mapping[str, bytes]) -> Path:
    """Put the files where their paths say."""
    for path, body in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(body)
    return root


def files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder, hidden ones too, but for the note that each sync writes anew."""
    for file in root.rglob("*"):
        path = file.relative_to(root).as_posix()
        if file.is_file() and path != exportnote.PATH:
            yield path, file


def read(root: Path) -> dict[str, bytes]:
    """Path and bytes of every file below a folder."""
    return {path: file.read_bytes() for path, file in files(root)}


def identities(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and modification time of every file: another one where it was written again."""
    return {path: (file.stat().st_ino, file.stat().st_mtime_ns) for path, file in files(root)}


def release(component_id: str, environment: str, variant: str = "v-1") -> dict[str, str]:
    """One release of a payload."""
    return {
        "componentId": component_id,
        "variantId": variant,
        "environment": environment,
        "environmentId": f"env-{environment}",
    }


def webhook(*releases: Mapping[str, Any], timestamp: str = "2026-03-24T13:37:00.000Z") -> bytes:
    """A webhook's body as it is signed: compact."""
    body = {
        "event": "components.deployed",
        "timestamp": timestamp,
        "organizationId": ORGANIZATION,
        "data": {"releases": list(releases)},
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
