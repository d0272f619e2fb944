"""The listener as a whole: its parts put together, started, drained and ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from myop_cdn.errors import ExitCode, MyopCdnError, unexpected
from myop_cdn.listener.delivery import DeliveryChecks, DeliveryHandler, Rules
from myop_cdn.listener.http import sockets
from myop_cdn.listener.http.peers import TrustedProxies
from myop_cdn.listener.http.protocol import ServerLimits
from myop_cdn.listener.http.server import Server
from myop_cdn.listener.metrics import Metrics
from myop_cdn.listener.queue.base import Lane
from myop_cdn.listener.queue.journal import FILE
from myop_cdn.listener.queue.sqlite import SqliteQueue
from myop_cdn.listener.worker import Worker

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from myop_cdn.listener import Log, Publisher
    from myop_cdn.listener.queue.base import Queue
    from myop_cdn.listener.queued_log import QueuedLog
    from myop_cdn.notify.policy import Event

_LOOK = 1.0  # seconds between two looks at the files with the secrets


@dataclass(frozen=True, slots=True)
class Settings:
    """How to listen. full_every: zero for no full sync by the schedule. journal: the URL of a
    database that has it, None for a file in `state_dir`.
    """

    state_dir: Path
    rules: Rules = field(default_factory=Rules)
    limits: ServerLimits = field(default_factory=ServerLimits)
    grace: timedelta = timedelta(seconds=8)
    full_every: timedelta = timedelta(hours=24)
    sync_at_start: bool = True
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    journal: str | None = None

    def lane(self, name: str) -> Lane:
        """How a destination of this name is worked."""
        return Lane(name, self.full_every.total_seconds())


def end_loudly(
    log: QueuedLog, leave: Callable[[int], object] = os._exit
) -> Callable[[threading.ExceptHookArgs], None]:
    """For `threading.excepthook`: a thread that ends by a defect takes the process with it.

    Without one of its threads a listener would only look alive. What it has answered is on the
    disk, and whoever starts it again has it go on with that. leave: ends the process, with an exit
    code.
    """

    def ended(given: threading.ExceptHookArgs) -> None:
        name = given.thread.name if given.thread else "unknown"
        error = unexpected(given.exc_value or given.exc_type())
        log.warning("a thread of the listener has ended", thread=name, error=error.message)
        log.close()
        leave(ExitCode.FAILED)

    return ended


def open_queue(
    settings: Settings, names: Sequence[str], log: Log, wall: Callable[[], float] = time.time
) -> Queue:
    """The queue that the settings say, for the destinations of these names; not begun yet."""
    lanes = [settings.lane(name) for name in names]
    at_start = settings.sync_at_start
    if settings.journal is None:
        return SqliteQueue(settings.state_dir / FILE, lanes, log, wall, sync_at_start=at_start)
    from myop_cdn.listener.queue.postgres.queue import PostgresQueue

    return PostgresQueue(settings.journal, lanes, log, wall, sync_at_start=at_start)


def _state(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None for one that is not there."""
    with suppress(OSError):
        state = file.stat()
        return state.st_mtime_ns, state.st_ino, state.st_size
    return None


