"""What a destination keeps of documents: their content now and before, and who published it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from myop_cdn.deploy.source import decoded
from myop_cdn.errors import StorageError
from myop_cdn.model import DocumentRef
from myop_cdn.moments import written

if TYPE_CHECKING:
    from myop_cdn.deploy.history import HistoryReport
    from myop_cdn.deploy.log import Entry
    from myop_cdn.deploy.target import Target

_VERSIONS = 100  # of one document
_MOST = 16 * 2**20  # bytes of a document that is shown


def read_document(target: Target, ref: DocumentRef, sha256: str = "") -> bytes:
    """A document's JSON, decoded. sha256: of the stored bytes, lower-case hex; "" for whatever is
    there now.

    Raises StorageError, also where it is not there (any more).
    """
    blob = target.store.get(ref.path, _MOST)
    if blob is not None and sha256 in ("", hashlib.sha256(blob.data).hexdigest()):
        return decoded(blob, _MOST)
    if not sha256:
        raise StorageError("This document is not there.")
    blob = target.log.store.get(target.log.history_key(sha256), _MOST)
    if blob is None:
        raise StorageError("This version is not kept any more.")
    return decoded(blob, _MOST)


def versions(report: HistoryReport) -> dict[str, dict[str, Any]]:
    """By component, as the page takes it: the versions of each of its documents, newest first."""
    found: dict[str, dict[str, Any]] = {}
    for commit in report.commits:
        for key, change in commit.changes.items():
            ref = DocumentRef.of(key)
            if ref is None:
                continue
            mine = found.setdefault(ref.component_id, no_versions(ref.component_id))
            mine["name"] = mine["name"] or (change.after.name if change.after else "")
            listed = mine["environments"].setdefault(ref.environment, [])
            if len(listed) < _VERSIONS:
                cause = {"commit": str(commit.number), "cause": commit.cause.dump()}
                listed.append({**cause, "at": written(commit.at), **_version(change.after)})
    for key in report.held:
        ref = DocumentRef.of(key)
        if ref is not None and ref.component_id in found:
            found[ref.component_id]["held"].append(ref.environment)
    return found


def no_versions(component: str, *warnings: str) -> dict[str, Any]:
    """A component that no log tells of."""
    return {
        "component": component,
        "name": "",
        "environments": {},
        "held": [],
        "warnings": list(warnings),
    }


def _version(entry: Entry | None) -> dict[str, str | None]:
    if entry is None:
        return {"sha256": None, "variantId": None, "variantName": None}
    return {
        "sha256": entry.sha256,
        "variantId": entry.variant or None,
        "variantName": entry.variant_name or None,
    }
