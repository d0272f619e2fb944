"""The page at the admin address, and what it asks for: all of it below `/page/`.

The page asks for the state with `If-None-Match` and `Prefer: wait=N` (RFC 7240): it is answered
when something has changed, or 304 after N seconds. So an open page costs next to nothing while
nothing happens, and at most a few answers a second while much does. What a destination is asked
for is done by a desk, which is not this process.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shlex
import threading
import time
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from myop_cdn import names, page
from myop_cdn.errors import InputError, ListenerError, MyopCdnError, unexpected
from myop_cdn.listener import status
from myop_cdn.listener.admin.desk import DocumentTask, HistoryTask, Outcome
from myop_cdn.listener.http.response import JSON_TYPE, Response
from myop_cdn.listener.queue.base import LiveQuery
from myop_cdn.model import DocumentRef
from myop_cdn.page import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myop_cdn.listener import Log
    from myop_cdn.listener.admin.desk import DeskQueue, Found, Task, TaskThread
    from myop_cdn.listener.http.request import Request
    from myop_cdn.listener.http.response import Responder
    from myop_cdn.listener.queue.base import DeliveryView, LaneView, LivePage
    from myop_cdn.listener.service import Listener

HTML_TYPE = "text/html; charset=utf-8"
PATHS = ("/", "/page/state", "/page/components", "/page/document", "/page/source", "/page/history")
_LONGEST_WAIT = 8.0  # seconds
_MOST_WAITING = 50  # for a change
_TICK = 0.2  # seconds between two looks for a change, while somebody waits for one
_DELIVERIES, _RELEASES, _RUNS, _RETRIES = 30, 6, 120, 100  # in one state
_MOST = 60  # components in one answer
_SMALL = 600  # bytes that are not worth compressing
_GZIP = re.compile(rb"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_ALONE = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
_PRIVATE = ("Cache-Control", "no-store")


def refusal(request: Request) -> Response | None:
    """Refuse what another site's page asks for: browsers say whose request it is (Fetch
    Metadata). The page itself may be opened from a link.
    """
    sites = [value.decode("latin-1") for value in request.values("sec-fetch-site")]
    if request.path != "/" and any(one not in ("same-origin", "none") for one in sites):
        return Response.error(403, "asked by a page of another site")
    kinds = [value.decode("latin-1") for value in request.values("sec-fetch-dest")]
    if request.path == "/page/document" and any(one != "iframe" for one in kinds):
        return Response.error(403, "a document is shown in the page's frames alone")
    return None


class PageHandler:
    """Answers what the page asks for, on `thread`.

    desk: where destinations can be read. since: when the listener began, in seconds since the
    epoch.
    """

    def __init__(
        self, listener: Listener, desk: DeskQueue | None, log: Log, since: float, thread: TaskThread
    ) -> None:
        self._listener = listener
        self._desk = desk
        self._log = log
        self._since = since
        self._thread = thread
        self._waiting: list[tuple[Responder, Request, float]] = []  # and until when each does
        self._seen = ("", _Content(b""))  # the version, the state at it

    def answer(self, responder: Responder, request: Request) -> Response | None:
        """The answer, or None where it comes later. Raises ListenerError, InputError."""
        path = request.path
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        if path == "/":
            found = page.served()
            headers = (*found.headers, ("Cache-Control", "no-cache"))
            return _content(found.body).answer(request, HTML_TYPE, headers)
        if path == "/page/state":
            return self._state(responder, request)
        if path == "/page/components":
            return _Content(_json(self._components(query))).answer(request)
        task = _task(path, query, self._listener.destinations)
        if self._desk is None:
            raise InputError("destinations can't be read here")
        if not self._desk.ask(task, lambda found: responder.answer(_of_desk(request, found))):
            # Of clients that have left, nearly all of them.
            return Response.error(503, "too much is asked for at once")
        return None

    # -- the state, and waiting for its change

    def _state(self, responder: Responder, request: Request) -> Response | None:
        seconds = _wait(request)
        content = self._current()
        if seconds and content.is_known(request) and len(self._waiting) < _MOST_WAITING:
            self._waiting.append((responder, request, time.monotonic() + seconds))
            if len(self._waiting) == 1:
                self._look_later()
            return None
        return content.answer(request)

    def _current(self) -> _Content:
        """The state, put together once for all who look, and only where something changed."""
        version = f"{self._listener.queue.version()} {self._listener.draining}"
        if version != self._seen[0]:
            self._seen = (version, _Content(_json(self._described())))
        return self._seen[1]

    def _look_later(self) -> None:
        def look() -> None:
            if not self._thread.put(self._look):  # it has enough to do
                self._look_later()

        timer = threading.Timer(_TICK, look)
        timer.daemon = True
        timer.start()

    def _look(self) -> None:
        """Answer those who wait, when there is something new, or their time is over."""
        found: _Content | Response
        try:
            found = self._current()
        except ListenerError as error:
            found = Response.error(503, error.message)
        except Exception as error:  # a defect must not go unseen, nor leave them waiting
            words = unexpected(error).message
            self._log.warning("the page's state could not be put together", error=words)
            found = Response.error(500, words)
        now = time.monotonic()
        waiting, self._waiting = self._waiting, []
        for responder, request, until in waiting:
            if isinstance(found, Response):
                responder.answer(found)
            elif until <= now or not found.is_known(request):
                responder.answer(found.answer(request))
            else:
                self._waiting.append((responder, request, until))
        if self._waiting:
            self._look_later()

    def _described(self) -> dict[str, Any]:
        listener, queue = self._listener, self._listener.queue
        overview = queue.overview()
        running = {one.lane.name: status.running_json(one.now) for one in listener.workers}
        return {
            "since": status.iso(self._since),
            "draining": listener.draining,
            "journal": queue.trouble or queue.notice or "ok",
            "waiting": overview.waiting,
            "oldest": status.iso(overview.oldest),
            "destinations": [
                {
                    **status.destination_json(lane),
                    "nextFullSync": status.iso(lane.agenda.next_full),
                    "running": running.get(lane.name),
                }
                for lane in overview.lanes
            ],
            "retries": [one for lane in overview.lanes for one in self._retries(lane)],
            "deliveries": [_delivery(one) for one in queue.deliveries(_DELIVERIES)],
            "runs": [status.run_json(one) for one in queue.runs(_RUNS)],
        }

    def _retries(self, lane: LaneView) -> list[dict[str, Any]]:
        found = sorted(lane.agenda.retries, key=lambda one: not one.given_up)[:_RETRIES]
        known = self._listener.queue.live(lane.name, [one.ref for one in found])
        return [
            {
                **status.retry_json(lane, one),
                "name": known[one.ref].name if one.ref in known else None,
                "behind": one.behind,
                "mend": _mending(lane.name, one.ref),
            }
            for one in found
        ]

    # -- what is live

    def _components(self, query: Mapping[str, str]) -> dict[str, Any]:
        lane = query.get("destination", self._listener.destinations[0])
        limit, offset = _number(query, "limit", 24), _number(query, "offset", 0)
        search, environment = query.get("search", "")[:200], query.get("environment", "")
        wanted = LiveQuery(lane, search, environment, offset, max(1, min(limit, _MOST)))
        found = self._listener.queue.search(wanted)
        return {"destination": lane, "offset": offset, **_live_json(found)}


def _of_desk(request: Request, found: Found | MyopCdnError) -> Response:
    """What a destination was asked for, or why it can't be had."""
    assert not isinstance(found, Outcome)
    framed = request.path == "/page/document"
    if isinstance(found, MyopCdnError):
        if framed:
            body = render.note(found.message).encode()
            return Response(200, body, HTML_TYPE, (*_HEADERS, *render.FRAME_HEADERS, _PRIVATE))
        return Response.error(502, found.message, *_HEADERS, _ALONE)
    kept = ("Cache-Control", "private, max-age=600" if "at=" in request.query else "no-store")
    if framed:
        return _Content(found).answer(request, HTML_TYPE, (*render.FRAME_HEADERS, kept))
    kind = "text/plain; charset=utf-8" if request.path == "/page/source" else JSON_TYPE
    return _Content(found).answer(request, kind, (_ALONE, kept))


