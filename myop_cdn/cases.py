"""Names that differ only in case, and file systems that can't hold both."""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING

from myop_cdn import names
from myop_cdn.errors import InputError
from myop_cdn.model import COMPONENTS, MANIFEST
from myop_cdn.tree import TEMPORARY, mapped

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from myop_cdn.model import DocumentRef
    from myop_cdn.tree import Tree


def check_cases(tree: Tree, refs: Iterable[DocumentRef]) -> None:
    """Raise InputError where two names differ only in case and the file system of the tree's
    folder (or of its nearest folder that exists) can't hold both.

    Asks by looking where it can; else by a probe file, once, and only where the tree may write.
    Raises TreeError where that fails.
    """
    seen: dict[str, str] = {}
    folds: bool | None = None
    for ref in refs:
        document = f"{ref.component_id}/{ref.environment}"
        for name, end in ((ref.component_id, ""), (document, ".json")):
            folded = unicodedata.normalize("NFC", name).casefold()
            other = seen.setdefault(folded, name)
            if other == name or _are_apart(tree.root / COMPONENTS, other + end, name + end):
                continue
            if folds is None:
                folds = _folds_case(tree.root, may_write=tree.may_write)
            if folds:
                raise InputError(
                    f"{names.shown(other)} and {names.shown(name)} differ only in case, "
                    f"and the file system of {tree.root} can't hold both",
                    "use an --output folder on a file system that tells them apart",
                )


def _are_apart(folder: Path, one: str, other: str) -> bool:
    """Whether what is there proves that the two names are of two places."""
    with mapped(folder):
        found = _identity(folder / one), _identity(folder / other)
        return found[0] != found[1]


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return facts.st_dev, facts.st_ino


def _folds_case(root: Path, *, may_write: bool) -> bool:
    folder = root.absolute()
    while not folder.is_dir() and folder.parent != folder:
        folder = folder.parent
    with mapped(folder):
        for path in (folder / COMPONENTS, folder / MANIFEST, folder):
            there = _identity(path)
            if there is None or path.name.swapcase() == path.name:
                continue
            # A mount point's name is its parent's, on another file system.
            if path == folder and there[0] != folder.parent.lstat().st_dev:
                continue
            return _identity(path.with_name(path.name.swapcase())) == there
        return may_write and _probe(folder)


def _probe(folder: Path) -> bool:
    probe = folder / f".case-{os.getpid()}{TEMPORARY}"
    probe.write_bytes(b"")
    try:
        return probe.with_name(probe.name.upper()).exists()
    finally:
        probe.unlink(missing_ok=True)
