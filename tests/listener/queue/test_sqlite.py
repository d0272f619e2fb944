"""The queue in a SQLite journal, held to the contract of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.listener.queue import deliveries
from myop_cdn.listener.queue.journal import FILE, writing
from myop_cdn.listener.queue.sqlite import SqliteQueue
from tests.listener.queue.contract import QueueContract
from tests.listener.rig import PATIENCE, Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from myop_cdn.listener.queue.base import Lane, Queue


class SqliteRig:
    """Queues in one journal."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.log = Lines()
        self._crashed: list[Queue] = []

    def open(
        self, lanes: Sequence[Lane], wall: Callable[[], float], sync_at_start: bool = False
    ) -> SqliteQueue:
        """Another one on the same journal."""
        queue = SqliteQueue(self.path, lanes, self.log, wall, sync_at_start=sync_at_start)
        queue.start()
        queue.probe(PATIENCE)
        return queue

    def crash(self, queue: Queue) -> None:
        """Leave it as it is: a kill writes nothing either."""
        self._crashed.append(queue)

    def settle(self, queue: Queue) -> None:
        """One thread does it all, in order."""
        queue.probe(PATIENCE)

    def retry(self, delivery: str) -> bool:
        """By another connection."""
        with writing(self.path) as connection:
            return deliveries.retry(connection, delivery)

    def forget(self, delivery: str) -> bool:
        """By another connection."""
        with writing(self.path) as connection:
            return deliveries.forget(connection, delivery)

    def end(self) -> None:
        """Let go of what has crashed."""
        for queue in self._crashed:
            queue.close()


class TestSqliteQueue(QueueContract):
    """All of it."""

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[SqliteRig]:
        """On a journal that is not there yet."""
        made = SqliteRig(tmp_path)
        yield made
        made.end()
