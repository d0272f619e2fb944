"""Where a deploy goes: the objects, the log, and what caches them; opened, asked nothing yet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from myop_cdn.cdn import open_cdn
from myop_cdn.cdn.base import DryRun
from myop_cdn.deploy.log import Log, name_fingerprint
from myop_cdn.errors import InputError
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import Folder, OpenOptions
from myop_cdn.storage.readonly import ReadOnly
from myop_cdn.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.cdn.base import Cdn
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.storage.base import Backend


class Target(NamedTuple):
    """One destination. is_folder: whether it is a folder of this machine."""

    store: Store
    log: Log
    cdns: Sequence[Cdn] = ()
    is_folder: bool = False

    def close(self) -> None:
        """Let go of connections."""
        self.store.close()
        if self.log.store is not self.store:
            self.log.store.close()


def open_targets(
    destinations: Sequence[str],
    options: DeployOptions,
    source: Path | None = None,
    on_retry: Callable[[str], None] = lambda _: None,
) -> list[Target]:
    """Every destination, in their order. source: the folder that is deployed, where known.
    on_retry: is told of requests that are made again.

    Raises InputError for one that is malformed, named twice, entangled with the source, or
    unable to do what is asked.
    """
    backends = [_open(url, options) for url in destinations]
    _check(backends, options)
    cdns = [_open_cdn(name, options) for name in dict.fromkeys(options.invalidate)]
    targets = []
    for backend in backends:
        store = _store(backend, options, on_retry)
        elsewhere = _ledger(backend, len(backends), options)
        if elsewhere is None:
            log = Log(store)
        else:
            ledger, folder, old = elsewhere
            log = Log(_store(ledger, options, on_retry), folder, old)
        if source is not None:
            _check_apart(source, backend, elsewhere[0] if elsewhere else None)
        targets.append(Target(store, log, cdns, isinstance(backend, Folder)))
    return targets


def _open(url: str, options: DeployOptions) -> Backend:
    return open_backend(
        url,
        OpenOptions(options.jobs, options.endpoint_url, options.acl, options.storage_class),
    )


def _store(backend: Backend, options: DeployOptions, on_retry: Callable[[str], None]) -> Store:
    return Store(ReadOnly(backend) if options.dry_run else backend, on_retry=on_retry)


def _open_cdn(name: str, options: DeployOptions) -> Cdn:
    cdn = open_cdn(name)
    return DryRun(cdn) if options.dry_run else cdn


def _ledger(
    backend: Backend, count: int, options: DeployOptions
) -> tuple[Backend, str, str] | None:
    """Where the log is kept, if not beside the objects: backend, folder, the old ledger's key."""
    url = options.ledger
    if url is None:
        return None
    if not url.endswith(".json"):
        name = name_fingerprint(backend.url)
        return _open(url, options), f"{name}/", f"{name}.json"
    if count > 1:
        raise InputError(
            f"{url} can be the ledger of one destination only",
            "name a folder; each destination gets one of its own there",
        )
    folder, _, name = url.rpartition("/")
    return _open(folder, options), f"{name.removesuffix('.json')}/", name


def _check(backends: Sequence[Backend], options: DeployOptions) -> None:
    if not backends:
        raise InputError("no destination is named", "name one or more, s3://bucket for instance")
    seen: set[str] = set()
    for backend in backends:
        if backend.url in seen:
            raise InputError(f"{backend.url} is named twice")
        seen.add(backend.url)
        if options.encoding != "identity" and not backend.keeps_headers:
            raise InputError(
                f"{backend.url} can't say that its files are encoded",
                "leave --encoding out for a folder; its web server can compress by itself",
            )


def _check_apart(source: Path, backend: Backend, ledger: Backend | None) -> None:
    """Raise InputError where the destination is a folder that is `source`, lies inside it or
    contains it, or where the log is kept inside of `source`: a tree that is deployed into itself
    would be deployed again with the next run.
    """
    tree = Path(os.path.realpath(source))
    folder, ledgers = _folder(backend), _folder(ledger)
    if folder is not None and (how := _entangled(tree, folder)):
        raise InputError(f"{backend.url} {how} {source}", "name another folder")
    if ledger is not None and ledgers is not None and _within(ledgers, tree):
        raise InputError(f"the ledger's folder {ledger.url} lies in the folder to upload, {source}")


def _folder(backend: object) -> Path | None:
    return Path(os.path.realpath(backend.root)) if isinstance(backend, Folder) else None


def _entangled(tree: Path, folder: Path) -> str | None:
    inside, around = _within(folder, tree), _within(tree, folder)
    if inside and around:
        return "is the folder to upload,"
    if inside:
        return "lies in the folder to upload,"
    return "contains the folder to upload," if around else None


def _within(inner: Path, outer: Path) -> bool:
    """Whether `inner` is `outer` or lies below it, on file systems that fold case, too."""
    chain = (inner, *inner.parents)
    if outer in chain:
        return True
    if not outer.exists():
        return False
    return any(outer.samefile(one) for one in chain if one.exists())
