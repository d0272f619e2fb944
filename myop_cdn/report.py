"""What runs report: frozen values, their exit codes, and their JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from myop_cdn.errors import ExitCode, MyopCdnError, PartlyDone, RefusedError

if TYPE_CHECKING:
    from myop_cdn.model import ExportedDocument

SAFE_AGAIN = "it is safe to run again"


def exit_code(error: MyopCdnError | None) -> ExitCode:
    """The exit code of a run that ended with this error, or with none: DONE only without one."""
    return ExitCode.DONE if error is None else error.exit_code


def worst(*errors: MyopCdnError | None) -> MyopCdnError | None:
    """Of several errors the one that decides how a run ends: the first of the worst code."""
    found = [error for error in errors if error is not None]
    code = ExitCode.worst(*(error.exit_code for error in found))
    return next((error for error in found if error.exit_code == code), None)


def with_error(report: dict[str, Any], error: MyopCdnError | None) -> dict[str, Any]:
    """A JSON report with its error beside it, where there is one."""
    return report if error is None else {**report, "error": error.to_json()}


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """A document that could not be exported, and why."""

    component_id: str
    environment: str
    error: str

    def to_json(self) -> dict[str, str]:
        """As in the `failed` list of sync's JSON report."""
        return {
            "componentId": self.component_id,
            "environment": self.environment,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class SyncReport:
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
        """What went wrong with the run as a whole, or None."""
        if not self.failed:
            return None
        return PartlyDone(f"documents that failed: {len(self.failed)}", SAFE_AGAIN)

    @property
    def exit_code(self) -> ExitCode:
        """PARTLY when documents failed, else DONE."""
        return exit_code(self.error)

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
    All three are "" where not known.
    """

    key: str
    reason: Reason
    name: str = field(default="", compare=False)
    before: str = field(default="", compare=False)
    after: str = field(default="", compare=False)

    def to_json(self) -> dict[str, str]:
        """As in the `uploaded` list of deploy's JSON report."""
        said = {"component": self.name, "before": self.before, "after": self.after}
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
    None where nothing had to be committed.
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

    @classmethod
    def refusing(
        cls, url: str, error: RefusedError, warnings: tuple[str, ...] = ()
    ) -> DestinationReport:
        """The report of a destination where nothing was done, for this reason."""
        refused = f"{error.message} ({error.hint})" if error.hint else error.message
        return cls(url, refused=refused, warnings=warnings, refusal=error)

    @property
    def failure(self) -> MyopCdnError | None:
        """Why this destination was not brought up to date, or not wholly; None where it was."""
        refused = None if self.refused is None else RefusedError(f"{self.url}: {self.refused}")
        partly = PartlyDone(f"{self.url}: objects that failed: {len(self.failed)}", SAFE_AGAIN)
        return worst(self.error, refused, partly if self.failed else None)

    @property
    def exit_code(self) -> ExitCode:
        """The code of `failure`."""
        return exit_code(self.failure)

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
            "warnings": list(self.warnings),
            "commit": self.commit,
            "seconds": round(self.seconds, 3),
        }
        return with_error(report, self.error)


@dataclass(frozen=True, slots=True)
class DeployReport:
    """What a deploy did at each of its destinations, in the order they were given."""

    dry_run: bool
    destinations: tuple[DestinationReport, ...] = ()

    @property
    def error(self) -> MyopCdnError | None:
        """What went wrong with the run as a whole, or None: the worst destination's failure."""
        return worst(*(one.failure for one in self.destinations))

    @property
    def exit_code(self) -> ExitCode:
        """The first of 1, 2, 3, 4, 0 that applies to any destination."""
        return exit_code(self.error)

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn deploy --json`."""
        report = {
            "command": "deploy",
            "dryRun": self.dry_run,
            "destinations": [one.to_json() for one in self.destinations],
        }
        return with_error(report, self.error)


@dataclass(frozen=True, slots=True)
class PublishReport:
    """A sync and the deploy of its tree. deploy is None where there was nothing to deploy."""

    sync: SyncReport
    deploy: DeployReport | None = None

    @property
    def error(self) -> MyopCdnError | None:
        """What went wrong with the run as a whole, or None: the worse half's error."""
        return worst(self.deploy.error if self.deploy else None, self.sync.error)

    @property
    def exit_code(self) -> ExitCode:
        """The first of 1, 2, 3, 4, 0 that applies to either half."""
        return exit_code(self.error)

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn publish --json`."""
        report = {
            "command": "publish",
            "sync": self.sync.to_json(),
            "deploy": self.deploy.to_json() if self.deploy else None,
        }
        return with_error(report, self.error)
