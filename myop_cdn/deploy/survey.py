"""Find out about each object that listing and ledger leave undecided."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from myop_cdn.deploy.facts import Seen
from myop_cdn.deploy.pool import Hopeless, run_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from myop_cdn.deploy.source import Wanted
    from myop_cdn.storage.base import Body
    from myop_cdn.storage.store import Store


def decide(
    store: Store,
    wanted: dict[str, Wanted],
    seen: dict[str, Seen],
    headers: str | None,
    body: Callable[[str], Body],
    jobs: int,
) -> None:
    """Complete `wanted` and `seen` where they don't tell what is to be done.

    Where the service tells an MD5 that the ledger does not stand in for, the file's own is
    computed; where that does not decide, the service is asked for the object's facts (HEAD).
    headers: the wanted ones' fingerprint. body: reads an object's bytes. Raises StorageError.
    """
    _hash(wanted, seen, body, jobs)
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
    _hash(wanted, seen, body, jobs)


def _hash(
    wanted: dict[str, Wanted], seen: dict[str, Seen], body: Callable[[str], Body], jobs: int
) -> None:
    keys = [key for key, one in wanted.items() if key in seen and seen[key].lacks_md5(one)]
    for done in run_all(lambda key: body(key).md5, keys, jobs, "hash"):
        # A file that can't be read any more stays undecided: its upload will say why.
        if done.error is None:
            wanted[done.item] = replace(wanted[done.item], md5=done.result)
