"""One process for each state folder."""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from myop_cdn.errors import ListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PATIENCE = 3.0  # seconds: a predecessor that was killed may be on its way out still
_STEP = 0.05
_HOLDER = "lock"  # the file that names the process which holds the folder


@contextmanager
def locked(folder: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[int]:
    """Hold the folder for this process, making it if it is missing.

    Yields the lock's descriptor: a child that is given it holds the folder too, until it has
    ended. The kernel lets go of the lock when the last holder dies, however it dies. Raises
    ListenerError when another process holds it, or the folder can't be written.
    """
    try:
        import fcntl
    except ImportError:
        raise ListenerError("serve runs on Linux and macOS") from None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The folder itself is locked: a file in it could be removed, and made anew, under us.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _check_writable(folder)
    except OSError as error:
        raise ListenerError(
            f"can't use the state folder {folder}: {error.strerror}",
            "give --state-dir a folder that this user may write",
        ) from None
    try:
        for attempt in range(int(_PATIENCE / _STEP) + 1):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == int(_PATIENCE / _STEP):
                    raise _held(folder) from None
                sleep(_STEP)
            except OSError as error:
                raise ListenerError(
                    f"can't lock the state folder {folder}: {error.strerror}",
                    "it must be on a local file system",
                ) from None
        with suppress(OSError):  # only for the message to whoever comes second
            (folder / _HOLDER).write_text(f"{os.getpid()}\n", "ascii")
        yield descriptor
    finally:
        os.close(descriptor)


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


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
