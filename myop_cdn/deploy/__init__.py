"""Bring destinations up to a tree: look and plan first, then act.

The way of the data: look → `RemoteObject`s and a `View` of the log; tree → `LocalObject`s; both →
`Plan` (a value) → conditional writes → commit → `DestinationReport`. Nothing here knows which
service it talks to.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from myop_cdn import exportnote
from myop_cdn.deploy.log import Cause
from myop_cdn.deploy.options import (
    DEFAULT_CACHE_CONTROL,
    DeployOptions,
    Encoding,
    HistoryLimit,
)
from myop_cdn.deploy.run import CACHED, Run
from myop_cdn.deploy.source import Source, read_exported, read_planned, read_source
from myop_cdn.deploy.target import open_targets
from myop_cdn.errors import ExitCode, MyopCdnError, RefusedError
from myop_cdn.model import MANIFEST
from myop_cdn.moments import utc_now
from myop_cdn.progress import Silent, Sparing
from myop_cdn.report import DeployReport, DestinationReport
from myop_cdn.workers import Beside, all_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from myop_cdn.deploy.planfile import PlannedDestination
    from myop_cdn.deploy.source import AskAgain
    from myop_cdn.model import DocumentRef, Release
    from myop_cdn.progress import Progress
    from myop_cdn.tree import Tree

__all__ = [
    "CACHED",
    "DEFAULT_CACHE_CONTROL",
    "Cause",
    "DeployOptions",
    "Deployment",
    "Encoding",
    "HistoryLimit",
    "apply",
    "check_destinations",
    "deploy",
    "read_exported",
]

_UNCHANGED = "nothing was changed"
_PLANNED = (ExitCode.DONE, ExitCode.PARTLY)  # with a plan of what can be done
_MOST_LOOKED_AT_ONE_BY_ONE = 300  # documents; a listing costs less than more HEADs


def deploy(
    tree: Tree,
    destinations: Sequence[str],
    options: DeployOptions | None = None,
    progress: Progress | None = None,
    cause: Cause | None = None,
) -> DeployReport:
    """Bring every destination up to `tree`, all at once, and say what was done at each.

    destinations: URLs. One that fails does not stop the others; its report says why. Raises
    InputError, before anything is done, for destinations or CDNs that are malformed or named
    twice, and for a folder that is entangled with the tree's.
    """
    options = options or DeployOptions()
    cause = cause or Cause("deploy")
    with Deployment(destinations, options, tree.root, cause, progress) as deployment:
        refs = None
        if tree.exists() and tree.read_if_there(MANIFEST) is None:
            try:
                partial = tree.refs()
            except RefusedError as error:
                return deployment.refuse(error)
            refs = partial if len(partial) <= _MOST_LOOKED_AT_ONE_BY_ONE else None
        # The services are asked what they have while the files are being hashed.
        deployment.begin_look(refs)
        try:
            known = exportnote.read(tree).documents
            source = read_source(
                tree, options.encoding, options.jobs, known, with_md5=deployment.needs_md5s
            )
        except RefusedError as error:
            return deployment.refuse(error)
        return deployment.bring(source)


def apply(
    file: Path,
    destinations: Sequence[str],
    options: DeployOptions | None = None,
    progress: Progress | None = None,
) -> DeployReport:
    """Carry out the plan at `file`, which was made for these very destinations.

    At each of them everything is done, or nothing: RefusedError is in its report where what is
    there is no longer what the plan saw. options: how to go about it; what comes of it is the
    plan's. Raises InputError for what is not a plan or was made with other options, RefusedError
    where it was made for other destinations.
    """
    from myop_cdn.deploy import planfile  # few runs have a plan, and each would pay for it

    options = options or DeployOptions()
    with planfile.opened(file) as (plan, tree, note):
        bound = plan.bound(options)
        with Deployment(destinations, bound, None, plan.cause, progress) as deployment:
            plan.check_destinations(deployment.urls)
            source = read_planned(tree, bound.encoding, bound.jobs, note.documents)
            return deployment.apply(plan.destinations, source)


def check_destinations(
    destinations: Sequence[str], options: DeployOptions, source: Path | None = None
) -> None:
    """Raise InputError for destinations that `deploy` would refuse. Makes no request.

    source: the folder that is to be deployed, where known.
    """
    open_targets(destinations, options, source)


class Deployment:
    """A deploy to several destinations at once, in two steps: look, then bring.

    Opening it makes no request and raises InputError as `deploy` does. now: this machine's clock.
    """

    def __init__(
        self,
        destinations: Sequence[str],
        options: DeployOptions,
        source: Path | None,
        cause: Cause,
        progress: Progress | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if options.plan_out is not None:
            options = replace(options, dry_run=True)
        self._options = options
        self._cause = cause
        self._progress = progress or Silent()
        notes = Sparing(self._progress.note)
        self._targets = open_targets(destinations, options, source, notes)
        self._now = now
        self._work = [Run(one, options, cause, self._progress, now) for one in self._targets]
        self._looks: list[Beside[None]] = []

    def __enter__(self) -> Deployment:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            for run in self._work:
                run.close()
        for target in self._targets:
            target.close()

    def look(self, refs: Sequence[DocumentRef] | None, releases: Sequence[Release] = ()) -> None:
        """See what is at every destination: of these documents, or (None) of all. releases: what
        is about to be brought.
        """
        self.begin_look(refs, releases)
        for look in self._looks:
            look.result()

    def begin_look(
        self, refs: Sequence[DocumentRef] | None, releases: Sequence[Release] = ()
    ) -> None:
        """As `look`, without waiting."""
        self._looks = [Beside(partial(run.look, refs, releases), "look") for run in self._work]

    def lost(self) -> DeployReport | None:
        """The report where no destination could be looked at, so that nothing need be exported."""
        reports = tuple(
            DestinationReport(run.there.store.url, error=run.error)
            for run in self._work
            if run.error is not None
        )
        return (
            DeployReport(self._options.dry_run, reports)
            if len(reports) == len(self._work)
            else None
        )

    @property
    def needs_md5s(self) -> bool:
        """Whether MD5s are going to be needed: services tell them, and want them; folders don't."""
        return not all(target.is_folder for target in self._targets)

    def bring(self, source: Source, ask_again: AskAgain | None = None) -> DeployReport:
        """Bring every destination up to `source`. ask_again: see `Run.bring`."""
        for look in self._looks:
            look.result()
        reports = all_at_once(
            [partial(run.bring, source, ask_again) for run in self._work], "destination"
        )
        report = DeployReport(self._options.dry_run, tuple(reports))
        if self._options.plan_out is not None and report.exit_code in _PLANNED:
            self._save(self._options.plan_out, [one.planned() for one in self._work], source.tree)
        return report

    def apply(self, planned: Sequence[PlannedDestination], source: Source) -> DeployReport:
        """Do at every destination what was planned for it; nothing at any where one has moved."""
        from myop_cdn.deploy.approved import ApprovedRun

        by_url = {one.url: one for one in planned}
        runs = [
            ApprovedRun(one, self._options, self._cause, self._progress, self._now)
            for one in self._targets
        ]
        checks = [partial(run.check, by_url[run.there.url], source) for run in runs]
        refused = all_at_once(checks, "destination")
        if any(refused):
            elsewhere = RefusedError("another destination of the plan has moved on", _UNCHANGED)
            reports = [
                DestinationReport.refusing(run.there.url, error or elsewhere)
                for run, error in zip(runs, refused, strict=True)
            ]
        else:
            reports = all_at_once([run.carry_out for run in runs], "destination")
        return DeployReport(self._options.dry_run, tuple(reports))

    def plan_nothing(self, tree: Tree) -> None:
        """Write a plan that does nothing, where one is to be written."""
        if self._options.plan_out is not None:
            from myop_cdn.deploy.planfile import PlannedDestination

            planned = [PlannedDestination(url) for url in self.urls]
            self._save(self._options.plan_out, planned, tree)

    @property
    def urls(self) -> list[str]:
        """The destinations as they are shown."""
        return [one.store.url for one in self._targets]

    def _save(self, file: Path, planned: Sequence[PlannedDestination], tree: Tree) -> None:
        from myop_cdn.deploy import planfile

        plan = planfile.SavedPlan(self._cause, self._options, tuple(planned), self._now())
        wanted = {}
        for run, one in zip(self._work, planned, strict=True):
            keys = [up.key for up in one.uploads]
            wanted.update(run.wanted(keys) if keys else {})
        planfile.save(file, plan, tree, wanted)

    def refuse(self, error: RefusedError) -> DeployReport:
        """The report of a deploy whose source can't be deployed anywhere."""
        reports = [DestinationReport.refusing(one.store.url, error) for one in self._targets]
        return DeployReport(self._options.dry_run, tuple(reports))

    def fail(self, error: MyopCdnError) -> DeployReport:
        """The report of a deploy whose source could not be read after all."""
        reports = [DestinationReport(one.store.url, error=error) for one in self._targets]
        return DeployReport(self._options.dry_run, tuple(reports))
