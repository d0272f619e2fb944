"""Starts one command and tells how it went.

Usage: launcher.py FD COMMAND [ARGUMENT…].
The kernel's figure of a process's peak memory begins with that of the process which started it:
so what starts a command that is measured must be small, which the benchmark is not. Imports
nothing but what the interpreter has anyway. Writes "wall cpu maxrss exit-code" to FD.
"""

import os
import sys
import time


def main(out: int, command: list[str]) -> None:
    """Run it to its end."""
    began = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - began
    cpu = usage.ru_utime + usage.ru_stime
    code = os.waitstatus_to_exitcode(status)
    os.write(out, f"{wall} {cpu} {usage.ru_maxrss} {code}".encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
