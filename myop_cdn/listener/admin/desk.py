"""What the page has destinations asked for; done outside of the listener's process.

A cloud's SDK takes tens of megabytes for good, and reading documents takes the interpreter's
lock: both belong into a child.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from myop_cdn.errors import InputError, StorageError
from myop_cdn.page import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myop_cdn.deploy.log import Entry
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.target import Target
    from myop_cdn.model import DocumentRef
    from myop_cdn.progress import Progress

_VERSIONS = 100  # of one document


@dataclass(frozen=True, slots=True)
class DocumentTask:
    """The HTML of a document: as it is there now, or ("" for that) the content of this SHA-256
    that the destination keeps.
    """

    destination: str
    ref: DocumentRef
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class HistoryTask:
    """What was published of a component, as the destination's log has it."""

    destination: str
    component: str


Task = DocumentTask | HistoryTask


class Desk(Protocol):
    """Does what is asked of destinations. Called on one thread."""

    def do(self, task: Task) -> bytes:
        """UTF-8: HTML for a document, else JSON. Raises MyopCdnError."""


@dataclass(frozen=True, slots=True)
class DeskLimits:
    """How long a destination may take to answer, in seconds."""

    silence: float = 60.0

    def of(self, task: Task) -> float:  # noqa: ARG002 - Limits
        """For all of a task."""
        return self.silence


@dataclass(frozen=True, slots=True)
class DestinationDesk:
    """Asks the destinations themselves. It is pickled, as it works in a child.

    urls: of each destination, by the name that the listener has for it.
    """

    urls: Mapping[str, str]
    options: DeployOptions
    _open: dict[str, Target] = field(default_factory=dict)

    def do(self, task: Task) -> bytes:
        """See `Desk`."""
        return self(task)

    def __call__(self, task: Task, progress: Progress | None = None) -> bytes:  # noqa: ARG002 - Work
        """See `Desk.do`."""
        target = self._target(task.destination)
        if isinstance(task, DocumentTask):
            return render.html_of(read_document(target, task.ref, task.sha256)).encode()
        return json.dumps(history_json(target, task.component, self.options.jobs)).encode()

    def _target(self, destination: str) -> Target:
        from myop_cdn.deploy.target import open_targets

        found = self._open.get(destination)
        if found is None:
            if destination not in self.urls:
                raise InputError("there is no such destination here")
            found = open_targets([self.urls[destination]], self.options)[0]
            self._open[destination] = found
        return found


def read_document(target: Target, ref: DocumentRef, sha256: str = "") -> bytes:
    """A document's JSON, decoded. Raises StorageError, also where it is not there (any more)."""
    import hashlib

    from myop_cdn.deploy.source import decoded

    blob = target.store.get(ref.path)
    if blob is not None and sha256 in ("", hashlib.sha256(blob.data).hexdigest()):
        return decoded(blob)
    if not sha256:
        raise StorageError("This document is not there.")
    blob = target.log.store.get(target.log.history_key(sha256))
    if blob is None:
        raise StorageError("This version is not kept any more.")
    return decoded(blob)


def history_json(target: Target, component: str, jobs: int) -> dict[str, Any]:
    """The versions of each of a component's documents, newest first. Raises StorageError."""
    from myop_cdn.deploy.history import Selection, read_history
    from myop_cdn.deploy.log import written
    from myop_cdn.model import DocumentRef

    try:
        found = read_history(target, Selection(frozenset({component})), jobs)
    except StorageError as error:
        return {"component": component, "environments": {}, "held": [], "warnings": [error.message]}
    versions: dict[str, list[dict[str, Any]]] = {}
    name = ""
    for commit in found.commits:
        for key, change in commit.changes.items():
            ref = DocumentRef.of(key)
            if ref is None:
                continue
            name = name or (change.after.name if change.after else "")
            listed = versions.setdefault(ref.environment, [])
            if len(listed) < _VERSIONS:
                listed.append(
                    {
                        "commit": str(commit.number),
                        "at": written(commit.at),
                        "cause": commit.cause.dump(),
                        **_version(change.after),
                        "before": _version(change.before)["sha256"],
                    }
                )
    return {
        "component": component,
        "name": name,
        "environments": versions,
        "held": [ref.environment for key in found.held if (ref := DocumentRef.of(key))],
        "warnings": list(found.warnings),
    }


def _version(entry: Entry | None) -> dict[str, str | None]:
    if entry is None:
        return {"sha256": None, "variantId": None, "variantName": None}
    return {
        "sha256": entry.sha256,
        "variantId": entry.variant or None,
        "variantName": entry.variant_name or None,
    }
