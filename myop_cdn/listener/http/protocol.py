"""HTTP on one connection: requests in, answers out, and a decent goodbye.

Requests of one connection are taken strictly one after another, so answers keep their order
(RFC 9112, 9.3.2), and one in each turn of the loop, so that nobody's pipeline holds up the
others. A request that is refused is the last one on its connection. Nothing here waits: each
call does what can be done now.
"""

from __future__ import annotations

import selectors
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from myop_cdn.listener.http.connection import Connection, Phase
from myop_cdn.listener.http.peers import Allowance, Peer, TrustedProxies
from myop_cdn.listener.http.request import HeadLimits, HttpError, Request, take_head
from myop_cdn.listener.http.response import CONTINUE, Responder, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from myop_cdn.listener.http.connection import Pool
    from myop_cdn.listener.http.request import BodyReader

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_DISCARDED = 64 * 1024 * 1024  # bytes read for nothing before a client is hung up on


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What clients may use up. Times in seconds, sizes in bytes.

    each: connections of one peer; local: of one on this machine, where all may come through
    a proxy. refusals: refused requests of one peer that are explained to
    it, at once and then per second; for what is over that it gets a 429 and is cut off.
    """

    connections: int = 1024
    each: int = 256
    local: int = 1024
    refusals: tuple[float, float] = (100, 10)
    request: float = 10.0  # the sender waits 10 s: what takes longer is of no use to it
    work: float | None = None  # for the answer to a whole request; None: what is left of these
    idle: float = 15.0
    linger: float = 4.0
    buffered: int = 64 * 1024 * 1024  # of all requests that are not complete
    head: HeadLimits = field(default_factory=HeadLimits)


class Handler(Protocol):
    """What a server is for. Called on the loop's thread: must not wait for anything."""

    def head(self, request: Request, peer: str) -> Response | BodyReader:
        """The checks that need no body: a refusal, or how the body is to be read.

        Raises HttpError where the framing of the request is at fault.
        """

    def body(self, responder: Responder, request: Request, body: bytes) -> Response | None:
        """The answer, or None when `responder` is going to be answered later."""

    def refused(self, peer: str, status: int, reason: str) -> None:
        """The server itself refused something; status 0: closed without an answer."""


