"""Many connections on one thread: accepts, wakes, and gives up those that stall.

An event loop on the standard library's selectors. No client can make it wait: sockets are
non-blocking, each request has one deadline for all of it, and when there are too many
connections the ones that have got nowhere are closed first. What is said on a connection is
`protocol.py`'s, what is answered the `Handler`'s.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from myop_cdn.listener.http.connection import Connection, Phase, Pool
from myop_cdn.listener.http.peers import TrustedProxies
from myop_cdn.listener.http.protocol import Handler, HttpProtocol, ServerLimits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from myop_cdn.listener.http.response import Response

_READ = selectors.EVENT_READ
_TICK = 0.25  # seconds between two looks at the deadlines
_STALLED = 0.25  # seconds without getting anywhere that are not yet a stall
_ACCEPTS = 64  # connections taken in one go before the others get their turn


class Server:
    """The loop. `run` it on one thread; `post`, `drain` and `stop` may come from any.

    wall: seconds since the epoch.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        handler: Handler,
        limits: ServerLimits,
        tls: ssl.SSLContext | None = None,
        wall: Callable[[], float] = time.time,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._listeners = list(listeners)
        self._handler = handler
        self._limits = limits
        self._tls = tls
        self._clock = time.monotonic
        self._selector = selectors.DefaultSelector()
        self._proxies = proxies or TrustedProxies()
        self._pool = Pool(self._selector, limits)
        self._protocol = HttpProtocol(
            self._pool, handler, limits, self.post, self._clock, wall, self._proxies
        )
        self._posted: deque[tuple[Connection, int, Response]] = deque()
        self._wake_lock = threading.Lock()
        self._awake = False
        self._wakeup_writer, self._wakeup_reader = socket.socketpair()
        for end in (self._wakeup_writer, self._wakeup_reader):
            end.setblocking(False)
        self._accepting = False
        self._drain_seconds: float | None = None
        self._draining = False
        self._stopped = False
        self.beat = self._clock()  # when the loop last went round

    @property
    def wake_fd(self) -> int:
        """A descriptor that wakes the loop when a byte is written to it (for signals)."""
        return self._wakeup_writer.fileno()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._pool)

    def post(self, connection: Connection, token: int, answer: Response) -> None:
        """Response request `token` of `connection` at the next turn of the loop."""
        self._posted.append((connection, token, answer))
        self.wake()

    def wake(self) -> None:
        """Make the loop go round now."""
        with self._wake_lock:
            if self._awake:
                return
            self._awake = True
        with contextlib.suppress(OSError):
            self._wakeup_writer.send(b"\0")

    def drain(self, seconds: float) -> None:
        """Stop accepting, answer what has arrived, then let `run` return; within `seconds`.

        Takes no lock, so that a signal handler may call it; the loop sees it at its next turn.
        """
        self._drain_seconds = seconds
        with contextlib.suppress(OSError):
            self._wakeup_writer.send(b"\0")

    def stop(self) -> None:
        """Let `run` return now."""
        self._stopped = True
        self.wake()

    def run(self) -> None:
        """Serve until drained or stopped; closes every socket it was given."""
        self._selector.register(self._wakeup_reader, _READ)
        for listener in self._listeners:
            listener.setblocking(False)
        self._accept_again()
        next_tick = 0.0
        try:
            while not self._stopped and not (self._draining and not len(self._pool)):
                for key, events in self._selector.select(0 if self._protocol.has_more else _TICK):
                    self._event(key, events)
                self._protocol.go_on()
                while self._posted:
                    self._protocol.answer(*self._posted.popleft())
                self.beat = now = self._clock()
                if self._drain_seconds is not None and not self._draining:
                    self._begin_drain(now, self._drain_seconds)
                if now >= next_tick:
                    self._tick(now)
                    next_tick = now + _TICK
        finally:
            for connection in self._pool:
                self._pool.drop(connection)
            for sock in (*self._listeners, self._wakeup_writer, self._wakeup_reader):
                sock.close()
            self._selector.close()

    def _event(self, key: selectors.SelectorKey, events: int) -> None:
        connection = key.data
        if connection is not None:
            if connection in self._pool:  # else an earlier event of this turn closed it
                self._protocol.ready(connection, events)
        elif key.fileobj is self._wakeup_reader:
            with contextlib.suppress(OSError):
                while self._wakeup_reader.recv(4096):
                    pass
            # After the bytes, before the answers: a ring in between is not needed, one after
            # this is a new byte.
            with self._wake_lock:
                self._awake = False
        else:
            assert isinstance(key.fileobj, socket.socket)
            self._accept(key.fileobj)

    def _tick(self, now: float) -> None:
        for connection in self._pool:
            if connection.deadline <= now:
                self._protocol.expire(connection)
        if self._accepting or self._draining:
            return
        if not self._pool.is_crowded or self._shed("too many connections"):
            self._accept_again()

    def _begin_drain(self, now: float, seconds: float) -> None:
        for listener in self._listeners:
            while self._accept_one(listener):  # they connected before the end
                pass
        self._pause_accepting()
        for listener in self._listeners:
            listener.close()
        self._draining = True
        self._protocol.last_deadline = now + seconds
        for connection in self._pool:
            # What was sent before the end is here within moments; what was not is not owed.
            patience = {Phase.WAITING: seconds, Phase.IDLE: 0.5}.get(connection.phase, 2.0)
            connection.deadline = min(connection.deadline, now + min(patience, seconds))

    def _accept_again(self) -> None:
        for listener in self._listeners:
            self._selector.register(listener, _READ)
        self._accepting = True

    def _pause_accepting(self) -> None:
        if self._accepting:
            for listener in self._listeners:
                self._selector.unregister(listener)
            self._accepting = False

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTS):
            if not self._accepting or not self._accept_one(listener):
                return

    def _accept_one(self, listener: socket.socket) -> bool:
        """Take one connection from the backlog; False when there is none to be had now."""
        try:
            sock, address = listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:
            return True  # that client left while it waited
        except OSError:
            # No descriptors left: make room, or else leave the client in the backlog.
            if not self._shed("out of file descriptors"):
                self._pause_accepting()
            return False
        try:
            sock.setblocking(False)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError:
            sock.close()
            return True
        now = self._clock()
        peer, hop = self._proxies.connected(address)
        phase = Phase.IDLE if self._tls is None else Phase.HANDSHAKE
        connection = Connection(sock, peer, hop, now, now + self._limits.request, phase)
        self._pool.add(connection, _READ)
        if self._pool.peer_is_crowded(connection):
            # A stalled one goes, however new, so that who floods doesn't keep itself in.
            stalled = self._pool.most_stalled(now, like=connection)
            self._refuse(stalled or connection, "too many connections of this peer")
        if connection in self._pool:
            self._protocol.ready(connection, _READ)  # the request is often there already
        if self._pool.is_crowded and not self._shed("too many connections"):
            self._pause_accepting()  # none of them stalls: the backlog waits
        return True

    def _shed(self, why: str) -> bool:
        """Close the connection that has got nowhere for longest; False when all get on."""
        stalled = self._pool.most_stalled(self._clock() - _STALLED)
        if stalled is None:
            return False
        self._refuse(stalled, why)
        return True

    def _refuse(self, connection: Connection, why: str) -> None:
        self._handler.refused(connection.peer.shown, 0, why)
        self._pool.drop(connection)
