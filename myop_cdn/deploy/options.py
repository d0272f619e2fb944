"""What a deploy was asked to do, beyond source and destinations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from myop_cdn.model import DeleteLimit

Encoding = Literal["identity", "gzip"]
DEFAULT_CACHE_CONTROL = "public, max-age=300"  # what Myop's own page recommends


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """The options of one deploy; every destination gets the same.

    delete: take objects of the layout away that the tree does not have. skip_partial_delete:
    where the tree is partial, pass over `delete` with a note instead of refusing (a job that
    syncs and deploys gets partial trees all the time). max_delete: how much may be deleted.
    cache_control: the header's value; "" sends none. encoding: how objects are stored.
    invalidate: CDNs ("cloudfront:E123") that are told what has changed. wait: until they are
    done. cors_origins: pages that may read the objects. ledger: URL of a folder, or of one
    `.json` object, to keep the ledger in; None: beside the objects. jobs: requests at once, at
    each destination. endpoint_url: an S3-compatible service. dry_run: plan and report, write
    nothing.
    """

    delete: bool = False
    skip_partial_delete: bool = False
    max_delete: DeleteLimit = field(default_factory=DeleteLimit)
    cache_control: str = DEFAULT_CACHE_CONTROL
    encoding: Encoding = "identity"
    invalidate: tuple[str, ...] = ()
    wait: bool = False
    cors_origins: tuple[str, ...] = ()
    ledger: str | None = None
    jobs: int = 16
    endpoint_url: str | None = None
    dry_run: bool = False
