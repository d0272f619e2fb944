"""What tests of several rooms share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from click.testing import CliRunner
from hypothesis import settings

from myop_cdn.cli import cli

if TYPE_CHECKING:
    from collections.abc import Mapping

settings.register_profile("house", deadline=None, max_examples=60)  # no test asserts on timing
settings.load_profile("house")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the keys, options or proxies of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("MYOP") or name.lower().endswith("_proxy") or name == "NO_COLOR":
            monkeypatch.delenv(name)


@dataclass(frozen=True)
class Ended:
    """A command that ran to its end in this process."""

    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout."""
        import json

        return json.loads(self.out)


class Run(Protocol):
    """Runs the command line with these words."""

    def __call__(
        self, *words: object, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Ended: ...


@pytest.fixture
def run() -> Run:
    """The command line in this process: quicker than a process of its own, and measured."""

    def call(*words: object, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Ended:
        result = CliRunner().invoke(cli, [str(word) for word in words], input=stdin, env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return Ended(result.exit_code, result.stdout_bytes, result.stderr)

    return call
