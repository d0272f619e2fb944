"""Many requests at once, and when going on is given up."""

from __future__ import annotations

from itertools import count

import pytest

from myop_cdn.deploy.writes import AbortRun, run_all
from myop_cdn.errors import AccessDenied, StorageError, StorageUnavailable


def test_every_piece_ends_once_with_its_result_or_its_error() -> None:
    def work(number: int) -> int:
        if number % 7 == 0:
            raise StorageError("odd")
        return number * 2

    ended = list(run_all(work, range(100), 8, "test"))
    assert sorted(done.item for done in ended) == list(range(100))
    assert all((done.error is None) == (done.item % 7 != 0) for done in ended)
    assert all(done.result in (None, done.item * 2) for done in ended)


def test_what_would_fail_for_all_ends_the_work_at_once() -> None:
    begun = count()

    def work(_: int) -> None:
        next(begun)
        raise AccessDenied("no")

    with pytest.raises(AbortRun) as caught:
        list(run_all(work, range(10_000), 4, "test"))
    assert isinstance(caught.value.cause, AccessDenied)
    assert next(begun) <= 4


def test_a_service_that_fails_again_and_again_is_given_up() -> None:
    begun = count()

    def work(_: int) -> None:
        next(begun)
        raise StorageUnavailable("503")

    with pytest.raises(AbortRun):
        list(run_all(work, range(10_000), 2, "test"))
    assert next(begun) < 20


def test_a_service_that_fails_now_and_then_is_not_given_up() -> None:
    def work(number: int) -> None:
        if number % 3 == 0:
            raise StorageUnavailable("503")

    assert len(list(run_all(work, range(300), 1, "test"))) == 300


def test_a_defect_is_raised_as_it_is() -> None:
    def work(_: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run_all(work, range(5), 2, "test"))


def test_who_stops_listening_stops_the_work() -> None:
    begun = count()

    def work(_: int) -> None:
        next(begun)

    ended = run_all(work, range(1_000_000), 1, "test")
    next(ended)
    ended.close()  # type: ignore[attr-defined]
    assert next(begun) < 1_000_000
