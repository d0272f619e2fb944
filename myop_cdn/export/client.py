"""GET requests to Myop's API over the one transport, with retries."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from myop_cdn.errors import DocumentError, ExportError, InputError, KeyRejected, Unreachable
from myop_cdn.progress import Silent
from myop_cdn.retry import Retries, RetryPolicy
from myop_cdn.text import shown, shown_url
from myop_cdn.transport import (
    Limits,
    ResponseTooLarge,
    Transport,
    TransportError,
    dates,
    parse_base_url,
)
from myop_cdn.transport.endpoint import PORTS, refuse_plain_http

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from myop_cdn.progress import Progress
    from myop_cdn.transport import Endpoint, Response

T = TypeVar("T")
MAX_BODY_BYTES = 64 * 1024 * 1024  # the largest real document has 641 KB
MAX_REDIRECTS = 3
SILENCE_SECONDS = 30.0
ATTEMPT_SECONDS = 120.0  # for one whole answer
NOTICE_SECONDS = 1.5  # without any answer, until somebody is told
NOTICE_PAUSE_SECONDS = 10.0  # between what is said about retries
POLICY = RetryPolicy(attempts=8, first_pause=0.05)
_IN_TARGETS = "%/?:@!$&'()*+,;=-._~[]"  # what stays as it is in a path and a query
_HINT = "try again later; if it stays so, check MYOP_API_URL and the network"


class Client:
    """Asks one API with one key. Safe to use from several threads.

    url: the API's base URL. key, key_source: the API key, and where it came from in words.
    progress: told what is being retried. allow_http: whether the key may go to another machine
    unencrypted. proxied: whether the environment's proxy is used. wait: sleeps for so many
    seconds and tells whether to go on. clock: counts seconds. notice_seconds: when it is said
    that there is no answer yet. Raises InputError for a URL that is not one, or not allowed.
    """

    def __init__(
        self,
        url: str,
        key: str,
        key_source: str,
        progress: Progress | None = None,
        *,
        allow_http: bool = False,
        proxied: bool = True,
        wait: Callable[[float], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
        notice_seconds: float = NOTICE_SECONDS,
    ) -> None:
        self._endpoint, self._path = _parsed(url, allow_http=allow_http)
        self._key_source = key_source
        self._key = key
        self._clock = clock
        self._stopped = threading.Event()
        self._retries = Retries(
            POLICY,
            wait or (lambda seconds: not self._stopped.wait(seconds)),
            clock=clock,
            on_retry=self._say_retry,
        )
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Cache-Control": "no-cache",  # RFC 9111: a cache on the way asks the origin
        }
        limits = Limits(
            silence_seconds=SILENCE_SECONDS,
            total_seconds=ATTEMPT_SECONDS,
            body_bytes=MAX_BODY_BYTES,
        )
        self._transport = Transport(self._endpoint, limits, clock=clock, proxied=proxied)
        self._progress = progress or Silent()
        self._last_notice = float("-inf")
        self._notice = threading.Timer(notice_seconds, self._say_waiting)
        self._notice.daemon = True
        self._notice.start()

    @property
    def url(self) -> str:
        """The API's base URL, tidied."""
        return self._endpoint.url + self._path

    def close(self) -> None:
        """Wake those who wait for a retry and close the connections."""
        self._stopped.set()
        self._notice.cancel()
        self._transport.close()

    def get(
        self, path: str, fields: Mapping[str, str], what: str, read: Callable[[Response], T]
    ) -> T:
        """What `read` makes of the response to `GET path?fields`, its body decoded.

        429, 5xx, broken connections and responses that `read` finds to be CutShort are asked
        for again, with jitter, `Retry-After` honoured. what: the thing asked for in words, for
        messages. Raises KeyRejected (401, 403, at once), Unreachable or CutShort (after every
        attempt), ExportError (a certificate that is not trusted, a port without TLS),
        DocumentError (a redirect to another host, a body beyond the limit), and what else `read`
        raises.
        """
        asked = 0

        def attempt() -> T:
            nonlocal asked
            asked += 1
            times = "once" if asked == 1 else f"{asked} times"
            try:
                response = self._request(path, fields, what)
            except TransportError as error:
                raise self._failed(what, error, times) from None
            if response.status == 429 or response.status >= 500:
                message = f"{what}: {self._endpoint.netloc} answered {response.status}"
                unreachable = Unreachable(f"{message} (asked {times})", _HINT)
                unreachable.retry_after = response.retry_after()
                raise unreachable
            return read(response)

        return self._retries.call(attempt)

    def excerpt(self, body: bytes) -> str:
        """The beginning of a response's text, fit for a message and without the key."""
        # Before anything is cut off: half a key is no longer found.
        text = body.replace(self._key.encode(), b"***")[:300].decode("utf-8", "replace")
        return shown(" ".join(text.split()), 120)

    def _request(self, path: str, fields: Mapping[str, str], what: str) -> Response:
        """The response, redirects followed."""
        end = self._clock() + ATTEMPT_SECONDS
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
        target = self._path + path + (f"?{query}" if query else "")
        for _ in range(MAX_REDIRECTS + 1):
            try:
                response = self._transport.request(
                    "GET", target, self._headers, seconds=end - self._clock()
                ).decoded(MAX_BODY_BYTES)
            except ResponseTooLarge:
                most = f"{MAX_BODY_BYTES // 2**20} MiB"
                raise DocumentError(f"{what}: the answer has more than {most}") from None
            self._notice.cancel()
            if response.status in (401, 403):
                raise self._rejected(response.status)
            if response.status not in (301, 302, 303, 307, 308):
                return response
            target = self._follow(target, response.headers.get("location"), what)
        raise DocumentError(f"{what}: more than {MAX_REDIRECTS} redirects")

    def _follow(self, target: str, location: str | None, what: str) -> str:
        where = "nowhere"
        here = self._endpoint
        try:
            parts = urlsplit(urljoin(here.url + target, location or ""))
            where = shown_url(parts.netloc) if location else where
            there = (parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme))
            same = there == (here.scheme, here.host, here.port)
        except ValueError:
            same = False
        if not location or not same:
            # The key would go along, and the answer would be somebody else's.
            raise DocumentError(
                f"{what}: {here.netloc} redirects to another host ({where})",
                "set MYOP_API_URL to the host that answers, if it is Myop's",
            )
        query = f"?{parts.query}" if parts.query else ""
        return quote((parts.path or "/") + query, safe=_IN_TARGETS)

    def _failed(self, what: str, error: TransportError, times: str) -> ExportError:
        message = f"{what}: {self._endpoint.netloc} {error.phrase}"
        if error.temporary:
            return Unreachable(f"{message} (asked {times})", error.hint or _HINT)
        return ExportError(message, error.hint)

    def _rejected(self, status: int) -> KeyRejected:
        return KeyRejected(
            f"Myop's API rejected the API key from {self._key_source} ({status})",
            "was it revoked, or is it another organization's? Keys are made in Dashboard > "
            "Rollout > Settings > Self-Hosting and look like myop_sk_ and 64 hex digits",
        )

    def _say_waiting(self) -> None:
        """Nothing has been answered yet."""
        if self._last_notice == float("-inf"):
            self._say(f"waiting for an answer from {self._endpoint.netloc}")

    def _say_retry(self, message: str) -> None:
        """One line for the many threads that meet the same trouble."""
        now = self._clock()
        if now - self._last_notice >= NOTICE_PAUSE_SECONDS:
            self._last_notice = now
            self._say(message)

    def _say(self, message: str) -> None:
        if not self._stopped.is_set():
            self._progress.note(message)


