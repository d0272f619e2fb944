"""The open connections: what was read of each, how long it may take, and who has to go first."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import selectors
    from collections.abc import Iterable, Iterator

    from myop_cdn.listener.http.peers import Peer
    from myop_cdn.listener.http.protocol import ServerLimits
    from myop_cdn.listener.http.request import BodyReader, Request

_RECEIVE = 64 * 1024  # bytes asked of the kernel at a time
_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Phase(Enum):
    """Where a connection stands."""

    HANDSHAKE = auto()  # TLS is being set up
    IDLE = auto()  # nothing of a request has been looked at
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


@dataclass(slots=True, eq=False)
class Connection:
    """A non-blocking socket and the state of its current request.

    peer: who sends. hop: the trusted proxy that this connection comes from, else None: then
    each request has a peer of its own. Times are seconds of the monotonic clock: `since` is
    when the phase's clock was started, `deadline` when the connection is given up.
    """

    sock: socket.socket
    peer: Peer
    hop: str | None
    since: float
    deadline: float
    phase: Phase = Phase.IDLE
    buffer: bytearray = field(default_factory=bytearray)
    out: bytes = b""
    request: Request | None = None
    reader: BodyReader | None = None
    closing: bool = False  # whether this answer is the last one
    unread: bool = False  # whether the request was answered before all of it was read
    discarded: int = 0  # bytes thrown away since
    events: int = 0  # what the selector watches for; 0 is nothing
    token: int = 0  # which request of this connection is being worked on
    counted: int = 0  # bytes of it that are in the sum of all connections

    @property
    def held(self) -> int:
        """Bytes of a request that is not complete."""
        return len(self.buffer) + (self.reader.held if self.reader else 0)

    def handshake(self) -> int | None:
        """Go on with the TLS handshake: 0 when it is done, else the selector event to wait for;
        None when it failed.
        """
        assert isinstance(self.sock, ssl.SSLSocket)
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
        except _NOT_NOW:
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
        except _NOT_NOW:
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


@dataclass(eq=False)
class Pool:
    """The connections, the selector that watches them, and what they use up together."""

    _selector: selectors.BaseSelector
    _limits: ServerLimits
    _members: set[Connection] = field(default_factory=set)
    _by_peer: dict[str, set[Connection]] = field(default_factory=dict)
    _held: int = 0

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._members))

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._members

    @property
    def is_crowded(self) -> bool:
        """Whether there are more than there may be."""
        return len(self._members) > self._limits.connections

    def add(self, connection: Connection, events: int) -> None:
        """Take a connection in and watch it."""
        self._members.add(connection)
        self._of_peer(connection).add(connection)
        self.watch(connection, events)

    def change_peer(self, connection: Connection, peer: Peer) -> None:
        """Count the connection to another peer from now on."""
        self._leave_peer(connection)
        connection.peer = peer
        self._of_peer(connection).add(connection)

    def peer_is_crowded(self, connection: Connection) -> bool:
        """Whether the peer of this connection has more of them than one may have."""
        most = self._limits.local if connection.peer.local else self._limits.each
        return connection.peer.key is not None and len(self._of_peer(connection)) > most

    def _of_peer(self, connection: Connection) -> set[Connection]:
        key = connection.peer.key
        return set() if key is None else self._by_peer.setdefault(key, set())

    def _leave_peer(self, connection: Connection) -> None:
        others = self._of_peer(connection)
        others.discard(connection)
        if not others and connection.peer.key is not None:
            del self._by_peer[connection.peer.key]

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
            self._leave_peer(connection)
            self._held -= connection.counted
            self.watch(connection, 0)
            with suppress(OSError):
                connection.sock.close()

    def most_stalled(self, before: float, like: Connection | None = None) -> Connection | None:
        """The one that has got nowhere for longest, and since `before`; None when all get on.

        One that has its answer goes whenever it had it. like: only of the others of this peer.
        """
        members: Iterable[Connection] = self._members
        if like is not None:
            members = self._of_peer(like) - {like}
        for phases in SHED_FIRST:
            stalled = (
                one
                for one in members
                if one.phase in phases and (one.since <= before or one.phase is Phase.LINGERING)
            )
            if (found := min(stalled, key=lambda one: one.since, default=None)) is not None:
                return found
        return None

    def account(self, connection: Connection) -> Connection | None:
        """Bring the sum of what is held up to date with this connection.

        Returns the one that holds most and has to go, where all hold more than they may. The
        others are looked at only then, and the sum falls by their largest share each time.
        """
        if connection not in self._members:
            return None
        held = connection.held
        self._held += held - connection.counted
        connection.counted = held
        if self._held <= self._limits.buffered:
            return None
        return max(self._members, key=lambda member: member.counted)
