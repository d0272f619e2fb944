"""A flood of requests without a signature, and a signed delivery beside it."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.chaos import flood

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.stand import Stand

PROMISED = 1.0  # seconds: the promise itself, not a measurement


@pytest.mark.parametrize("options", [(), ("--max-connections", "64")])
def test_a_signed_delivery_beside_a_pipelined_flood_is_answered_within_a_second(
    make_stand: Callable[..., Stand], options: tuple[str, ...]
) -> None:
    stand = make_stand()
    stand.start("--no-sync-at-start", *options)
    words = [sys.executable, flood.__file__, str(stand.port), "100", "20"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as strangers:
        assert strangers.stdout is not None
        assert strangers.stdout.readline() == "flooding\n"
        waits = []
        for number in range(8):
            began = time.monotonic()
            assert stand.post(stand.release(number))[0] == 200
            waits.append(time.monotonic() - began)
        assert strangers.poll() is None, "the flood was over before the deliveries"
        strangers.kill()
    assert max(waits) < PROMISED, waits
