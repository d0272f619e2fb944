"""Notices on their way: on threads of their own, each receiver for itself, with limits of time
and number. Nobody who has something to tell ever waits here, or fails.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import shlex
import shutil
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from myop_cdn import files, programs
from myop_cdn.errors import InputError, Undelivered
from myop_cdn.notify import messages
from myop_cdn.notify.policy import Policy, Standings, decide
from myop_cdn.retry import Retries, RetryPolicy
from myop_cdn.text import shown, shown_origin
from myop_cdn.transport import Endpoint, Limits, Transport, TransportError
from myop_cdn.transport.endpoint import is_this_machine, parse_url, refuse_plain_http

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from myop_cdn.notify.policy import Event, Notice

_RETRY = RetryPolicy(attempts=3, first_pause=1.0, longest_pause=4.0, request_seconds=120.0)
_LIMITS = Limits(connect_seconds=5.0, silence_seconds=5.0, total_seconds=10.0, body_bytes=64 * 1024)
_COMMAND_SECONDS = 30.0
_MOST_EVENTS = 1000  # that wait for a decision
_MOST_NOTICES = 20  # that wait for one receiver
_MOST_REMEMBERED = 2**20  # bytes
_BUSY = (408, 425, 429, 500, 502, 503, 504)
# What a command gets of the environment: nothing that holds a secret.
_HANDED_ON = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "TEMP", "TMP", "SYSTEMROOT", "COMSPEC", "PATHEXT", "USERPROFILE", "XDG_RUNTIME_DIR",
)  # fmt: skip


def new_identity() -> str:
    """What a notice is told from others by, however often it is sent."""
    return f"msg_{secrets.token_hex(16)}"


class Channel(Protocol):
    """Where a notice goes."""

    @property
    def name(self) -> str:
        """For the log."""

    def send(self, notice: Notice, identity: str, now: float) -> None:
        """Tell it. identity: the same for each attempt. Raises Undelivered."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """A chat's webhook, or any receiver of Standard Webhooks.

    name: its scheme and host alone: a chat's URL is a secret. keys: to sign with, for receivers
    that are not a chat.
    """

    endpoint: Endpoint
    target: str = field(repr=False)
    name: str
    form: messages.Form
    keys: tuple[bytes, ...] = field(repr=False, default=())
    link: str = ""

    @classmethod
    def at(
        cls, url: str, keys: Sequence[bytes] = (), link: str = "", *, allow_http: bool = False
    ) -> Receiver:
        """The receiver at `url`. Raises InputError where it is not a URL, or plain HTTP to another
        machine.
        """
        name = f"{shown_origin(url)}/…"
        try:
            endpoint, target = parse_url(url)
        except ValueError as error:
            raise InputError(
                f"--notify {name} is not the URL of a receiver: {error}",
                "for instance https://hooks.slack.com/services/… or https://alerts.example.com/",
            ) from None
        refuse_plain_http(endpoint, "notices", allowed=allow_http)
        return cls(endpoint, target, name, messages.form_of(endpoint.host), tuple(keys), link)

    def send(self, notice: Notice, identity: str, now: float) -> None:
        """Post it. Raises Undelivered."""
        data = messages.body(self.form, notice, self.link)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self.form == "json":
            headers |= messages.signed_headers(data, identity, int(now), self.keys)
        try:
            proxied = not is_this_machine(self.endpoint.host)
            with closing(Transport(self.endpoint, _LIMITS, proxied=proxied)) as transport:
                response = transport.request("POST", self.target, headers, data)
        except TransportError as error:
            raise Undelivered(f"it {error.phrase}", is_temporary=error.temporary) from None
        except InputError as error:  # the environment's proxy
            raise Undelivered(error.message) from None
        if not 200 <= response.status < 300:
            raise Undelivered(
                f"it answered {response.status}",
                is_temporary=response.status in _BUSY,
                retry_after=response.retry_after(now),
            )


@dataclass(frozen=True, slots=True)
class Command:
    """A program that is run when something fails; the facts are in its environment, and none of
    this program's secrets.
    """

    words: tuple[str, ...]
    link: str = ""

    @classmethod
    def parse(cls, text: str, link: str = "") -> Command:
        """The argument list in `text`, quoted as for a shell; none is run. Raises InputError."""
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise InputError(f"--on-failure: {str(error).lower()}") from None
        found = shutil.which(words[0]) if words else None
        if found is None:
            what = shown(words[0]) if words else "nothing"
            raise InputError(f"--on-failure: there is no program {what}")
        return cls((found, *words[1:]), link)

    @property
    def name(self) -> str:
        """The program alone: its arguments may hold anything."""
        return f"the command {shown(os.path.basename(self.words[0]))}"  # noqa: PTH119

    def send(self, notice: Notice, identity: str, now: float) -> None:  # noqa: ARG002 - of the door
        """Run it, unless there is nothing wrong. Raises Undelivered."""
        if notice.kind in ("recovered", "drift"):
            return
        own = {name: value for name, value in os.environ.items() if name.upper() in _HANDED_ON}
        environment = own | messages.facts(notice, self.link)
        try:
            # What it prints goes nowhere: stdout is for this program's data, and what is not this
            # program's text stays out of logs.
            code = programs.run(self.words, environment, _COMMAND_SECONDS)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "a NUL"
            raise Undelivered(f"it can't be started: {why}") from None
        if code is None:
            raise Undelivered(f"it took longer than {_COMMAND_SECONDS:.0f} s and was ended")
        if code:
            raise Undelivered(f"it ended with {code}")


class Notifier:
    """Tells `channels` what happened, as `policy` has it.

    warn: takes a line where somebody could not be told. memory: a file that keeps over a restart
    what was told to fail, so that its recovery is told. wall: seconds since the epoch.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        policy: Policy,
        warn: Callable[[str], None],
        memory: Path | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._memory = memory
        self._policy = policy
        self._warn = warn
        self._wall = wall
        self._events: queue.SimpleQueue[Event | list[_Outbox] | None] = queue.SimpleQueue()
        self._outboxes = [_Outbox(one, warn, wall) for one in channels]
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
        self._lock = threading.Lock()
        self._begun = False

    def tell(self, event: Event) -> None:
        """Something happened. Returns at once and raises nothing."""
        with self._lock:
            if not self._begun and self._outboxes:
                self._begun = True
                self._thread.start()
        if self._events.qsize() < _MOST_EVENTS:  # more of the same tell nobody anything
            self._events.put(event)

    def use(self, channels: Sequence[Channel]) -> None:
        """Tell these from now on: a secret was replaced. What waits for the others still goes."""
        outboxes = [_Outbox(one, self._warn, self._wall) for one in channels]
        if self._begun:
            self._events.put(outboxes)
        else:
            self._outboxes = outboxes

    def close(self, seconds: float) -> None:
        """Let what is to be told get through, for so many seconds at the most."""
        if not self._begun:
            return
        end = time.monotonic() + seconds
        self._events.put(None)
        self._thread.join(seconds)
        for one in self._outboxes:
            one.join(end - time.monotonic())

    def _run(self) -> None:
        standings = self._recalled()
        while True:
            wake = standings.wake
            timeout = None if wake is None else max(0.05, min(60.0, wake - self._wall()))
            try:
                event = self._events.get(timeout=timeout)
            except queue.Empty:
                event = None
            else:
                if event is None:
                    break
            if isinstance(event, list):
                self._outboxes, replaced = event, self._outboxes
                for one in replaced:
                    one.put(None)
                continue
            before = standings.dump()
            standings, notices = decide(standings, event, self._wall(), self._policy)
            if standings.dump().keys() != before.keys():
                self._remember(standings)
            for notice in notices:
                for one in self._outboxes:
                    one.put(notice)
        if standings.dump():
            self._remember(standings)  # with how often it has failed by now
        for one in self._outboxes:
            one.put(None)

    def _recalled(self) -> Standings:
        if self._memory is None:
            return Standings()
        try:
            return Standings.load(json.loads(files.read(self._memory, _MOST_REMEMBERED) or b"{}"))
        except (OSError, ValueError, RecursionError):
            return Standings()  # there is none, or it is of no use: a recovery is not told

    def _remember(self, standings: Standings) -> None:
        if self._memory is None:
            return
        data = json.dumps(standings.dump()).encode()
        with suppress(OSError), files.written(self._memory, data, sync=False) as temporary:
            os.replace(temporary, self._memory)  # noqa: PTH105 - both are paths already


