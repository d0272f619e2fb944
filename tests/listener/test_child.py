"""A publisher in a process of its own."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import KeyRejected, LeaseLost, MyopCdnError, ProcessKilled
from myop_cdn.listener.child import ChildPublisher, RunLimits
from myop_cdn.model import Release, Scope
from tests.listener.publishers import Obliging
from tests.listener.rig import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def told(word: str) -> Scope:
    return Scope("incremental", (Release(word, "prod"),))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def child(tmp_path: Path) -> Iterator[ChildPublisher]:
    made = ChildPublisher(Obliging(str(tmp_path)), linger=0.05, without=("MYOP_WEBHOOK_SECRET",))
    yield made
    made.kill()


def test_reports_come_back_whole_from_another_process(child: ChildPublisher) -> None:
    report = child(told("report"), deliveries=("d1", "d2"))
    assert report.sync.warnings[1:] == ("d1", "d2")
    assert int(report.sync.output) != os.getpid()
    assert report.deploy is not None
    error = report.deploy.destinations[0].error
    assert error is not None
    assert (error.message, error.hint) == ("no such bucket", "make it")


def test_the_child_ends_when_nothing_is_to_do_and_comes_back(child: ChildPublisher) -> None:
    first = int(child(told("report")).sync.output)
    until(lambda: not alive(first))
    assert int(child(told("report")).sync.output) != first


def test_the_child_does_not_get_the_signing_secret(
    child: ChildPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYOP_WEBHOOK_SECRET", "s3cret")
    assert child(told("report")).sync.warnings == ("none",)


def test_errors_come_back_as_what_they_are(child: ChildPublisher) -> None:
    with pytest.raises(KeyRejected) as error:
        child(told("refuse"))
    assert (error.value.message, error.value.hint) == ("the key was rejected", "make another")
    with pytest.raises(MyopCdnError, match=r"unexpected ZeroDivisionError at publishers\.py:\d+"):
        child(told("break"))
    with pytest.raises(MyopCdnError, match=r"PermissionError .* '/of/another/user': .*denied"):
        child(told("unreadable"))


def test_a_child_that_dies_is_an_error_and_the_next_run_has_another(child: ChildPublisher) -> None:
    with pytest.raises(ProcessKilled, match="ended early"):
        child(told("die"))
    assert child(told("report")).sync.scope == "incremental"


def test_a_run_can_be_cut_off(child: ChildPublisher, tmp_path: Path) -> None:
    errors: list[MyopCdnError] = []

    def run() -> None:
        try:
            child(told("sleep"))
        except MyopCdnError as error:
            errors.append(error)

    running = threading.Thread(target=run)
    running.start()
    note = tmp_path / "asleep"
    until(lambda: note.exists() and note.read_text())
    child.kill()
    running.join(PATIENCE)
    assert [type(error) for error in errors] == [MyopCdnError]  # not to be done again
    assert not alive(int(note.read_text()))
    with pytest.raises(MyopCdnError, match="ending"):
        child(told("report"))


@pytest.mark.parametrize(
    ("word", "limits", "why"),
    [
        ("sleep", RunLimits(silence=2.0), "nothing for 2 s"),
        ("work", RunLimits(incremental=2.0, each=0.0), "it took too long"),
    ],
)
def test_a_run_that_hangs_or_takes_too_long_is_cut_off_and_the_next_has_another_child(
    tmp_path: Path, word: str, limits: RunLimits, why: str
) -> None:
    child = ChildPublisher(Obliging(str(tmp_path)), limits=limits)
    first = child(told("report")).sync.output
    with pytest.raises(MyopCdnError, match=why) as error:
        child(told(word))
    assert error.value.hint == "it is tried again"
    assert not alive(int(first))
    assert child(told("report")).sync.output != first
    child.kill()


def test_what_waits_for_another_run_is_not_taken_to_hang_nor_to_be_slow(tmp_path: Path) -> None:
    limits = RunLimits(silence=2.0, incremental=2.0, each=0.0)
    child = ChildPublisher(Obliging(str(tmp_path)), limits=limits)
    first = child(told("report")).sync.output
    assert child(told("wait")).sync.output == first
    child.kill()


def test_a_run_goes_on_while_its_listener_holds_the_lease_and_not_a_moment_longer(
    tmp_path: Path,
) -> None:
    end = float("inf")
    child = ChildPublisher(
        Obliging(str(tmp_path)), held_until=lambda: min(end, time.monotonic() + 2.0)
    )
    first = child(told("report")).sync.output
    assert child(told("work")).sync.output == first  # which takes longer than that
    end = time.monotonic() + 0.5
    with pytest.raises(LeaseLost, match="another listener may publish"):
        child(told("sleep"))
    assert not alive(int(first))
    end = float("inf")
    assert child._child is not None  # whoever gets the lease back has no time to lose
    waiting = child._child._process.pid
    assert int(child(told("report")).sync.output) == waiting
    child.kill()


def test_a_child_is_heard_beside_more_than_a_thousand_open_connections(tmp_path: Path) -> None:
    """`select` knows no descriptor above 1023."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    child = ChildPublisher(Obliging(str(tmp_path)))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        assert child(told("report")).sync.scope == "incremental"
    finally:
        for descriptor in opened:
            os.close(descriptor)
        child.kill()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_run_is_done_though_no_process_can_be_started_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = ChildPublisher(Obliging(str(tmp_path)))
    first = child(told("report")).sync.output
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(tmp_path / "gone"))
        assert child(Scope("full")).sync.output == first  # after which another one is to go on
        with pytest.raises(MyopCdnError, match="can't start the publishing process"):
            child(told("report"))
    assert child(told("report")).sync.output != first
    child.kill()


def test_a_child_is_kept_though_its_listener_is_large(tmp_path: Path) -> None:
    ballast = bytearray(b"\x01") * (300 * 1024 * 1024)
    child = ChildPublisher(Obliging(str(tmp_path)))
    first = child(told("report")).sync.output
    assert child(told("report")).sync.output == first
    child.kill()
    assert ballast


def test_a_release_waits_for_no_other_process_and_only_a_large_run_gives_way(
    tmp_path: Path,
) -> None:
    child = ChildPublisher(Obliging(str(tmp_path)))
    few = child(told("nice")).sync.warnings[0]
    releases = tuple(Release(f"c{number}", "prod") for number in range(101))
    many = child(Scope("incremental", (Release("nice", "prod"), *releases))).sync
    again = child(told("nice")).sync
    child.kill()
    assert int(few) == os.nice(0)
    assert int(many.warnings[0]) > int(few)
    assert again.warnings[0] == few
    assert again.output != many.output
