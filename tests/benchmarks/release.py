"""What one release costs as the destination grows: requests, bytes, seconds, memory.

The destination is a synthetic service with that many documents; Myop's API is the sandbox. Each
run publishes one document, and its preview, in another content than is there.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from itertools import cycle
from typing import TYPE_CHECKING

from tests.benchmarks import synthetic
from tests.benchmarks.fake_s3 import FakeS3, document_key
from tests.benchmarks.local_runs import KEY, api
from tests.benchmarks.measuring import Attempt, BenchmarkError, Contestant, in_turn, run_once
from tests.benchmarks.result import Ratio, Result
from tests.benchmarks.s3_tools import OURS, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.fake_s3 import Counts
    from tests.benchmarks.measuring import Figures

SIZES = (500, 5_000, 50_000, 500_000)
MOST_REQUESTS = 10
MOST_KB = 100  # beyond the documents' own bytes
MOST_SECONDS = {0: None, 30: 0.35}
_SHAPE = synthetic.Shape("one component", 1, 2048, all_distinct=True)


def release(bench: Bench, name: str, milliseconds: int) -> Result:
    """One release by `publish`, at destinations of several sizes, each request held back."""
    sizes = (20, 40) if bench.quick else SIZES
    with ExitStack() as stack:
        trees = {number: _edition(bench, number) for number in (1, 2)}
        editions = [
            (number, stack.enter_context(api(bench, tree, milliseconds)))
            for number, tree in trees.items()
        ]
        servers = {size: stack.enter_context(FakeS3(size, milliseconds)) for size in sizes}
        contestants = {
            size: _contestant(bench, str(size), server, cycle(editions))
            for size, server in servers.items()
        }
        counts: dict[int, Counts] = {}
        for size, server in servers.items():
            run_once(contestants[size].begin())  # begins the log
            server.take_counts()
            run_once(contestants[size].begin())
            counts[size] = server.take_counts()
        figures = in_turn(list(contestants.values()), bench.rounds, None, bench.say)
    own = sum((trees[1] / document_key(n)).stat().st_size for n in range(2)) / 1024
    for size, found in counts.items():
        figures[str(size)].requests.update(found.requests)
        bench.say(f"  {size}: {found.sent + found.received:,} bytes")
    return Result(
        name,
        f"one release, {milliseconds} ms a request, by number of documents there",
        figures,
        tuple(_ratios(figures, counts, own, milliseconds)),
    )


def _ratios(
    figures: Mapping[str, Figures], counts: Mapping[int, Counts], own: float, milliseconds: int
) -> Iterator[Ratio]:
    for size, found in counts.items():
        kb = (found.sent + found.received) / 1024 - own
        yield Ratio(f"requests at {size:,}", sum(found.requests.values()), MOST_REQUESTS, "")
        yield Ratio(f"beyond the documents' own bytes at {size:,}", kb, MOST_KB, "KB")
    few, *_, most = counts
    at = 50_000 if 50_000 in counts else most
    yield Ratio(
        f"seconds at {at:,} by those at {few:,}", _wall(figures, at) / _wall(figures, few), 1.2
    )
    limit = MOST_SECONDS.get(milliseconds)
    yield Ratio(f"seconds at {most:,}", _wall(figures, most), limit, "s")


def _wall(figures: Mapping[str, Figures], size: int) -> float:
    return figures[str(size)].wall


def _edition(bench: Bench, number: int) -> Path:
    """A tree of the first component that the service has, in variants of its own."""
    tree = synthetic.make(_SHAPE, bench.new_folder("edition"))
    for file in tree.glob("components/*/*.json"):
        data = file.read_bytes().replace(b"edition 000000", b"edition %06d" % number)
        file.write_bytes(data.replace(b'"variant-0-', b'"variant-%d-' % number))
    (folder,) = tree.glob("components/*")
    component = document_key(0).split("/")[1]
    manifest = json.loads((tree / "manifest.json").read_bytes())
    manifest["components"][0]["id"] = component
    (tree / "manifest.json").write_text(json.dumps(manifest))
    for file in folder.glob("*.json"):
        file.write_text(file.read_text().replace(folder.name, component))
    folder.rename(folder.with_name(component))
    return tree


def _contestant(
    bench: Bench, name: str, server: FakeS3, editions: Iterator[tuple[int, str]]
) -> Contestant:
    component = document_key(0).split("/")[1]
    output = bench.new_folder("output")

    def begin() -> Attempt:
        number, url = next(editions)
        variant = f"variant-{number}-0"
        releases = [{"componentId": component, "variantId": variant, "environment": "production"}]
        command = [
            *bench.finder.ours(), "-q", "publish", "s3://bucket", "--releases",
            json.dumps(releases), "--exporter", "api", "--api-url", url,
            "--output", str(output), "--endpoint-url", server.url,
        ]  # fmt: skip

        def check() -> None:
            if not (output / document_key(1)).is_file():
                raise BenchmarkError(f"{OURS} has published nothing")

        return Attempt(command, environment(MYOP_API_KEY=KEY), check)

    return Contestant(name, begin)
