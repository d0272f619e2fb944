"""`file:///folder`: a folder, for web servers, network shares and rehearsals.

Objects are plain files. A file is written under a temporary name in `.myop-cdn/tmp`, synced and
renamed, so that a reader sees the old one or the new one. The rename itself is not synced:
after a power cut the old file may be back, whole. Symbolic links below the folder are never
followed. A folder keeps no headers; the web server before it sets them.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote, unquote

from myop_cdn import names
from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    InputError,
    PreconditionFailed,
    StorageError,
)
from myop_cdn.storage.base import MAX_OBJECT_BYTES, SHA256_METADATA, Blob, Headers, ObjectInfo, Page
from myop_cdn.storage.filelock import locked
from myop_cdn.text import shown_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from myop_cdn.storage.base import Body, OpenOptions, Precondition

_OWN = ".myop-cdn"
_TEMPORARY = "tmp"
_TRIES = 5  # a folder can be taken away by a concurrent deletion between two steps
_serial = itertools.count()


class LocalBackend:
    """The files of one folder. An object's version is the SHA-256 of its content."""

    keeps_headers = False
    delete_batch = 50

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = "file://" + quote(root.as_posix())
        self.origin_path = "/"
        self._cleared = False

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:  # noqa: ARG002 - one page holds all
        """Every file, without reading it: `head` tells hashes and versions."""
        with self._mapped(""):
            if not self.root.exists():
                return Page([])
            if not self.root.is_dir():
                raise ContainerMissing(f"{self.root} is no folder")
            found = sorted(self._walk(), key=lambda one: one.key.encode())
            return Page([one for one in found if one.key.startswith(prefix)][:limit])

    def head(self, key: str) -> ObjectInfo | None:
        """The file's size and hash; for a symbolic link those of the link, not of its target."""
        with self._mapped(key):
            path = self._path(key)
            try:
                is_link = path.is_symlink()
                data = os.fsencode(path.readlink()) if is_link else path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
            sha256 = _sha256(data)
            return ObjectInfo(key, len(data), sha256, metadata={SHA256_METADATA: sha256})

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:  # noqa: ARG002
        """The file's bytes. Raises StorageError for a symbolic link."""
        with self._mapped(key):
            path = self._path(key)
            if path.is_symlink():
                raise StorageError(f"{path} is a symbolic link; links are not followed")
            try:
                data = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return Blob(data, _sha256(data), Headers())

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """Write the file by way of a temporary one."""
        with self._mapped(key):
            for last in (False,) * (_TRIES - 1) + (True,):
                try:
                    self._write(key, body, precondition)
                    break
                except FileNotFoundError:
                    if last:
                        raise
        return body.sha256

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Delete the files, and their folders where that leaves them empty."""
        failed: dict[str, StorageError] = {}
        for key in keys:
            try:
                with self._mapped(key):
                    path = self._path(key)
                    path.unlink(missing_ok=True)
                    if path.parent != self.root:
                        with suppress(OSError):
                            path.parent.rmdir()
            except StorageError as error:
                failed[key] = error
        return failed

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Raise: a folder answers no requests."""
        raise StorageError(
            f"{self.url}: a folder has no CORS rules",
            f"let the web server send Access-Control-Allow-Origin: {' '.join(origins)}",
        )

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """Raise: a folder answers no requests."""
        return self.allow_origins(origins)

    def close(self) -> None:
        """Take the folder of temporary files away where it is empty."""
        for folder in (self.root / _OWN / _TEMPORARY, self.root / _OWN):
            with suppress(OSError):
                folder.rmdir()

    def _walk(self) -> Iterator[ObjectInfo]:
        for folder, folders, files in os.walk(self.root, onerror=_raise):
            here = os.path.relpath(folder, self.root).replace(os.sep, "/")
            base = "" if here == "." else f"{here}/"
            if here == _OWN and _TEMPORARY in folders:
                folders.remove(_TEMPORARY)
            for file in files:
                path = os.path.join(folder, file)  # noqa: PTH118 - a Path for each file is slow
                facts = os.lstat(path)
                if stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode):
                    yield ObjectInfo(base + file, facts.st_size, version="")

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not key or any(part in ("", ".", "..") for part in parts):
            raise StorageError(f"{names.shown(key)} is no key")
        folder = self.root
        for part in parts[:-1]:
            folder = folder / part
            if folder.is_symlink():
                raise StorageError(
                    f"{folder} is a symbolic link; links are not followed",
                    "replace it by a plain folder",
                )
        return folder / parts[-1]

    def _write(self, key: str, body: Body, precondition: Precondition | None) -> None:
        target = self._path(key)
        temporaries = self._path(f"{_OWN}/{_TEMPORARY}/x").parent
        temporaries.mkdir(parents=True, exist_ok=True)
        if not self._cleared:
            self._cleared = True
            _clear(temporaries)
        temporary = temporaries / f"{os.getpid()}-{next(_serial)}"
        try:
            with temporary.open("xb") as file:
                _mark_as_in_use(file)
                file.write(body.data)
                file.flush()
                os.fsync(file.fileno())
                # Only a conditional write has to keep all others out while it looks.
                with locked(self.root, exclusive=precondition is not None):
                    if precondition is not None:
                        self._check(key, precondition)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _check(self, key: str, precondition: Precondition) -> None:
        there = self.head(key)
        if (there.version if there else None) != precondition.version:
            raise PreconditionFailed(f"{self.url}: {key} was changed by somebody else")

    @contextmanager
    def _mapped(self, key: str) -> Iterator[None]:
        """The one place where this room's OSErrors become StorageErrors."""
        try:
            yield
        except PermissionError as error:
            where = error.filename or self.root / key
            raise AccessDenied(
                f"{where}: {error.strerror}", "check the folder's owner and permissions"
            ) from None
        except OSError as error:
            where = error.filename or self.root / key
            raise StorageError(f"{where}: {error.strerror or type(error).__name__}") from None


def _folder(path: str) -> Path:
    if sys.platform == "win32":
        from urllib.request import url2pathname  # brings http, email and ssl along

        return Path(url2pathname("/" + path))
    return Path("/" + unquote(path))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _raise(error: OSError) -> None:
    raise error


def _mark_as_in_use(file: BinaryIO) -> None:
    # The lock ends with the process: what nobody holds was left by a run that was killed.
    if sys.platform != "win32":
        import fcntl

        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)


def _clear(temporaries: Path) -> None:
    for leftover in temporaries.iterdir():
        with suppress(OSError), leftover.open("rb") as file:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()  # Windows refuses while another process has it open


def open_local(url: str, options: OpenOptions) -> LocalBackend:  # noqa: ARG001 - the same for all
    """The folder that a `file://` URL names; made at the first write. Raises InputError."""
    host, slash, path = url.removeprefix("file://").partition("/")
    if host not in ("", "localhost") or not slash:
        raise InputError(
            f"{shown_url(url)} names no folder of this machine",
            "write file:///folder with three slashes and the full path",
        )
    if "\0" in unquote(path):
        raise InputError(f"{shown_url(url)} holds a NUL")
    folder = _folder(path)
    normal = Path(os.path.normpath(folder))
    if normal == Path(normal.anchor):
        raise InputError(f"{shown_url(url)} is the root of the file system", "name a folder")
    return LocalBackend(normal)
