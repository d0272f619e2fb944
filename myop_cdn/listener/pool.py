"""The open connections: what is watched for on each, and who has to go when it gets crowded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.listener.connection import SHED_FIRST, Connection

if TYPE_CHECKING:
    import selectors
    from collections.abc import Iterator


class Pool:
    """Connections and the selector that watches them.

    most: how many there may be. buffered: how many bytes of requests that are not complete
    they may hold together.
    """

    def __init__(self, selector: selectors.BaseSelector, most: int, buffered: int) -> None:
        self._selector = selector
        self._members: set[Connection] = set()
        self.most = most
        self._buffered = buffered

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._members))

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._members

    @property
    def is_crowded(self) -> bool:
        """Whether there are more than there may be."""
        return len(self._members) > self.most

    def add(self, connection: Connection, events: int) -> None:
        """Take a connection in and watch it."""
        self._members.add(connection)
        self.watch(connection, events)

    def watch(self, connection: Connection, events: int) -> None:
        """Watch for these selector events from now on; 0 for none."""
        if connection.events == events:
            return
        if not connection.events:
            self._selector.register(connection.sock, events, connection)
        elif events:
            self._selector.modify(connection.sock, events, connection)
        else:
            self._selector.unregister(connection.sock)
        connection.events = events

    def drop(self, connection: Connection) -> None:
        """Close a connection and forget it; once is enough."""
        if connection in self._members:
            self._members.discard(connection)
            self.watch(connection, 0)
            connection.close()

    def most_stalled(self, before: float) -> Connection | None:
        """The one that has got nowhere for longest, and since `before`; None when all get on."""
        for phases in SHED_FIRST:
            candidates = [
                one for one in self._members if one.phase in phases and one.since <= before
            ]
            if candidates:
                return min(candidates, key=lambda one: one.since)
        return None

    def too_large(self) -> list[Connection]:
        """Those that hold most, as many as must go to get back under the limit."""
        holders = sorted((one for one in self._members if one.held), key=lambda one: one.held)
        total = sum(one.held for one in holders)
        gone = []
        while total > self._buffered and holders:
            gone.append(holders.pop())
            total -= gone[-1].held
        return gone
