"""kill -9 at random moments under load: nothing that was accepted is lost, nothing is broken."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from myop_cdn.listener.queue.base import KEPT_MOST
from tests.chaos.stand import settle
from tests.listener.rig import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.chaos.stand import Stand


def test_what_was_accepted_survives_kills_under_load(
    make_stand: Callable[..., Stand], chance: Random, long: bool
) -> None:
    """Every delivery that was answered 200 is in the journal and gets published."""
    for _ in range(10 if long else 1):
        # The journal forgets the oldest of 10,000 that are done, so no stand is given as many.
        accepted = killed_under_load(make_stand, chance, 10 if long else 6)
        assert 0 < accepted < KEPT_MOST


def killed_under_load(make_stand: Callable[..., Stand], chance: Random, rounds: int) -> int:
    """Kill a stand that often; how many deliveries it had accepted, all of them published."""
    stand = make_stand(latency=0.02, seed=chance.randrange(1000))
    accepted: set[str] = set()
    for _ in range(rounds):
        stand.start("--no-sync-at-start", "--full-sync-every", "0")
        stopping = threading.Event()
        loaders = [
            threading.Thread(target=load, args=(stand, accepted, stopping, lane))
            for lane in range(4)
        ]
        for loader in loaders:
            loader.start()
        settle(chance.uniform(0.05, 0.9))
        stand.kill()
        stopping.set()
        for loader in loaders:
            loader.join()
        stand.check_whole()
    stand.start("--no-sync-at-start", "--full-sync-every", "0")
    until(lambda: stand.published() == stand.current, "the last variants")
    # Where a kill cut the last announcement short, the one before it names what Myop does not
    # answer any more: the next one that arrives settles it.
    for number in range(stand.components):
        status, answer = stand.post(stand.release(number))
        assert status == 200
        accepted.add(answer["delivery"])
    until(lambda: stand.all_done(accepted), "the work")
    until(lambda: stand.published() == stand.current, "the last variants")
    assert stand.terminate() == 0
    stand.check_whole()
    return len(accepted)


def load(stand: Stand, accepted: set[str], stopping: threading.Event, lane: int) -> None:
    """Release and announce, one after another, on components of its own."""
    for turn in range(10_000):
        if stopping.is_set():
            return
        status, answer = stand.post(stand.release(lane + 4 * (turn % 3)))
        if status == 200:
            accepted.add(answer["delivery"])


def test_kills_right_after_the_answer_lose_nothing(
    make_stand: Callable[..., Stand], chance: Random, long: bool
) -> None:
    """The very moment after a 200 is safe already."""
    stand = make_stand()
    accepted: set[str] = set()
    for turn in range(40 if long else 4):
        stand.start("--no-sync-at-start")
        for _ in range(chance.randrange(1, 4)):
            status, answer = stand.post(stand.release(turn))
            assert status == 200, (answer, stand.ending())
            accepted.add(answer["delivery"])
        stand.kill()
    stand.start("--no-sync-at-start")
    until(lambda: stand.all_done(accepted), "the work")
    until(lambda: stand.published() == stand.current, "the last variants")


def test_sixty_deliveries_through_two_kills_are_all_published(
    make_stand: Callable[..., Stand],
) -> None:
    stand = make_stand(components=60, latency=0.05)
    accepted: set[str] = set()
    stand.start("--no-sync-at-start")
    for number in range(60):
        if number in (20, 40):
            stand.kill()
            stand.start("--no-sync-at-start")
        status, answer = stand.post(stand.release(number))
        assert status == 200
        accepted.add(answer["delivery"])
    until(lambda: stand.all_done(accepted), "the work")
    until(lambda: stand.published() == stand.current, "the last variants")
