"""`file:///folder`: a folder, for web servers, network shares and rehearsals.

Objects are plain files, written whole (see `myop_cdn.files`). Below the folder nothing but plain
files is read, and no symbolic link is followed. A folder keeps no headers (the web server before
it sets them) and no metadata: what `put` is given lies beside the objects, in
`.myop-cdn/metadata/<key>`, under the hash of the content that it belongs to. It may be lost.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from myop_cdn import files, names
from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    InputError,
    PreconditionFailed,
    StorageError,
)
from myop_cdn.filelock import locked
from myop_cdn.storage.base import (
    MAX_OBJECT_BYTES,
    SHA256_METADATA,
    Blob,
    Body,
    Headers,
    ObjectInfo,
    Page,
)
from myop_cdn.text import shown_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from myop_cdn.storage.base import Backend, OpenOptions, Precondition

_OWN = names.RESERVED
_METADATA = f"{_OWN}/metadata/"
_OLD_TEMPORARIES = f"{_OWN}/tmp/"  # noqa: S108 - where version 0.1.0 had them
_READ_AT_ONCE = 2**20  # bytes: for less, a buffer to read into takes longer than the hash
_MAX_METADATA_BYTES = 64 * 1024
_TRIES = 5  # a folder can be taken away by a concurrent deletion between two steps


class LocalBackend:
    """The files of one folder. An object's version is the SHA-256 of its content."""

    keeps_headers = False
    delete_batch = 50
    origin_path = "/"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = "file://" + quote(root.as_posix())
        self._tidied: set[str] = set()
        self._leftovers: list[str] = []

    def list(self, cursor: str | None, prefix: str = "", limit: int | None = None) -> Page:
        """Every file, without reading it: `head` tells hashes, versions and metadata."""
        with self._mapped(""):
            if not self.root.exists():
                return Page([])
            if not self.root.is_dir():
                raise ContainerMissing(f"{self.root} is not a folder")
            found = list(islice(self._walk(prefix, cursor), limit and limit + 1))
        more = limit is not None and len(found) > limit
        return Page(found[:limit], found[limit - 1].key if limit and more else None)

    def head(self, key: str) -> ObjectInfo | None:
        """The file's size and hash; for a symbolic link those of the link, not of its target."""
        with self._mapped(key):
            path = self._path(key)
            try:
                with files.opened(path) as file:
                    facts = os.fstat(file.fileno())
                    if facts.st_size < _READ_AT_ONCE:
                        sha256 = hashlib.sha256(file.read()).hexdigest()
                    else:
                        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            except (FileNotFoundError, NotADirectoryError):
                return None
            except files.NotAFile:
                if not path.is_symlink():
                    raise
                facts, sha256 = os.lstat(path), Body.of(os.fsencode(path.readlink())).sha256
            metadata = {**self._metadata(key).get(sha256, {}), SHA256_METADATA: sha256}
            modified = datetime.fromtimestamp(facts.st_mtime, UTC)
            return ObjectInfo(key, facts.st_size, sha256, metadata=metadata, modified=modified)

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        """The file's bytes. Raises StorageError for a symbolic link."""
        with self._mapped(key):
            try:
                data = files.read(self._path(key), limit)
            except (FileNotFoundError, NotADirectoryError):
                return None
            if data is None:
                raise StorageError(f"{self.root / key} has more than {limit} bytes")
            return Blob(data, Body.of(data).sha256, Headers())

    def put(
        self,
        key: str,
        body: Body,
        headers: Headers,  # noqa: ARG002 - a folder keeps none
        metadata: Mapping[str, str] | None = None,
        precondition: Precondition | None = None,
    ) -> str:
        """Write the file beside its place, sync it, and rename it."""
        with self._mapped(key):
            for last in (False,) * (_TRIES - 1) + (True,):
                try:
                    self._write(key, body, metadata or {}, precondition)
                    break
                except FileNotFoundError:
                    if last:
                        raise
        return body.sha256

    def can_copy_from(self, source: Backend) -> bool:
        """Whether it is a folder, too."""
        return isinstance(source, LocalBackend)

    def copy(
        self,
        source: Backend,
        source_key: str,
        source_version: str,
        key: str,
        precondition: Precondition | None = None,
    ) -> str:
        """Read the file and write it: a hard link would change with its other name, and the
        version is a hash that has to be looked at anyway.
        """
        assert isinstance(source, LocalBackend)
        found = source.get(source_key)
        if found is None or found.version != source_version:
            raise PreconditionFailed(f"{source.url}: {source_key} was changed by somebody else")
        with source._mapped(source_key):
            metadata = source._metadata(source_key).get(source_version)
        body = Body(found.data, found.version)
        return self.put(key, body, found.headers, metadata, precondition)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """Delete the files, and their folders where that leaves them empty."""
        failed: dict[str, StorageError] = {}
        for key in keys:
            try:
                self._delete(key, None)
            except StorageError as error:
                failed[key] = error
        return failed

    def delete_version(self, key: str, version: str) -> None:
        """Delete the file if that is its hash."""
        self._delete(key, version)

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
        """Nothing is held open."""

    def _walk(self, prefix: str, cursor: str | None) -> Iterator[ObjectInfo]:
        """The files in order of their keys, looking into no folder that can't hold one of them."""
        base, slash, _ = prefix.rpartition("/")
        base += slash
        if not base.startswith(_METADATA):
            folder = self._path(f"{base}x").parent if base else self.root
            yield from self._entries(folder, base, prefix, (cursor or "").encode())

    def _entries(
        self, folder: Path | str, base: str, prefix: str, after: bytes
    ) -> Iterator[ObjectInfo]:
        try:
            with os.scandir(folder) as found:
                entries = sorted(filter(None, (_placed(base, entry) for entry in found)))
        except (FileNotFoundError, NotADirectoryError):
            return  # taken away meanwhile
        for order, key, path, is_folder in entries:
            if not key.startswith(prefix):
                continue
            if is_folder:
                if key != _METADATA and (order > after or after.startswith(order)):
                    yield from self._entries(path, key, prefix, after)
            elif key.endswith(files.TEMPORARY) or key.startswith(_OLD_TEMPORARIES):
                self._leftovers.append(path)
            elif order > after:
                with suppress(FileNotFoundError):
                    facts = os.lstat(path)
                    if stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode):
                        modified = datetime.fromtimestamp(facts.st_mtime, UTC)
                        yield ObjectInfo(key, facts.st_size, version="", modified=modified)

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not key or any(part in ("", ".", "..") for part in parts):
            raise StorageError(f"{names.shown(key)} is not a key")
        folder = str(self.root)
        for part in parts[:-1]:
            folder = f"{folder}{os.sep}{part}"
            if os.path.islink(folder):
                raise StorageError(
                    f"{folder} is a symbolic link; links are not followed",
                    "replace it by a plain folder",
                )
        return Path(folder, parts[-1])

    def _target(self, key: str) -> Path:
        """The path to write at or to delete, what killed runs left there removed."""
        if key.startswith(_METADATA) or key.endswith(files.TEMPORARY):
            raise StorageError(f"{names.shown(key)} is kept for files of this program's own")
        while self._leftovers:
            leftover = self._leftovers.pop()
            files.clear_file(leftover)
            self._prune(Path(leftover).parent)
        return self._path(key)

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
        elif str(folder) not in self._tidied:
            files.clear(folder)
        self._tidied.add(str(folder))

    def _write(
        self,
        key: str,
        body: Body,
        metadata: Mapping[str, str],
        precondition: Precondition | None,
    ) -> None:
        target = self._target(key)
        self._make_folder(target.parent)
        # Only a conditional write has to keep all others out while it looks.
        with (
            files.written(target, body.data) as temporary,
            locked(self.root, exclusive=precondition is not None),
        ):
            if precondition is not None:
                self._check(key, precondition.version)
            is_new = precondition is not None and precondition.version is None
            self._keep_metadata(key, body.sha256, metadata, is_new=is_new)
            os.replace(temporary, target)

    def _delete(self, key: str, version: str | None) -> None:
        with self._mapped(key):
            target = self._target(key)
            if not self.root.exists():
                return
            with locked(self.root, exclusive=version is not None):
                if version is not None and os.path.lexists(target):
                    self._check(key, version)
                target.unlink(missing_ok=True)
                self._keep_metadata(key, "", {})
            files.clear(target.parent)
            if target.parent != self.root:
                with suppress(OSError):
                    target.parent.rmdir()

    def _check(self, key: str, version: str | None) -> None:
        there = self.head(key)
        if (there.version if there else None) != version:
            raise PreconditionFailed(f"{self.url}: {key} was changed by somebody else")

    def _metadata(self, key: str) -> dict[str, dict[str, str]]:
        """The metadata kept for `key`, by the hash of the content that they belong to."""
        try:
            found = json.loads(files.read(self._path(_METADATA + key), _MAX_METADATA_BYTES) or b"")
            return {
                sha256: {name: str(value) for name, value in metadata.items()}
                for sha256, metadata in found.items()
            }
        except (OSError, StorageError, ValueError, AttributeError, RecursionError):
            return {}

    def _keep_metadata(
        self, key: str, sha256: str, metadata: Mapping[str, str], *, is_new: bool = False
    ) -> None:
        """Before the content is replaced: that of the content now there stays beside the new,
        so that a reader sees either with its own. is_new: no content is there.
        """
        path = self._path(_METADATA + key)
        if metadata:
            self._make_folder(path.parent)
            there = {} if is_new else self._metadata(key)
            kept = {sha256: dict(metadata), **dict(islice(there.items(), 1))}
            kept[sha256] = dict(metadata)
            with files.written(path, json.dumps(kept).encode(), sync=False) as temporary:
                os.replace(temporary, path)
        elif path.exists():
            path.unlink(missing_ok=True)
            self._prune(path.parent)

    def _prune(self, folder: Path) -> None:
        """Take away the empty folders from here upwards."""
        with suppress(OSError):
            while folder != self.root:
                folder.rmdir()
                folder = folder.parent

    @contextmanager
    def _mapped(self, key: str) -> Iterator[None]:
        """The one place where this room's OSErrors become StorageErrors."""
        try:
            yield
        except files.NotAFile as error:
            raise StorageError(
                f"{error.filename} {error.strerror}", "replace it by a plain file"
            ) from None
        except PermissionError as error:
            where = error.filename or self.root / key
            raise AccessDenied(
                f"{where}: {error.strerror}", "check the folder's owner and permissions"
            ) from None
        except OSError as error:
            where = error.filename or self.root / key
            raise StorageError(f"{where}: {error.strerror or type(error).__name__}") from None


