"""What tests of several rooms share."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from click.testing import CliRunner
from coverage import Coverage
from hypothesis import settings

import myop_cdn
from myop_cdn.cli import cli

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

# The servers that tests of any room may ask for. None loads an SDK before it is started.
pytest_plugins = [
    "tests.servers.azure",
    "tests.servers.forward_proxy",
    "tests.servers.gcs",
    "tests.servers.postgres",
    "tests.servers.s3",
]

# No test asserts on timing. What is run again and again while somebody writes takes fewer examples.
settings.register_profile("house", deadline=None, max_examples=60)
settings.register_profile("quick", deadline=None, max_examples=12)
settings.load_profile("house")


# What a file of tests names when it starts a server, a process or hundreds of threads, or loads a
# cloud's SDK.
_NEEDS_MORE = re.compile(
    r"\b(moto|boto3|botocore|subprocess|socket|threading|Sandbox|ApiServer|Rig|gcp_storage_emulator)\b"
    r"|tests\.(servers|api_server|listener|chaos|end_to_end|deploy\.destinations|storage\.rigs"
    r"|recipes|deploy\.interleaving)|sandbox\b|Demo\(|NpxExporter|import programs"
    r"|^(?:from|import) (?:azure|requests)\b",
    re.MULTILINE,
)
_SERVERS = {"azurite", "bucket", "gcs_emulator", "moto_endpoint", "proxy"}
_DEBIAN = {"forward_proxy", "postgres"}


@cache
def _is_pure(path: Path) -> bool:
    """Whether a file's tests need nothing but this process and a folder."""
    return _NEEDS_MORE.search(path.read_text("utf-8")) is None


def pytest_configure(config: pytest.Config) -> None:
    """With `-m pure` properties are tried on fewer examples."""
    if config.option.markexpr == "pure":
        settings.load_profile("quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m pure` the other files are not even loaded: their SDKs take seconds."""
    if config.option.markexpr != "pure":
        return None
    if collection_path.is_dir():
        return True if collection_path.name in ("chaos", "end_to_end", "servers") else None
    is_other = collection_path.name.startswith("test_") and not _is_pure(collection_path)
    return True if is_other else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Measure no coverage while tests are loaded: it doubles the time of what is not measured.
    The package itself is loaded before.
    """
    measured = Coverage.current()
    if measured is None:
        return (yield)
    for module in pkgutil.walk_packages(myop_cdn.__path__, "myop_cdn."):
        if module.name.rpartition(".")[2] != "__main__":
            importlib.import_module(module.name)
    measured.stop()
    collected = yield
    measured.start()
    return collected


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test is `pure` or `servers`, by its file and its fixtures; some are `debian` too, and
    skipped unless TEST_DEBIAN is set.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        asks = fixtures & (_SERVERS | _DEBIAN)
        item.add_marker("pure" if _is_pure(item.path) and not asks else "servers")
        if fixtures & _DEBIAN:
            item.add_marker("debian")
            if not os.environ.get("TEST_DEBIAN"):
                item.add_marker(pytest.mark.skip(reason="needs Debian packages, TEST_DEBIAN=1"))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the keys, options, proxies or CI system of whoever runs it."""
    for name in list(os.environ):
        ours = name.startswith(("MYOP", "GITHUB_", "GITLAB_"))
        if ours or name.lower().endswith("_proxy") or name in ("NO_COLOR", "FORCE_COLOR"):
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
