"""What one client may ask of the others: a turn each, counted in steps, not in seconds."""

from __future__ import annotations

import selectors
import socket
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.listener.http.connection import Connection, Phase, Pool
from myop_cdn.listener.http.peers import Allowance, Peer, TrustedProxies
from myop_cdn.listener.http.protocol import HttpProtocol, ServerLimits
from myop_cdn.listener.http.request import ChunkedBody, HttpError, LengthBody, Request
from myop_cdn.listener.http.response import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myop_cdn.listener.http.request import BodyReader
    from myop_cdn.listener.http.response import Responder

GET = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
BAD = b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n"
LATER = GET.replace(b"/good", b"/later")


class Counted(Connection):
    """Counts how often anybody asked what it holds."""

    asked = 0

    @property
    def held(self) -> int:
        Counted.asked += 1
        return super().held


class Bench:
    """A protocol without a loop: connections are driven by hand. It is the handler, too."""

    def __init__(self, limits: ServerLimits | None = None, proxies: tuple[str, ...] = ()) -> None:
        limits = limits or ServerLimits()
        self.heads: list[tuple[str, str]] = []
        self.refusals: list[tuple[int, str]] = []
        self.selector = selectors.DefaultSelector()
        self.pool = Pool(self.selector, limits)
        self.now = 0.0
        self.protocol = HttpProtocol(
            self.pool, self, limits, self.post, lambda: self.now, lambda: 0, TrustedProxies(proxies)
        )
        self.far: list[socket.socket] = []

    def post(self, connection: Connection, token: int, answer: Response) -> None:
        raise AssertionError("everything is answered at once here")

    def head(self, request: Request, peer: str) -> Response | BodyReader:
        self.heads.append((request.path, peer))
        if request.path == "/bad":
            return Response.error(404, "there is nothing here")
        return LengthBody(int((request.values("content-length") or [b"0"])[0]))

    def body(self, responder: Responder, request: Request, body: bytes) -> Response | None:
        return None if request.path == "/later" else Response.of(200, {})

    def refused(self, peer: str, status: int, reason: str) -> None:
        self.refusals.append((status, reason))

    def connect(self, peer: Peer | None = None, hop: str | None = None) -> Counted:
        near, far = socket.socketpair()
        near.setblocking(False)
        self.far.append(far)
        connection = Counted(near, peer or Peer("1.2.3.4:5", "1.2.3.4"), hop, 0.0, 10.0)
        self.pool.add(connection, selectors.EVENT_READ)
        return connection

    def close(self) -> None:
        for connection in self.pool:
            self.pool.drop(connection)
        for far in self.far:
            far.close()
        self.selector.close()


@pytest.fixture
def make_bench() -> Iterator[Any]:
    made: list[Bench] = []

    def make(*args: Any, **more: Any) -> Bench:
        made.append(Bench(*args, **more))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def test_of_a_pipeline_one_request_is_worked_on_in_each_turn(make_bench: Any) -> None:
    bench = make_bench()
    connection = bench.connect()
    bench.far[0].sendall(GET * 5)
    bench.protocol.ready(connection, selectors.EVENT_READ)
    assert len(bench.heads) == 1
    for turn in range(2, 6):
        assert bench.protocol.has_more
        bench.protocol.go_on()
        assert len(bench.heads) == turn
    assert not bench.protocol.has_more
    assert bench.far[0].recv(65536).count(b"200 OK") == 5


def test_what_is_pipelined_behind_a_turn_stays_in_the_kernel(make_bench: Any) -> None:
    """Or else a client that pipelines fast has ever more of its bytes in memory."""
    bench = make_bench()
    connection = bench.connect()
    bench.far[0].sendall(GET * 3)
    bench.protocol.ready(connection, selectors.EVENT_READ)
    assert connection.events == 0
    bench.protocol.go_on()
    bench.protocol.go_on()
    assert connection.events == selectors.EVENT_READ


@pytest.mark.parametrize(("work", "deadline"), [(None, 10.0), (65.0, 68.0)])
def test_an_answer_may_take_longer_than_its_request_where_the_server_is_made_so(
    make_bench: Any, work: float | None, deadline: float
) -> None:
    bench = make_bench(ServerLimits(request=10.0, work=work))
    connection = bench.connect()
    bench.far[0].sendall(LATER[:9])
    bench.protocol.ready(connection, selectors.EVENT_READ)
    bench.now = 3.0
    bench.far[0].sendall(LATER[9:])
    bench.protocol.ready(connection, selectors.EVENT_READ)
    assert (connection.phase, connection.deadline) == (Phase.WAITING, deadline)
    bench.protocol.expire(connection)
    assert b"503 Service Unavailable" in bench.far[0].recv(65536)


def test_nothing_behind_a_refused_request_is_looked_at(make_bench: Any) -> None:
    bench = make_bench()
    connection = bench.connect()
    bench.far[0].sendall(BAD + GET * 5)
    bench.protocol.ready(connection, selectors.EVENT_READ)
    assert connection.phase is Phase.LINGERING
    assert not bench.protocol.has_more
    bench.far[0].sendall(GET)
    bench.protocol.ready(connection, selectors.EVENT_READ)
    assert bench.heads == [("/bad", "1.2.3.4:5")]


