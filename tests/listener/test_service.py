"""The listener as a whole: what it reads again, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.listener.rig import SECRET, Rig, until

if TYPE_CHECKING:
    from pathlib import Path


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
