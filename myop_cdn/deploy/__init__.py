"""Bring destinations up to a tree: plan first, then act.

The way of the data: tree → `Source` (hashes); ledger and listing → `Seen` (facts); both → `Plan`
(a value) → `apply` → ledger → `DestinationReport`. Nothing here knows which service it talks to.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from myop_cdn.deploy.destination import deploy_to
from myop_cdn.deploy.options import DEFAULT_CACHE_CONTROL, DeployOptions, Encoding
from myop_cdn.deploy.source import Source, read_source
from myop_cdn.deploy.target import Target, open_targets
from myop_cdn.errors import RefusedError
from myop_cdn.progress import Silent
from myop_cdn.report import DeployReport, DestinationReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from myop_cdn.deploy.target import Look
    from myop_cdn.progress import Progress
    from myop_cdn.tree import Tree

__all__ = ["DEFAULT_CACHE_CONTROL", "DeployOptions", "Encoding", "check_destinations", "deploy"]


def deploy(
    tree: Tree,
    destinations: Sequence[str],
    options: DeployOptions | None = None,
    progress: Progress | None = None,
) -> DeployReport:
    """Bring every destination up to `tree`, all at once, and say what was done at each.

    destinations: URLs. One that fails does not stop the others; its report says why. Raises
    InputError, before anything is done, for destinations or CDNs that are malformed or named
    twice, and for a folder that is entangled with the tree's.
    """
    options = options or DeployOptions()
    progress = progress or Silent()
    targets = open_targets(destinations, options, tree.root)
    # The services are asked what they have while the files are being hashed.
    looking = ThreadPoolExecutor(max(1, len(targets)), "look")
    looks = [_Ahead(looking.submit(target.look)) for target in targets]
    try:
        source = read_source(tree, options.encoding, options.jobs)
    except RefusedError as error:
        reports = [DestinationReport.refusing(target.store.url, error) for target in targets]
    else:
        reports = _deploy_all(targets, looks, source, options, progress)
    finally:
        looking.shutdown(wait=False, cancel_futures=True)
    return DeployReport(options.dry_run, tuple(reports))


def check_destinations(
    destinations: Sequence[str], options: DeployOptions, source: Path | None = None
) -> None:
    """Raise InputError for destinations that `deploy` would refuse. Makes no request.

    source: the folder that is to be deployed, where known.
    """
    open_targets(destinations, options, source)


def _deploy_all(
    targets: Sequence[Target],
    looks: Sequence[_Ahead],
    source: Source,
    options: DeployOptions,
    progress: Progress,
) -> list[DestinationReport]:
    def one(target: Target, look: _Ahead) -> DestinationReport:
        try:
            return deploy_to(target, source, options, progress, look)
        finally:
            target.close()

    if len(targets) == 1:
        return [one(targets[0], looks[0])]
    pool = ThreadPoolExecutor(len(targets), "destination")
    try:
        return list(pool.map(one, targets, looks))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Ahead:
    """A look that was begun before it was needed. Its result is given out once and not kept: a
    listing takes as much memory as all that is made of it.
    """

    def __init__(self, begun: Future[Look]) -> None:
        self._begun = [begun]

    def __call__(self) -> Look:
        return self._begun.pop().result()
