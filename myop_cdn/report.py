"""What runs report: frozen values, their exit codes, and their JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from myop_cdn.errors import CheckFailed, ExitCode, MyopCdnError, PartlyDone, RefusedError
from myop_cdn.model import DocumentRef
from myop_cdn.summary import Item, Section, Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from myop_cdn.model import ExportedDocument
    from myop_cdn.summary import State

SAFE_AGAIN = "it is safe to run again"


class Outcome:
    """What a run, or a part of one, came to."""

    __slots__ = ()

    @property
    def error(self) -> MyopCdnError | None:
        """What went wrong with it as a whole, or None."""
        raise NotImplementedError

    @property
    def exit_code(self) -> ExitCode:
        """That of the error: DONE only without one."""
        return ExitCode.DONE if self.error is None else self.error.exit_code


def worst(*errors: MyopCdnError | None) -> MyopCdnError | None:
    """Of several errors the one that decides how a run ends: the first of the worst code."""
    found = [error for error in errors if error is not None]
    code = ExitCode.worst(*(error.exit_code for error in found))
    return next((error for error in found if error.exit_code == code), None)


def with_error(report: dict[str, Any], error: MyopCdnError | None) -> dict[str, Any]:
    """A JSON report with its error beside it, where there is one."""
    return report if error is None else {**report, "error": error.to_json()}


def counted(items: tuple[Item, ...], unchanged: int | None = None) -> str:
    """How often which action was taken, in words. unchanged: where not every one has an item."""
    counts = Counter(one.action for one in items)
    if unchanged is not None:
        counts["unchanged"] = unchanged
    counts["unchanged"] = counts.pop("unchanged", 0)  # comes last
    return ", ".join(f"{count} {action}" for action, count in counts.items() if count) or "nothing"


def spoken(key: str, name: str, *variants: str) -> str:
    """What people call a change to an object: "Pricing Card · production · Classic → Aurora".

    name: the component's. variants: what it held and is to hold, "" where not known; the id and
    the key stand in for what has no name.
    """
    ref = DocumentRef.of(key)
    labels = " → ".join(one for one in variants if one)
    if len(variants) > 1 and variants[0] and not variants[-1]:
        labels += " → ?"
    parts = [name or ref.component_id, ref.environment] if ref else [key]
    return " · ".join([*parts, labels] if labels else parts)


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """A document that could not be exported, and why."""

    component_id: str
    environment: str
    error: str

    def to_json(self) -> dict[str, str]:
        """As in the `failed` list of sync's JSON report."""
        where = {"componentId": self.component_id, "environment": self.environment}
        return {**where, "error": self.error}