@dataclass(eq=False)
class HttpProtocol:
    """What is said on the connections of a pool.

    post: takes answers from other threads. clock: monotonic seconds. wall: seconds since the
    epoch, for the answers' date. last_deadline: when draining: no answer waits longer.
    """

    _pool: Pool
    _handler: Handler
    _limits: ServerLimits
    _post: Callable[[Connection, int, Response], None]
    _clock: Callable[[], float]
    _wall: Callable[[], float]
    _proxies: TrustedProxies
    _unfinished: deque[Connection] = field(default_factory=deque)  # no event will announce more
    last_deadline: float | None = None

    def __post_init__(self) -> None:
        self._allowance = Allowance(*self._limits.refusals)

    def ready(self, connection: Connection, events: int) -> None:
        """The selector saw something on this connection."""
        if connection.phase is Phase.HANDSHAKE:
            self._shake_hands(connection)
        elif connection.phase is Phase.WAITING:
            # Pipelined bytes or a goodbye: neither is looked at before the answer.
            self._pool.watch(connection, 0)
        elif connection.phase is Phase.WRITING:
            if events & _WRITE:
                self._flush(connection)
        else:
            self._receive(connection)

    @property
    def has_more(self) -> bool:
        """Whether `go_on` has something to do."""
        return bool(self._unfinished)

    def go_on(self) -> None:
        """Give each connection with bytes that nothing will announce again its next turn."""
        for _ in range(len(self._unfinished)):
            connection = self._unfinished.popleft()
            if connection in self._pool and connection.phase in (Phase.IDLE, Phase.READING):
                if connection.buffer and connection.phase is Phase.IDLE:
                    self._advance(connection)
                else:
                    self._receive(connection)

    def answer(self, connection: Connection, token: int, answer: Response) -> None:
        """Send the answer to request `token`."""
        awaited = connection.phase is Phase.WAITING and connection.token == token
        if awaited and connection in self._pool:
            self._answer(connection, answer)

    def expire(self, connection: Connection) -> None:
        """Its deadline is over."""
        if connection.phase is Phase.READING:
            self._last_words(connection, 408, "the request took too long")
        elif connection.phase is Phase.WAITING:
            self._last_words(connection, 503, "there was no answer in time")
        else:
            if connection.phase is Phase.HANDSHAKE:
                self._handler.refused(connection.peer.shown, 0, "the handshake took too long")
            self._pool.drop(connection)

    # -- reading

    def _shake_hands(self, connection: Connection) -> None:
        wanted = connection.handshake()
        if wanted is None:
            self._handler.refused(connection.peer.shown, 0, "the handshake failed")
            self._pool.drop(connection)
        elif wanted:
            self._pool.watch(connection, wanted)
        else:
            connection.phase = Phase.IDLE
            self._pool.watch(connection, _READ)
            self._receive(connection)

    def _receive(self, connection: Connection) -> None:
        """Take what the kernel gives at once; one request of it is worked on."""
        data = connection.receive()
        if data is None:
            return
        if not data:
            self._pool.drop(connection)
        elif connection.phase is Phase.LINGERING:
            connection.discarded += len(data)
            if connection.discarded > _DISCARDED:
                self._pool.drop(connection)
        else:
            connection.buffer += data
            self._advance(connection)

    def _advance(self, connection: Connection) -> None:
        """Work on what has been read, to the end of one request at most."""
        if connection.phase is Phase.IDLE:
            connection.phase = Phase.READING
            self._start_clock(connection, self._limits.request)
        try:
            if not self._step(connection):
                self._pool.watch(connection, _READ)
                if connection.has_more():
                    self._unfinished.append(connection)
        except HttpError as error:
            self._handler.refused(connection.peer.shown, error.status, error.reason)
            connection.unread = True
            self._answer(connection, Response.error(error.status, error.reason))
        except Exception as error:  # a defect in the handler ends one connection, not the loop
            self._handler.refused(connection.peer.shown, 500, f"unexpected {type(error).__name__}")
            connection.unread = True
            self._answer(connection, Response.error(500, "something is wrong here"))
        while (largest := self._pool.account(connection)) is not None:
            self._last_words(largest, 503, "too many large requests at once")

    def _step(self, connection: Connection) -> bool:
        """Take the next part of a request; False when it has not arrived yet."""
        request = connection.request
        if request is None:
            request = connection.request = take_head(connection.buffer, self._limits.head)
            if request is None:
                return False
            if connection.hop is not None:
                self._pool.change_peer(connection, self._proxies.sender(request, connection.hop))
                if self._pool.peer_is_crowded(connection):
                    raise HttpError(429, "too many requests of this peer at once")
            decision = self._handler.head(request, connection.peer.shown)
            if isinstance(decision, Response):
                connection.unread = _announces_body(request)
                self._answer(connection, decision)
                return True
            connection.reader = decision
            self._meet_expectation(connection, request)
        assert connection.reader is not None
        body = connection.reader.take(connection.buffer)
        if body is None:
            return False
        connection.phase = Phase.WAITING
        if self._limits.work is not None:
            self._start_clock(connection, self._limits.work)
        connection.token += 1
        post = partial(self._post, connection, connection.token)
        answer = self._handler.body(Responder(connection.peer.shown, post), request, body)
        if answer is not None:
            self._answer(connection, answer)
        return True

    def _meet_expectation(self, connection: Connection, request: Request) -> None:
        # RFC 9110, 10.1.1: only for HTTP/1.1, and not once the body is on its way.
        expected = request.values("expect")
        if not expected or not request.minor:
            return
        if len(expected) > 1 or expected[0].lower() != b"100-continue":
            raise HttpError(417, "no such expectation can be met")
        if not connection.buffer:
            connection.out = CONTINUE
            connection.flush()  # a client that can't take 25 bytes won't get an answer either
            connection.out = b""

    # -- answering

    def _answer(self, connection: Connection, answer: Response) -> None:
        request, key = connection.request, connection.peer.key
        if 400 <= answer.status < 500 and key and not self._allowance.take(key, self._clock()):
            self._last_words(connection, 429, "too many refused requests")
            return
        connection.closing = (
            answer.status >= 400
            or connection.unread
            or self.last_deadline is not None
            or request is None
            or request.wants_close
        )
        connection.out = answer.encode(
            close=connection.closing,
            head_only=request is not None and request.method == "HEAD",
            now=self._wall(),
        )
        connection.request = connection.reader = None
        connection.phase = Phase.WRITING
        self._start_clock(connection, self._limits.request)
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        done = connection.flush()
        if done is None:
            self._pool.drop(connection)
        elif not done:
            self._pool.watch(connection, _WRITE)
        elif not connection.closing:
            self._await_next(connection)
        elif connection.unread or connection.buffer:
            self._linger(connection)
        else:
            self._pool.drop(connection)

    def _await_next(self, connection: Connection) -> None:
        connection.phase = Phase.IDLE
        self._start_clock(connection, self._limits.idle)
        if connection.hop is not None:  # the next request may be somebody else's
            self._pool.change_peer(connection, Peer(connection.hop, None))
        if connection.buffer or connection.has_more():
            # What was pipelined waits for the next turn, and the kernel keeps the rest.
            self._pool.watch(connection, 0)
            self._unfinished.append(connection)
        else:
            self._pool.watch(connection, _READ)

    def _linger(self, connection: Connection) -> None:
        # Closing a socket with unread bytes resets it, and the answer would be lost with it
        # (RFC 9112, 9.6): end our side, then read on for a while.
        connection.buffer.clear()
        if not connection.finish_sending():
            self._pool.drop(connection)
            return
        connection.phase = Phase.LINGERING
        self._start_clock(connection, self._limits.linger)
        self._pool.watch(connection, _READ)

    def _last_words(self, connection: Connection, status: int, reason: str) -> None:
        """Response if the client takes it at once, then close."""
        self._handler.refused(connection.peer.shown, status, reason)
        answer = Response.error(status, reason)
        connection.out = answer.encode(close=True, now=self._wall())
        connection.flush()
        self._pool.drop(connection)

    def _start_clock(self, connection: Connection, seconds: float) -> None:
        connection.since = self._clock()
        connection.deadline = connection.since + seconds
        if self.last_deadline is not None:
            connection.deadline = min(connection.deadline, self.last_deadline)


def _announces_body(request: Request) -> bool:
    lengths = request.values("content-length")
    return bool(request.values("transfer-encoding")) or lengths not in ([], [b"0"])
