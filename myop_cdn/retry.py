"""When a request is made again: one policy for storage, the API, CDNs, secrets and notices."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from myop_cdn.errors import MyopCdnError, StorageUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class RetryPolicy(NamedTuple):
    """How often a request is made again, and how long is waited before.

    attempts: tries in all for a service that answers but can't now (503 SlowDown, 500, a
    connection cut short). unreachable_attempts: tries in all where a destination gives no
    connection at all. The n-th pause is random between half of and all of `first_pause * 2**n`
    seconds, `longest_pause` at most: many clients that were told to slow down must not come back
    at once. A service's `Retry-After` is added, up to `longest_retry_after`. request_seconds: for
    all attempts of a request and the pauses between them. waiting_seconds: of pauses in a whole
    run, those of several threads at the same time counted once.
    """

    attempts: int = 9
    unreachable_attempts: int = 4
    first_pause: float = 0.1
    longest_pause: float = 10.0
    longest_retry_after: float = 30.0
    request_seconds: float = 300.0
    waiting_seconds: float = 300.0

    def attempts_for(self, error: MyopCdnError) -> int:
        """How often a request that ends in such errors is made in all."""
        if isinstance(error, StorageUnreachable):
            return self.unreachable_attempts
        return self.attempts if error.is_temporary else 1

    def pause(self, tries: int, chance: float, retry_after: float = 0.0) -> float:
        """Seconds to wait after `tries` failed tries; chance: 0 to 1. retry_after: in seconds."""
        longest = min(self.longest_pause, self.first_pause * 2.0**tries)
        return longest * (0.5 + chance / 2) + min(retry_after, self.longest_retry_after)


def sleep(seconds: float) -> bool:
    """Wait that long; always True, since nobody can interrupt it."""
    time.sleep(seconds)
    return True


class Retries:
    """The retries of one run against one service. Safe between threads.

    wait: sleeps for so many seconds and tells whether to go on. chance: gives 0 to 1. clock:
    counts seconds. on_retry: told before each pause what went wrong, in a line for users.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        wait: Callable[[float], bool] = sleep,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        on_retry: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.policy = policy or RetryPolicy()
        self._wait = wait
        self._chance = chance
        self._clock = clock
        self._on_retry = on_retry
        self._lock = threading.Lock()
        self._waited = 0.0
        self._waiting_until = float("-inf")
        self._is_down = False

    def call(self, request: Callable[[], T]) -> T:
        """What `request` returns, made again while its errors are temporary ones.

        Raises the last error. While the service is down, that is after a request used up its
        attempts and before another one succeeds, requests have two attempts each.
        """
        was_down = self._is_down
        end = self._clock() + self.policy.request_seconds
        tries = 0
        while True:
            try:
                value = request()
            except MyopCdnError as error:
                tries += 1
                attempts = self.policy.attempts_for(error)
                if attempts == 1:
                    raise
                if was_down and self._is_down:
                    attempts = min(attempts, 2)
                pause = self.policy.pause(tries, self._chance(), error.retry_after)
                if tries >= attempts or not self._may_wait(pause, end):
                    self._is_down = True
                    raise
                self._on_retry(f"{error.message}; trying again ({tries + 1} of {attempts})")
                if not self._wait(pause):
                    raise
            else:
                self._is_down = False
                return value

    def _may_wait(self, pause: float, end: float) -> bool:
        """Whether there is time left for the pause; it is counted if so."""
        with self._lock:
            now = self._clock()
            until = now + pause
            added = max(0.0, until - max(now, self._waiting_until))
            if until >= end or self._waited + added > self.policy.waiting_seconds:
                return False
            self._waited += added
            self._waiting_until = max(self._waiting_until, until)
            return True
