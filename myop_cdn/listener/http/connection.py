"""The open connections: what was read of each, how long it may take, and who has to go first."""

from __future__ import annotations

import socket
import ssl
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import selectors
    from collections.abc import Iterator

    from myop_cdn.listener.http.request import BodyReader, Request

_RECEIVE = 64 * 1024  # bytes asked of the kernel at a time


class Phase(Enum):
    """Where a connection stands."""

    HANDSHAKE = auto()  # TLS is being set up
    IDLE = auto()  # nothing of a request has arrived
    READING = auto()  # a part of a request has arrived
    WAITING = auto()  # a whole request is being worked on
    WRITING = auto()  # the client has not taken all of the answer yet
    LINGERING = auto()  # answered; what still arrives is thrown away


# Who is given up when there are too many: those whose client has its answer, then those that
# have not got to the end of a request for longest, then those that do not take their answer.
SHED_FIRST = (
    (Phase.LINGERING,),
    (Phase.IDLE, Phase.HANDSHAKE, Phase.READING),
    (Phase.WRITING,),
)


class Connection:
    """A non-blocking socket and the state of its current request.

    Times are seconds of the monotonic clock: `since` is when the phase's clock was started,
    `deadline` when the connection is given up.
    """

    __slots__ = (
        "buffer", "closing", "deadline", "discarded", "events", "out", "peer", "phase", "reader",
        "request", "since", "sock", "token", "unread",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, peer: str, now: float, deadline: float) -> None:
        self.sock = sock
        self.peer = peer
        self.phase = Phase.HANDSHAKE if isinstance(sock, ssl.SSLSocket) else Phase.IDLE
        self.since = now
        self.deadline = deadline
        self.buffer = bytearray()
        self.out = b""
        self.request: Request | None = None
        self.reader: BodyReader | None = None
        self.closing = False  # whether this answer is the last one
        self.unread = False  # whether the request was answered before all of it was read
        self.discarded = 0  # bytes thrown away since
        self.events = 0  # what the selector watches for; 0 is nothing
        self.token = 0  # which request of this connection is being worked on

    @property
    def held(self) -> int:
        """Bytes of a request that is not complete."""
        return len(self.buffer) + (self.reader.held() if self.reader else 0)

    def handshake(self) -> int | None:
        """Go on with the TLS handshake.

        0 when it is done, else the selector event to wait for; None when it failed.
        """
        if not isinstance(self.sock, ssl.SSLSocket):
            return 0
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return 1  # selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            return 2  # selectors.EVENT_WRITE
        except OSError:
            return None
        return 0

    def receive(self) -> bytes | None:
        """What has arrived: None for nothing yet, empty when the client is gone."""
        try:
            return self.sock.recv(_RECEIVE)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError:
            return b""

    def has_more(self) -> bool:
        """Whether TLS holds decrypted bytes that the selector can't see."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def flush(self) -> bool | None:
        """Send what is left: whether all of it is gone, None when the client is."""
        try:
            while self.out:
                sent = self.sock.send(self.out)
                self.out = self.out[sent:]
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            return None
        return True

    def finish_sending(self) -> bool:
        """Tell the client that nothing more will come; False when it is gone already."""
        try:
            # TLS would wait for the peer's own goodbye: end the TCP stream beneath it.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the socket; never raises."""
        try:
            self.sock.close()
        except OSError:
            return


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
