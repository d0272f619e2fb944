"""When a request that failed is made again, and for how long."""

from __future__ import annotations

import pytest

from myop_cdn.errors import (
    AccessDenied,
    CutShort,
    KeyRejected,
    MyopCdnError,
    StorageUnavailable,
    StorageUnreachable,
    Unreachable,
)
from myop_cdn.retry import Retries, RetryPolicy


class Clock:
    """Time that goes on when somebody waits, and only then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        return True


def retries(clock: Clock, policy: RetryPolicy | None = None) -> Retries:
    return Retries(policy, clock.wait, lambda: 1.0, clock)


class Failing:
    """A request that fails so many times before it works."""

    def __init__(self, error: MyopCdnError, times: int = 1000) -> None:
        self.error = error
        self.left = times
        self.tries = 0

    def __call__(self) -> str:
        self.tries += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "done"


def with_retry_after(seconds: float) -> StorageUnavailable:
    error = StorageUnavailable("503")
    error.retry_after = seconds
    return error


def test_pauses_grow() -> None:
    clock = Clock()
    assert retries(clock).call(Failing(StorageUnavailable("503"), 5)) == "done"
    assert clock.pauses == [0.2, 0.4, 0.8, 1.6, 3.2]


def test_pauses_are_never_longer_than_said() -> None:
    assert RetryPolicy().pause(50, 1.0) == RetryPolicy().longest_pause
    assert RetryPolicy().pause(50, 0.0) == RetryPolicy().longest_pause / 2


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (StorageUnavailable("503"), RetryPolicy().attempts),
        (Unreachable("503"), RetryPolicy().attempts),
        (CutShort("empty"), RetryPolicy().attempts),
        (StorageUnreachable("gone"), RetryPolicy().unreachable_attempts),
        (AccessDenied("no"), 1),
        (KeyRejected("no"), 1),
    ],
)
def test_only_temporary_errors_are_tried_again_and_not_for_ever(
    error: MyopCdnError, tries: int
) -> None:
    request = Failing(error)
    with pytest.raises(type(error)):
        retries(Clock()).call(request)
    assert request.tries == tries


def test_another_kind_of_exception_is_raised_as_it_is() -> None:
    def request() -> None:
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        retries(Clock()).call(request)


def test_a_service_is_left_alone_as_long_as_it_asks_but_not_for_ever() -> None:
    clock = Clock()
    retries(clock).call(Failing(with_retry_after(7), 1))
    retries(clock).call(Failing(with_retry_after(999_999_999), 1))
    assert clock.pauses == [7.2, RetryPolicy().longest_retry_after + 0.2]


def test_a_request_has_a_limit_of_time() -> None:
    clock = Clock()
    request = Failing(with_retry_after(30))
    with pytest.raises(StorageUnavailable):
        retries(clock, RetryPolicy(attempts=100, request_seconds=100)).call(request)
    assert clock.now < 1100
    assert request.tries == 4


def test_a_run_has_a_limit_of_waiting_over_all_its_requests() -> None:
    clock = Clock()
    run = retries(clock, RetryPolicy(waiting_seconds=100))
    made = 0
    for _ in range(20):
        try:
            run.call(Failing(with_retry_after(30), 1))
            made += 1
        except StorageUnavailable:
            break
    assert made == 3


def test_threads_that_wait_at_the_same_time_are_counted_once() -> None:
    clock = Clock()
    started: list[float] = []

    def wait_with_others(seconds: float) -> bool:
        """The pause of the first begins; a second one begins and ends before it goes on."""
        started.append(seconds)
        if len(started) == 1:
            run.call(Failing(with_retry_after(30), 1))
            clock.now += seconds
        return True

    run = Retries(RetryPolicy(waiting_seconds=35), wait_with_others, lambda: 1.0, clock)
    assert run.call(Failing(with_retry_after(30), 1)) == "done"
    assert len(started) == 2


def test_while_a_service_is_down_not_every_request_waits_for_every_attempt() -> None:
    run = retries(Clock())
    first, second, third = (Failing(StorageUnavailable("503")) for _ in range(3))
    for request in (first, second):
        with pytest.raises(StorageUnavailable):
            run.call(request)
    assert (first.tries, second.tries) == (RetryPolicy().attempts, 2)
    assert run.call(lambda: "up again") == "up again"
    with pytest.raises(StorageUnavailable):
        run.call(third)
    assert third.tries == RetryPolicy().attempts


def test_a_run_that_is_ended_stops_waiting() -> None:
    request = Failing(StorageUnavailable("503"))
    with pytest.raises(StorageUnavailable):
        Retries(wait=lambda _: False).call(request)
    assert request.tries == 1


def test_what_is_retried_is_said_before_the_pause() -> None:
    said: list[str] = []

    def wait(_: float) -> bool:
        said.append("(pause)")
        return True

    Retries(wait=wait, on_retry=said.append).call(Failing(Unreachable("api can't be reached"), 1))
    assert said == ["api can't be reached; trying again (2 of 9)", "(pause)"]