class Listener:
    """Takes deliveries on `listeners` and has each published by every one of `publishers`, which
    are named after their destinations and know nothing of each other.

    read_secrets: gives the signing secrets; called at the start, where it may raise
    MyopCdnError, and on `reload`, where it may too and the old ones are kept then. files: what
    it reads; when one of them changes, that is a `reload` too. tell: see `Worker`.
    only_restart: whether nothing but a restart changes the secrets.
    queue: by `open_queue`, unless there is one already. cut_off: ends the runs that go on beyond
    the grace.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: list[socket.socket],
        read_secrets: Callable[[], tuple[bytes, ...]],
        publishers: Mapping[str, Publisher],
        log: Log,
        tls: ssl.SSLContext | None = None,
        files: Sequence[Path] = (),
        wall: Callable[[], float] = time.time,
        tell: Callable[[Event], None] | None = None,
        *,
        only_restart: bool = False,
        queue: Queue | None = None,
        cut_off: Callable[[], None] = lambda: None,
    ) -> None:
        self._only_restart = only_restart
        self._settings = settings
        self._cut_off = cut_off
        self._read_secrets = read_secrets
        self._files = tuple(files)
        # Before they are read: a change right after that is to be seen.
        self._read_states = [_state(file) for file in self._files]
        self._hangups: SimpleQueue[None] = SimpleQueue()
        self._log = log
        self._wall = wall
        self._signals = 0
        self._drained_at = 0.0
        self.ready = threading.Event()  # set when connections are taken
        self.metrics = Metrics()
        self.queue = queue or open_queue(settings, list(publishers), log, wall)
        self.checks = DeliveryChecks(settings.rules, read_secrets(), wall)
        self.workers = [
            Worker(
                settings.lane(name), self.queue, publisher, log, self.metrics, wall=wall, tell=tell
            )
            for name, publisher in publishers.items()
        ]
        handler = DeliveryHandler(self.checks, self.queue, self.wake, log, self.metrics)
        self.server = Server(
            listeners, handler, settings.limits, tls, wall=wall, proxies=settings.proxies
        )

    def run(self) -> None:
        """Listen until `terminate` is called. Raises ListenerError when it can't begin."""
        self.queue.start(self.wake)
        try:
            for worker in self.workers:
                worker.start()
            threading.Thread(target=self._watch_files, name="secrets", daemon=True).start()
            self.ready.set()
            sockets.notify(os.environ, "READY=1")
            self.server.run()
            self._end()
        finally:
            self._cut_off()  # before another listener may publish
            self.queue.close()

    def wake(self) -> None:
        """Something may be due."""
        for worker in self.workers:
            worker.wake()

    @property
    def destinations(self) -> list[str]:
        """Their names."""
        return [worker.lane.name for worker in self.workers]

    @property
    def draining(self) -> bool:
        """Whether the end has begun."""
        return self._drained_at > 0

    def terminate(self) -> None:
        """Drain: answer what has arrived, finish or leave the run, and let `run` return.

        May be called by a signal handler, and from any thread.
        """
        self._drained_at = time.monotonic()
        self.server.drain(self._settings.grace.total_seconds())
        for worker in self.workers:
            worker.stop()

    def reload(self) -> None:
        """Read the secrets again; connections and deliveries under way go on."""
        try:
            self.checks.secrets = self._read_secrets()
        except Exception as error:  # with the old ones, rather than never again
            words = error if isinstance(error, MyopCdnError) else unexpected(error)
            self._log.warning("the secrets were not read again", error=words.message)
        else:
            self._log.info("read the secrets again", secrets=len(self.checks.secrets))

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reads the secrets again."""
        signal.set_wakeup_fd(self.server.wake_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: self._hangups.put(None))

    def _watch_files(self) -> None:
        """Reload when told to, and when a file has changed and then been left alone.

        On a thread: a secret's file may lie on a slow disk, and the loop must not wait.
        """
        known = seen = self._read_states
        while True:
            told = True
            try:
                self._hangups.get(timeout=_LOOK)
            except Empty:
                told = False
            last, seen = seen, [_state(file) for file in self._files]
            if told and self._only_restart:
                self._log.warning(
                    "the secrets are in the environment, which only a restart changes; a file"
                    " given with --secret-file can be changed while this runs"
                )
            if told or (seen != known and seen == last):
                known = seen
                self.reload()

    def _on_signal(self, number: int, frame: Any) -> None:  # noqa: ARG002 - Python's signature
        self._signals += 1
        if self._signals > 1:
            # What was answered is on the disk, and a run that is cut off is done again.
            os._exit(ExitCode.INTERRUPTED)
        self.terminate()

    def _end(self) -> None:
        """Wait for the runs while there is grace."""
        sockets.notify(os.environ, "STOPPING=1")
        until = self._drained_at + self._settings.grace.total_seconds()
        for worker in self.workers:
            if not worker.join(until - time.monotonic()):
                self._log.info(
                    "the run did not end in time: it is left for the next start",
                    destination=worker.lane.name,
                )
