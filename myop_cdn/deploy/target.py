"""Where a deploy goes: the objects, the ledger, and what caches them; opened, asked nothing yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from myop_cdn.cdn import open_cdn
from myop_cdn.cdn.base import DryRun
from myop_cdn.deploy.apart import check_apart
from myop_cdn.deploy.book import Book
from myop_cdn.deploy.ledger import LEDGER, name_fingerprint
from myop_cdn.errors import InputError
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import OpenOptions
from myop_cdn.storage.readonly import ReadOnly
from myop_cdn.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from myop_cdn.cdn.base import Cdn
    from myop_cdn.deploy.book import Page
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.storage.base import ObjectInfo

    Look = tuple[Page, list[ObjectInfo]]


@dataclass(frozen=True, slots=True)
class Target:
    """One destination."""

    store: Store
    book: Book
    cdns: Sequence[Cdn] = ()

    def look(self) -> Look:
        """The ledger and what is there. In this order: what is listed is never older than what
        the ledger says. Raises StorageError.
        """
        page = self.book.read()
        return page, self.store.list()

    def close(self) -> None:
        """Let go of connections."""
        self.store.close()
        if self.book.store is not self.store:
            self.book.store.close()


def open_targets(
    destinations: Sequence[str], options: DeployOptions, source: Path | None = None
) -> list[Target]:
    """Every destination, in their order. source: the folder that is deployed, where known.

    Raises InputError for one that is malformed, named twice, entangled with the source, or
    unable to do what is asked.
    """
    stores = [_open(url, options) for url in destinations]
    _check(stores, options)
    cdns = [_open_cdn(name, options) for name in dict.fromkeys(options.invalidate)]
    targets = [Target(store, _book(store, len(stores), options), cdns) for store in stores]
    if source is not None:
        for target in targets:
            check_apart(source, target.store.url, target.book.store.url)
    return targets


def _open(url: str, options: DeployOptions) -> Store:
    backend = open_backend(url, OpenOptions(options.jobs, options.endpoint_url))
    return Store(ReadOnly(backend) if options.dry_run else backend)


def _open_cdn(name: str, options: DeployOptions) -> Cdn:
    cdn = open_cdn(name)
    return DryRun(cdn) if options.dry_run else cdn


def _book(store: Store, count: int, options: DeployOptions) -> Book:
    if options.ledger is None:
        return Book(store, LEDGER)
    if not options.ledger.endswith(".json"):
        return Book(_open(options.ledger, options), f"{name_fingerprint(store.url)}.json")
    if count > 1:
        raise InputError(
            f"{options.ledger} can be the ledger of one destination only",
            "name a folder; each destination gets a file of its own there",
        )
    folder, _, name = options.ledger.rpartition("/")
    return Book(_open(folder, options), name)


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
