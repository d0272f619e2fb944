"""The static format on disk: paths, whole files only, no links followed, nothing left behind.

    <root>/manifest.json                            complete trees have one, partial trees none
    <root>/components/<component id>/<environment>.json

A file that a reader sees is whole: it is written under a temporary name beside its place,
synced and renamed. Temporary files of a run that was killed are cleared by the next one.
"""

from __future__ import annotations

import itertools
import os
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from myop_cdn import names
from myop_cdn.errors import InputError, RefusedError, TreeError
from myop_cdn.manifest import Manifest
from myop_cdn.model import COMPONENTS, MANIFEST, DocumentRef

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPORARY = ".myop-cdn.tmp"
LOCK_WAIT_SECONDS = 600.0
MAX_FILE_BYTES = 256 * 1024 * 1024  # four times what is taken from Myop's API
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_serial = itertools.count()


class Tree:
    """A folder in the static format. Safe to use from several threads."""

    may_write = True
    """False where the folder itself is only read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def exists(self) -> bool:
        """Whether the folder is there."""
        return self.root.is_dir()

    def refs(self) -> list[DocumentRef]:
        """The component documents on disk, sorted. None where the folder is missing.

        Raises RefusedError where a component or a document is a symbolic link (it could lead
        anywhere), TreeError where a folder can't be read.
        """
        with mapped(self.root):
            return sorted(self._scan())

    def stray(self) -> list[str]:
        """Files below the folder that are not of the layout, sorted; they are never deployed."""
        found: list[str] = []
        with mapped(self.root):
            for folder, _, files in os.walk(self.root):
                base = os.path.relpath(folder, self.root).replace(os.sep, "/")
                if base == names.RESERVED:
                    continue
                for file in files:
                    path = file if base == "." else f"{base}/{file}"
                    if path != MANIFEST and DocumentRef.of(path) is None:
                        found.append(path)
        return sorted(path for path in found if not path.endswith(TEMPORARY))

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """The bytes of the file at `path` (forward slashes).

        Raises RefusedError where it, or a folder below the root, is a symbolic link; TreeError,
        also for what is not a plain file, or larger than `max_bytes`.
        """
        with mapped(f"{self.root}/{path}"):
            return _read(self.root, path, max_bytes)

    def read_if_there(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """The bytes of the file at `path`, or None where there is no such file. See `read`."""
        with mapped(f"{self.root}/{path}"):
            try:
                return _read(self.root, path, max_bytes)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def manifest(self) -> Manifest | None:
        """The manifest, or None: then the tree is partial.

        Raises TreeError for one that is not of the form.
        """
        data = self.read_if_there(MANIFEST)
        if data is None:
            return None
        try:
            return Manifest.parse(data)
        except InputError as error:
            raise TreeError(
                f"{self.root / MANIFEST} is no manifest: {error.message}",
                "run a full sync into an empty folder",
            ) from None

    def write(self, path: str, body: bytes, *, durable: bool = True) -> None:
        """Put `body` at `path`: the old file or the new one is there, never a part of one.

        durable: whether its bytes are on disk before its name is. Raises RefusedError where a
        folder below the root is a symbolic link, TreeError.
        """
        target = f"{self.root}/{path}"
        folder = os.path.dirname(target)
        with mapped(target):
            if not os.path.isdir(folder):  # cheaper than an exception for each file in it
                os.makedirs(folder, exist_ok=True)
            for _ in range(path.count("/")):
                _no_link(folder)
                folder = os.path.dirname(folder)
            write_whole(target, body, durable=durable)

    def remove(self, path: str) -> None:
        """Take the file at `path` away, and its folder where that leaves it empty."""
        target = self.root / path
        with mapped(target):
            _no_link(target.parent)
            target.unlink(missing_ok=True)
            with suppress(OSError):
                target.parent.rmdir()

    @contextmanager
    def writing(self, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[None]:
        """Hold the folder for writing: made if missing (and taken away again if nothing came
        of it), other writers kept out, cleared of what a killed run left.

        The lock is the kernel's and ends with the process; no lock file is left. Raises
        TreeError when another run holds the folder for longer than `wait_seconds`.
        """
        made = not self.exists()
        try:
            with _locked(self.root, wait_seconds):
                with mapped(self.root):
                    self._clear_temporaries()
                yield
        finally:
            if made:
                with suppress(OSError):
                    self.root.rmdir()

    def _scan(self) -> Iterator[DocumentRef]:
        top = self.root / COMPONENTS
        if not os.path.lexists(top):
            return
        _no_link(top)
        for component in os.scandir(top):
            if component.is_symlink():
                raise _link(component.path)
            if not component.is_dir(follow_symlinks=False) or names.problem(component.name):
                continue
            for file in os.scandir(component.path):
                ref = DocumentRef.of(f"{COMPONENTS}/{component.name}/{file.name}")
                if ref is None:
                    continue
                if file.is_symlink():
                    raise _link(file.path)
                if file.is_file(follow_symlinks=False):
                    yield ref

    def _clear_temporaries(self) -> None:
        folders = [self.root]
        own = self.root / names.RESERVED
        if own.is_dir() and not own.is_symlink():
            folders.append(own)
        top = self.root / COMPONENTS
        if top.is_dir() and not top.is_symlink():
            folders += [
                top / one.name for one in os.scandir(top) if one.is_dir(follow_symlinks=False)
            ]
        for folder in folders:
            for file in os.scandir(folder):
                if file.name.endswith(TEMPORARY) and file.is_file(follow_symlinks=False):
                    os.unlink(file.path)


def write_whole(target: Path | str, body: bytes, *, durable: bool = True) -> None:
    """Write `body` beside `target`, sync it (durable), and rename it into place. Raises OSError.

    The rename is not synced: after a power cut the old file may be back, whole.
    """
    temporary = f"{os.path.dirname(target)}/.{os.getpid()}-{next(_serial)}{TEMPORARY}"
    try:
        with open(temporary, "xb") as file:
            file.write(body)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _read(root: Path, path: str, max_bytes: int) -> bytes:
    """The bytes of a plain file, without following a link below the root.

    Raises OSError, RefusedError, TreeError.
    """
    try:
        handle = _open(root, path)
    except OSError as error:
        for part in (path, *_parents(path)):
            _no_link(root / part)
        raise OSError(error.errno, error.strerror, f"{root}/{path}") from None
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise TreeError(f"{root / path} is not a plain file")
        if facts.st_size > max_bytes:
            raise TreeError(f"{root / path} has more than {max_bytes // 2**20} MiB")
        # One read of all needs no buffer.
        with open(handle, "rb", buffering=0, closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def _open(root: Path, path: str) -> int:
    if os.open not in os.supports_dir_fd:  # Windows, whose links only an administrator makes
        for part in (path, *_parents(path)):
            _no_link(root / part)
        return os.open(root / path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    handle = os.open(root, _FOLDER)
    for folder in path.split("/")[:-1]:
        try:
            below = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
        finally:
            os.close(handle)
        handle = below
    try:
        # Without waiting: a pipe or a device in a document's place would hold the run up.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(path.rpartition("/")[2], flags, dir_fd=handle)
    finally:
        os.close(handle)


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _no_link(folder: Path | str) -> None:
    if os.path.islink(folder):
        raise _link(folder)


def _link(path: Path | str) -> RefusedError:
    return RefusedError(
        f"{path} is a symbolic link, which could lead out of the folder",
        "replace it by a plain file or folder",
    )


@contextmanager
def _locked(folder: Path, wait_seconds: float) -> Iterator[None]:
    """The folder, made if missing, held by this process alone."""
    if sys.platform == "win32":
        with mapped(folder):
            folder.mkdir(parents=True, exist_ok=True)
        yield
        return
    handle = _lock(folder, time.monotonic() + wait_seconds)
    if handle is None:
        raise TreeError(
            f"another run has been writing to {folder} for {wait_seconds:.0f} s",
            "wait for it, or use another --output folder",
        )
    try:
        yield
    finally:
        os.close(handle)


def _lock(folder: Path, deadline: float) -> int | None:
    """A handle of the folder that holds its lock, or None past the deadline."""
    import fcntl

    while True:
        with mapped(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                handle = os.open(folder, os.O_RDONLY)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # The run that held it may have taken an empty folder away.
                    if os.path.samestat(os.fstat(handle), os.stat(folder)):
                        return handle
                except BlockingIOError:
                    pass
                except FileNotFoundError:
                    pass
                except OSError:
                    return handle  # a file system without locks: go on as without
                os.close(handle)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.1)


@contextmanager
def mapped(path: Path | str) -> Iterator[None]:
    """The one place where this room's OSErrors become TreeErrors."""
    try:
        yield
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else path
        reason = error.strerror or type(error).__name__
        hint = "check the folder's owner and permissions" if _denied(error) else ""
        raise TreeError(f"{where}: {reason}", hint) from None


def _denied(error: OSError) -> bool:
    return isinstance(error, PermissionError) or (
        isinstance(error.errno, int) and error.errno == getattr(os, "EROFS", 30)
    )
