"""The listener's folder: held by one process, and changed by nobody else."""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from myop_cdn import filelock
from myop_cdn.errors import ListenerError
from myop_cdn.listener.queue.journal import FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PATIENCE = 3.0  # seconds: a predecessor that was killed may be on its way out still
_HOLDER = "lock"  # the file that names the process which holds the folder
_FILES = (_HOLDER, FILE, f"{FILE}-wal", f"{FILE}-shm")


@contextmanager
def locked(folder: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[int]:
    """Hold the folder for this process, making it if it is missing.

    Yields the lock's descriptor: a child that is given it holds the folder too, until it has
    ended. The kernel lets go of the lock when the last holder dies, however it dies. Raises
    ListenerError when another process holds it, when it can't be written, and when somebody
    else could change what lies in it: it or a file of the listener's belongs to another user,
    may be written by the group or by others, or is a link.
    """
    if sys.platform == "win32":
        raise ListenerError("serve runs on Linux and macOS")
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(
                filelock.locked(folder, wait_seconds=_PATIENCE, mode=0o700, sleep=sleep)
            )
            if lock is None:
                raise ListenerError(
                    f"can't lock the state folder {folder}", "it must be on a local file system"
                )
            _check(folder, lock)
        except filelock.LockHeld:
            raise _held(folder) from None
        except OSError as error:
            raise ListenerError(
                f"can't use the state folder {folder}: {error.strerror}",
                "give --state-dir a folder that this user may write",
            ) from None
        with suppress(OSError):  # only for the message to whoever comes second
            (folder / _HOLDER).write_text(f"{os.getpid()}\n", "ascii")
        yield lock


def _check(folder: Path, descriptor: int) -> None:
    assert sys.platform != "win32"
    if folder.is_symlink() and folder.lstat().st_uid not in (0, os.geteuid()):
        raise _unsafe(f"the link {folder} belongs to another user")
    _check_owner(folder, os.fstat(descriptor), "give --state-dir a folder of this user's own")
    for name in _FILES:
        with suppress(FileNotFoundError):
            found = (folder / name).lstat()
            if not stat.S_ISREG(found.st_mode):
                raise _unsafe(f"{folder / name} is not a file, but a link or something else")
            _check_owner(folder / name, found, "see who made it, then move it away")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(None, "it may not be written", str(folder))


def _check_owner(path: Path, found: os.stat_result, hint: str) -> None:
    assert sys.platform != "win32"
    if found.st_uid != os.geteuid():
        raise _unsafe(f"{path} belongs to user {found.st_uid}, not to {os.geteuid()}", hint)
    if found.st_mode & 0o022:
        raise _unsafe(f"{path} may be written by other users", f"chmod go-w {path}")


def _unsafe(message: str, hint: str = "give --state-dir another folder") -> ListenerError:
    return ListenerError(f"the state folder is not safe: {message}", hint)


def _held(folder: Path) -> ListenerError:
    try:
        holder = (folder / _HOLDER).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        holder = ""
    who = f"process {holder}" if holder.isdigit() else "another process"
    return ListenerError(
        f"{who} is listening with the state folder {folder}",
        "stop it first, or give this one another --state-dir",
    )
