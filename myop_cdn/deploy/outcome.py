"""What came of one run at one destination: what its report and its commit are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from myop_cdn.model import DocumentRef
from myop_cdn.report import DestinationReport, FailedKey, Overtaken, Upload, spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from myop_cdn.deploy.log import Change, Commit, Entry
    from myop_cdn.deploy.plan import Plan
    from myop_cdn.errors import MyopCdnError


@dataclass(slots=True)
class Outcome:
    """What has been done so far. By key, where not said otherwise.

    changes: what this run did to objects, for its commit to tell. touched: all that it ever wrote
    or deleted, what somebody else replaced since among them. adopted: what others did that no
    commit tells of, for the next commit to tell. failed: what went wrong, and may go right at a
    second try; lasting: what will not. notes: see `DestinationReport`. error: what ended the run.
    """

    changes: dict[str, Change] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    adopted: dict[str, Change] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    unchanged: set[str] = field(default_factory=set)
    overtaken: dict[str, Overtaken] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    lasting: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: MyopCdnError | None = None
    commit: Commit | None = None

    @property
    def has_written(self) -> bool:
        """Whether anything at the destination is another than before."""
        return bool(self.touched)

    @property
    def is_whole(self) -> bool:
        """Whether all went well that was tried."""
        return not self.failed and self.error is None

    def note(self, key: str, change: Change) -> None:
        """Remember a change, on top of what this run changed there before."""
        earlier = self.changes.get(key)
        self.changes[key] = change._replace(before=earlier.before) if earlier else change
        self.touched.add(key)
        self.adopted.pop(key, None)

    def uploaded(self, upload: Upload, change: Change) -> None:
        """Remember that an object was put there."""
        if (after := change.after) is not None:
            name, label = after.name or upload.name, after.label or upload.after
            upload = Upload(upload.key, upload.reason, name, upload.before, label, upload.size)
        self.uploads.setdefault(upload.key, upload)
        self.overtaken.pop(upload.key, None)
        self.failed.pop(upload.key, None)
        self.unchanged.discard(upload.key)
        self.deleted.discard(upload.key)
        self.note(upload.key, change)

    def forget(self, key: str) -> None:
        """Forget a change that was taken back, or replaced by somebody else."""
        del self.changes[key]
        self.uploads.pop(key, None)
        self.deleted.discard(key)

    def passes_over(self, plan: Plan, why_cached: str) -> None:
        """Remember what a plan leaves as it is, and why."""
        for key in plan.cached:
            self.overtaken[key] = Overtaken(key, why_cached)
        for one in plan.overtaken:
            self.overtaken[one.key] = one
        for key in plan.unchanged:
            self.overtaken.pop(key, None)
        self.unchanged.update(plan.unchanged)

    def warn(self, warning: str | None) -> None:
        """Say something, once."""
        if warning and warning not in self.warnings:
            self.warnings.append(warning)

    def called(self, key: str, *known: Entry | None) -> str:
        """What people call an object: "Pricing Card · production · Classic". known: entries that
        may tell, where what was done does not.
        """
        change = self.changes.get(key)
        entries = (change.before if change else None, *known)
        entry = next((one for one in entries if one and one.name), None)
        return spoken(key, entry.name, entry.label) if entry else spoken(key, "")

    def report(
        self,
        url: str,
        seconds: float,
        invalidated: Iterable[str],
        failed: Iterable[FailedKey],
        called: Callable[[str], str],
        since: Callable[[str], int] = lambda _: 0,
    ) -> DestinationReport:
        """The report. invalidated: paths; failed: what went wrong with the CDNs. called: what
        people call an object. since: when what it holds came there; 0 where not known.
        """
        everything = [FailedKey(key, why) for key, why in {**self.lasting, **self.failed}.items()]
        kept = self.unchanged - self.uploads.keys()
        return DestinationReport(
            url,
            uploaded=tuple(self.uploads[key] for key in sorted(self.uploads)),
            unchanged=len(kept),
            deleted=tuple(sorted(self.deleted - self.uploads.keys())),
            failed=tuple(sorted([*everything, *failed], key=lambda one: one.key)),
            invalidated=tuple(sorted(set(invalidated))),
            warnings=tuple(self.warnings),
            notes=tuple(self.notes),
            seconds=seconds,
            overtaken=tuple(self.overtaken[key] for key in sorted(self.overtaken)),
            commit=str(self.commit.number) if self.commit else None,
            error=self.error,
            kept=tuple(kept),
            since={key: moment for key in kept if (moment := since(key))},
            names={
                key: called(key)
                for key in {*self.failed, *self.overtaken, *self.deleted}
                if DocumentRef.of(key)
            },
        )
