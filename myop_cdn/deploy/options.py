"""What a deploy was asked to do, beyond source and destinations."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from myop_cdn.model import DeleteLimit

if TYPE_CHECKING:
    from pathlib import Path

Encoding = Literal["identity", "gzip"]
DEFAULT_CACHE_CONTROL = "public, max-age=300"  # what Myop's own page recommends


@dataclass(frozen=True, slots=True)
class HistoryLimit:
    """How much of the past is kept: so many contents of each document, or (where `age` is
    given) what was replaced within that time. A count of 0 keeps nothing.
    """

    count: int = 10
    age: timedelta | None = None

    @property
    def keeps_nothing(self) -> bool:
        """Whether what is replaced is not kept at all."""
        return self.age is None and self.count == 0


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """The options of one deploy; every destination gets the same.

    delete: take documents away that a complete tree does not have. skip_partial_delete: where
    the tree is partial, pass over `delete` with a note instead of refusing (a job that syncs and
    deploys gets partial trees all the time). delete_after: how long a document has to have been
    gone before it is deleted. max_delete: how much may be deleted, within a day. environments:
    those that were exported, empty for all: others are left alone. force: put a document there
    even where the destination holds a later one. history: how much of what is replaced is kept.
    cache_control: the header's value; "" sends none. encoding: how objects are stored. acl,
    storage_class: see `OpenOptions`. invalidate: CDNs ("cloudfront:E123") that are told what has
    changed. wait: until they are done. cors_origins: pages that may read the objects. ledger:
    URL of a folder or bucket to keep the log in; None: beside the objects. jobs: requests at
    once, at each destination. endpoint_url: an S3-compatible service. dry_run: plan and report,
    write nothing. plan_out: a file that the plan of a dry run is written to, for `apply`.
    """

    delete: bool = False
    skip_partial_delete: bool = False
    delete_after: timedelta = timedelta(0)
    max_delete: DeleteLimit = field(default_factory=DeleteLimit)
    environments: frozenset[str] = frozenset()
    force: bool = False
    history: HistoryLimit = field(default_factory=HistoryLimit)
    cache_control: str = DEFAULT_CACHE_CONTROL
    encoding: Encoding = "identity"
    acl: str = ""
    storage_class: str = ""
    invalidate: tuple[str, ...] = ()
    wait: bool = False
    cors_origins: tuple[str, ...] = ()
    ledger: str | None = None
    jobs: int = 16
    endpoint_url: str | None = None
    dry_run: bool = False
    plan_out: Path | None = None

    def wants(self, environment: str) -> bool:
        """Whether documents of this environment were exported at all."""
        return not self.environments or environment in self.environments
