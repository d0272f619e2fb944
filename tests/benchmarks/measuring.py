"""Time whole processes as the operating system accounts for them, several of them in turn.

Only figures of one run can be held against each other: the machine's speed drifts, so what is
compared is run A B A B, not A A B B.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.benchmarks.delay import Delay

_MAXRSS_PER_MB = 2**20 if sys.platform == "darwin" else 2**10  # getrusage(2): bytes or KB


class BenchmarkError(Exception):
    """A contestant failed, or did not do what it was timed for: its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. wall, cpu: seconds, cpu with all children. peak_mb: of the largest process."""

    wall: float
    cpu: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is run and timed. check: raises BenchmarkError unless the work was done."""

    command: Sequence[str]
    environment: Mapping[str, str]
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Contestant:
    """A tool at one piece of work. begin: untimed, gets everything ready for one run."""

    name: str
    begin: Callable[[], Attempt]


@dataclass(slots=True)
class Figures:
    """All runs of one contestant. requests: by method, counted in the warm-up."""

    samples: list[Sample] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)

    @property
    def wall(self) -> float:
        """The median of the wall clock's seconds."""
        return median(one.wall for one in self.samples)

    @property
    def cpu(self) -> float:
        """The median of the processors' seconds, user and system."""
        return median(one.cpu for one in self.samples)

    @property
    def peak_mb(self) -> float:
        """The median of the memory at its highest, in MB."""
        return median(one.peak_mb for one in self.samples)

    @property
    def spread(self) -> float:
        """The slowest run's wall time divided by the fastest's: how noisy the machine was."""
        walls = [one.wall for one in self.samples]
        return max(walls) / min(walls)


def run_once(attempt: Attempt, timeout: float = 900) -> Sample:
    """Run it once and check what came of it. Raises BenchmarkError."""
    reader, writer = os.pipe()
    launcher = [sys.executable, "-S", "-E", str(Path(__file__).with_name("launcher.py"))]
    with tempfile.TemporaryFile() as words, os.fdopen(reader, "rb") as told:
        process = subprocess.Popen(
            [*launcher, str(writer), *attempt.command],
            env=dict(attempt.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            pass_fds=(writer,),
            start_new_session=True,
        )
        os.close(writer)
        _wait(process, timeout)
        figures = told.read().decode().split()
        if not figures or figures[3] != "0":
            words.seek(0)
            said = words.read()[-600:].decode("utf-8", "replace")
            ending = figures[3] if figures else "no end in time"
            raise BenchmarkError(f"{Path(attempt.command[0]).name} ended with {ending}: {said}")
    attempt.check()
    wall, cpu, peak = map(float, figures[:3])
    return Sample(wall, cpu, peak / _MAXRSS_PER_MB)


def _wait(process: subprocess.Popen[bytes], timeout: float) -> None:
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the launcher's own session: it and the tool
        process.wait()


def in_turn(
    contestants: Sequence[Contestant],
    rounds: int,
    counter: Delay | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Figures]:
    """One warm-up of each, in which its requests are counted, then `rounds` rounds of all."""
    figures = {one.name: Figures() for one in contestants}
    for turn in range(rounds + 1):
        for one in contestants:
            attempt = one.begin()
            if counter:
                counter.take_counts()
            sample = run_once(attempt)
            if turn:
                figures[one.name].samples.append(sample)
            elif counter:
                figures[one.name].requests = counter.take_counts()
            say(f"  {one.name}: {sample.wall:.2f} s, cpu {sample.cpu:.2f} s")
    return figures
