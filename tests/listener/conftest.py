"""A listener for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.listener.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Makes a listener that is not started yet; it is ended with the test."""
    made: list[Rig] = []

    def make(**settings: Any) -> Rig:
        made.append(Rig(tmp_path, **settings))
        return made[-1]

    yield make
    for rig in made:
        rig.publisher.gate.set()
        if rig.address[1] and rig.running:
            rig.stop()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """A listener with the usual settings, started."""
    return make_rig().start()