def test_who_is_refused_too_often_is_cut_off_with_429_until_time_has_passed(
    make_bench: Any,
) -> None:
    bench = make_bench(ServerLimits(refusals=(2, 1)))
    for expected in (b"404", b"404", b"429", b"429"):
        connection = bench.connect()
        bench.far[-1].sendall(BAD)
        bench.protocol.ready(connection, selectors.EVENT_READ)
        assert bench.far[-1].recv(65536).split()[1] == expected
        assert (connection in bench.pool) is False or expected == b"404"
    other = bench.connect(Peer("5.6.7.8:1", "5.6.7.8"))
    bench.far[-1].sendall(BAD)
    bench.protocol.ready(other, selectors.EVENT_READ)
    assert b" 404 " in bench.far[-1].recv(65536)
    bench.now = 1.0
    connection = bench.connect()
    bench.far[-1].sendall(BAD)
    bench.protocol.ready(connection, selectors.EVENT_READ)
    assert b" 404 " in bench.far[-1].recv(65536)


def test_a_good_request_of_who_is_refused_too_often_is_taken_all_the_same(
    make_bench: Any,
) -> None:
    """It may come through the same unknown proxy, and its sender sends it once."""
    bench = make_bench(ServerLimits(refusals=(0, 0)))
    connection = bench.connect()
    bench.far[0].sendall(GET)
    bench.protocol.ready(connection, selectors.EVENT_READ)
    assert b"200 OK" in bench.far[0].recv(65536)


def test_refusals_are_counted_for_so_many_peers_and_no_more() -> None:
    allowance = Allowance(1, 0)
    assert allowance.take("first", 0)
    assert not allowance.take("first", 0)
    for number in range(20_000):
        allowance.take(str(number), 0)
    assert len(allowance._left) <= 10_000


def test_a_packet_is_accounted_for_without_a_look_at_the_other_connections(
    make_bench: Any,
) -> None:
    bench = make_bench()
    head = b"POST /good HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    connections = [bench.connect() for _ in range(50)]
    for connection, far in zip(connections, bench.far, strict=True):
        far.sendall(head + b"x" * 70_000)
        bench.protocol.ready(connection, selectors.EVENT_READ)
    before = Counted.asked
    for _ in range(100):
        bench.far[0].sendall(b"x" * 100)
        bench.protocol.ready(connections[0], selectors.EVENT_READ)
    assert Counted.asked - before <= 200


def test_when_all_hold_too_much_those_that_hold_most_go(make_bench: Any) -> None:
    bench = make_bench(ServerLimits(buffered=20_000))
    head = b"POST /good HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    connections = [bench.connect() for _ in range(4)]
    for number, connection in enumerate(connections):
        bench.far[number].sendall(head + b"x" * (number + 1) * 3000)
        bench.protocol.ready(connection, selectors.EVENT_READ)
    assert [connection in bench.pool for connection in connections] == [True, True, True, False]
    assert (503, "too many large requests at once") in bench.refusals
    bench.pool.drop(connections[2])
    bench.far[0].sendall(b"x" * 9000)
    bench.protocol.ready(connections[0], selectors.EVENT_READ)
    assert connections[0] in bench.pool


def feed(body: ChunkedBody, chunk: bytes, times: int) -> None:
    for _ in range(times):
        body.take(bytearray(chunk))


@pytest.mark.parametrize("size", [1, 2, 8])
def test_a_body_in_tiny_chunks_is_refused_before_it_costs_much(size: int) -> None:
    body = ChunkedBody(1 << 20)
    chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
    with pytest.raises(HttpError, match="413"):
        feed(body, chunk, 4500)


def test_chunks_as_programs_send_them_are_taken() -> None:
    for size in (64, 1000, 8192):
        body = ChunkedBody(1 << 20)
        wire = bytearray(b"%x\r\n%b\r\n" % (size, b"x" * size) * ((1 << 20) // size))
        assert body.take(wire) is None
        assert len(body.take(bytearray(b"0\r\n\r\n")) or b"") == (1 << 20) // size * size


def test_a_peer_behind_a_trusted_proxy_has_its_own_limits(make_bench: Any) -> None:
    """The proxy's connections are as many as it likes; each request counts to its sender."""
    bench = make_bench(ServerLimits(each=1), ("10.0.0.1",))
    proxy = Peer("10.0.0.1:99", None)
    part = b"POST /good HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %b\r\nContent-Length: 9\r\n\r\n"
    statuses = []
    for sender in (b"1.1.1.1", b"1.1.1.1", b"2.2.2.2"):
        connection = bench.connect(proxy, "10.0.0.1")
        bench.far[-1].sendall(part % sender)
        bench.protocol.ready(connection, selectors.EVENT_READ)
        statuses.append(connection.phase)
    assert statuses == [Phase.READING, Phase.LINGERING, Phase.READING]
    assert bench.refusals == [(429, "too many requests of this peer at once")]
    assert [peer for _, peer in bench.heads] == ["1.1.1.1", "2.2.2.2"]


def test_a_proxy_s_connection_is_nobody_s_between_two_requests(make_bench: Any) -> None:
    bench = make_bench(ServerLimits(each=1), ("10.0.0.1",))
    get = b"GET /good HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n"
    for _ in range(3):
        connection = bench.connect(Peer("10.0.0.1:99", None), "10.0.0.1")
        bench.far[-1].sendall(get)
        bench.protocol.ready(connection, selectors.EVENT_READ)
        assert b"200 OK" in bench.far[-1].recv(65536)
    assert bench.refusals == []
