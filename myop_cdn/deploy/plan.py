"""What a deploy is going to do: a value, made from two maps. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from myop_cdn.model import MANIFEST, is_layout
from myop_cdn.report import Reason, Upload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myop_cdn.deploy.facts import Seen
    from myop_cdn.deploy.source import Wanted


@dataclass(frozen=True, slots=True)
class Plan:
    """Every object's action and its reason, in the order of doing. Keys are sorted.

    uploads: documents. manifest: after them. deletes: after that.
    """

    uploads: tuple[Upload, ...] = ()
    manifest: Upload | None = None
    deletes: tuple[str, ...] = ()
    unchanged: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.uploads or self.manifest or self.deletes)


def make_plan(
    wanted: Mapping[str, Wanted],
    seen: Mapping[str, Seen],
    headers: str | None,
    *,
    delete: bool = False,
) -> Plan:
    """Hold what is wanted against what is there, by key.

    headers: the fingerprint of the headers to serve with, None where none can be kept. delete:
    whether objects of the layout that nobody wants are to go; others never do.
    """
    uploads = []
    manifest = None
    unchanged = 0
    for key in sorted(wanted):
        reason = _reason(wanted[key], seen.get(key), headers)
        if reason is None:
            unchanged += 1
        elif key == MANIFEST:
            manifest = Upload(key, reason)
        else:
            uploads.append(Upload(key, reason))
    gone = sorted(key for key in seen if key not in wanted and is_layout(key)) if delete else ()
    return Plan(tuple(uploads), manifest, tuple(gone), unchanged)


def _reason(wanted: Wanted, seen: Seen | None, headers: str | None) -> Reason | None:
    if seen is None:
        return "manifest" if wanted.key == MANIFEST else "new"
    if seen.same_content(wanted) is not True:
        return "manifest" if wanted.key == MANIFEST else "content"
    return None if seen.same_headers(headers) is not False else "headers"
