"""The benchmarks by name, each with what it should reach."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.benchmarks import clouds, deploy_s3, local_runs
from tests.benchmarks.growth import growth
from tests.benchmarks.release import release
from tests.benchmarks.s3_tools import RCLONE_TUNED
from tests.benchmarks.synthetic import MANY, REAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.bench import Bench
    from tests.benchmarks.result import Result

    Benchmark = Callable[[Bench, str], "Result | tuple[Result, ...]"]

_AWS, _S5CMD = "aws s3 sync", "s5cmd sync"

CATALOGUE: dict[str, Benchmark] = {
    "verify": local_runs.verify,
    "s3-first": partial(
        deploy_s3.first,
        shape=REAL,
        targets={_AWS: 0.25, _S5CMD: 0.8, RCLONE_TUNED: 1.0},
        peak=80,
    ),
    "s3-nothing": partial(deploy_s3.again, what="nothing", targets={_AWS: 0.4, RCLONE_TUNED: 2.0}),
    "s3-touched": partial(deploy_s3.again, what="touched", targets={_AWS: 0.1, RCLONE_TUNED: 2.0}),
    "s3-one": partial(deploy_s3.again, what="one", targets={}),
    "s3-many": partial(
        deploy_s3.first, shape=MANY, targets={_AWS: 0.25, _S5CMD: 0.7, RCLONE_TUNED: 1.0}
    ),
    "s3-many-30ms": partial(
        deploy_s3.delayed,
        shape=MANY,
        milliseconds=30,
        targets={RCLONE_TUNED: 1.0},
        only=deploy_s3.RCLONE_AT_OUR_JOBS,
    ),
    "s3-10ms": partial(deploy_s3.delayed, shape=REAL, milliseconds=10, targets={}),
    "s3-30ms": partial(deploy_s3.delayed, shape=REAL, milliseconds=30, targets={}),
    "s3-100ms": partial(deploy_s3.delayed, shape=REAL, milliseconds=100, targets={}),
    "gcs-first": clouds.google,
    "azure-first": clouds.azure,
    "sync": local_runs.full_sync,
    "sync-50ms": local_runs.slow_sync,
    "growth": growth,
    "release": partial(release, milliseconds=0),
    "release-30ms": partial(release, milliseconds=30),
}
