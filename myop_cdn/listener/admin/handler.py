"""The endpoints for whoever operates the listener; on an address of their own."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from myop_cdn.errors import ListenerError, MyopCdnError, unexpected
from myop_cdn.listener import status
from myop_cdn.listener.admin import actions, page
from myop_cdn.listener.admin.actions import Actions
from myop_cdn.listener.admin.desk import DeskLimits, DeskQueue, TaskThread
from myop_cdn.listener.admin.page import PageHandler, refusal
from myop_cdn.listener.http.protocol import ServerLimits
from myop_cdn.listener.http.request import LengthBody, body_reader
from myop_cdn.listener.http.response import Response
from myop_cdn.listener.http.server import Server
from myop_cdn.listener.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.listener import Log
    from myop_cdn.listener.admin.desk import Desk
    from myop_cdn.listener.admin.session import Sessions
    from myop_cdn.listener.http.request import BodyReader, Request
    from myop_cdn.listener.http.response import Responder
    from myop_cdn.listener.queue.base import Overview
    from myop_cdn.listener.service import Listener

_PATHS = ("/healthz", "/readyz", "/metrics", "/status")
_STUCK = 10.0  # seconds without a turn of the loop, or of an idle worker
_PAGE = 2000  # documents that are live in one answer
_QUEUED = 50  # tasks that wait for a destination
_PROBE = 5.0  # seconds that a commit may take before the journal counts as not writable
_LIMITS = ServerLimits(connections=128, request=10.0, idle=60.0, work=DeskLimits().look + 5)


class Admin:
    """Answers `/healthz`, `/readyz`, `/metrics` and `/status` about `listener`; serves the page.

    names: by which it is asked, besides localhost and any address. desk: what the page has
    destinations asked by; acting: and changed by, on behalf of those with `sessions`. None where
    that can't be done.
    On threads of its own: a slow answer here delays no delivery, and `/healthz` waits for none.
    """

    def __init__(
        self,
        listener: Listener,
        sockets: list[socket.socket],
        log: Log,
        wall: Callable[[], float] = time.time,
        names: Sequence[str] = (),
        desk: Desk | None = None,
        sessions: Sessions | None = None,
        acting: Desk | None = None,
    ) -> None:
        self._listener = listener
        self._log = log
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self._proxied = {name for name in self._names if "." in name and not _is_address(name)}
        self._wall = wall
        self._server = Server(sockets, self, _LIMITS, wall=wall)
        self._thread = threading.Thread(target=self._server.run, name="admin", daemon=True)
        self._since = wall()
        # Each for itself: a probe commits, and may have to wait for the journal longest.
        self._probes = TaskThread("admin probes", log, _LIMITS.connections)
        self._asking: deque[Responder] = deque()  # whether it is ready
        self._answers = TaskThread("admin answers", log, _LIMITS.connections)
        looks = DeskQueue(desk, "page", log, _QUEUED) if desk else None
        acts = DeskQueue(acting, "page actions", log, _QUEUED) if acting else None
        self._threads = [one for one in (self._probes, self._answers, looks, acts) if one]
        self._page = PageHandler(listener, looks, log, self._since, self._answers)
        self._actions = Actions(listener, acts, sessions, log, wall)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is being answered is cut off."""
        for thread in self._threads:
            thread.stop()
        self._server.stop()
        self._thread.join(2)

    def head(self, request: Request, peer: str) -> Response | BodyReader:  # noqa: ARG002 - Handler
        """Path, method, framing."""
        if any(not self._is_ours(host) for host in request.values("host")):
            return Response.error(421, "asked by an unknown name; --admin-host tells which to take")
        if (refused := refusal(request)) is not None:
            return refused
        if request.path in actions.POST_PATHS:
            return self._posted(request)
        if request.path not in (*_PATHS, *page.PATHS, *actions.PATHS):
            return Response.error(404, "there is nothing here")
        if request.method not in ("GET", "HEAD"):
            return Response.error(405, "only GET", ("Allow", "GET, HEAD"))
        return body_reader(request, 0) or LengthBody(0)

    def body(self, responder: Responder, request: Request, body: bytes) -> Response | None:
        """The answer, at once where it needs nobody else."""
        if request.path == "/healthz":
            return self._health()

        def work() -> None:
            if (answer := self._answered(responder, request, body)) is not None:
                responder.answer(answer)

        if request.path == "/readyz":
            self._asking.append(responder)
            room = self._probes.put(self._probe)
        else:
            room = self._answers.put(work)
        return None if room else Response.error(503, "too much is asked for at once")

    def _probe(self) -> None:
        """One look for all who ask meanwhile: it may take longer than they wait."""
        if asking := [self._asking.popleft() for _ in range(len(self._asking))]:
            answer = self._ready()
            for responder in asking:
                responder.answer(answer)

    def _answered(self, responder: Responder, request: Request, body: bytes) -> Response | None:
        try:
            if request.path in (*actions.PATHS, *actions.POST_PATHS):
                return self._actions.answer(request, responder.peer, body)
            if request.path in page.PATHS:
                return self._page.answer(responder, request)
            return self._metrics() if request.path == "/metrics" else self._status(request.query)
        except ListenerError as error:
            return Response.of(503, {"status": "failed", "error": str(error)})
        except MyopCdnError as error:
            return Response.error(400, error.message)
        except Exception as error:  # a defect: who asked is to be answered all the same
            self._log.warning(
                "an answer failed", path=request.path, error=unexpected(error).message
            )
            return Response.error(500, "something is wrong here")

    def refused(self, peer: str, status: int, reason: str) -> None:
        """The server refused something."""
        self._log.debug("refused at the admin address", peer=peer, status=status, reason=reason)

    def _posted(self, request: Request) -> Response | BodyReader:
        """What changes something: by no page but our own, and by no form at all."""
        if request.method != "POST":
            return Response.error(405, "only POST", ("Allow", "POST"))
        kinds = [
            value.partition(b";")[0].strip().lower() for value in request.values("content-type")
        ]
        if kinds != [b"application/json"]:
            return Response.error(415, "only application/json")
        hosts = request.values("host")
        if any(not self._is_own_page(origin, hosts) for origin in request.values("origin")):
            return Response.error(403, "asked by a page of another site")
        return body_reader(request, actions.MOST) or LengthBody(0)

    def _is_own_page(self, origin: bytes, hosts: list[bytes]) -> bool:
        """Whether a page of this origin is one that this server gave out: of the name and the port
        that it asks; or, where a proxy asks by a name of its own, of a name that was given.
        """
        try:
            found = urlsplit(origin.decode("latin-1"))
            if found.netloc.encode("latin-1") in hosts:
                return True
            return found.port is None and found.hostname in self._proxied
        except ValueError:
            return False

    def _is_ours(self, host: bytes) -> bool:
        """Whether a Host header names this server.

        A page on the internet can have its own name point at an address in here and read what
        it gets (DNS rebinding); with the address itself in place of a name it can't.
        """
        name = host.decode("latin-1").lower()
        name = name[: name.rfind(":")] if re.search(r":\d*$", name) else name
        if _is_address(name):
            return True
        name = name.rstrip(".")
        return name in self._names or name.endswith(".localhost")

    def _problems(self) -> list[str]:
        now = time.monotonic()
        problems = []
        if now - self._listener.server.beat > _STUCK:
            problems.append("the loop is stuck")
        for worker in self._listener.workers:
            if not worker.alive():
                problems.append(f"the worker of {worker.lane.name} has ended")
            elif worker.now.work is None and now - worker.now.beat > _STUCK:
                problems.append(f"the worker of {worker.lane.name} is stuck")
        return problems

    def _journal(self) -> str:
        queue = self._listener.queue
        return queue.trouble or queue.notice or "ok"

    def _health(self) -> Response:
        return _verdict(self._problems(), {"journal": self._journal()})

    def _ready(self) -> Response:
        """503 is for what this process can't do: a destination that fails is told of, but a
        sender that is sent away would lose its delivery.
        """
        problems = self._problems()
        troubles: list[str] = []
        now, age, destinations = self._wall(), None, []
        try:
            self._listener.queue.probe(_PROBE)
            overview = self._listener.queue.overview()
            success = status.last_success(overview)
            age = None if success is None else round(max(0.0, now - success), 1)
            destinations = [status.destination_json(lane) for lane in overview.lanes]
            troubles = [words for lane in overview.lanes for words in status.troubles(lane)]
            if notice := self._listener.queue.notice:
                troubles.append(notice)
        except ListenerError as error:
            problems.append(error.message)
        if self._listener.draining:
            problems.append("the listener is ending")
        more = {
            "troubles": troubles,
            "journal": self._journal(),
            "lastSuccessSeconds": age,
            "destinations": destinations,
        }
        return _verdict(problems, more)

    def _metrics(self) -> Response:
        listener = self._listener
        gauges = {
            "connections": float(listener.server.connections),
            "journal_writable": float(listener.queue.trouble is None),
            "journal_replaced": float(listener.queue.notice is not None),
            "running": float(any(worker.now.work is not None for worker in listener.workers)),
        }
        overview: Overview | None = None
        with suppress(ListenerError):
            overview = listener.queue.overview()
        return Response(200, listener.metrics.page(overview, self._wall(), gauges), CONTENT_TYPE)

    def _status(self, query: str) -> Response:
        now, queue = self._wall(), self._listener.queue
        page = queue.page(_PAGE + 1, _after(query))
        more = None
        if len(page) > _PAGE:
            lane, last = page[_PAGE - 1]
            after = f"{last.ref.component_id}/{last.ref.environment}/{lane}"
            more = f"/status?after={quote(after)}"
        return Response.of(
            200,
            {
                "now": status.iso(now),
                "since": status.iso(self._since),
                "draining": self._listener.draining,
                "journal": self._journal(),
                "running": self._running(),
                **status.summary(queue.overview(), now),
                "deliveries": [status.delivery_json(found) for found in queue.deliveries(50)],
                "runs": [status.run_json(run) for run in queue.runs(20)],
                "live": [status.live_json(*found) for found in page[:_PAGE]],
                "liveNext": more,
            },
        )

    def _running(self) -> dict[str, Any] | None:
        """The run that has been going on for longest, and how many there are."""
        found = [
            (now.since, worker.lane.name, status.running_json(now), len(now.work.deliveries))
            for worker in self._listener.workers
            if (now := worker.now).work is not None
        ]
        if not found:
            return None
        _, name, running, deliveries = min(found)
        more = {"deliveries": deliveries, "destination": name, "runs": len(found)}
        return {**(running or {}), **more}


def _is_address(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _after(query: str) -> tuple[str, str, str] | None:
    """Where a page of what is live begins: after `component/environment/destination`."""
    given = parse_qs(query).get("after", [""])[0]
    component, _, rest = given.partition("/")
    environment, _, lane = rest.partition("/")
    return (component, environment, lane) if component else None


def is_public(sock: socket.socket) -> bool:
    """Whether `sock` listens for other networks than this machine's and its neighbours'."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    address = ip_address(sock.getsockname()[0].partition("%")[0])
    return address.is_unspecified or not address.is_private


def _verdict(problems: list[str], more: dict[str, Any]) -> Response:
    found = "failed" if problems else "degraded" if more.get("troubles") else "ok"
    state = {"status": found, "problems": problems, **more}
    return Response.of(503 if problems else 200, state)
