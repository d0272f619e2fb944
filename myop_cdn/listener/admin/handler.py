"""The endpoints for whoever operates the listener; on an address of their own."""

from __future__ import annotations

import re
import socket
import sqlite3
import threading
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from myop_cdn.errors import ListenerError
from myop_cdn.listener import status
from myop_cdn.listener.admin import prometheus
from myop_cdn.listener.http.protocol import ServerLimits
from myop_cdn.listener.http.request import LengthBody, body_reader
from myop_cdn.listener.http.response import Response
from myop_cdn.listener.http.server import Server
from myop_cdn.listener.queue import runs
from myop_cdn.listener.queue.journal import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.listener import Log
    from myop_cdn.listener.http.protocol import Responder
    from myop_cdn.listener.http.request import BodyReader, Request
    from myop_cdn.listener.service import Listener

_STUCK = 10.0  # seconds without a turn of the loop, or of an idle worker
_PROBE = 5.0  # seconds that a commit may take before the journal counts as not writable
_LIMITS = ServerLimits(connections=64, request=10.0, idle=60.0)


class Admin:
    """Answers `/healthz`, `/readyz`, `/metrics` and `/status` about `listener`.

    names: by which it is asked, besides localhost and any address.
    Runs on a thread of its own, so that a slow answer here delays no delivery.
    """

    def __init__(
        self,
        listener: Listener,
        sockets: list[socket.socket],
        log: Log,
        wall: Callable[[], float] = time.time,
        names: Sequence[str] = (),
    ) -> None:
        self._listener = listener
        self._log = log
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self._wall = wall
        self._server = Server(sockets, self, _LIMITS, wall=wall)
        self._thread = threading.Thread(target=self._server.run, name="admin", daemon=True)
        self._since = wall()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is being answered is cut off."""
        self._server.stop()
        self._thread.join(2)

    def head(self, request: Request, peer: str) -> Response | BodyReader:  # noqa: ARG002 - Handler
        """Path, method, framing."""
        if any(not self._is_ours(host) for host in request.values("host")):
            return Response.error(421, "asked by an unknown name; --admin-host tells which to take")
        if request.path not in ("/healthz", "/readyz", "/metrics", "/status"):
            return Response.error(404, "there is nothing here")
        if request.method not in ("GET", "HEAD"):
            return Response.error(405, "only GET", ("Allow", "GET, HEAD"))
        return body_reader(request, 0) or LengthBody(0)

    def body(self, responder: Responder, request: Request, body: bytes) -> Response | None:  # noqa: ARG002 - Handler
        """The answer."""
        try:
            if request.path == "/healthz":
                return self._health()
            if request.path == "/readyz":
                return self._ready()
            if request.path == "/metrics":
                return self._metrics()
            return self._status()
        except (ListenerError, sqlite3.Error) as error:
            return Response.of(503, {"status": "failed", "error": str(error)})

    def refused(self, peer: str, status: int, reason: str) -> None:
        """The server refused something."""
        self._log.debug("refused at the admin address", peer=peer, status=status, reason=reason)

    def _is_ours(self, host: bytes) -> bool:
        """Whether a Host header names this server.

        A page on the internet can have its own name point at an address in here and read what
        it gets (DNS rebinding); with the address itself in place of a name it can't.
        """
        name = host.decode("latin-1").lower()
        name = name[: name.rfind(":")] if re.search(r":\d*$", name) else name
        try:
            ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            name = name.rstrip(".")
            return name in self._names or name.endswith(".localhost")
        return True

    def _problems(self) -> list[str]:
        now = time.monotonic()
        worker = self._listener.worker
        problems = []
        if now - self._listener.server.beat > _STUCK:
            problems.append("the loop is stuck")
        if not worker.alive():
            problems.append("the worker has ended")
        elif worker.now.job is None and now - worker.now.beat > _STUCK:
            problems.append("the worker is stuck")
        return problems

    def _health(self) -> Response:
        problems = self._problems()
        return _verdict(problems, {})

    def _ready(self) -> Response:
        problems = self._problems()
        now = self._wall()
        age = None
        try:
            # A real commit: a disk can be full, or a file locked, without anybody noticing.
            self._listener.committer.call(
                lambda connection: runs.set_fact(connection, "probe", now), _PROBE
            )
            with reading(self._listener.journal) as connection:
                age = status.last_success_age(connection, now)
        except ListenerError as error:
            problems.append(error.message)
        if self._listener.draining:
            problems.append("the listener is ending")
        return _verdict(problems, {"lastSuccessSeconds": None if age is None else round(age, 1)})

    def _metrics(self) -> Response:
        listener = self._listener
        gauges = {
            "connections": float(listener.server.connections),
            "journal_writable": float(listener.committer.trouble is None),
            "running": float(listener.worker.now.job is not None),
        }
        now = self._wall()
        try:
            with reading(listener.journal) as connection:
                page = prometheus.render(listener.metrics, connection, now, gauges)
        except ListenerError:
            page = prometheus.render(listener.metrics, None, now, gauges)
        return Response(200, page, prometheus.CONTENT_TYPE)

    def _status(self) -> Response:
        now = self._wall()
        job, since = self._listener.worker.now.job, self._listener.worker.now.since
        running: dict[str, Any] | None = None
        if job is not None:
            running = {
                "scope": job.scope.kind,
                "reason": job.start.reason,
                "since": status.iso(since),
                "deliveries": len(job.deliveries),
            }
        with reading(self._listener.journal) as connection:
            found = status.everything(connection, now)
        return Response.of(
            200,
            {
                "now": status.iso(now),
                "since": status.iso(self._since),
                "draining": self._listener.draining,
                "journal": self._listener.committer.trouble or "ok",
                "running": running,
                **found,
            },
        )


def is_public(sock: socket.socket) -> bool:
    """Whether `sock` listens for other networks than this machine's and its neighbours'."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    address = ip_address(sock.getsockname()[0].partition("%")[0])
    return address.is_unspecified or not address.is_private


def _verdict(problems: list[str], more: dict[str, Any]) -> Response:
    state = {"status": "failed" if problems else "ok", "problems": problems, **more}
    return Response.of(503 if problems else 200, state)