def check_url(url: str, *, allow_http: bool = False) -> str:
    """The base URL of an API, tidied. Raises InputError."""
    endpoint, path = _parsed(url, allow_http=allow_http)
    return endpoint.url + path


def _parsed(url: str, *, allow_http: bool) -> tuple[Endpoint, str]:
    try:
        endpoint, path = parse_base_url(url.strip())
    except ValueError as error:
        raise InputError(
            f"{shown_url(url)!r} is not the URL of an API: {error}",
            "MYOP_API_URL or --api-url: https://cloud.myop.dev, for one",
        ) from None
    refuse_plain_http(endpoint, "the API key", allowed=allow_http)
    return endpoint, path


def asked_at(response: Response) -> datetime | None:
    """When the response was made, by its `Date`; None without one.

    A cache hands on the origin's `Date` and says by `Age` for how many seconds it has kept the
    response (RFC 9111, 5.1), but some caches put their own `Date` there. So `Age` is taken off
    always: a document that is thought to be older than it is yields to others and is asked for
    again, one that is thought to be newer would replace what is newer still.
    """
    made = dates.read(response.headers.get("date"))
    age = response.headers.get("age", "").strip()
    if made is None or not (age.isascii() and age.isdigit()):
        return made
    try:
        return made - timedelta(seconds=int(age[:12]))
    except OverflowError:
        return None
