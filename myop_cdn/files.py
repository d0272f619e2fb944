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


class Below:
    """A folder whose files are read: no link between it and a file is followed. The folders in
    between stay open while what is read lies in them. For one thread; to be closed.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = str(root)
        self._names: list[str] = []
        self._folders: list[int] = []

    def __enter__(self) -> Below:
        return self

    def __exit__(self, *_: object) -> None:
        while self._folders:
            os.close(self._folders.pop())

    def open(self, path: str) -> int:
        """A descriptor of what is at `path`, below the folder, with forward slashes. OSError."""
        if sys.platform == "win32":
            for part in _parts(f"{self.root}/{path}", self.root):
                if os.path.islink(part):
                    raise IsLink(part)
            return os.open(f"{self.root}/{path}", os.O_RDONLY | os.O_BINARY)
        *names, name = path.split("/")
        if not self._folders:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            self._folders.append(os.open(self.root, flags))
        if names != self._names:
            self._enter(names)
        return os.open(name, _flags() | os.O_NONBLOCK, dir_fd=self._folders[-1])

    def _enter(self, names: list[str]) -> None:
        same = 0
        while same < len(names) and self._names[same : same + 1] == names[same : same + 1]:
            same += 1
        del self._names[same:]
        while len(self._folders) > same + 1:
            os.close(self._folders.pop())
        for name in names[same:]:
            flags = _flags() | os.O_DIRECTORY
            self._folders.append(os.open(name, flags, dir_fd=self._folders[-1]))
            self._names.append(name)


def _flags() -> int:
    return os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def _parts(path: str, below: str | None) -> Iterator[str]:
    """The path, and the folders between it and `below`."""
    yield path
    while below is not None and len(path := os.path.dirname(path)) > len(below):
        yield path


def _opened(path: str, below: Below | None) -> tuple[int, int]:
    """A descriptor of the plain file at `path`, and its size in bytes. See `opened`."""
    try:
        if below is not None:
            descriptor = below.open(path[len(below.root) :].strip("/"))
        elif sys.platform == "win32":
            if os.path.islink(path):
                raise IsLink(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_BINARY)
        else:
            descriptor = os.open(path, _flags() | os.O_NONBLOCK)
    except OSError as error:
        for part in _parts(path, below.root if below else None):
            if os.path.islink(part):
                raise IsLink(part) from None
        if os.path.lexists(path) and not os.path.isfile(path):  # a socket can't be opened
            raise NotAFile(error.errno, "is not a plain file", path) from None
        raise OSError(error.errno, error.strerror, path) from None
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise NotAFile(0, "is not a plain file", path)
    return descriptor, facts.st_size


@contextmanager
def opened(path: Path | str) -> Iterator[FileIO]:
    """The plain file at `path`, to be read. A link is not followed, and a pipe not waited for.

    Raises NotAFile, OSError.
    """
    descriptor, _ = _opened(str(path), None)
    with open(descriptor, "rb", buffering=0) as file:
        yield file


def read(path: Path | str, limit: int | None = None, below: Below | None = None) -> bytes | None:
    """The bytes of the plain file at `path`; None where it has more than `limit`.

    below: what `path` begins with; no folder between the two may be a link either. Raises
    NotAFile, OSError.
    """
    descriptor, size = _opened(str(path), below)
    try:
        pieces, length = [], 0
        while limit is None or length <= limit:
            wanted = size + 1 if limit is None else min(size, limit - length) + 1
            pieces.append(os.read(descriptor, wanted))
            length += len(pieces[-1])
            if len(pieces[-1]) < wanted:  # the end: it may have grown since it was opened
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    finally:
        os.close(descriptor)
    return None


@contextmanager
def written(target: Path | str, data: bytes, *, sync: bool = True) -> Iterator[str]:
    """A new file with `data` beside `target`, whose folder exists: its path, to be renamed.

    It is gone at the end of the block, by the renaming or by being removed. sync: whether it has
    to outlast a power cut. Until then it is locked, so that `clear` knows that it is in use.
    Raises OSError.
    """
    # Processes of several machines or containers may share the folder: a process id is not a name.
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
