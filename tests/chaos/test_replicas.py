"""Two replicas under load, whatever befalls one of them, its child, its cable or the database.

`pytest tests/chaos/test_replicas.py --chaos-long -s` does a hundred rounds, with stops of 30 s, and
prints how long each takeover took. In pieces: `--chaos-rounds 25 --chaos-seed 1`, `2` and so on.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.chaos.replicas import Replica, Replicas
from tests.chaos.stand import settle
from tests.listener.rig import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.chaos.stand import Stand
    from tests.servers.postgres import Postgres

KINDS = ("kill", "child", "stop", "database", "cut", "unplug")
_STOPPED = 6.0  # seconds: twice as long as a lease


def test_no_fault_loses_a_delivery_or_lets_two_publish_at_once(
    make_stand: Callable[..., Stand], postgres: Postgres, chance: Random, long: bool, rounds: int
) -> None:
    stand = make_stand(components=12, latency=0.01)
    kinds = (
        [KINDS[number % len(KINDS)] for number in range(rounds)] if long else ["stop", "database"]
    )
    took: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with Replicas(stand, postgres) as replicas:
        replicas.watch()
        replicas.load(chance)
        for number, kind in enumerate(kinds):
            until(lambda: replicas.holder() is not None, "a holder")
            settle(chance.uniform(0.2, 1.0))
            seconds = one_round(replicas, kind, chance, 30.0 if long and number % 12 == 2 else 0)
            if seconds is not None:
                took[kind].append(seconds)
        replicas.quiet()
        for kind, times_taken in took.items():
            times = ", ".join(f"{write:.2f} ({claim:.2f})" for write, claim in sorted(times_taken))
            print(f"{kind}: the next write (and the lease) after {times} s")
        counts = len(replicas.accepted), len(replicas.posts), len(replicas.bucket.writes)
        print("accepted, released, writes, leases:", *counts, len(replicas.holders()))
        replicas.settle()
        assert not replicas.broken
        assert not replicas.out_of_turn()
        assert len(replicas.accepted) > 5 * len(kinds)


def one_round(
    replicas: Replicas, kind: str, chance: Random, stopped: float
) -> tuple[float, float] | None:
    """Let something happen to the replica that publishes, or (a kill, a cable) to any; see that
    publishing goes on, and mend it. How long nothing was written, and how long until the lease was
    another's (0: it stayed), where it was the publishing one.
    """
    holder = replicas.holder() or replicas.all[0]
    victim = chance.choice(replicas.all) if kind in ("kill", "cut", "unplug") else holder
    began = time.time()
    if kind == "kill":
        victim.kill()
    elif kind == "child":
        for pid in victim.children():
            _kill(pid)
    elif kind == "stop":
        assert victim.process is not None
        both = [victim.process.pid, *victim.children()]
        victim.stop(chance.choice([both[:1], both]))
    elif kind == "database":
        replicas.server.kill()
        replicas.server.start()
        began = time.time()
    elif kind == "cut":
        victim.cable.cut()
    else:
        victim.cable.unplug()
    other = victim.name if kind in ("kill", "stop", "cut", "unplug") else None
    try:
        until(lambda: replicas.first_write_after(began, not_by=other), "a takeover")
    except AssertionError:
        was = "held the lease" if victim is holder else "did not hold the lease"
        raise AssertionError(f"{kind} of {victim.name}, which {was}: {replicas.said()}") from None
    write = replicas.first_write_after(began, not_by=other)
    claim = replicas.first_claim_after(began, not_by=other)
    if kind == "stop":
        settle(max(0.0, began + (stopped or _STOPPED) - time.time()))
    _mend(replicas, victim, kind)
    return (write or 0.0, claim or 0.0) if victim is holder else None


def _mend(replicas: Replicas, victim: Replica, kind: str) -> None:
    victim.go_on()
    victim.cable.mend()
    if kind == "kill":
        replicas.start(victim)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_rolling_restart_refuses_no_delivery(
    make_stand: Callable[..., Stand], postgres: Postgres, chance: Random, long: bool
) -> None:
    with Replicas(make_stand(components=6), postgres) as replicas:
        replicas.load(chance, lanes=2)
        for _ in range(3 if long else 1):
            for replica in replicas.all:
                settle(0.5)
                assert replica.terminate() == 0
                replicas.start(replica)
        replicas.quiet()
        replicas.settle()
        assert {status for _, _, status in replicas.posts} == {200}
        assert not replicas.out_of_turn()
        slowest = max(seconds for _, seconds, _ in replicas.posts)
        print(f"{len(replicas.posts)} deliveries, the slowest answer after {slowest * 1000:.0f} ms")


def test_a_listener_that_takes_over_needs_nothing_of_the_other_s_folder(
    make_stand: Callable[..., Stand], postgres: Postgres, chance: Random
) -> None:
    """Its own output folder is empty, and yet the manifest at the destination stays whole."""
    with Replicas(make_stand(components=4), postgres) as replicas:
        for number in range(4):
            assert replicas.announce(number, chance)
        until(lambda: replicas.published() == replicas.stand.current, "the first")
        until(lambda: replicas.holder() is not None, "a holder")
        holder = replicas.holder()
        assert holder is not None
        assert holder.terminate() == 0
        assert replicas.announce(1, chance)
        until(lambda: replicas.published() == replicas.stand.current, "the next")
        other = next(one for one in replicas.all if one is not holder)
        assert sorted(path.name for path in (other.folder / "out" / "components").iterdir()) == [
            "c1"
        ]
        manifest = replicas.bucket.read("myop/manifest.json")
        assert manifest is not None
        assert all(name.encode() in manifest for name in ("c0", "c1", "c2", "c3"))
