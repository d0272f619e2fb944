"""A lock on a folder that ends with its process: `flock`, without a lock file."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_in_process = threading.RLock()


@contextmanager
def locked(folder: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold `folder`, which must exist, against exclusive holders, or (exclusive) against all.

    Across processes and threads on Linux and macOS, within this process on Windows. Where the
    file system knows no locks, nobody is kept out. Raises OSError.
    """
    if sys.platform == "win32":
        with _in_process:
            yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)
