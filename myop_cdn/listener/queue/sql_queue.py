"""What is the same of every queue that keeps its journal in tables, whichever engine has them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from myop_cdn.listener.queue import deliveries, lanes
from myop_cdn.listener.queue.base import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from myop_cdn.listener import Log
    from myop_cdn.listener.queue.base import (
        Changes,
        DeliveryView,
        Lane,
        LaneState,
        LiveDocument,
        LivePage,
        LiveQuery,
        Overview,
        RunView,
    )
    from myop_cdn.listener.queue.sql import Connection
    from myop_cdn.model import DocumentRef

T = TypeVar("T")
_AT_ONCE = 200  # deliveries settled in one commit
_LIVE_AT_ONCE = 1000  # documents noted as live in one commit


class SqlQueue(ABC):
    """Keeps the queue for `lane_list`; see `base.Queue`.

    sync_at_start: whether a full sync is due at the start in every lane.
    """

    def __init__(
        self, lane_list: Sequence[Lane], log: Log, wall: Callable[[], float], sync_at_start: bool
    ) -> None:
        self._lanes = tuple(lane_list)
        self._log = log
        self._wall = wall
        self._sync_at_start = sync_at_start

    @abstractmethod
    def _read(self, look: Callable[[Connection], T]) -> T:
        """What `look` finds, for a run."""

    def _show(self, look: Callable[[Connection], T]) -> T:
        """What `look` finds, for an operator, whom no run has to wait for."""
        return self._read(look)

    @abstractmethod
    def _write(self, work: Callable[[Connection], T]) -> T:
        """What `work` gives, as soon as it is committed."""

    @abstractmethod
    def _fence(self, connection: Connection, lane: str) -> None:
        """Raise LeaseLost where the run that is to be recorded may be another process's by now."""

    def batch(self, lane: str, most: int) -> Batch:
        """The oldest deliveries that wait in a lane, so many at most."""
        return self._read(
            lambda connection: Batch(
                lanes.journal_id(connection), deliveries.waiting(connection, lane, most)
            )
        )

    def live(
        self, lane: str, refs: Iterable[DocumentRef] | None
    ) -> dict[DocumentRef, LiveDocument]:
        """What a lane has published, of these documents or (None) of all."""
        return self._read(lambda connection: lanes.live(connection, lane, refs))

    def state(self, lane: str, refs: frozenset[DocumentRef] | None) -> LaneState:
        """What a lane has open. refs: the documents whose needs are wanted, None for all."""
        return self._read(lambda connection: lanes.state(connection, lane, refs))

    def set_live(
        self, lane: str, documents: Sequence[LiveDocument], gone: Sequence[DocumentRef]
    ) -> None:
        """Note what a lane publishes now, in small commits that others can share."""
        for start in range(0, max(len(documents), len(gone)), _LIVE_AT_ONCE):
            part = slice(start, start + _LIVE_AT_ONCE)

            def work(connection: Connection, part: slice = part) -> None:
                self._fence(connection, lane)
                lanes.set_live(connection, lane, documents[part], gone[part])

            self._write(work)

    def finish(
        self,
        lane: str,
        journal: str,
        refs: frozenset[DocumentRef] | None,
        decide: Callable[[LaneState], Changes],
    ) -> Changes:
        """Record what follows from a run. Very many deliveries are settled in small commits,
        which others can share.
        """

        def first(connection: Connection) -> Changes:
            self._fence(connection, lane)
            changes = decide(lanes.state(connection, lane, refs))
            if lanes.journal_id(connection) != journal:
                # The run was of a journal that has been replaced; its numbers mean nothing here.
                changes = replace(changes, settlements=(), position=None)
            lanes.finish(connection, lane, lanes.part_of(changes, 0, _AT_ONCE))
            return changes

        changes = self._write(first)
        for start in range(_AT_ONCE, len(changes.settlements), _AT_ONCE):
            part = lanes.part_of(changes, start, _AT_ONCE)

            def more(connection: Connection, part: Changes = part) -> None:
                self._fence(connection, lane)
                lanes.take(connection, lane, part, part.end.run)

            self._write(more)
        return changes

    def prune(self, most: int) -> int:
        """Forget what is over the limits of the history, so many deliveries at most; how many."""
        now = self._wall()
        return self._write(lambda connection: deliveries.prune(connection, now, most))

    def overview(self) -> Overview:
        """What is open, in all and in each lane."""
        return self._show(lanes.overview)

    def runs(self, limit: int) -> list[RunView]:
        """The newest runs, newest first."""
        return self._show(lambda connection: lanes.runs(connection, limit))

    def deliveries(self, limit: int) -> list[DeliveryView]:
        """The newest deliveries, newest first, without headers and bodies."""
        return self._show(lambda connection: deliveries.listed(connection, limit))

    def page(
        self, limit: int, after: tuple[str, str, str] | None
    ) -> list[tuple[str, LiveDocument]]:
        """What is live with its lane, from the one after `after` on."""
        return self._show(lambda connection: lanes.live_page(connection, limit, after))

    def search(self, query: LiveQuery) -> LivePage:
        """A page of components with what is live of them in one lane."""
        return self._show(lambda connection: lanes.search(connection, query))

    def delivery(self, delivery_id: str) -> DeliveryView | None:
        """One delivery with headers and body, None where there is none of that id."""
        return self._show(lambda connection: deliveries.found(connection, delivery_id))

    def retry(self, delivery_id: str) -> bool:
        """Put a delivery back among those that wait; False where there is none of that id."""
        return self._write(lambda connection: deliveries.retry(connection, delivery_id))

    def forget(self, delivery_id: str) -> bool:
        """Drop a delivery, but not its hash; False where there is none of that id."""
        return self._write(lambda connection: deliveries.forget(connection, delivery_id))
