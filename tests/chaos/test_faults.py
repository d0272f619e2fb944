"""What is around the listener fails: the API, the destination, the disk, the clock."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.listener.rig import Rig, until, webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from random import Random

    from tests.chaos.stand import Stand


def test_an_api_that_fails_now_and_then_delays_but_loses_nothing(
    make_stand: Callable[..., Stand], chance: Random, long: bool
) -> None:
    stand = make_stand(fail_rate=0.3, seed=chance.randrange(1000))
    stand.start("--no-sync-at-start")
    accepted: set[str] = set()
    for number in range(200 if long else 15):
        status, answer = stand.post(stand.release(number))
        assert status == 200
        accepted.add(answer["delivery"])
    until(lambda: stand.all_done(accepted), "the work")
    until(lambda: stand.published() == stand.current, "the last variants")


def test_a_destination_that_fails_is_caught_up_with(make_stand: Callable[..., Stand]) -> None:
    stand = make_stand()
    stand.cdn.write_text("a file where the folder should be")
    stand.start("--no-sync-at-start")
    status, answer = stand.post(stand.release(1))
    assert status == 200
    until(lambda: "publishing failed" in stand.log.read_text(), "a failed run")
    stand.cdn.unlink()
    until(lambda: stand.all_done({answer["delivery"]}), "the work")
    assert stand.published()["c1"] == stand.current["c1"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB; skips where it can't be made."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    words = [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def test_a_full_disk_is_503_then_a_full_sync_and_then_all_is_well(
    small_disk: Path, make_rig: Callable[[Path], Rig]
) -> None:
    rig = make_rig(small_disk).start()
    assert rig.post(webhook("a/prod")).status == 200
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    statuses = {rig.post(webhook("b/prod", padding="x" * 20_000)).status for _ in range(5)}
    assert 503 in statuses
    assert statuses <= {200, 503}
    assert rig.running
    filler.unlink()
    until(lambda: "full" in rig.publisher.kinds, "the full sync")
    assert rig.post(webhook("c/prod")).status == 200


@pytest.fixture
def make_rig() -> Iterator[Callable[[Path], Rig]]:
    made: list[Rig] = []

    def make(folder: Path) -> Rig:
        made.append(Rig(folder))
        return made[-1]

    yield make
    for rig in made:
        rig.stop()


def test_a_clock_that_jumps_stops_nothing(
    tmp_path: Path, make_rig: Callable[[Path], Rig], chance: Random, long: bool
) -> None:
    """Deliveries are dated by the listener's clock here; the work goes on whatever it shows."""
    import time

    rig = make_rig(tmp_path)
    shift = 0.0
    rig.wall = lambda: time.time() + shift
    rig.start()
    for number in range(40 if long else 8):
        shift = chance.choice([-1, 1]) * chance.uniform(60, 10**8)
        assert rig.post(webhook(f"c{number}/prod", age=-shift)).status == 200
        until(lambda name=f"c{number}": name in worked(rig), "the work")


def worked(rig: Rig) -> set[str]:
    return {one.component_id for scope in rig.publisher.scopes for one in scope.releases}


def test_a_journal_that_is_damaged_between_runs_is_set_aside(
    make_stand: Callable[..., Stand], chance: Random
) -> None:
    stand = make_stand()
    stand.start("--no-sync-at-start")
    assert stand.post(stand.release(1))[0] == 200
    stand.kill()
    for file in stand.state.glob("journal.sqlite3*"):
        file.write_bytes(chance.randbytes(max(4096, file.stat().st_size)))
    stand.release(2)
    stand.start("--no-sync-at-start")
    until(lambda: stand.published() == stand.current, "the full sync")
    assert list(stand.state.glob("*.damaged-*"))
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(next(stand.state.glob("*.damaged-*Z"))).execute("SELECT * FROM delivery")
