"""Plain files: read without following or waiting for anything, and written whole.

A file that a reader sees is whole: it is written under a temporary name beside its place and
renamed. The rename itself is not synced: after a power cut the old file may be back, whole.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from myop_cdn import filelock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

TEMPORARY = ".myop-cdn.tmp"  # what the names of unfinished files end with


class NotAFile(OSError):
    """A link, a folder, a device or a pipe where a plain file was wanted."""


@contextmanager
def opened(path: Path | str) -> Iterator[FileIO]:
    """The plain file at `path`, to be read. A link is not followed, and a pipe not waited for.

    Raises NotAFile, OSError.
    """
    if sys.platform == "win32":
        flags = os.O_RDONLY | os.O_BINARY
        if os.path.islink(path):
            raise NotAFile(0, "is a symbolic link; links are not followed", str(path))
    else:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if os.path.islink(path):
            reason = "is a symbolic link; links are not followed"
            raise NotAFile(error.errno, reason, str(path)) from None
        if os.path.lexists(path) and not os.path.isfile(path):  # a socket can't be opened
            raise NotAFile(error.errno, "is not a plain file", str(path)) from None
        raise
    with open(descriptor, "rb", buffering=0) as file:  # one read of all needs no buffer
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotAFile(0, "is not a plain file", str(path))
        yield file


def read(path: Path | str, limit: int | None = None) -> bytes | None:
    """The bytes of the plain file at `path`; None where it has more than `limit`.

    Raises NotAFile, OSError.
    """
    with opened(path) as file:
        if limit is None:
            return file.read()
        pieces, left = [], limit + 1
        while left and (piece := file.read(left)):
            pieces.append(piece)
            left -= len(piece)
    return b"".join(pieces) if left else None


@contextmanager
def written(target: Path | str, data: bytes, *, sync: bool = True) -> Iterator[str]:
    """A new file with `data` beside `target`, whose folder exists: its path, to be renamed.

    It is gone at the end of the block, by the renaming or by being removed. sync: whether it has
    to outlast a power cut. Until then it is locked, so that `clear` knows that it is in use.
    Raises OSError.
    """
    # Processes of several machines or containers may share the folder: a process id is no name.
    temporary = os.path.join(os.path.dirname(target), f".{os.urandom(12).hex()}{TEMPORARY}")
    file = open(temporary, "xb", buffering=0)  # noqa: SIM115 - closed below, before it is removed
    try:
        with file:
            filelock.take(file.fileno(), wait=True)
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            if sync:
                os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()  # an open file can't be renamed there
            yield temporary
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def clear(folder: Path | str) -> None:
    """Remove what killed runs left unfinished in `folder`, and nothing that is in use."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.endswith(TEMPORARY):
                clear_file(entry.path)


def clear_file(path: str) -> None:
    """Remove the unfinished file at `path` unless somebody is writing it."""
    with suppress(OSError):
        with opened(path) as file:
            held = filelock.take(file.fileno())
            if held:
                os.unlink(path)
        if held is None and sys.platform == "win32":
            os.unlink(path)  # refused while somebody has it open
