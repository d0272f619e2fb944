"""Deploys to S3: a first upload, and runs in which little or nothing is to be done."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING

from tests.benchmarks import synthetic
from tests.benchmarks.measuring import Attempt, Contestant, in_turn, run_once
from tests.benchmarks.result import Ratio, Result, against_peers
from tests.benchmarks.s3_tools import OURS, RCLONE_TUNED, Upload, installed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.fast_s3 import FastS3
    from tests.benchmarks.s3_tools import Tool
    from tests.benchmarks.synthetic import Shape


def first(
    bench: Bench, name: str, shape: Shape, targets: Mapping[str, float], peak: float | None = None
) -> Result:
    """Every tool uploads the same tree into an empty bucket. peak: of memory, in MB."""
    tree = bench.tree(shape)
    with bench.s3_behind(0) as (server, counter):
        contestants = [
            first_of(tool, tree, server, server.url, counting=counter.url)
            for tool in installed(bench.finder)
        ]
        figures = in_turn(contestants, bench.rounds, counter, bench.say)
    ratios = against_peers(figures, OURS, targets)
    if peak is not None:
        ratios += (Ratio("peak memory", figures[OURS].peak_mb, peak, "MB"),)
    return Result(name, f"deploy S3, first, {shape.name}", figures, ratios)


def delayed(
    bench: Bench,
    name: str,
    shape: Shape,
    milliseconds: float,
    targets: Mapping[str, float],
    only: tuple[str, ...] = (),
) -> Result:
    """As `first`, each request held back. only: names of the tools; empty for all."""
    tree = bench.tree(shape)
    with bench.s3_behind(milliseconds) as (server, delay):
        contestants = [
            first_of(tool, tree, server, delay.url)
            for tool in installed(bench.finder)
            if not only or tool.name in only
        ]
        figures = in_turn(contestants, bench.rounds, delay, bench.say)
    title = f"deploy S3, first, {shape.name}, {milliseconds:g} ms a request"
    return Result(name, title, figures, against_peers(figures, OURS, targets))


def again(bench: Bench, name: str, what: str, targets: Mapping[str, float]) -> Result:
    """Every tool has uploaded its own copy of the tree; now it does so again.

    what: `nothing` changed since, every file was `touched`, or `one` was changed.
    """
    with bench.s3_behind(0) as (server, counter):
        contestants = [
            again_of(
                tool,
                synthetic.copy(bench.tree(synthetic.REAL), bench.new_folder("copy")),
                server,
                counter.url,
                _CHANGES[what],
            )
            for tool in installed(bench.finder)
        ]
        figures = in_turn(contestants, bench.rounds, counter, bench.say)
    titles = {
        "nothing": "nothing to do",
        "touched": "all files touched",
        "one": "one file changed",
    }
    title = f"deploy S3, {titles[what]}, {synthetic.REAL.name}"
    return Result(name, title, figures, against_peers(figures, OURS, targets))


def first_of(
    tool: Tool,
    tree: Path,
    server: FastS3,
    url: str,
    counting: str | None = None,
    name: str = "",
) -> Contestant:
    """A contestant that uploads `tree` into an empty bucket each time."""
    runs = count()

    def begin() -> Attempt:
        bucket = server.fresh_bucket()
        # The first run is the warm-up: it goes by way of the proxy that counts.
        endpoint = counting if counting and next(runs) == 0 else url

        def check() -> None:
            server.check(bucket, tree)
            server.drop(bucket)

        command = tool.command(Upload(tree, bucket, endpoint))
        return Attempt(command, tool.environment, check)

    return Contestant(name or tool.name, begin)


def again_of(
    tool: Tool,
    tree: Path,
    server: FastS3,
    counting: str | None,
    change: Callable[[Path, int], None],
    name: str = "",
) -> Contestant:
    """A contestant that has uploaded `tree`, has it changed, and brings the bucket up to it."""
    bucket = server.fresh_bucket()
    run_once(Attempt(tool.command(Upload(tree, bucket, server.url)), tool.environment))
    runs = count()

    def begin() -> Attempt:
        run = next(runs)
        change(tree, run)
        endpoint = counting if counting and run == 0 else server.url
        command = tool.command(Upload(tree, bucket, endpoint))
        return Attempt(command, tool.environment, lambda: server.check(bucket, tree))

    return Contestant(name or tool.name, begin)


def _touch(tree: Path, run: int) -> None:
    synthetic.touch(tree, time.time() + run)


def _change_one(tree: Path, run: int) -> None:
    synthetic.change_one(tree, run + 1, time.time() + run)


_CHANGES: dict[str, Callable[[Path, int], None]] = {
    "nothing": lambda tree, run: None,
    "touched": _touch,
    "one": _change_one,
}

RCLONE_AT_OUR_JOBS = (OURS, RCLONE_TUNED)
