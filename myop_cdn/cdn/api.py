"""A CDN's own web API: JSON over HTTPS with a bearer token."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import urllib3

from myop_cdn.errors import InvalidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TRIES = 6
_BUSY = (408, 429, 500, 502, 503, 504)
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the JSON value ({} for none) and the headers."""

    status: int
    value: Mapping[str, Any]
    headers: Mapping[str, str]


class Api:
    """One service for one user. token: asked for before each call, never shown."""

    def __init__(
        self,
        name: str,
        base: str,
        token: Callable[[], str],
        hint: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._base = base.rstrip("/")
        self._token = token
        self._hint = hint
        self._sleep = sleep
        self._pool = urllib3.PoolManager(timeout=30.0, retries=False)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One request, made again while the service is busy.

        path: below the base, or a whole URL that the service itself has given. Raises
        InvalidationError.
        """
        url = path if path.startswith(f"{self._base}/") else f"{self._base}/{path.lstrip('/')}"
        headers = {"Authorization": f"Bearer {self._token()}", "Accept": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        for tries in range(1, _TRIES + 1):
            last = tries == _TRIES
            try:
                answer = self._pool.request(method, url, body=data, headers=headers)
            except urllib3.exceptions.HTTPError as error:
                if last:
                    what = f"{self._name}: no answer ({type(error).__name__})"
                    raise InvalidationError(what) from None
            else:
                if answer.status not in _BUSY or last:
                    return self._checked(answer)
            longest = min(_LONGEST_PAUSE_SECONDS, 0.5 * 2.0**tries)
            self._sleep(longest * (0.5 + random.random() / 2))  # noqa: S311 - spreads retries
        raise AssertionError("the last try returns or raises")

    def _checked(self, answer: urllib3.BaseHTTPResponse) -> Answer:
        if answer.status in (401, 403):
            what = f"{self._name}: the service answered {answer.status}"
            raise InvalidationError(what, self._hint)
        if not 200 <= answer.status < 300:
            raise InvalidationError(f"{self._name}: the service answered {answer.status}")
        try:
            value = json.loads(answer.data) if answer.data.strip() else {}
        except ValueError:
            value = {}
        headers = {key.lower(): value for key, value in answer.headers.items()}
        return Answer(answer.status, value if isinstance(value, dict) else {}, headers)
