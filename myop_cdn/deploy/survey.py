"""Ask the destination about each object that listing and ledger leave undecided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.deploy.facts import Seen
from myop_cdn.deploy.pool import Hopeless, run_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myop_cdn.deploy.source import Wanted
    from myop_cdn.storage.store import Store


def ask(
    store: Store,
    wanted: Mapping[str, Wanted],
    seen: dict[str, Seen],
    headers: str | None,
    jobs: int,
) -> None:
    """Complete `seen` where listing and ledger don't decide: a HEAD for each such object.

    Raises StorageError.
    """
    open_keys = [
        key for key, one in wanted.items() if key in seen and not seen[key].decided(one, headers)
    ]
    if not open_keys:
        return
    try:
        for done in run_all(store.head, open_keys, jobs, "head"):
            if done.error:
                raise done.error
            if done.result is None:
                del seen[done.item]
            else:
                seen[done.item] = Seen.of(done.result)
    except Hopeless as end:
        raise end.cause from None
