"""The demo to look at: a listener's page, while one release after another arrives."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from typing import TYPE_CHECKING

from myop_cdn.demo.components import (
    AURORA,
    BANNER,
    CALM,
    CLASSIC,
    MIDSUMMER,
    ORGANIZATION,
    PASSKEY,
    PASSWORD,
    PRICING,
    SIGN_IN,
    Myop,
)
from myop_cdn.demo.receiver import Receiver
from myop_cdn.deploy.options import DeployOptions
from myop_cdn.errors import MyopCdnError
from myop_cdn.listener.admin.desk import DestinationDesk
from myop_cdn.listener.admin.handler import Admin
from myop_cdn.listener.admin.session import Sessions
from myop_cdn.listener.http.sockets import Address, described, listen
from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from myop_cdn.send import body_of, post

if TYPE_CHECKING:
    from types import TracebackType

    from myop_cdn.demo.components import Component, Variant
    from myop_cdn.demo.place import Place
    from myop_cdn.listener import Log

_RELEASES = (
    (PRICING, AURORA, ("production", "staging")),
    (BANNER, MIDSUMMER, ("production",)),
    (SIGN_IN, PASSKEY, ("production",)),
    (PRICING, CLASSIC, ("production",)),
    (BANNER, CALM, ("production", "qa")),
    (SIGN_IN, PASSWORD, ("production",)),
)


@dataclass(frozen=True, slots=True)
class Released:
    """A release, and how long it took from the webhook to the CDN's folder, in seconds."""

    component: Component
    variant: Variant
    environments: tuple[str, ...]
    seconds: float


class LiveDemo:
    """The whole loop at `place` with its page at `url`. token: for the page's actions.

    A context manager: all of it runs inside. Raises MyopCdnError where it can't begin.
    """

    def __init__(self, place: Place, log: Log, port: int = 0) -> None:
        self.place = place
        self.token = secrets.token_hex(16)
        self.url = ""
        self._log = log
        self._port = port
        self._myop = Myop(place.myop)
        self._secret = secrets.token_hex(32).encode()
        self._stack = ExitStack()
        self._next = cycle(_RELEASES)

    def __enter__(self) -> LiveDemo:
        with ExitStack() as stack:
            self._myop.write()
            sandbox = stack.enter_context(Sandbox(self.place.myop))
            key, log = REHEARSAL_KEY, self._log
            found = listen(Address("127.0.0.1", self._port))
            receiver = Receiver(self.place, sandbox.url, key, self._secret, log)
            self._receiver = stack.enter_context(receiver)
            urls = {receiver.destination: receiver.destination}
            desks = [DestinationDesk(urls, DeployOptions()) for _ in range(2)]
            sessions = Sessions(lambda: (self.token.encode(),))
            admin = Admin(
                receiver.listener, found, log, desk=desks[0], acting=desks[1], sessions=sessions
            )
            admin.start()
            stack.callback(admin.stop)
            self.url = described(found[0], "http", "/")
            self._receiver.next_report()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def release(self) -> Released:
        """Let Myop release the next variant, and wait until it is published.

        Raises MyopCdnError where it is not.
        """
        component, variant, environments = next(self._next)
        releases = self._myop.release(component, variant, environments)
        body = body_of(releases, now=datetime.now(UTC), organization=ORGANIZATION)
        began = time.monotonic()
        reply = post(self._receiver.url, body, self._secret)
        if reply.status != 200:
            raise MyopCdnError(f"a signed delivery was answered {reply.status}")
        self._receiver.next_report()
        return Released(component, variant, environments, time.monotonic() - began)
