"""Plain files: read without following or waiting for anything, and written whole.

A file that a reader sees is whole: it is written under a temporary name beside its place and
renamed. The rename itself is not synced: after a power cut the old file may be back, whole.
"""

from __future__ import annotations

import errno
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


class IsLink(NotAFile):
    """A symbolic link. filename: where it is."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ELOOP, "is a symbolic link; links are not followed", path)


@contextmanager
def opened(path: Path | str, below: Path | None = None) -> Iterator[FileIO]:
    """The plain file at `path`, to be read. A link is not followed, and a pipe not waited for.

    below: a folder that `path` begins with; no folder between the two may be a link either.
    Raises NotAFile, OSError.
    """
    try:
        descriptor = _open(str(path), None if below is None else str(below))
    except OSError as error:
        for part in _parts(str(path), below):
            if os.path.islink(part):
                raise IsLink(part) from None
        if os.path.lexists(path) and not os.path.isfile(path):  # a socket can't be opened
            raise NotAFile(error.errno, "is not a plain file", str(path)) from None
        raise OSError(error.errno, error.strerror, str(path)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFile(0, "is not a plain file", str(path))
    with open(descriptor, "rb", buffering=0) as file:  # one read of all needs no buffer
        yield file


def _open(path: str, below: str | None) -> int:
    if sys.platform == "win32":
        for part in _parts(path, below):
            if os.path.islink(part):
                raise IsLink(part)
        return os.open(path, os.O_RDONLY | os.O_BINARY)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    if below is None:
        return os.open(path, flags | os.O_NONBLOCK)
    folder = os.open(below, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *folders, name = path[len(below) :].strip("/").split("/")
        for part in folders:
            deeper = os.open(part, flags | os.O_DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = deeper
        return os.open(name, flags | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)


def _parts(path: str, below: Path | str | None) -> Iterator[str]:
    """The path, and the folders between it and `below`."""
    yield path
    while below is not None and len(path := os.path.dirname(path)) > len(str(below)):
        yield path


def read(path: Path | str, limit: int | None = None, below: Path | None = None) -> bytes | None:
    """The bytes of the plain file at `path`; None where it has more than `limit`.

    below: see `opened`. Raises NotAFile, OSError.
    """
    with opened(path, below) as file:
        if limit is None:
            return file.read()
        size = os.fstat(file.fileno()).st_size  # it may grow meanwhile
        pieces, left = [], limit + 1
        while left and (piece := file.read(min(left, size + 1))):
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