def _placed(base: str, entry: os.DirEntry[str]) -> tuple[bytes, str, str, bool] | None:
    """What orders the entry among its siblings, its key (a folder's ends with a slash), its path,
    and whether it is a folder. None for a name that is not text, which no key can hold.
    """
    is_folder = entry.is_dir(follow_symlinks=False)
    key = f"{base}{entry.name}/" if is_folder else base + entry.name
    try:
        return key.encode(), key, entry.path, is_folder
    except UnicodeEncodeError:
        return None


def _folder(path: str) -> Path:
    if sys.platform == "win32":
        from urllib.request import url2pathname  # brings http, email and ssl along

        return Path(url2pathname("/" + path))
    return Path("/" + unquote(path))


def open_local(url: str, options: OpenOptions) -> LocalBackend:
    """The folder that a `file://` URL names; made at the first write. Raises InputError."""
    if options.acl or options.storage_class:
        raise InputError(
            f"{shown_url(url)}: a folder has neither ACLs nor storage classes",
            "leave --acl and --storage-class out for it",
        )
    host, slash, path = url.removeprefix("file://").partition("/")
    if host not in ("", "localhost") or not slash:
        raise InputError(
            f"{shown_url(url)} does not name a folder of this machine",
            "write file:///folder with three slashes and the full path",
        )
    if "\0" in unquote(path):
        raise InputError(f"{shown_url(url)} holds a NUL")
    folder = _folder(path)
    normal = Path(os.path.normpath(folder))
    if normal == Path(normal.anchor):
        raise InputError(f"{shown_url(url)} is the root of the file system", "name a folder")
    return LocalBackend(normal)
