"""What the ledger adds to a listing, and what the next ledger says. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from myop_cdn.deploy.facts import Seen
from myop_cdn.deploy.ledger import LEDGER, Entry, Ledger
from myop_cdn.model import is_layout

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from myop_cdn.deploy.source import Wanted
    from myop_cdn.storage.base import ObjectInfo


def recall(objects: Iterable[ObjectInfo], ledger: Ledger | None) -> dict[str, Seen]:
    """The objects of this tool's own layout, by key, with what the ledger knows of them.

    An entry counts for the very version that the service lists. S3's version (an ETag) does not
    change with the headers, so headers are not believed of an object that was written after the
    ledger was: somebody else has been there.
    """
    objects = list(objects)
    written = next((one.modified for one in objects if one.key == LEDGER), None)
    entries = ledger.objects if ledger else {}
    seen = {}
    for one in objects:
        if not is_layout(one.key):
            continue
        facts = Seen.of(one)
        entry = entries.get(one.key)
        if entry is not None and entry.version and entry.version == one.version:
            headers = None if _is_later(one.modified, written) else entry.headers
            facts = facts.completed(entry.sha256, headers)
        seen[one.key] = facts
    return seen


def drifted(ledger: Ledger | None, seen: Mapping[str, Seen], wanted: Collection[str]) -> set[str]:
    """The keys that somebody changed since the ledger was written: another tool, or a run of
    this one that did not come to its end. Without a ledger that is every key there is.
    """
    if ledger is None:
        return set(seen)
    entries = ledger.objects
    changed = {
        key
        for key, entry in entries.items()
        if key not in seen or seen[key].version not in ("", entry.version)
    }
    return changed | {key for key in wanted if key in seen and key not in entries}


def next_ledger(
    before: Ledger | None,
    seen: Mapping[str, Seen],
    wanted: Mapping[str, Wanted],
    versions: Mapping[str, str],
    gone: Collection[str],
    headers: str | None,
) -> Ledger:
    """The ledger after a run, its pending invalidations still those of before.

    wanted: by key, what was planned with. versions: of the objects that were uploaded. gone:
    the keys that were deleted. headers: the fingerprint that was uploaded with.
    """
    entries: dict[str, Entry] = {}
    for key, entry in (before.objects if before else {}).items():
        if key in seen and key not in gone and seen[key].version in ("", entry.version):
            entries[key] = entry
    for key, one in wanted.items():
        if key in versions:
            entries[key] = Entry(one.sha256, headers, versions[key])
        elif key in seen and seen[key].same_content(one) and seen[key].same_headers(headers):
            entries[key] = Entry(one.sha256, headers, seen[key].version)
    return replace(before or Ledger(), objects=entries)


def _is_later(moment: datetime | None, other: datetime | None) -> bool:
    return moment is not None and other is not None and moment > other