@dataclass(frozen=True, slots=True)
class SyncReport(Outcome):
    """What a sync did. Paths are relative to the output folder and sorted.

    documents: all that Myop answered in this run, changed or not, in the order of their refs.
    """

    scope: Literal["full", "incremental", "none"]
    exporter: str
    output: str
    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0
    warnings: tuple[str, ...] = ()
    failed: tuple[FailedDocument, ...] = ()
    seconds: float = 0.0
    documents: tuple[ExportedDocument, ...] = ()

    @property
    def behind(self) -> tuple[ExportedDocument, ...]:
        """The documents that do not hold the variant that was announced for them."""
        return tuple(one for one in self.documents if not one.holds_announced)

    @property
    def changed(self) -> bool:
        """Whether the tree is another than before."""
        return bool(self.added or self.updated or self.removed)

    @property
    def error(self) -> MyopCdnError | None:
        """Some documents failed, or None."""
        failed = len(self.failed)
        return PartlyDone(f"documents that failed: {failed}", SAFE_AGAIN) if failed else None

    def summary(self) -> Summary:
        """The run for its readers."""
        return Summary("sync", (self.section(),), self.error)

    def section(self) -> Section:
        """The export for its readers."""
        what = "nothing to export" if self.scope == "none" else f"{self.scope}, {self.exporter}"
        items = tuple(sorted(self._items(), key=lambda one: one.key))
        outcome = f"{what}: {counted(items)}"
        return Section(self.output, outcome, items, self.warnings, self.error, self.seconds)

    def _items(self) -> Iterator[Item]:
        changed = dict.fromkeys(self.added, "added") | dict.fromkeys(self.updated, "updated")
        for one in self.documents:
            action = changed.pop(one.ref.path, "unchanged")
            state: State = "unchanged" if action == "unchanged" else "changed"
            yield Item(one.ref.path, state, action, one.name, "", one.label, one.size)
        for path, action in (changed | dict.fromkeys(self.removed, "removed")).items():
            yield Item(path, "changed", action)
        for failed in self.failed:
            path = DocumentRef(failed.component_id, failed.environment).path
            yield Item(path, "failed", "failed", note=failed.error)

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn sync --json`."""
        report = {
            "command": "sync",
            "scope": self.scope,
            "exporter": self.exporter,
            "output": self.output,
            "added": list(self.added),
            "updated": list(self.updated),
            "removed": list(self.removed),
            "unchanged": self.unchanged,
            "warnings": list(self.warnings),
            "failed": [document.to_json() for document in self.failed],
            "seconds": round(self.seconds, 3),
        }
        return with_error(report, self.error)


Reason = Literal["new", "content", "headers", "manifest"]


@dataclass(frozen=True, slots=True)
class Upload:
    """One object that was, or is to be, uploaded, and why.

    name: the component's. before, after: what it held and is to hold, as variants are called.
    All three are "" where not known. size: in bytes as it is stored, None where not known.
    """

    key: str
    reason: Reason
    name: str = field(default="", compare=False)
    before: str = field(default="", compare=False)
    after: str = field(default="", compare=False)
    size: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return spoken(self.key, self.name, self.before, self.after)

    def to_json(self) -> dict[str, str | int]:
        """As in the `uploaded` list of deploy's JSON report."""
        said: dict[str, str | int | None] = {"component": self.name, "before": self.before}
        said |= {"after": self.after, "size": self.size}
        return {"key": self.key, "reason": self.reason, **{k: v for k, v in said.items() if v}}


@dataclass(frozen=True, slots=True)
class FailedKey:
    """One object that could not be uploaded or deleted, and why."""

    key: str
    error: str


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A document that was not written, as the destination holds what was published later, or
    what a rollback holds back. reason: in words.
    """

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class DestinationReport:
    """What a deploy did at one destination. Keys are relative to its prefix and sorted.

    refused: why nothing was done, where safety forbade it, with the hint. error: what ended the
    work at this destination as a whole (no credentials, no such bucket, …). refusal: `refused`
    as the error it was, for messages. commit: the name of the commit in the destination's log,
    None where nothing had to be committed. kept: the keys that are counted in `unchanged`, and
    since: when what they hold came there, in seconds since 1970, as far as is known.
    names: what people call the objects that were deleted, overtaken or failed, by key, as far as
    is known. notes: what a run of its kind leaves out as it should, so that nobody need be warned.
    """

    url: str
    uploaded: tuple[Upload, ...] = ()
    unchanged: int = 0
    deleted: tuple[str, ...] = ()
    failed: tuple[FailedKey, ...] = ()
    refused: str | None = None
    invalidated: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    overtaken: tuple[Overtaken, ...] = ()
    commit: str | None = None
    error: MyopCdnError | None = field(default=None, compare=False)
    refusal: RefusedError | None = field(default=None, compare=False)
    kept: tuple[str, ...] = field(default=(), compare=False, repr=False)
    since: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    names: Mapping[str, str] = field(default_factory=dict, compare=False)
    notes: tuple[str, ...] = ()

    def called(self, key: str) -> str:
        """The object for people: its key, and what it is called where that is known."""
        name = self.names.get(key)
        return f"{key} ({name})" if name else key

    @classmethod
    def refusing(
        cls, url: str, error: RefusedError, warnings: tuple[str, ...] = ()
    ) -> DestinationReport:
        """The report of a destination where nothing was done, for this reason."""
        return cls(url, refused=error.sentence, warnings=warnings, refusal=error)

    @property
    def failure(self) -> MyopCdnError | None:
        """Why this destination was not brought up to date, or not wholly; None where it was."""
        refused = None if self.refused is None else RefusedError(f"{self.url}: {self.refused}")
        partly = PartlyDone(f"{self.url}: objects that failed: {len(self.failed)}", SAFE_AGAIN)
        return worst(self.error, refused, partly if self.failed else None)

    @property
    def exit_code(self) -> ExitCode:
        """The code of `failure`."""
        return ExitCode.DONE if self.failure is None else self.failure.exit_code

    def section(self) -> Section:
        """The destination for its readers."""
        items = tuple(sorted(self._items(), key=lambda one: one.key))
        outcome = counted(items, self.unchanged)
        if self.refused is not None:
            outcome = "refused: nothing was changed"
        elif self.error is not None and not any(one.state == "changed" for one in items):
            outcome = "failed: nothing was changed"
        return Section(self.url, outcome, items, self.warnings, self.failure, self.seconds)

    def _items(self) -> Iterator[Item]:
        for up in self.uploaded:
            yield Item(up.key, "changed", "uploaded", up.name, up.before, up.after, up.size)
        for key in self.deleted:
            yield Item(key, "changed", "deleted")
        for failed in self.failed:
            yield Item(failed.key, "failed", "failed", note=failed.error)
        for passed in self.overtaken:
            yield Item(passed.key, "skipped", "overtaken", note=passed.reason)
        for key in self.kept:
            yield Item(key, "unchanged", "unchanged")

    def to_json(self) -> dict[str, Any]:
        """One entry of `destinations` in deploy's JSON report."""
        report: dict[str, Any] = {
            "url": self.url,
            "uploaded": [up.to_json() for up in self.uploaded],
            "unchanged": self.unchanged,
            "deleted": list(self.deleted),
            "failed": [{"key": one.key, "error": one.error} for one in self.failed],
            "overtaken": [{"key": one.key, "reason": one.reason} for one in self.overtaken],
            "refused": self.refused,
            "invalidated": list(self.invalidated),
            "warnings": [*self.warnings, *self.notes],
            "commit": self.commit,
            "seconds": round(self.seconds, 3),
        }
        if self.names:
            report["names"] = dict(sorted(self.names.items()))
        return with_error(report, self.error)


@dataclass(frozen=True, slots=True)
class DeployReport(Outcome):
    """What a deploy did at each of its destinations, in the order they were given."""

    dry_run: bool
    destinations: tuple[DestinationReport, ...] = ()

    @property
    def error(self) -> MyopCdnError | None:
        """What went wrong with the run as a whole, or None: the worst destination's failure."""
        return worst(*(one.failure for one in self.destinations))

    def summary(self) -> Summary:
        """The run for its readers."""
        sections = tuple(one.section() for one in self.destinations)
        return Summary("deploy", sections, self.error, self.dry_run)

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn deploy --json`."""
        report = {
            "command": "deploy",
            "dryRun": self.dry_run,
            "destinations": [one.to_json() for one in self.destinations],
        }
        return with_error(report, self.error)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the answers for some documents. kind: a word for it ("stale", "cors").
    keys: of which. fix: the line that fixes it. is_warning: it works all the same.
    """

    kind: str
    keys: tuple[str, ...]
    message: str
    fix: str
    is_warning: bool = False

    def to_json(self) -> dict[str, Any]:
        """One entry of `faults` in check's JSON report."""
        return {
            "kind": self.kind,
            "keys": list(self.keys),
            "message": self.message,
            "mend": self.fix,
            "warning": self.is_warning,
        }


