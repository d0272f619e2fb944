"""The static format on disk: paths, whole files only, no links followed, nothing left behind.

    <root>/manifest.json                            complete trees have one, partial trees none
    <root>/components/<component id>/<environment>.json
    <root>/.myop-cdn/export.json                    see `exportnote`

Temporary files of a run that was killed are cleared by the next one.
"""

from __future__ import annotations

import errno
import os
import time
import unicodedata
from contextlib import contextmanager, suppress
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING

from myop_cdn import filelock, files, names
from myop_cdn.errors import InputError, RefusedError, TreeError
from myop_cdn.manifest import Manifest
from myop_cdn.model import COMPONENTS, MANIFEST, DocumentRef, is_layout
from myop_cdn.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LOCK_WAIT_SECONDS = 600.0
MAX_FILE_BYTES = 256 * 1024 * 1024  # what `jsontext` writes at the most


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
        """The component documents on disk, sorted. See `paths`."""
        return sorted(ref for path in self.paths() if (ref := DocumentRef.of(path)))

    def paths(self) -> list[str]:
        """The component documents' paths on disk, sorted. None where the folder is missing.

        Raises RefusedError where a component or a document is a symbolic link (it could lead
        anywhere), TreeError where a folder can't be read.
        """
        with _mapped(self.root):
            return sorted(self._scan())

    def stray(self) -> list[str]:
        """Files below the folder that are not of the layout, sorted; they are never deployed."""
        found: list[str] = []
        with _mapped(self.root):
            for folder, _, here in os.walk(self.root):
                base = os.path.relpath(folder, self.root).replace(os.sep, "/")
                if base == names.RESERVED:
                    continue
                for file in here:
                    path = file if base == "." else f"{base}/{file}"
                    if path != MANIFEST and DocumentRef.of(path) is None:
                        found.append(path)
        return sorted(path for path in found if not path.endswith(files.TEMPORARY))

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """The bytes of the file at `path` (forward slashes).

        Raises RefusedError where it, or a folder below the root, is a symbolic link; TreeError,
        also for what is not a plain file, or larger than `max_bytes`.
        """
        with files.Below(self.root) as below:
            return self._read(path, max_bytes, below)

    def read_each(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The path and the bytes of each of these files, read when its turn comes. See `read`.

        Costs least where files of one folder follow each other.
        """
        with files.Below(self.root) as below:
            for path in paths:
                yield path, self._read(path, MAX_FILE_BYTES, below)

    def read_again(self, path: str) -> bytes:
        """The bytes of the file at `path`, for who knows their hash: they can't be another file's,
        so that the folders on the way to it need not be looked at. See `read`.
        """
        return self._read(path, MAX_FILE_BYTES, None)

    def _read(self, path: str, max_bytes: int, below: files.Below | None) -> bytes:
        file = f"{self.root}/{path}"
        with _mapped(file):
            data = files.read(file, max_bytes, below)
        if data is None:
            raise TreeError(f"{file}: larger than {max_bytes // 2**20} MiB")
        return data

    def read_if_there(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """The bytes of the file at `path`, or None where there is no such file. See `read`."""
        with suppress(_Missing):
            return self.read(path, max_bytes)
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
                f"{self.root / MANIFEST} is not a manifest: {error.message}",
                "run a full sync into an empty folder",
            ) from None

    def write(self, path: str, body: bytes, *, durable: bool = True) -> None:
        """Put `body` at `path`: the old file or the new one is there, never a part of one.

        durable: whether its bytes are on disk before its name is. Raises RefusedError where a
        folder below the root is a symbolic link, TreeError.
        """
        target = f"{self.root}/{path}"
        folder = os.path.dirname(target)
        with _mapped(target):
            if not os.path.isdir(folder):  # cheaper than an exception for each file in it
                os.makedirs(folder, exist_ok=True)
            for _ in range(path.count("/")):
                _no_link(folder)
                folder = os.path.dirname(folder)
            with files.written(target, body, sync=durable) as temporary:
                os.replace(temporary, target)

    def remove(self, path: str) -> None:
        """Take the file at `path` away, and its folder where that leaves it empty."""
        target = self.root / path
        with _mapped(target):
            _no_link(target.parent)
            target.unlink(missing_ok=True)
            with suppress(OSError):
                target.parent.rmdir()

    @contextmanager
    def writing(
        self,
        wait_seconds: float = LOCK_WAIT_SECONDS,
        waited: Callable[[float], None] = lambda _: None,
    ) -> Iterator[None]:
        """Hold the folder for writing: made if missing (and taken away again if nothing came
        of it), other writers kept out, cleared of what a killed run left.

        waited: is told of the seconds that pass meanwhile, a few at a time.
        Raises TreeError when another run holds the folder for longer than `wait_seconds`.
        """
        made = not self.exists()
        try:
            with self._held(wait_seconds, waited):
                self._clear_temporaries()
                yield
        finally:
            if made:
                with suppress(OSError):
                    self.root.rmdir()

    @contextmanager
    def _held(self, wait_seconds: float, waited: Callable[[float], None]) -> Iterator[None]:
        def sleep(seconds: float) -> None:
            time.sleep(seconds)
            waited(seconds)

        lock = filelock.locked(self.root, wait_seconds=wait_seconds, sleep=sleep)
        try:
            with _mapped(self.root):
                lock.__enter__()
        except filelock.LockHeld:
            raise TreeError(
                f"another run has been writing to {self.root} for {wait_seconds:.0f} s",
                "wait for it, or use another --output folder",
            ) from None
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    def _scan(self) -> Iterator[str]:
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
                path = f"{COMPONENTS}/{component.name}/{file.name}"
                if not is_layout(path):
                    continue
                if file.is_symlink():
                    raise _link(file.path)
                if file.is_file(follow_symlinks=False):
                    yield intern(path)  # a listing and a log have the same

    def _clear_temporaries(self) -> None:
        top = self.root / COMPONENTS
        for folder in (self.root, self.root / names.RESERVED, top):
            if folder == self.root or not folder.is_symlink():
                files.clear(folder)
        if top.is_dir() and not top.is_symlink():
            for entry in os.scandir(top):
                if entry.is_dir(follow_symlinks=False):
                    files.clear(entry.path)


class DryRunTree(Tree):
    """The folder at `root` as it would be. What is written goes to a scratch folder, for a
    deploy to be planned from; `root` is only read, and need not be there.
    """

    may_write = False

    def __init__(self, root: Path, scratch: Tree) -> None:
        super().__init__(root)
        self._scratch = scratch
        self._removed: set[str] = set()

    @classmethod
    @contextmanager
    def of(cls, root: Path) -> Iterator[DryRunTree]:
        """A dry run's tree for the folder at `root`; its scratch folder is gone at the end."""
        import tempfile  # costs every other run more than the rest of this file

        with tempfile.TemporaryDirectory(prefix="myop-cdn-") as scratch:
            yield cls(root, Tree(Path(scratch) / "tree"))

    def exists(self) -> bool:
        """Whether there is, or would be, anything."""
        return super().exists() or self._scratch.exists()

    def paths(self) -> list[str]:
        """The documents' paths as they would be, sorted."""
        kept = set(super().paths()) - self._removed
        return sorted(kept.union(self._scratch.paths()))

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """The bytes that would be at `path`."""
        if (self._scratch.root / path).exists():
            return self._scratch.read(path, max_bytes)
        if path in self._removed:
            raise _Missing(f"{self.root / path}: would be removed")
        return super().read(path, max_bytes)

    def read_again(self, path: str) -> bytes:
        """The bytes that would be at `path`."""
        return self.read(path)

    def read_each(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The path and the bytes that would be there of each of these files."""
        for path in paths:
            yield path, self.read(path)

    def write(self, path: str, body: bytes, *, durable: bool = False) -> None:  # noqa: ARG002
        """Keep `body` in the scratch folder."""
        self._scratch.write(path, body, durable=False)

    def remove(self, path: str) -> None:
        """Hide the file at `path`."""
        self._removed.add(path)

    @contextmanager
    def writing(
        self,
        wait_seconds: float = 0.0,  # noqa: ARG002
        waited: Callable[[float], None] = lambda _: None,  # noqa: ARG002
    ) -> Iterator[None]:
        """Nothing is written, so nobody is kept out."""
        yield


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
                    f"{shown(other)} and {shown(name)} differ only in case, and the file system "
                    f"of {tree.root} can't hold both",
                    "use an --output folder on a file system that tells them apart",
                )


def _are_apart(folder: Path, first: str, second: str) -> bool:
    """Whether what is there proves that the two names are of two places."""
    with _mapped(folder):
        return _identity(folder / first) != _identity(folder / second)


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
    with _mapped(folder):
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
    probe = folder / f".case-{os.urandom(6).hex()}{files.TEMPORARY}"
    probe.write_bytes(b"")
    try:
        return probe.with_name(probe.name.upper()).exists()
    finally:
        probe.unlink(missing_ok=True)


def _no_link(folder: Path | str) -> None:
    if os.path.islink(folder):
        raise _link(folder)


def _link(path: Path | str) -> RefusedError:
    return RefusedError(
        f"{path} is a symbolic link, which could lead out of the folder",
        "replace it by a plain file or folder",
    )


class _Missing(TreeError):
    """There is no such file."""


@contextmanager
def _mapped(path: Path | str) -> Iterator[None]:
    """The one place where this room's OSErrors become errors for users."""
    try:
        yield
    except files.IsLink as error:
        raise _link(error.filename) from None
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else path
        is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        is_denied = isinstance(error, PermissionError) or error.errno == errno.EROFS
        raise (_Missing if is_missing else TreeError)(
            f"{where}: {error.strerror or type(error).__name__}",
            "check the folder's owner and permissions" if is_denied else "",
        ) from None
