"""Other people's programs, run without a shell and for a limited time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO


def run(
    words: Sequence[str],
    environment: Mapping[str, str],
    seconds: float,
    output: IO[bytes] | None = None,
) -> int | None:
    """The exit code of the program `words[0]` with the other words as its arguments.

    None where it took longer than `seconds` and was ended, with the processes that it had started.
    environment: all that it gets of one. output: where its stdout and stderr go; None: nowhere.
    Raises OSError where it can't be started, ValueError where a word holds a NUL.
    """
    process = subprocess.Popen(  # noqa: S603 - an argument list, no shell
        words,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output or subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=sys.platform != "win32",
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:  # after an interruption, too
        if process.poll() is None:
            with suppress(OSError):
                if sys.platform == "win32":
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