@dataclass(frozen=True, slots=True)
class CheckReport(Outcome):
    """What a CDN answered. url: the base URL. origin: of the page that asked. source: where it is
    known from what should be there; "" where that is not known. checked: what was asked for, of
    so many `documents` in all. base_url: the right one, where `url` is not.
    """

    url: str
    origin: str
    source: str
    checked: tuple[str, ...] = ()
    documents: int = 0
    faults: tuple[Fault, ...] = ()
    base_url: str | None = None
    seconds: float = 0.0

    @property
    def error(self) -> MyopCdnError | None:
        """What went wrong with the check as a whole, or None: faults, warnings left aside."""
        faults = [one for one in self.faults if not one.is_warning]
        if not faults:
            return None
        keys = {key for one in faults for key in one.keys}
        number = f"{len(keys)} of {max(len(keys), len(self.checked))}"
        what = f"{number} not as they should be" if keys else faults[0].message
        hint = faults[0].fix if len(faults) == 1 else "each fault names the line that fixes it"
        return CheckFailed(f"{self.url}: {what}", hint)

    def summary(self) -> Summary:
        """The check for its readers."""
        return Summary("check", (self.section(),), self.error)

    def section(self) -> Section:
        """The answers for their readers."""
        wrong: dict[str, list[str]] = {}
        for one in self.faults:
            for key in () if one.is_warning else one.keys:
                wrong.setdefault(key, []).append(f"{one.message} ({one.fix})")
        items = tuple(
            Item(key, "failed", "wrong", note="; ".join(wrong[key]))
            if key in wrong
            else Item(key, "unchanged", "right")
            for key in dict.fromkeys((*self.checked, *wrong))
        )
        warnings = tuple(f"{one.message} ({one.fix})" for one in self.faults if one.is_warning)
        return Section(self.url, counted(items), items, warnings, self.error, self.seconds)

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn check --json`."""
        report = {
            "command": "check",
            "url": self.url,
            "origin": self.origin,
            "against": self.source or None,
            "checked": len(self.checked),
            "documents": self.documents,
            "faults": [one.to_json() for one in self.faults],
            "baseUrl": self.base_url,
            "seconds": round(self.seconds, 3),
        }
        return with_error(report, self.error)


@dataclass(frozen=True, slots=True)
class PublishReport(Outcome):
    """A sync and the deploy of its tree. deploy is None where there was nothing to deploy, check
    where the CDN was not asked.
    """

    sync: SyncReport
    deploy: DeployReport | None = None
    check: CheckReport | None = None

    @property
    def error(self) -> MyopCdnError | None:
        """What went wrong with the run as a whole, or None: the worst part's error."""
        parts = (self.deploy, self.sync, self.check)
        return worst(*(one.error for one in parts if one is not None))

    def summary(self) -> Summary:
        """The run for its readers."""
        deployed = self.deploy.summary() if self.deploy else Summary("deploy")
        checked = (self.check.section(),) if self.check else ()
        sections = (self.sync.section(), *deployed.sections, *checked)
        return Summary("publish", sections, self.error, deployed.dry_run)

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn publish --json`."""
        report = {
            "command": "publish",
            "sync": self.sync.to_json(),
            "deploy": self.deploy.to_json() if self.deploy else None,
        }
        if self.check is not None:
            report["check"] = self.check.to_json()
        return with_error(report, self.error)