class _Content:
    """The body of an answer, with its tag; compressed once, for all who take it so."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._packed: bytes | None = None
        self.tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'

    def is_known(self, request: Request) -> bool:
        """Whether the client says that it has it."""
        values = b",".join(request.values("if-none-match")).decode("latin-1")
        return self.tag in {one.strip().removeprefix("W/") for one in values.split(",")}

    def answer(
        self,
        request: Request,
        kind: str = JSON_TYPE,
        headers: tuple[tuple[str, str], ...] = (_ALONE, _PRIVATE),
    ) -> Response:
        """Compressed where the client takes that; 304 where it has it already."""
        headers = (*_HEADERS, *headers, ("ETag", self.tag), ("Vary", "Accept-Encoding"))
        if self.is_known(request):
            return Response(304, b"", kind, headers)
        takes = b",".join(request.values("accept-encoding")).lower()
        if len(self._body) <= _SMALL or not _GZIP.search(takes):
            return Response(200, self._body, kind, headers)
        if self._packed is None:
            self._packed = gzip.compress(self._body, 6, mtime=0)
        return Response(200, self._packed, kind, (*headers, ("Content-Encoding", "gzip")))


_content = cache(_Content)  # of the page itself, which is always the same


def _task(path: str, query: Mapping[str, str], lanes: list[str]) -> Task:
    """What a desk is to do. Raises InputError for what can't be meant."""
    destination, component = query.get("destination", ""), query.get("component", "")
    if destination not in lanes:
        raise InputError("there is no such destination here")
    if names.problem(component):
        raise InputError("that is not the id of a component")
    if path == "/page/history":
        return HistoryTask(destination, component)
    environment, sha256 = query.get("environment", ""), query.get("sha256", "")
    if names.problem(environment):
        raise InputError("that is not the name of an environment")
    if not re.fullmatch("([0-9a-f]{64})?", sha256):
        raise InputError("that is not a SHA-256")
    return DocumentTask(destination, DocumentRef(component, environment), sha256)


