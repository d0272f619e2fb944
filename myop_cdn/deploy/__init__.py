"""Bring destinations up to a tree: plan first, then act.

The way of the data: tree → `Source` (hashes) and listing → `Seen` (facts) → `Plan` (a value) →
`apply` → `DestinationReport`. Nothing here knows which service it talks to.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from myop_cdn.deploy.destination import deploy_to
from myop_cdn.deploy.options import DEFAULT_CACHE_CONTROL, DeployOptions, Encoding
from myop_cdn.deploy.source import Source, read_source
from myop_cdn.errors import InputError, RefusedError
from myop_cdn.model import DeployReport, DestinationReport
from myop_cdn.progress import Silent
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import OpenOptions
from myop_cdn.storage.readonly import ReadOnly
from myop_cdn.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    InputError, before anything is done, for destinations that are malformed or named twice.
    """
    options = options or DeployOptions()
    progress = progress or Silent()
    stores = _open_all(destinations, options)
    try:
        source = read_source(tree, options.encoding, options.jobs)
    except RefusedError as error:
        refused = f"{error.message} ({error.hint})" if error.hint else error.message
        reports = [DestinationReport(store.url, refused=refused) for store in stores]
    else:
        reports = _deploy_all(stores, source, options, progress)
    return DeployReport(options.dry_run, tuple(reports))


def check_destinations(destinations: Sequence[str], options: DeployOptions) -> None:
    """Raise InputError for destinations that `deploy` would refuse. Makes no request."""
    _open_all(destinations, options)


def _open_all(destinations: Sequence[str], options: DeployOptions) -> list[Store]:
    stores = [_open(url, options) for url in destinations]
    _check(stores, options)
    return stores


def _open(url: str, options: DeployOptions) -> Store:
    backend = open_backend(url, OpenOptions(options.jobs, options.endpoint_url))
    return Store(ReadOnly(backend) if options.dry_run else backend)


def _check(stores: Sequence[Store], options: DeployOptions) -> None:
    if not stores:
        raise InputError("no destination is named", "name one or more, s3://bucket for instance")
    seen: set[str] = set()
    for store in stores:
        if store.url in seen:
            raise InputError(f"{store.url} is named twice")
        seen.add(store.url)
        if options.encoding != "identity" and not store.keeps_headers:
            raise InputError(
                f"{store.url} can't say that its files are encoded",
                "leave --encoding out for a folder; its web server can compress by itself",
            )


def _deploy_all(
    stores: Sequence[Store], source: Source, options: DeployOptions, progress: Progress
) -> list[DestinationReport]:
    def one(store: Store) -> DestinationReport:
        try:
            return deploy_to(store, source, options, progress)
        finally:
            store.close()

    if len(stores) == 1:
        return [one(stores[0])]
    pool = ThreadPoolExecutor(len(stores), "destination")
    try:
        return list(pool.map(one, stores))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