class _Outbox:
    """The notices for one channel, in their order, on a thread of its own."""

    def __init__(
        self, channel: Channel, warn: Callable[[str], None], wall: Callable[[], float]
    ) -> None:
        self._channel = channel
        self._warn = warn
        self._wall = wall
        self._notices: queue.SimpleQueue[Notice | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, notice: Notice | None) -> None:
        """The next one; None for the end."""
        if self._thread is None and notice is not None:
            self._thread = threading.Thread(target=self._run, name="notice", daemon=True)
            self._thread.start()
        if notice is not None and self._notices.qsize() >= _MOST_NOTICES:
            self._warn(f"a notice to {self._channel.name} was left out: too many are waiting")
            return
        self._notices.put(notice)

    def join(self, seconds: float) -> None:
        """Wait for the last one."""
        if self._thread is not None:
            self._thread.join(max(0.0, seconds))
            if self._thread.is_alive():
                self._warn(f"a notice did not get to {self._channel.name} in time")

    def _run(self) -> None:
        while (notice := self._notices.get()) is not None:
            try:
                self._send(notice)
            except Exception as error:  # a defect must not end the notices for good
                why = error if isinstance(error, Undelivered) else type(error).__name__
                self._warn(f"a notice did not get to {self._channel.name}: {why}")

    def _send(self, notice: Notice) -> None:
        identity = new_identity()
        Retries(_RETRY).call(lambda: self._channel.send(notice, identity, self._wall()))
