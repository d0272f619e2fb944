"""How much memory a big body takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from myop_cdn.signature import sign
from tests.end_to_end.conftest import COMMAND
from tests.samples import SECRET

MEGABYTE = 1_000_000
# A process of its own: the most that any child of this one ever took is not a measure.
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=sys.stdin, stdout=subprocess.DEVNULL)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(done.returncode, peak if sys.platform == "darwin" else peak * 1024)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows measures otherwise")
@pytest.mark.parametrize("way", ["valid", "not valid", "explained"])
def test_a_body_of_50_mb_takes_no_more_than_30_mb_beside_it(tmp_path: object, way: str) -> None:
    body = b'{"x":"' + b"x" * (50 * MEGABYTE - 8) + b'"}'
    good = sign(body if way == "valid" else body[:-1], SECRET.encode())
    line = [sys.executable, "-c", MEASURE, str(COMMAND), "verify", "--signature", good]
    line += ["--explain"] if way == "explained" else []
    done = subprocess.run(
        line, input=body, capture_output=True, env={"MYOP_WEBHOOK_SECRET": SECRET}, timeout=60
    )
    code, peak = map(int, done.stdout.split())
    assert code == (0 if way == "valid" else 1)
    assert peak <= len(body) + 30 * MEGABYTE
