"""Threads that fetch documents, and the gate through which they write."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def fetching(jobs: int) -> Iterator[tuple[ThreadPoolExecutor, Gate]]:
    """Threads that fetch, and the gate through which they write.

    When the run ends early, nothing new is begun and no answer is waited for, but a write that
    has begun is finished, so that no part of a file stays behind.
    """
    fetchers = ThreadPoolExecutor(jobs, "fetch")
    writes = Gate()
    try:
        yield fetchers, writes
    except BaseException:
        fetchers.shutdown(wait=False, cancel_futures=True)
        raise
    else:
        fetchers.shutdown()
    finally:
        writes.shut()


class Gate:
    """Lets writes through, any number at once, until it is shut.

    A count under a lock rather than a pool of writers: handing a document to another thread
    and waiting for it takes longer than writing it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_shut = False

    def __enter__(self) -> None:
        with self._changed:
            if self._is_shut:
                raise CancelledError
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def shut(self) -> None:
        """Let nobody in any more, and wait for those that are inside."""
        with self._changed:
            self._is_shut = True
            self._changed.wait_for(lambda: not self._inside)
