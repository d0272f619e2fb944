"""A log that nobody has to wait for.

stderr may be a pipe that is read slowly or not at all; a listener that waited for it would
stop answering. Lines are handed to a thread; when too many wait, the newest are counted
instead of kept.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from myop_cdn.listener import Log

_MOST = 20_000  # lines


class QueuedLog:
    """Passes lines on to `log`, on a thread of its own."""

    def __init__(self, log: Log, most: int = _MOST) -> None:
        self._log = log
        self._most = most
        self._lines: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def debug(self, message: str, **fields: object) -> None:
        """A detail."""
        self._put(partial(self._log.debug, message, **fields))

    def info(self, message: str, **fields: object) -> None:
        """Something worth knowing."""
        self._put(partial(self._log.info, message, **fields))

    def warning(self, message: str, **fields: object) -> None:
        """Something to look at."""
        self._put(partial(self._log.warning, message, **fields))

    def close(self, seconds: float = 1.0) -> None:
        """Write what waits, for so long at most."""
        self._lines.put(None)
        self._thread.join(seconds)

    def _put(self, line: Callable[[], None]) -> None:
        if self._lines.qsize() < self._most:
            self._lines.put(line)
        else:
            self._dropped += 1

    def _run(self) -> None:
        while (say := self._lines.get()) is not None:
            # Whoever read stderr may have gone, and nobody could be told of a line that can't be
            # written: the listener goes on without it.
            with contextlib.suppress(Exception):
                say()
                if self._dropped and self._lines.qsize() < self._most // 2:
                    dropped, self._dropped = self._dropped, 0
                    self._log.warning("log lines were left out", lines=dropped)
