"""`python -m myop_cdn` and the installed `myop-cdn`."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    try:
        from myop_cdn.cli import cli
    except KeyboardInterrupt:  # before anything was begun
        _leave(130)

    # What is made by the ten thousand stays until the end: looking through it again and again
    # takes a deploy of 50,000 documents a tenth of its time.
    gc.set_threshold(200_000)
    try:
        cli(prog_name="myop-cdn")
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else 1)
    _leave(0)


def _leave(code: int) -> NoReturn:
    """End now. Taking the interpreter down in order costs a short command a tenth of its time,
    and waits for threads that a run which ended early has given up.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # None where the caller closed it
                stream.flush()
    except OSError:
        code = code or 1  # what was said did not arrive
    os._exit(code)


if __name__ == "__main__":
    main()
