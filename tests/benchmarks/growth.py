"""Time and memory of a deploy as the number of objects grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks import synthetic
from tests.benchmarks.deploy_s3 import again_of, first_of
from tests.benchmarks.measuring import in_turn
from tests.benchmarks.result import Ratio, Result
from tests.benchmarks.s3_tools import ours

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.measuring import Figures

SHAPES = (synthetic.FEW, synthetic.MANY, synthetic.MOST)
MOST_MB = 160


def growth(bench: Bench, name: str) -> tuple[Result, ...]:
    """First uploads and runs with nothing to do, at 500, 5,000 and 50,000 objects of 2 KB."""
    tool = ours(bench.finder)
    results = []
    with bench.s3() as server:
        for what in ("first", "nothing to do"):
            contestants = []
            for shape in SHAPES:
                tree, label = bench.tree(shape), f"{shape.documents}"
                contestants.append(
                    first_of(tool, tree, server, server.url, name=label)
                    if what == "first"
                    else again_of(tool, tree, server, None, lambda tree, run: None, name=label)
                )
            figures = in_turn(contestants, bench.rounds, None, bench.say)
            title = f"deploy S3 by number of objects, {what}"
            result = Result(f"{name}-{what.split()[0]}", title, figures, _ratios(figures))
            results.append(result)
    return tuple(results)


def _ratios(figures: Mapping[str, Figures]) -> tuple[Ratio, ...]:
    middle, most = (figures[str(shape.documents)] for shape in SHAPES[1:])
    times = SHAPES[2].documents / SHAPES[1].documents
    return (
        Ratio("peak memory at the most objects", most.peak_mb, MOST_MB, "MB"),
        # The server slows down too, with so many objects: the wall clock says it of both.
        Ratio("the CPU of each at 5,000 objects", most.cpu / middle.cpu / times, 1.2),
        Ratio("the time of each at 5,000 objects", most.wall / middle.wall / times),
    )
