"""What can be done on the page, by those who may: each with a preview that changes nothing.

What concerns a destination takes as long as it takes, so it is a job: its number is answered at
once, and how it went when somebody asks for it.
"""

from __future__ import annotations

import itertools
import json
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from myop_cdn import names
from myop_cdn.errors import InputError, ListenerError, MyopCdnError
from myop_cdn.listener.admin.desk import Outcome, RollbackTask, in_words
from myop_cdn.listener.admin.session import COOKIE, LASTS, TooManyGuesses
from myop_cdn.listener.http.response import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from myop_cdn.listener import Log
    from myop_cdn.listener.admin.desk import DeskQueue, Found
    from myop_cdn.listener.admin.session import Sessions
    from myop_cdn.listener.http.request import Request
    from myop_cdn.listener.queue.base import DeliveryView, LiveDocument
    from myop_cdn.listener.service import Listener

PATHS = ("/page/session", "/page/job")
POST_PATHS = ("/page/login", "/page/logout", "/page/action")
MOST = 16 * 1024  # bytes of a body
_JOBS = 50  # whose outcome is remembered
_NAMED = 20  # releases in a preview
_PRIVATE = ("Cache-Control", "no-store")


class Actions:
    """Carries out what the page asks for. desk: where destinations can be changed.

    sessions: who may; None where nobody may.
    """

    def __init__(
        self,
        listener: Listener,
        desk: DeskQueue | None,
        sessions: Sessions | None,
        log: Log,
        wall: Callable[[], float],
    ) -> None:
        self._listener = listener
        self._desk = desk
        self._sessions = sessions
        self._log = log
        self._wall = wall
        self._jobs: OrderedDict[int, Outcome | None] = OrderedDict()
        self._numbers = itertools.count(1)

    def answer(self, request: Request, peer: str, body: bytes) -> Response:
        """The answer to any of `PATHS` and `POST_PATHS`. Raises MyopCdnError."""
        sessions = self._sessions
        if request.path == "/page/session":
            signed_in = sessions is not None and sessions.session(request) is not None
            return _answer({"enabled": sessions is not None, "signedIn": signed_in})
        if sessions is None:
            return Response.error(403, "this page is read-only: --admin-token-file is not given")
        try:
            if request.path == "/page/login":
                return self._login(sessions, peer, body)
            if not sessions.may_act(request, peer):
                return Response.error(401, "sign in first", ("WWW-Authenticate", "Bearer"))
        except TooManyGuesses:
            return Response.error(
                429, "too many wrong tokens: wait a little", ("Retry-After", "60")
            )
        if request.path == "/page/logout":
            sessions.logout(request)
            return _answer({"signedIn": False}, ("Set-Cookie", f"{COOKIE}=; Max-Age=0"))
        if request.path == "/page/job":
            return self._job(request)
        return self._act(_object(body), peer)

    def _login(self, sessions: Sessions, peer: str, body: bytes) -> Response:
        token = _object(body).get("token")
        given = token.encode(errors="replace") if isinstance(token, str) else b""
        session = sessions.login(given, peer)
        if session is None:
            self._log.warning("a wrong token was given at the admin address", peer=peer)
            return Response.error(401, "that is not the token")
        self._log.info("somebody signed in at the admin address", peer=peer)
        # Without a path it is sent to what lies beside the login alone, below any proxy's path.
        cookie = f"{COOKIE}={session.id}; Max-Age={LASTS}; HttpOnly; SameSite=Strict"
        return _answer({"signedIn": True, "key": session.key}, ("Set-Cookie", cookie))

    def _job(self, request: Request) -> Response:
        text = parse_qs(request.query).get("job", [""])[0]
        number = int(text) if text.isdecimal() and len(text) < 12 else 0
        if number not in self._jobs:
            raise InputError("there is no such job")
        found = self._jobs[number]
        return _answer({"job": number, "outcome": found and found.to_json()})

    def _act(self, given: dict[str, Any], peer: str) -> Response:
        action, preview = given.get("action"), given.get("preview") is not False
        if not preview:
            self._log.info("asked for on the page", action=str(action), peer=peer)
        if action in ("retry", "forget"):
            return _answer({"outcome": self._delivery(action, _text(given, "delivery"), preview)})
        if action == "full":
            return _answer({"outcome": self._full(preview)})
        if action in ("rollback", "resume"):
            return self._begin(self._task(action, given, preview))
        raise InputError("there is no such action")

    # -- deliveries and full syncs: the journal's business, done at once

    def _delivery(self, action: str, delivery_id: str, preview: bool) -> dict[str, Any]:
        queue = self._listener.queue
        found = queue.delivery(delivery_id)
        if found is None:
            raise InputError("there is no such delivery any more")
        if action == "retry":
            title = "It will be done again" if preview else "It waits to be done again"
            if not preview and queue.retry(delivery_id):
                self._listener.wake()
        else:
            title = "It will be forgotten" if preview else "It is forgotten"
            if not preview:
                queue.forget(delivery_id)
        return Outcome(title, tuple(_announced(found, action))).to_json()

    def _full(self, preview: bool) -> dict[str, Any]:
        title = "A full sync will be due" if preview else "A full sync is due"
        if not preview:
            self._listener.queue.request_full_sync("asked for on the page", 0.0)
            self._listener.wake()
        where = [
            f"everything that Myop has is compared with {name}"
            for name in self._listener.destinations
        ]
        return Outcome(title, (*where, "what differs is published")).to_json()

    # -- destinations

    def _task(self, action: str, given: dict[str, Any], preview: bool) -> RollbackTask:
        destination = _text(given, "destination")
        if destination not in self._listener.destinations:
            raise InputError("there is no such destination here")
        component, environment = _text(given, "component"), _text(given, "environment")
        for name in (component, environment):
            if name and names.problem(name):
                raise InputError("that is not the name of a component or an environment")
        to = _text(given, "to").strip() if action == "rollback" else ""
        if action == "rollback" and not to:
            raise InputError("name a commit, or a time, to go back to")
        return RollbackTask(destination, component, environment, preview, to)

    def _begin(self, task: RollbackTask) -> Response:
        if self._desk is None:
            raise InputError("destinations can't be reached from here")
        number = next(self._numbers)

        def done(found: Found | MyopCdnError) -> None:
            if number in self._jobs:
                assert not isinstance(found, bytes)  # which no rollback comes to
                self._jobs[number] = self._outcome(task, found)

        self._jobs[number] = None
        if not self._desk.ask(task, done):
            del self._jobs[number]
            return Response.error(503, "too much is asked for at once")
        while len(self._jobs) > _JOBS:
            self._jobs.popitem(last=False)
        return _answer({"job": number})

    def _outcome(self, task: RollbackTask, found: Outcome | MyopCdnError) -> Outcome:
        if isinstance(found, MyopCdnError):
            if not task.preview:
                self._log.warning("an action of the page failed", error=found.message)
            return Outcome("It was not done" if task.preview else "It failed", (), in_words(found))
        if not task.preview:
            self._log.info("done for the page", what=found.title, error=found.error)
            try:
                self._note(task.destination, found.changed)
            except ListenerError as error:  # the next full sync puts it right
                self._log.warning("what is live was not written down", error=error.message)
        return found

    def _note(self, lane: str, changed: tuple[LiveDocument, ...]) -> None:
        """Have the journal know what a destination holds now."""
        queue, now = self._listener.queue, self._wall()
        known = queue.live(lane, {one.ref for one in changed})
        live = []
        for one in changed:
            if one.variant_id:
                old = known.get(one.ref, one)
                announced, by = old.announced, old.announced_by
                live.append(replace(one, since=now, announced=announced, announced_by=by))
        queue.set_live(lane, live, [one.ref for one in changed if not one.variant_id])


def _announced(delivery: DeliveryView, action: str) -> list[str]:
    lines = []
    for named in delivery.releases[:_NAMED]:
        release = named.release
        variant = named.variant_name or release.variant_id or "its variant"
        lines.append(f"{named.name or release.component_id} in {release.environment}: {variant}")
    if len(delivery.releases) > _NAMED:
        lines.append(f"and {len(delivery.releases) - _NAMED} more")
    if delivery.kind == "full":
        lines.append("a full sync")
    if action == "forget" and delivery.state not in ("done", "ignored"):
        lines.append("what it announced and is not published yet waits for the next full sync")
    return lines


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError("that is not a JSON object")
    return value


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name) or ""
    if not isinstance(value, str) or len(value) > 500:
        raise InputError(f"{name} is not a text")
    return value


def _answer(value: dict[str, Any], *headers: tuple[str, str]) -> Response:
    return Response.of(200, value, _PRIVATE, ("X-Content-Type-Options", "nosniff"), *headers)
