"""Work without a storage service: start-up, and full syncs from Myop's API on this machine."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.benchmarks import synthetic
from tests.benchmarks.fast_s3 import files_below
from tests.benchmarks.measuring import Attempt, BenchmarkError, Contestant, in_turn
from tests.benchmarks.result import Ratio, Result, against_peers
from tests.benchmarks.s3_tools import JOBS, OURS, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.bench import Bench

KEY = "myop_sk_" + "0123456789abcdef" * 4
_SECRET = "benchmark-secret"


def verify(bench: Bench, name: str) -> Result:
    """`verify` of a webhook body of 1 KB, beside what importing its command line library costs."""
    releases = [
        {"componentId": f"component-{n}", "variantId": f"variant-{n}", "environment": "production"}
        for n in range(10)
    ]
    body = json.dumps({"event": "components.deployed", "data": {"releases": releases}}).encode()
    file = bench.new_folder("body")
    file.write_bytes(body)
    digest = hmac.new(_SECRET.encode(), body, hashlib.sha256).hexdigest()
    command = [*bench.finder.ours(), "verify", str(file), "--signature", f"sha256={digest}"]
    variables = environment(MYOP_WEBHOOK_SECRET=_SECRET)
    bare = [sys.executable, "-c", "import click"]
    contestants = [
        Contestant(OURS, lambda: Attempt(command, variables)),
        Contestant("import click", lambda: Attempt(bare, variables)),
    ]
    figures = in_turn(contestants, max(bench.rounds, 1 if bench.quick else 15), None, bench.say)
    ratios = against_peers(figures, OURS, {"import click": 1.5})
    return Result(name, "verify, 1 KB", figures, ratios)


def full_sync(bench: Bench, name: str) -> Result:
    """A full sync of the tree into an empty folder, without delay: the CPU of each document.

    Start-up is what a sync of one component takes.
    """
    tree, small = bench.tree(synthetic.REAL), _one_component(bench)
    with api(bench, tree, 0) as url, api(bench, small, 0) as near:
        contestants = [
            _sync_of(bench, "sync", tree, url),
            _sync_of(bench, "start-up", small, near),
        ]
        figures = in_turn(contestants, bench.rounds, None, bench.say)
    documents = len(files_below(tree)) - 1
    whole, start = figures["sync"].cpu, figures["start-up"].cpu
    ratios = (
        Ratio("CPU per document of 64 KB", (whole - start) * 1000 / documents, 1.0, "ms"),
        Ratio("the same with start-up", whole * 1000 / documents, None, "ms"),
    )
    return Result(name, "full sync, no latency", figures, ratios)


def slow_sync(bench: Bench, name: str, milliseconds: int = 50) -> Result:
    """A full sync with each answer held back, beside what 16 jobs could do at best.

    The ideal is the waiting alone, and the start-up: a sync of one component without delay.
    """
    tree, small = bench.tree(synthetic.REAL), _one_component(bench)
    with api(bench, tree, milliseconds) as url, api(bench, small, 0) as near:
        contestants = [
            _sync_of(bench, "sync", tree, url),
            _sync_of(bench, "start-up", small, near),
        ]
        figures = in_turn(contestants, bench.rounds, None, bench.say)
    requests = len(files_below(tree))  # a document each, and the index in the manifest's place
    waiting = math.ceil((requests - 1) / JOBS) * milliseconds / 1000 + milliseconds / 1000
    ideal = waiting + figures["start-up"].wall
    ratio = Ratio(f"the ideal ({ideal:.2f} s)", figures["sync"].wall / ideal, 1.25)
    title = f"full sync, {requests} requests of {milliseconds} ms, {JOBS} jobs"
    return Result(name, title, figures, (ratio,))


def _one_component(bench: Bench) -> Path:
    shape = synthetic.Shape("one component", 1, 2048, all_distinct=True)
    return synthetic.make(shape, bench.new_folder("small"))


def _sync_of(bench: Bench, name: str, tree: Path, url: str) -> Contestant:
    def begin() -> Attempt:
        output = bench.new_folder("output")

        def check() -> None:
            if files_below(output) != files_below(tree):
                raise BenchmarkError("the sync's folder does not hold what the API has")
            for path in files_below(tree):
                if (output / path).read_bytes() != (tree / path).read_bytes():
                    raise BenchmarkError(f"{path} is not in the official form")
            shutil.rmtree(output)

        command = [
            *bench.finder.ours(), "-q", "sync", "--exporter", "api", "--api-url", url,
            "--output", str(output), "--jobs", str(JOBS),
        ]  # fmt: skip
        return Attempt(command, environment(MYOP_API_KEY=KEY), check)

    return Contestant(name, begin)


@contextmanager
def api(bench: Bench, tree: Path, milliseconds: int) -> Iterator[str]:
    """The URL of a sandbox that hands this tree out, each answer held back."""
    command = [
        *bench.finder.ours(), "-q", "sandbox", "--tree", str(tree),
        "--latency", f"{milliseconds / 1000:g}s",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None  # asked for above
    try:
        yield process.stdout.readline().decode().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
