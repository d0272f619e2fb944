"""What the page has destinations asked for; done outside of the listener's process.

A cloud's SDK takes tens of megabytes for good, and reading documents takes the interpreter's
lock: both belong into a child.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from myop_cdn.errors import InputError, MyopCdnError, StorageError, unexpected
from myop_cdn.listener.child import Limits
from myop_cdn.listener.queue.base import LiveDocument
from myop_cdn.model import DocumentRef
from myop_cdn.page import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.target import Target
    from myop_cdn.listener import Log
    from myop_cdn.progress import Progress

_LINES = 200  # of what a rollback does
_VERSIONS = 50  # of one component, at the most
_COMMITS = 300  # that are read for them


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
    """What was published of a component, as the destination's log has it; in JSON."""

    destination: str
    component: str


@dataclass(frozen=True, slots=True)
class RollbackTask:
    """Documents back to what they were as of `to`, a commit or a time; "" to hold back no longer
    what an earlier rollback took away. Of this component and environment, "" for all. preview:
    only say what would be done.
    """

    destination: str
    component: str
    environment: str
    preview: bool
    to: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action did, or would do. lines: in words. error: why it did not, or not wholly.
    changed: what documents of a destination hold since; the variant is "" where one is gone.
    """

    title: str
    lines: tuple[str, ...] = ()
    error: str | None = None
    changed: tuple[LiveDocument, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the page shows it."""
        return {"title": self.title, "lines": self.lines, "error": self.error}


Task: TypeAlias = DocumentTask | HistoryTask | RollbackTask
Found: TypeAlias = bytes | Outcome  # a document or a history in UTF-8, else of a rollback
Done: TypeAlias = Callable[[Found | MyopCdnError], None]
Desk: TypeAlias = Callable[[Task], Found]  # called on one thread; raises MyopCdnError


@dataclass(frozen=True, slots=True)
class DeskLimits:
    """How long a destination may take to answer, in seconds."""

    look: float = 60.0
    act: float = 6 * 3600.0

    def of(self, task: Task) -> Limits:
        """Those of one task, which tells nothing on its way and is not done again by itself."""
        after = "nothing was changed; try it again in a while"
        if isinstance(task, RollbackTask) and not task.preview:
            after = "a part of it may be done: see the history before you do it again"
        return Limits(self.act if isinstance(task, RollbackTask) else self.look, self.act, after)


class TaskThread:
    """Work that is done piece by piece on a thread of its own. most: pieces that may wait."""

    def __init__(self, name: str, log: Log, most: int) -> None:
        self._name = name
        self._log = log
        self._most = most
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """End; what has begun is left to itself."""
        self._waiting.put(None)

    def put(self, work: Callable[[], None]) -> bool:
        """Have it done. Whether there was room."""
        if self._waiting.qsize() >= self._most:
            return False
        self._waiting.put(work)
        return True

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            try:
                work()
            except Exception as error:  # a defect must not end the thread
                words = unexpected(error).message
                self._log.warning("the page failed", thread=self._name, error=words)


class DeskQueue(TaskThread):
    """Asks a desk, on a thread of its own."""

    def __init__(self, desk: Desk, name: str, log: Log, most: int) -> None:
        super().__init__(name, log, most)
        self._desk = desk

    def ask(self, task: Task, done: Done) -> bool:
        """Have a task done; `done` is given what came of it. Whether there was room."""
        return self.put(lambda: done(self._found(task)))

    def _found(self, task: Task) -> Found | MyopCdnError:
        try:
            return self._desk(task)
        except MyopCdnError as error:
            return error
        except Exception as error:
            return unexpected(error)


@dataclass(frozen=True, slots=True)
class DestinationDesk:
    """Asks the destinations themselves. It is pickled, as it works in a child.

    urls: of each destination, by the name that the listener has for it.
    """

    urls: Mapping[str, str]
    options: DeployOptions
    _open: dict[tuple[str, bool], Target] = field(default_factory=dict)

    def __call__(self, task: Task, progress: Progress | None = None) -> Found:  # noqa: ARG002 - Work
        """See `Desk`."""
        if isinstance(task, RollbackTask):
            options = replace(self.options, dry_run=task.preview)
            return roll_back(self._target(task.destination, options), task, options)
        target = self._target(task.destination, self.options)
        if isinstance(task, DocumentTask):
            from myop_cdn.page.documents import read_document

            html = render.html_of(read_document(target, task.ref, task.sha256))
            return html.encode(errors="replace")
        return _versions(target, task.component, self.options.jobs)

    def _target(self, destination: str, options: DeployOptions) -> Target:
        from myop_cdn.deploy.target import open_targets

        found = self._open.get((destination, options.dry_run))
        if found is None:
            if destination not in self.urls:
                raise InputError("there is no such destination here")
            found = open_targets([self.urls[destination]], options)[0]
            self._open[destination, options.dry_run] = found
        return found


def roll_back(target: Target, task: RollbackTask, options: DeployOptions) -> Outcome:
    """Roll back, or resume; what was, or would be, done, in words. Raises MyopCdnError."""
    from myop_cdn.deploy import rollback
    from myop_cdn.deploy.history import Selection

    which = Selection(frozenset({task.component} - {""}), frozenset({task.environment} - {""}))
    would = "would be " if task.preview else ""
    if task.to:
        report = rollback.roll_back(target, task.to, which, options)
        done = report.destination
        title = f"{len(done.uploaded)} {would}put back, {len(done.deleted)} {would}removed"
        lines = [f"{one}" for one in done.uploaded]
        lines += [f"{done.called(key)}: was not there then" for key in done.deleted]
        lines += [f"{done.called(one.key)}: {one.error}" for one in done.failed]
        lines += list(done.warnings)
    else:
        report = rollback.resume(target, which, options)
        title = f"{len(report.resumed)} {would}held back no longer"
        lines = list(report.resumed)
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"and {len(lines) - _LINES} more"]
    number = report.destination.commit
    commit = target.log.commit(int(number)) if number and not task.preview else None
    changed = [
        LiveDocument(ref, after.name, after.variant, after.variant_name, 0.0)
        if (after := change.after)
        else LiveDocument(ref, "", "", "", 0.0)
        for key, change in (commit.changes.items() if commit else ())
        if (ref := DocumentRef.of(key)) is not None
    ]
    error = None if report.error is None else in_words(report.error)
    return Outcome(title, tuple(lines), error, tuple(changed))


def in_words(error: MyopCdnError) -> str:
    """What happened, and what to do about it."""
    return f"{error.message}; {error.hint}" if error.hint else error.message


def _versions(target: Target, component: str, jobs: int) -> bytes:
    from myop_cdn.deploy.history import Selection, read_history
    from myop_cdn.page.documents import no_versions, versions

    try:
        which = Selection(frozenset({component}))
        found = read_history(target, which, jobs, _VERSIONS, _COMMITS)
    except StorageError as error:
        return json.dumps(no_versions(component, error.message)).encode()
    mine = versions(found).get(component) or no_versions(component)
    return json.dumps({**mine, "warnings": list(found.warnings), "older": found.older}).encode()
