"""A failure is a non-zero exit code, always, and --json names it: every error, every command."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from importlib import import_module
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from myop_cdn import errors
from myop_cdn.cli import options
from myop_cdn.errors import ExitCode, Interrupted, MyopCdnError, PartlyDone, RefusedError
from myop_cdn.export.api import ApiExport
from myop_cdn.report import (
    DeployReport,
    DestinationReport,
    FailedDocument,
    FailedKey,
    PublishReport,
    SyncReport,
)
from myop_cdn.retry import RetryPolicy
from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from myop_cdn.storage.memory import MemoryBackend
from tests.readme import described
from tests.samples import full_tree, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Ended, Run

IN_ORDER = [130, 1, 2, 3, 4, 5, 0]


def _below(kind: type[MyopCdnError]) -> Iterator[type[MyopCdnError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _below(one)


KINDS = [kind for kind in _below(MyopCdnError) if kind.__module__ == "myop_cdn.errors"]


# A line for each command that it parses: the first example of its help.
EXAMPLES = {
    name: re.split(" [>|] ", command.examples[0])[0]
    for name, command in described().items()
    if isinstance(command, options.Command)
}


def made(kind: type[MyopCdnError]) -> MyopCdnError:
    return kind() if kind is Interrupted else kind("it failed", "do this")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(tmp_path / "tree", full_tree({"card": ["qa"]}))


@pytest.fixture
def api(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with Sandbox(tree) as sandbox:
        monkeypatch.setenv("MYOP_API_URL", sandbox.url)
        monkeypatch.setenv("MYOP_API_KEY", REHEARSAL_KEY)
        yield


def breaks(monkeypatch: pytest.MonkeyPatch, owner: type, kind: type[MyopCdnError]) -> None:
    """Every request of `owner` ends in such an error."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise made(kind)

    monkeypatch.setattr(RetryPolicy, "pause", lambda *_: 0.0)
    for name in ("list", "head", "get", "put", "index", "document"):
        if hasattr(owner, name):
            monkeypatch.setattr(owner, name, fail)


def has_failed(ended: Ended, kind: type[MyopCdnError]) -> None:
    """Retries may have made another failure of it, but never a success."""
    assert ended.code != 0
    assert ended.json["error"]["exitCode"] == ended.code
    assert ended.json["error"]["message"]
    assert ended.err.strip()


def test_no_error_can_end_in_success() -> None:
    assert len(KINDS) > 20
    assert all(kind.exit_code != ExitCode.DONE for kind in KINDS)
    with pytest.raises(TypeError, match="would end with 0"):
        type("Fine", (MyopCdnError,), {"exit_code": ExitCode.DONE})


def documented() -> dict[str, int]:
    """Each class of the tree that the room of errors draws, and its code."""
    drawn = re.findall(r"^[ │├└─]*(\w+) +(\d+)   ", str(errors.__doc__), re.MULTILINE)
    return {name: int(code) for name, code in drawn}


def test_every_class_is_in_the_drawn_tree_with_its_code() -> None:
    assert {kind.__name__: int(kind.exit_code) for kind in KINDS} == documented()


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_ends_with_the_code_of_the_error_and_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[MyopCdnError]
) -> None:
    (tmp_path / "myop-static").mkdir()
    monkeypatch.chdir(tmp_path)
    error = made(kind)

    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(options, "filled", fail)
    for name, example in EXAMPLES.items():
        ended = run(*shlex.split(example)[1:])
        assert ended.code == documented()[kind.__name__], name
        assert ended.out == b"", name
        assert ended.err.splitlines() == [f"error: {error.message}", f"hint: {error.hint}"], name


@pytest.mark.parametrize("kind", KINDS)
def test_a_destination_that_fails_fails_the_deploy(
    run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch, kind: type[MyopCdnError]
) -> None:
    breaks(monkeypatch, MemoryBackend, kind)
    has_failed(run("deploy", "memory://a", "--source", tree, "--json"), kind)


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("kind", KINDS)
def test_one_of_two_destinations_that_fails_fails_the_publish(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[MyopCdnError]
) -> None:
    breaks(monkeypatch, MemoryBackend, kind)
    good = f"file://{tmp_path}/cdn"
    for number, destinations in enumerate((("memory://a", good), (good, "memory://a"))):
        output = tmp_path / f"out{number}"
        has_failed(run("publish", *destinations, "--output", output, "--json"), kind)


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [("sync",), ("publish", "memory://b")])
def test_an_export_that_fails_fails_the_sync_and_the_publish(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[MyopCdnError],
    words: tuple[str, ...],
) -> None:
    breaks(monkeypatch, ApiExport, kind)
    has_failed(run(*words, "--output", tmp_path / "out", "--json"), kind)


