"""GET over kept-alive connections, with retries: what Myop's API needs and no more."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from myop_cdn import names
from myop_cdn.errors import (
    CutShort,
    DocumentError,
    ExportError,
    InputError,
    KeyRejected,
    Unreachable,
)
from myop_cdn.export.line import Limits, TooLong, Trouble, open_line
from myop_cdn.text import shown_url
from myop_cdn.wire import AGENT, dates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from myop_cdn.export.line import Reply

T = TypeVar("T")
ATTEMPTS = 8
MAX_BODY_BYTES = 64 * 1024 * 1024  # the largest real document has 641 KB
MAX_WAIT_SECONDS = 30.0  # of a Retry-After; a longer one is not waited out
MAX_REDIRECTS = 3
_IN_TARGETS = "%/?:@!$&'()*+,;=-._~[]"  # what stays as it is in a path and a query
_PORTS = {"http": 80, "https": 443}
TIMEOUT = 30.0  # seconds of silence
ATTEMPT_SECONDS = 120.0  # for one whole answer
REQUEST_SECONDS = 300.0  # for all attempts and the pauses between them


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is worth reading: its status and its decoded body.

    asked_at: when the API gave it, by the API's own clock; None where it did not say.
    """

    status: int
    body: bytes
    asked_at: datetime | None = None


class Client:
    """Asks one API with one key. Safe to use from several threads.

    url: the API's base URL. key, key_source: the API key, and where it came from in words.
    connections: how many are kept. wait: sleeps for so many seconds and tells whether to go on.
    clock: counts seconds. Raises InputError for a URL that is none.
    """

    def __init__(
        self,
        url: str,
        key: str,
        key_source: str,
        connections: int,
        wait: Callable[[float], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._base = check_url(url)
        self._key_source = key_source
        self._key = key
        self._stopped = threading.Event()
        self._wait = wait or (lambda seconds: not self._stopped.wait(seconds))
        self._down = False
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Cache-Control": "no-cache",  # RFC 9111: a cache on the way asks the origin
            **AGENT,
        }
        limits = Limits(connections, TIMEOUT, MAX_BODY_BYTES, clock)
        self._line = open_line(self._base.scheme, self._base.hostname, self._base.port, limits)

    def close(self) -> None:
        """Wake those who wait for a retry and close the connections."""
        self._stopped.set()
        self._line.close()

    def get(
        self, path: str, fields: Mapping[str, str], what: str, read: Callable[[Answer], T]
    ) -> T:
        """What `read` makes of the answer to `GET path?fields`.

        429, 5xx, broken connections and answers that `read` finds to be CutShort are asked
        again, with jitter, `Retry-After` honoured. what: the thing asked for in words, for
        messages. Raises KeyRejected (401, 403, at once), Unreachable or CutShort (after every
        attempt), DocumentError (a redirect to another host, a body beyond the limit), and what
        else `read` raises.
        """
        # While the API is down, the many documents of a run don't each wait for every attempt.
        was_down = self._down
        trouble: ExportError | None = None
        end = self._clock() + REQUEST_SECONDS
        for attempt in range(ATTEMPTS):
            pause = random.uniform(0.05, 0.1) * 2**attempt  # noqa: S311 - no secret hangs on it
            try:
                answer, after = self._ask(path, fields, what, end)
                if answer.status != 429 and answer.status < 500:
                    value = read(answer)
                    self._down = False
                    return value
                trouble = self._unreachable(what, f"answered {answer.status}", attempt + 1)
                pause += after
            except Trouble as error:
                trouble = self._unreachable(what, str(error), attempt + 1)
            except CutShort as error:
                trouble = error
            if attempt + 1 == ATTEMPTS or (was_down and self._down and attempt):
                break
            pause = min(pause, MAX_WAIT_SECONDS)
            if self._clock() + pause >= end or not self._wait(pause):
                break
        self._down = True
        assert trouble is not None  # a loop that ends without returning has met trouble
        raise trouble

    def _unreachable(self, what: str, trouble: str, attempts: int) -> Unreachable:
        times = "once" if attempts == 1 else f"{attempts} times"
        return Unreachable(
            f"{what}: {self._base.netloc} {trouble} (asked {times})",
            "try again later; if it stays so, check MYOP_API_URL and the network",
        )

    def said(self, body: bytes) -> str:
        """The beginning of an answer's text, fit for a message and without the key."""
        # Before anything is cut off: half a key is no longer found.
        text = body.replace(self._key.encode(), b"***")[:300].decode("utf-8", "replace")
        return names.shown(" ".join(text.split()), 120)

    def _ask(
        self, path: str, fields: Mapping[str, str], what: str, end: float
    ) -> tuple[Answer, float]:
        """The answer, redirects followed, and how long it asks to be left alone. end: by the
        clock, of all attempts.
        """
        end = min(end, self._clock() + ATTEMPT_SECONDS)
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
        target = self._base.path + path + (f"?{query}" if query else "")
        for _ in range(MAX_REDIRECTS + 1):
            try:
                reply = self._line.get(target, self._headers, end - self._clock())
            except TooLong:
                most = f"{MAX_BODY_BYTES // 2**20} MiB"
                raise DocumentError(f"{what}: the answer has more than {most}") from None
            if reply.status in (401, 403):
                raise self._rejected(reply.status)
            if reply.status not in (301, 302, 303, 307, 308):
                return Answer(reply.status, reply.body, asked_at(reply)), _retry_after(reply)
            target = self._follow(target, reply.headers.get("location"), what)
        raise DocumentError(f"{what}: more than {MAX_REDIRECTS} redirects")

    def _follow(self, target: str, location: str | None, what: str) -> str:
        where = "nowhere"
        try:
            parts = urlsplit(urljoin(self._base.origin + target, location or ""))
            where = names.shown(parts.netloc) if location else where
            same = (parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)) == (
                self._base.scheme,
                self._base.hostname,
                self._base.port or _PORTS[self._base.scheme],
            )
        except ValueError:
            same = False
        if not location or not same:
            # The key would go along, and the answer would be somebody else's.
            raise DocumentError(
                f"{what}: {self._base.netloc} redirects to another host ({where})",
                "set MYOP_API_URL to the host that answers, if it is Myop's",
            )
        query = f"?{parts.query}" if parts.query else ""
        return quote((parts.path or "/") + query, safe=_IN_TARGETS)

    def _rejected(self, status: int) -> KeyRejected:
        return KeyRejected(
            f"Myop's API rejected the API key from {self._key_source} ({status})",
            "was it revoked, or is it another organization's? Keys are made in Dashboard > "
            "Rollout > Settings > Self-Hosting and look like myop_sk_ and 64 hex digits",
        )


