"""The fast S3 server: `rclone serve s3` on a folder of memory, with signatures checked."""

from __future__ import annotations

import filecmp
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from tests.benchmarks.measuring import BenchmarkError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

ACCESS, SECRET = "AKTEST", "secretkey"
_BUCKETS = 400  # made beforehand: the server does not look for new folders


class FastS3:
    """The running server. root: an empty folder that becomes the server's own."""

    def __init__(self, rclone: str, root: Path) -> None:
        self._rclone = rclone
        self.root = root
        self.netloc = ""
        self._next = 0

    def __enter__(self) -> FastS3:
        for number in range(_BUCKETS):
            (self.root / f"bucket-{number:03d}").mkdir(parents=True)
        self.netloc = f"127.0.0.1:{free_port()}"
        self._process = subprocess.Popen(
            [
                self._rclone, "serve", "s3", "--config", os.devnull, "--addr", self.netloc,
                "--auth-key", f"{ACCESS},{SECRET}", str(self.root),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(self.netloc)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.netloc}"

    def fresh_bucket(self) -> str:
        """The name of a bucket that nobody has used. Raises BenchmarkError when none is left."""
        if self._next == _BUCKETS:
            raise BenchmarkError("no bucket is left: ask for fewer rounds at once")
        self._next += 1
        return f"bucket-{self._next - 1:03d}"

    def drop(self, bucket: str) -> None:
        """Give the memory of a bucket back; it can't be used any more."""
        shutil.rmtree(self.root / bucket)

    def check(self, bucket: str, tree: Path) -> None:
        """Raise BenchmarkError unless the bucket holds exactly this tree, byte for byte.

        Looked at past the server, where nothing it remembers can hide a difference. Objects
        that this tool keeps for itself don't count.
        """
        there, wanted = files_below(self.root / bucket), files_below(tree)
        if there != wanted:
            odd = sorted(there ^ wanted)
            raise BenchmarkError(f"{bucket}: {len(odd)} objects too many or missing: {odd[:3]}")
        for path in wanted:
            if not filecmp.cmp(self.root / bucket / path, tree / path, shallow=False):
                raise BenchmarkError(f"{bucket}: {path} is not what was uploaded")


def files_below(root: Path) -> set[str]:
    """The paths of all files below `root`, but for what this tool keeps for itself."""
    found: set[str] = set()
    for folder, _, files in os.walk(root):
        base = os.path.relpath(folder, root)
        if not base.startswith(".myop-cdn"):
            found.update(os.path.normpath(f"{base}/{file}") for file in files)
    return found


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(netloc: str, seconds: float = 15) -> None:
    """Wait until somebody listens there. Raises BenchmarkError."""
    host, _, port = netloc.partition(":")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise BenchmarkError(f"nobody listens on {netloc} after {seconds:.0f} s")