def _live_json(found: LivePage) -> dict[str, Any]:
    items: dict[str, dict[str, Any]] = {}
    for one in found.documents:
        key = one.ref.component_id
        item = items.setdefault(key, {"id": key, "name": "", "live": {}})
        item["name"] = item["name"] or one.name
        item["live"][one.ref.environment] = {
            "variantId": one.variant_id,
            "variantName": one.variant_name or None,
            "since": status.iso(one.since),
        }
    return {
        "components": found.components,
        "matched": found.matched,
        "environments": dict(found.environments),
        "items": list(items.values()),
    }


def _delivery(delivery: DeliveryView) -> dict[str, Any]:
    found = status.delivery_json(delivery)
    releases = found["releases"]
    kept = ("id", "received", "event", "scope", "state", "attempts", "error", "note", "finished")
    mend = f"myop-cdn deliveries retry {delivery.id}" if delivery.state == "failed" else None
    return {
        **{name: found[name] for name in kept},
        "releases": releases[:_RELEASES],
        "more": max(0, len(releases) - _RELEASES),
        "lacking": found["lacking"],
        "mend": mend,
    }


def _mending(destination: str, ref: DocumentRef) -> str:
    release = {"componentId": ref.component_id, "environment": ref.environment}
    given = json.dumps([release], separators=(",", ":"))
    return shlex.join(["myop-cdn", "publish", destination, "--releases", given])


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text):
        raise InputError(f"{name} is not a number")
    return int(text)


def _wait(request: Request) -> float:
    """Seconds for which the client is ready to wait for a change."""
    for value in request.values("prefer"):
        if match := re.fullmatch(rb"wait=([0-9]{1,4})", value.strip()):
            return min(float(match[1]), _LONGEST_WAIT)
    return 0.0


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
