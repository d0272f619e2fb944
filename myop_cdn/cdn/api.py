"""A CDN's own web API: JSON over HTTPS with a bearer token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from myop_cdn.errors import CdnUnavailable, InputError, InvalidationError
from myop_cdn.retry import Retries, RetryPolicy, sleep
from myop_cdn.transport import Limits, Transport, TransportError, parse_base_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from myop_cdn.transport import Response

_POLICY = RetryPolicy(attempts=6, first_pause=0.5, longest_pause=30.0)
_BUSY = (408, 429, 500, 502, 503, 504)
_LIMITS = Limits(silence_seconds=30.0, body_bytes=2**20)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the JSON value ({} for none) and the headers."""

    status: int
    value: Mapping[str, Any]
    headers: Mapping[str, str]


class Api:
    """One service for one user. token: asked for before each call, never shown.

    wait: see `Retries`. Raises InputError where `base` is not a plain http(s) URL.
    """

    def __init__(
        self,
        name: str,
        base: str,
        token: Callable[[], str],
        hint: str = "",
        wait: Callable[[float], bool] = sleep,
    ) -> None:
        self._name = name
        self._token = token
        self._hint = hint
        self._wait = wait
        try:
            endpoint, self._path = parse_base_url(base.rstrip("/"))
        except ValueError as error:
            raise InputError(f"{name}: the address of its API is {error}") from None
        self._base = endpoint.url + self._path
        self._transport = Transport(endpoint, _LIMITS)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One request, made again while the service is busy.

        path: below the base, or a whole URL that the service itself has given. Raises
        InvalidationError.
        """
        below = path.removeprefix(self._base) if path.startswith(f"{self._base}/") else path
        target = f"{self._path}/{below.lstrip('/')}"
        headers = {"Authorization": f"Bearer {self._token()}", "Accept": "application/json"}
        data = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            headers["Content-Type"] = "application/json"

        def attempt() -> Answer:
            try:
                return self._checked(self._transport.request(method, target, headers, data))
            except TransportError as error:
                failed = CdnUnavailable if error.temporary else InvalidationError
                what = f"{self._name}: no answer: the service {error.phrase}"
                raise failed(what, error.hint) from None

        return Retries(_POLICY, self._wait).call(attempt)

    def _checked(self, response: Response) -> Answer:
        status = response.status
        if not 200 <= status < 300:
            failed = CdnUnavailable if status in _BUSY else InvalidationError
            hint = self._hint if status in (401, 403) else ""
            error = failed(f"{self._name}: the service answered {status}", hint)
            error.retry_after = response.retry_after()
            raise error
        try:
            value = json.loads(response.body) if response.body.strip() else {}
        except (ValueError, RecursionError):
            value = {}
        return Answer(status, value if isinstance(value, dict) else {}, response.headers)
