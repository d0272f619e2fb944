"""The values that cross the doors between rooms. Frozen, typed, without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from myop_cdn import names
from myop_cdn.errors import ExitCode, MyopCdnError, PartlyDone, RefusedError

MANIFEST = "manifest.json"
COMPONENTS = "components"
PREVIEW = "preview"


@dataclass(frozen=True, slots=True, order=True)
class DocumentRef:
    """One component document: which component, in which environment.

    The environment `preview` is the component's preview document (Myop's static format).
    """

    component_id: str
    environment: str

    @property
    def path(self) -> str:
        """Where it lies, relative to the tree or the prefix, with forward slashes."""
        return f"{COMPONENTS}/{self.component_id}/{self.environment}.json"

    @property
    def is_preview(self) -> bool:
        """Whether this is the latest variant, released or not."""
        return self.environment == PREVIEW

    @classmethod
    def of(cls, path: str) -> DocumentRef | None:
        """The document that lies at `path`, or None where the layout has no such path."""
        folder, _, rest = path.partition("/")
        component_id, slash, file = rest.partition("/")
        environment = file.removesuffix(".json")
        if folder != COMPONENTS or not slash or environment == file:
            return None
        if names.problem(component_id) or names.problem(environment):
            return None
        return cls(component_id, environment)


def is_layout(path: str) -> bool:
    """Whether `path` is of this tool's own layout: the manifest or a component document."""
    return path == MANIFEST or DocumentRef.of(path) is not None


@dataclass(frozen=True, slots=True)
class Release:
    """One announced release: this variant is now live for that component and environment."""

    component_id: str
    environment: str
    variant_id: str | None = None
    environment_id: str | None = None

    @property
    def ref(self) -> DocumentRef:
        """The document that the release changed."""
        return DocumentRef(self.component_id, self.environment)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a sync has to export.

    kind: `full` is everything in Myop's index, `incremental` the documents of `releases`,
    `none` nothing at all. A full scope keeps the releases that were announced with it, so
    that the exported documents can be held against them.
    """

    kind: Literal["full", "incremental", "none"]
    releases: tuple[Release, ...] = ()

    @classmethod
    def merge(cls, scopes: list[Scope]) -> Scope:
        """One scope that does the work of all, given oldest first.

        A full one supersedes the others; of several releases of one component and
        environment the newest counts.
        """
        newest: dict[DocumentRef, Release] = {}
        for scope in scopes:
            for release in scope.releases:
                newest.pop(release.ref, None)
                newest[release.ref] = release
        releases = tuple(newest.values())
        if any(scope.kind == "full" for scope in scopes):
            return cls("full", releases)
        return cls("incremental", releases) if releases else cls("none")


Form = Literal["webhook", "github", "gitlab", "data", "array"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A payload that was understood.

    form: which of the known forms it came in. event: the webhook's event, where the form has
    one. timestamp: as written (ISO 8601), unchecked. scope: what it asks for.
    """

    form: Form
    scope: Scope
    event: str | None = None
    timestamp: str | None = None
    organization_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteLimit:
    """How many objects one run may remove: a count, a percentage, or (neither given) the
    default of 25 % but never under 20.
    """

    count: int | None = None
    percent: float | None = None

    @property
    def is_default(self) -> bool:
        """Whether nobody chose it."""
        return self.count is None and self.percent is None

    def allows(self, removed: int, total: int) -> bool:
        """Whether `removed` of `total` objects may go."""
        if self.count is not None:
            return removed <= self.count
        if self.percent is not None:
            return removed * 100 <= self.percent * total
        return removed <= max(20, total * 25 // 100)

    def __str__(self) -> str:
        if self.count is not None:
            return str(self.count)
        if self.percent is not None:
            return f"{self.percent:g} %"
        return "25 %, at least 20"


SAFE_AGAIN = "it is safe to run again"


def exit_code(error: MyopCdnError | None) -> ExitCode:
    """The exit code of a run that ended with this error, or with none."""
    return ExitCode.DONE if error is None else error.exit_code


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
    """What a sync did. Paths are relative to the output folder and sorted."""

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
    """One object that was, or is to be, uploaded, and why."""

    key: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class FailedKey:
    """One object that could not be uploaded or deleted, and why."""

    key: str
    error: str


@dataclass(frozen=True, slots=True)
class DestinationReport:
    """What a deploy did at one destination. Keys are relative to its prefix and sorted.

    refused: why nothing was done, where safety forbade it. error: what ended the work at
    this destination as a whole (no credentials, no such bucket, …).
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
    error: MyopCdnError | None = field(default=None, compare=False)

    @property
    def exit_code(self) -> ExitCode:
        """FAILED, REFUSED, PARTLY or DONE, for this destination alone."""
        if self.error is not None:
            return self.error.exit_code
        if self.refused is not None:
            return ExitCode.REFUSED
        return ExitCode.PARTLY if self.failed else ExitCode.DONE

    def to_json(self) -> dict[str, Any]:
        """One entry of `destinations` in deploy's JSON report."""
        report: dict[str, Any] = {
            "url": self.url,
            "uploaded": [{"key": up.key, "reason": up.reason} for up in self.uploaded],
            "unchanged": self.unchanged,
            "deleted": list(self.deleted),
            "failed": [{"key": one.key, "error": one.error} for one in self.failed],
            "refused": self.refused,
            "invalidated": list(self.invalidated),
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 3),
        }
        return with_error(report, self.error)


@dataclass(frozen=True, slots=True)
class DeployReport:
    """What a deploy did at each of its destinations, in the order they were given."""

    dry_run: bool
    destinations: tuple[DestinationReport, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """The first of 1, 3, 4, 0 that applies to any destination."""
        return ExitCode.worst(*(one.exit_code for one in self.destinations))

    @property
    def error(self) -> MyopCdnError | None:
        """What went wrong with the run as a whole, or None: the worst destination's trouble."""
        code = self.exit_code
        worst = next((one for one in self.destinations if one.exit_code == code), None)
        if worst is None or code == ExitCode.DONE:
            return None
        if worst.error is not None:
            return worst.error
        if worst.refused is not None:
            return RefusedError(f"{worst.url}: {worst.refused}")
        return PartlyDone(f"{worst.url}: objects that failed: {len(worst.failed)}", SAFE_AGAIN)

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
        """What went wrong with the run as a whole, or None: the worse half's trouble."""
        halves = [half.error for half in (self.deploy, self.sync) if half and half.error]
        return next((one for one in halves if one.exit_code == self.exit_code), None)

    @property
    def exit_code(self) -> ExitCode:
        """The first of 1, 3, 4, 0 that applies to either half."""
        halves = (half.exit_code for half in (self.sync, self.deploy) if half)
        return ExitCode.worst(*halves)

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn publish --json`."""
        report = {
            "command": "publish",
            "sync": self.sync.to_json(),
            "deploy": self.deploy.to_json() if self.deploy else None,
        }
        return with_error(report, self.error)
