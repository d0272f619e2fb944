"""A folder is not deployed into itself: its own copies would be deployed with the next run."""

from __future__ import annotations

import os
from pathlib import Path

from myop_cdn.errors import InputError


def check_apart(source: Path, url: str, ledger_url: str) -> None:
    """Raise InputError where the destination `url` is a folder that is `source`, lies inside it
    or contains it, or where the ledger is kept inside of `source`.
    """
    tree = Path(os.path.realpath(source))
    folder = _folder(url)
    if folder is not None:
        how = _entangled(tree, folder)
        if how:
            raise InputError(f"{url} {how} {source}", "name another folder")
    ledger = _folder(ledger_url)
    if ledger_url != url and ledger is not None and _within(ledger, tree):
        raise InputError(f"the ledger's folder {ledger_url} lies in the folder to upload, {source}")


def _entangled(tree: Path, folder: Path) -> str | None:
    inside, around = _within(folder, tree), _within(tree, folder)
    if inside and around:
        return "is the folder to upload,"
    if inside:
        return "lies in the folder to upload,"
    return "contains the folder to upload," if around else None


def _folder(url: str) -> Path | None:
    if not url.startswith("file://"):
        return None
    from myop_cdn.storage.base import OpenOptions
    from myop_cdn.storage.local import open_local

    return Path(os.path.realpath(open_local(url, OpenOptions()).root))


def _within(inner: Path, outer: Path) -> bool:
    """Whether `inner` is `outer` or lies below it, on file systems that fold case, too."""
    chain = (inner, *inner.parents)
    if outer in chain:
        return True
    if not outer.exists():
        return False
    return any(outer.samefile(one) for one in chain if one.exists())
