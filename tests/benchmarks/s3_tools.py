"""The tools that upload a folder to S3: this one and its peers, all told to do the same work."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.fast_s3 import ACCESS, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OURS = "myop-cdn"
RCLONE_TUNED = "rclone tuned"
CACHE_CONTROL = "public, max-age=300"
JOBS = 16


@dataclass(frozen=True, slots=True)
class Upload:
    """What a tool is to do: bring `bucket` of the server at `url` up to the folder `tree`."""

    tree: Path
    bucket: str
    url: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that is installed. command: its arguments for one piece of work."""

    name: str
    command: Callable[[Upload], Sequence[str]]
    environment: Mapping[str, str]


class Finder:
    """Finds programs in the given folders, beside the running Python, and on the path."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        beside = Path(sys.executable).parent
        self._path = os.pathsep.join([*map(str, folders), str(beside), os.environ["PATH"]])

    def find(self, program: str) -> str | None:
        """The program's full path; None where it is not installed."""
        return shutil.which(program, path=self._path)

    def ours(self) -> list[str]:
        """The command of this tool, as it is installed."""
        found = self.find(OURS)
        return [found] if found else [sys.executable, "-m", "myop_cdn"]


def environment(**more: str) -> dict[str, str]:
    """A clean environment with the server's credentials."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.devnull,
        "LANG": "C.UTF-8",
        "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        **more,
    }


def installed(finder: Finder) -> list[Tool]:
    """This tool first, then every peer that is there."""
    tools = [ours(finder)]
    if aws := finder.find("aws"):
        tools.append(Tool("aws s3 sync", lambda work: _aws(aws, work), environment()))
    if s5cmd := finder.find("s5cmd"):
        tools.append(Tool("s5cmd sync", lambda work: _s5cmd(s5cmd, work), environment()))
    if rclone := finder.find("rclone"):
        tools.append(Tool("rclone sync", lambda work: _rclone(rclone, work), environment()))
        tools.append(Tool(RCLONE_TUNED, lambda work: _rclone(rclone, work, *_TUNED), environment()))
    if s3cmd := finder.find("s3cmd"):
        tools.append(Tool("s3cmd sync", lambda work: _s3cmd(s3cmd, work), environment()))
    return tools


def ours(finder: Finder) -> Tool:
    """This tool."""
    program = finder.ours()

    def command(work: Upload) -> list[str]:
        to = f"s3://{work.bucket}"
        return [
            *program, "-q", "deploy", to, "--source", str(work.tree),
            "--endpoint-url", work.url, "--jobs", str(JOBS),
        ]  # fmt: skip

    return Tool(OURS, command, environment())


def _aws(program: str, work: Upload) -> list[str]:
    return [
        program, "s3", "sync", str(work.tree), f"s3://{work.bucket}", "--endpoint-url", work.url,
        "--only-show-errors", "--cache-control", CACHE_CONTROL,
    ]  # fmt: skip


def _s5cmd(program: str, work: Upload) -> list[str]:
    return [
        program, "--log", "error", "--endpoint-url", work.url, "sync",
        "--cache-control", CACHE_CONTROL, f"{work.tree}/", f"s3://{work.bucket}/",
    ]  # fmt: skip


_TUNED = (
    "--checksum", "--fast-list", "--no-update-modtime",
    "--transfers", str(JOBS), "--checkers", str(JOBS),
)  # fmt: skip


def _rclone(program: str, work: Upload, *more: str) -> list[str]:
    return [
        program, "sync", str(work.tree), f":s3:{work.bucket}", "--config", os.devnull, "-q",
        "--s3-provider", "Rclone", "--s3-env-auth", "--s3-endpoint", work.url,
        "--s3-no-check-bucket", "--header-upload", f"Cache-Control: {CACHE_CONTROL}", *more,
    ]  # fmt: skip


def _s3cmd(program: str, work: Upload) -> list[str]:
    host = work.url.removeprefix("http://")
    return [
        program, "-c", os.devnull, "--quiet", "--no-ssl", "--host", host, "--host-bucket", host,
        "--no-preserve", "--add-header", f"Cache-Control: {CACHE_CONTROL}",
        "sync", f"{work.tree}/", f"s3://{work.bucket}/",
    ]  # fmt: skip
