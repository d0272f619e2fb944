"""Chaos, deterministic by its seed: `pytest tests/chaos [--chaos-long] [--chaos-seed N]`."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.chaos.stand import Stand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options; known only when tests/chaos is named on the command line."""
    parser.addoption("--chaos-long", action="store_true", help="run chaos for as long as it takes")
    parser.addoption("--chaos-rounds", type=int, default=100, help="of replicas, in the long form")
    parser.addoption("--chaos-seed", type=int, default=1, help="what happens, and when")


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Whether there is all the time in the world."""
    return bool(request.config.getoption("--chaos-long", default=False))


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How many faults befall replicas in the long form."""
    return int(request.config.getoption("--chaos-rounds", default=100))


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> Random:
    """The one source of randomness of a test; each test has its own."""
    seed = request.config.getoption("--chaos-seed", default=1)
    return Random(f"{seed}:{request.node.name}")


@pytest.fixture
def make_stand(tmp_path: Path) -> Iterator[Callable[..., Stand]]:
    """Makes the whole loop; it is taken down with the test."""
    from contextlib import ExitStack

    folders = (tmp_path / f"stand-{number}" for number in count())

    with ExitStack() as stack:
        yield lambda **how: _entered(stack, Stand(next(folders), **how))


def _entered(stack: ExitStack, stand: Stand) -> Stand:
    return stack.enter_context(stand)