def check_url(url: str) -> Url:
    """The base URL of an API, without a slash at its end. Raises InputError."""
    try:
        parts = urlsplit(url.strip())
        path = quote(parts.path.rstrip("/"), safe=_IN_TARGETS)
        base = Url(parts.scheme.lower(), parts.hostname or "", parts.port, path)
    except ValueError:
        parts, base = None, None
    if parts is None or base is None or base.scheme not in ("http", "https") or not base.hostname:
        raise InputError(
            f"{shown_url(url)!r} is not the URL of an API",
            "MYOP_API_URL or --api-url: https://cloud.myop.dev, for one",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError("the API's URL may hold neither user, password, query nor fragment")
    return base


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of a base URL. port is None for the scheme's own. path: percent-encoded."""

    scheme: str
    hostname: str
    port: int | None
    path: str

    @property
    def netloc(self) -> str:
        """Host and port as in a URL."""
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme and host, as a URL begins."""
        return f"{self.scheme}://{self.netloc}"

    def geturl(self) -> str:
        """The URL."""
        return self.origin + self.path


def asked_at(reply: Reply) -> datetime | None:
    """When the answer was made, by its `Date`; None without one.

    A cache hands on the origin's `Date` and says by `Age` for how many seconds it has kept the
    answer (RFC 9111, 5.1), but some caches put their own `Date` there. So `Age` is taken off
    always: a document that is thought to be older than it is yields to others and is asked for
    again, one that is thought to be newer would replace what is newer still.
    """
    made = dates.read(reply.headers.get("date"))
    age = reply.headers.get("age", "").strip()
    if made is None or not (age.isascii() and age.isdigit()):
        return made
    try:
        return made - timedelta(seconds=int(age[:12]))
    except OverflowError:
        return None


def _retry_after(reply: Reply) -> float:
    """The seconds of a Retry-After header, which may also hold a date; 0 without one."""
    value = reply.headers.get("retry-after", "").strip()
    if not value:
        return 0.0
    if value.isascii() and value.isdigit():
        return float(value[:8])
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(value)
        return max(0.0, (moment - datetime.now(moment.tzinfo)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0
