"""The page beside the published folder: shows what it serves, without a server.

A page opened from a file may not fetch other files, so the published documents stand in it,
read back from the folder and embedded as JSON.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from myop_cdn.demo.components import COMPONENTS, ENVIRONMENTS
from myop_cdn.model import MANIFEST, PREVIEW, DocumentRef

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from myop_cdn.demo.story import Step


@dataclass(frozen=True, slots=True)
class Change:
    """The release that the page shows side by side.

    before, after: the published document's bytes. keys: the objects that it changed.
    """

    title: str
    text: str
    before: bytes
    after: bytes
    keys: Collection[str]


def render(published: Path, place: str, change: Change, steps: Sequence[Step]) -> str:
    """The page as HTML.

    published: the folder that stands for the CDN. place: the same folder as seen from the page,
    for its links. Raises OSError where a document is missing.
    """
    environments = (*ENVIRONMENTS, PREVIEW)
    refs = [DocumentRef(one.id, name) for name in environments for one in COMPONENTS]
    data = {
        "lead": (
            f"{len(COMPONENTS)} components in {len(environments)} environments, taken from Myop "
            "on a signed webhook and published to a plain folder. This page was read back from it."
        ),
        "environments": list(environments),
        "release": {
            "title": change.title,
            "text": change.text,
            "before": json.loads(change.before),
            "after": json.loads(change.after),
        },
        "steps": [_told(step) for step in steps],
        "files": [
            _file(published, place, MANIFEST, None, change.keys),
            *(_file(published, place, ref.path, ref, change.keys) for ref in refs),
        ],
        "folder": str(published),
    }
    template = (files(__package__) / "page.html").read_text("utf-8")
    # Nothing in the data may end the script element or open a comment in it.
    return template.replace("{{data}}", json.dumps(data).replace("<", "\\u003c"))


def _told(step: Step) -> dict[str, Any]:
    marks = [[fact.value, fact.tone] for fact in step.facts if fact.tone != "plain"]
    return {"title": step.title, "text": step.text, "time": step.time, "marks": marks}


def _file(
    published: Path, place: str, path: str, ref: DocumentRef | None, changed: Collection[str]
) -> dict[str, Any]:
    body = (published / path).read_bytes()
    return {
        "path": path,
        "href": f"{place}/{path}",
        "environment": ref.environment if ref else None,
        "document": json.loads(body) if ref else None,
        "size": f"{len(body) / 1024:.1f} KB",
        "sha256": hashlib.sha256(body).hexdigest(),
        "updated": path in changed,
    }
