"""Where the ledger is kept, and how it is replaced: only if nobody else has meanwhile."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from myop_cdn.deploy.ledger import Ledger, is_of_commit
from myop_cdn.errors import PreconditionFailed
from myop_cdn.storage.base import JSON_TYPE, Body, Headers, Precondition

if TYPE_CHECKING:
    from myop_cdn.storage.store import Store

HEADERS = Headers(JSON_TYPE, "no-store")
PROBE = ".myop-cdn/probe.json"


@dataclass(frozen=True, slots=True)
class Page:
    """The ledger as read. ledger: None where there is none that can be read. version: of the
    object that was read, None where there is no such object. warning: for the report.
    """

    ledger: Ledger | None = None
    version: str | None = None
    warning: str | None = None


class Book:
    """The ledger of one destination: an object called `key` in `store`."""

    def __init__(self, store: Store, key: str) -> None:
        self.store = store
        self.key = key

    def read(self) -> Page:
        """The ledger. One that can't be read is as good as none, and is replaced in time.

        Raises StorageError.
        """
        blob = self.store.get(self.key)
        if blob is None:
            return Page()
        try:
            return Page(Ledger.parse(blob.data), blob.version)
        except ValueError as error:
            warning = f"the ledger could not be read ({error}); every object is asked about"
            return Page(None, blob.version, warning)

    def commit(self, ledger: Ledger, page: Page) -> bool:
        """Replace what was read as `page`; False where somebody else has done so before.

        Raises StorageError.
        """
        commit = secrets.token_hex(8)
        try:
            body = Body.of(ledger.dump(commit))
            self.store.put(self.key, body, HEADERS, precondition=Precondition(page.version))
        except PreconditionFailed:
            pass  # or a write whose answer was lost on the way was tried again, and found itself
        # Read back, as not every service compares and swaps in one step, and some don't compare.
        return self._is_mine(commit)

    def conditions_are_ignored(self, version: str | None) -> bool:
        """Whether the service carries a conditional write out whatever is there.

        Tried with an object that is not there, to be replaced if it has `version`, any version
        the service has given; None where none is known. Raises StorageError.
        """
        if version is None:
            version = self.store.put(PROBE, Body.of(b"{}"), HEADERS)
            self.store.delete([PROBE])
        try:
            self.store.put(PROBE, Body.of(b"{}"), HEADERS, precondition=Precondition(version))
        except PreconditionFailed:
            return False
        self.store.delete([PROBE])
        return True

    def _is_mine(self, commit: str) -> bool:
        blob = self.store.get(self.key)
        return blob is not None and is_of_commit(blob.data, commit)
