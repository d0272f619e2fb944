"""The listener as a whole: what it reads again, and when."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from myop_cdn.listener.queued_log import QueuedLog
from myop_cdn.listener.service import end_loudly
from tests.listener.rig import SECRET, Lines, Rig, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_secret_that_is_replaced_while_the_listener_starts_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)

    def secrets() -> tuple[bytes, ...]:
        found = file.read_bytes()
        file.write_bytes(b"renewed")  # by somebody else, at the worst moment
        return (found,)

    rig = Rig(tmp_path)
    rig.files, rig.secrets = (file,), secrets
    rig.start()
    try:
        until(lambda: rig.listener.checks.secrets == (b"renewed",))
    finally:
        rig.stop()


def test_secrets_are_read_again_after_a_time_that_nobody_foresaw(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)

    def secrets() -> tuple[bytes, ...]:
        if (found := file.read_bytes()) == b"broken":
            raise ZeroDivisionError
        return (found,)

    rig = Rig(tmp_path)
    rig.files, rig.secrets = (file,), secrets
    rig.start()
    try:
        file.write_bytes(b"broken")
        until(lambda: "unexpected ZeroDivisionError" in rig.log.text())
        assert rig.listener.checks.secrets == (SECRET,)
        file.write_bytes(b"the renewed one")
        until(lambda: rig.listener.checks.secrets == (b"the renewed one",))
    finally:
        rig.stop()


def test_a_thread_that_ends_by_a_defect_ends_the_process_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines, codes = Lines(), list[int]()
    monkeypatch.setattr(threading, "excepthook", end_loudly(QueuedLog(lines), codes.append))
    thread = threading.Thread(target=lambda: 1 / 0, name="committer")
    thread.start()
    thread.join()
    assert codes == [1]
    level, message, fields = lines.lines[0]
    assert (level, message) == ("warning", "a thread of the listener has ended")
    assert fields["thread"] == "committer"
    assert "unexpected ZeroDivisionError at test_service.py" in str(fields["error"])


def test_a_line_that_cant_be_written_does_not_end_the_log() -> None:
    class Picky(Lines):
        def info(self, message: str, **fields: object) -> None:
            if message == "first":
                raise ZeroDivisionError
            super().info(message, **fields)

    lines = Picky()
    log = QueuedLog(lines)
    log.info("first")
    log.info("second")
    log.close()
    assert [one[1] for one in lines.lines] == ["second"]
