"""`pytest tests/deploy --races-long`: jobs at once, for as long as it takes."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known only when tests/deploy, or a file there, is named on the command line."""
    parser.addoption(
        "--races-long",
        action="store_true",
        help="200 rounds of jobs at once at every service, and every order of three jobs",
    )


@pytest.fixture
def races_long(request: pytest.FixtureRequest) -> bool:
    """Whether there is all the time in the world."""
    return bool(request.config.getoption("--races-long", default=False))
