"""`-m pure` is for seconds: what it loads, and that it has what it should have."""

from __future__ import annotations

import os
import subprocess
import sys

PROBE = """
import sys
import pytest
words = ["--collect-only", "-q", "-q", "-m", "pure", "-p", "no:cacheprovider", "tests"]
code = pytest.main(words)
print("LOADED", code, *sys.modules)
"""


def test_pure_tests_are_collected_without_an_sdk_or_a_server() -> None:
    outer = ("COV", "PYTEST")  # what the run around it is told
    env = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    collected, _, told = done.stdout.rpartition("LOADED ")
    code, *modules = told.split()
    assert code == "0", done.stdout
    tops = {module.partition(".")[0] for module in modules}
    assert not tops & {"boto3", "botocore", "moto", "azure", "google", "requests", "flask"}
    for file in ("test_signature", "test_payload", "test_manifest", "deploy/test_plan"):
        assert f"tests/{file}.py" in collected
    for file in ("deploy/test_clouds", "storage/test_backends", "cli/test_serve"):
        assert f"tests/{file}.py" not in collected
