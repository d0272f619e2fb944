"""The gate through which documents are written."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError


class Gate:
    """Lets writes through, any number at once, until it is shut.

    When a run ends early no answer is waited for, but a write that has begun is finished, so
    that no part of a file stays behind. A count under a lock rather than a pool of writers:
    handing a document to another thread and waiting for it takes longer than writing it.
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
            if self._is_shut:
                self._changed.notify_all()

    def shut(self) -> None:
        """Let nobody in any more, and wait for those that are inside."""
        with self._changed:
            self._is_shut = True
            self._changed.wait_for(lambda: not self._inside)
