"""Locks of the kernel's on folders and files (`flock`): they end with the process that holds
them, and leave no lock file. The one lock of this program.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_STEPS_SECONDS = (0.002, 0.05)  # the first pause, and the longest
_of_this_process: dict[str, threading.RLock] = {}  # where the kernel has no locks


class LockHeld(Exception):
    """Somebody else has held the lock for longer than was to be waited."""


@contextmanager
def locked(
    folder: Path,
    *,
    exclusive: bool = True,
    wait_seconds: float | None = None,
    mode: int = 0o777,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[int | None]:
    """Hold `folder`, made with `mode` if missing, against exclusive holders, or (exclusive)
    against all others: processes and threads.

    The folder itself is locked: a lock file in it could be removed, and made anew, by others.
    Yields the lock's descriptor (a child that inherits it holds the lock too, until it has
    ended), or None on Windows and on file systems without locks: there the threads of this
    process alone are kept out. wait_seconds: how long at most somebody else may keep it, None
    for as long as it takes. Raises LockHeld; OSError where the folder can't be made or opened.
    """
    descriptor = _hold(folder, exclusive, wait_seconds, mode, sleep)
    if descriptor is None:
        with _of_this_process.setdefault(str(folder), threading.RLock()):
            yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def take(descriptor: int, *, exclusive: bool = True, wait: bool = False) -> bool | None:
    """Take the lock of an open file or folder. False: somebody else holds it. None: there are
    no locks on this platform, or on this file system.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    how = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(descriptor, how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _hold(
    folder: Path,
    exclusive: bool,
    wait_seconds: float | None,
    mode: int,
    sleep: Callable[[float], None],
) -> int | None:
    waited, step = 0.0, _STEPS_SECONDS[0]
    while True:
        if sys.platform == "win32":  # where a folder can't be opened
            folder.mkdir(parents=True, exist_ok=True, mode=mode)
            return None
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True, mode=mode)
            continue  # a run that put nothing into it may take it away again meanwhile
        try:
            got = take(descriptor, exclusive=exclusive, wait=wait_seconds is None)
            if got is None:
                os.close(descriptor)
                return None
            # Whoever held it may have taken an empty folder away: the lock is on nothing then.
            if got and _is_still_there(folder, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not got:
            assert wait_seconds is not None
            if waited >= wait_seconds:
                raise LockHeld
            sleep(step)
            waited += step
            step = min(2 * step, _STEPS_SECONDS[1])


def _is_still_there(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder))  # noqa: PTH116 - a pair
    except FileNotFoundError:
        return False