@pytest.fixture
def signals() -> Iterator[None]:
    """What `serve` does with signals is over with the test."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("api", "signals")
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_fails_at_the_start_of_a_listener_ends_it_with_its_code_and_a_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[MyopCdnError]
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise made(kind)

    monkeypatch.setenv("MYOP_WEBHOOK_SECRET", "0123456789abcdef")
    for module, name in (
        ("myop_cdn.deploy", "check_destinations"),
        ("myop_cdn.inputs", "webhook_secrets"),
        ("myop_cdn.listener.state_folder", "locked"),
        ("myop_cdn.cli.serve", "open_sockets"),
        ("myop_cdn.listener.queue.committer", "Committer.start"),
    ):
        owner, _, attribute = name.rpartition(".")
        place = import_module(module)
        with monkeypatch.context() as patched:
            patched.setattr(getattr(place, owner) if owner else place, attribute, fail)
            words = ("--port", "0", "--state-dir", tmp_path / "state", "--output", tmp_path / "o")
            ended = run("serve", "--deploy", "memory://a", *words)
        assert ended.code == kind.exit_code, name
        assert str(made(kind)).splitlines()[0] in ended.err
        assert "Traceback" not in ended.err


# Reports add up


def reports() -> Iterator[tuple[DestinationReport, int]]:
    yield DestinationReport("s3://a"), 0
    yield DestinationReport("s3://a", failed=(FailedKey("k", "no"),)), 4
    yield DestinationReport.refusing("s3://a", RefusedError("too many")), 3
    for kind in KINDS:
        yield DestinationReport("s3://a", error=made(kind)), int(kind.exit_code)


SYNCS = (
    (SyncReport("full", "api", "out"), 0),
    (SyncReport("full", "api", "out", failed=(FailedDocument("a", "qa", "no"),)), 4),
)


@pytest.mark.parametrize("several", list(combinations_with_replacement(reports(), 2)))
def test_a_run_ends_with_the_first_of_1_2_3_4_0_that_applies(
    several: tuple[tuple[DestinationReport, int], ...],
) -> None:
    for order in (several, several[::-1]):
        deploy = DeployReport(False, tuple(report for report, _ in order))
        adds_up(deploy, *(code for _, code in order))
        for sync, code in SYNCS:
            adds_up(PublishReport(sync, deploy), code, *(code for _, code in order))


def adds_up(report: DeployReport | PublishReport, *codes: int) -> None:
    expected = min(codes, key=IN_ORDER.index)
    assert report.exit_code == expected
    said: dict[str, Any] = report.to_json()
    assert ("error" in said) is (expected != 0)
    if expected:
        assert said["error"]["exitCode"] == expected
        assert isinstance(report.error, MyopCdnError)


def test_all_codes_have_a_place_in_the_order() -> None:
    assert {int(code) for code in ExitCode} == set(IN_ORDER)
    for position, code in enumerate(IN_ORDER):
        for other in IN_ORDER[position:]:
            assert ExitCode.worst(ExitCode(other), ExitCode(code)) == code


def test_a_destination_s_failures_outweigh_one_another() -> None:
    both = DestinationReport("s3://a", failed=(FailedKey("k", "no"),), refused="no")
    assert isinstance(both.failure, RefusedError)
    assert isinstance(DestinationReport("x", failed=both.failed).failure, PartlyDone)


# As it was seen from outside: a CI variable that is not set


@pytest.mark.parametrize(
    ("command", "region"),
    [("deploy", ""), ("deploy", "us-east-1\n"), ("deploy", "\u00fc"), ("publish", "us-east-1 ")],
)
@pytest.mark.usefixtures("api")
def test_a_region_that_is_not_one_fails_the_run(
    tree: Path, tmp_path: Path, region: str, command: str
) -> None:
    import json

    words = {
        "deploy": ("deploy", "s3://bucket/myop", "--source", str(tree)),
        "publish": ("publish", "s3://bucket/myop", f"file://{tmp_path}/cdn", "--output", "out"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "myop_cdn", *words[command], "--json"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
        env=os.environ
        | {
            "AWS_DEFAULT_REGION": region,
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "AKTEST",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        },
    )
    assert done.returncode in (1, 2), done.stderr
    assert json.loads(done.stdout)["error"]["exitCode"] == done.returncode
    assert b"defect" not in done.stderr
