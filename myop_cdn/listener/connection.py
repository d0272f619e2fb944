"""One client's connection: its socket, what was read of it, and how long it may take."""

from __future__ import annotations

import socket
import ssl
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from myop_cdn.listener.body import BodyReader
    from myop_cdn.listener.http import Request

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
