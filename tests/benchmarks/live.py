"""How long it takes from a webhook to the document at the destination, `serve` being idle.

    python -m tests.benchmarks.live [--deliveries 40] [--delay MILLISECONDS]

A folder, and S3 (moto in a process of its own, behind a proxy that delays each request). What is
measured ends when a reader of the destination is given the new variant.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from tests.benchmarks.delay import Delay
from tests.benchmarks.fast_s3 import free_port, wait_for
from tests.chaos.stand import Stand

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE = 0.4  # seconds between a document that is live and the next webhook
PATIENCE = 20.0  # seconds
LOGIN: dict[str, Any] = {
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",  # moto looks at neither
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def measure(stand: Stand, read: Callable[[str], bytes], deliveries: int) -> list[float]:
    """Milliseconds of each delivery. read: the document of a component at the destination."""
    taken = []
    for number in range(-3, deliveries):  # the first ones warm up
        body = stand.release(number)
        name = f"c{number % stand.components}"
        variant = f'"{stand.current[name]}"'.encode()
        time.sleep(PAUSE)
        began = time.perf_counter()
        if stand.post(body)[0] != 200:
            raise SystemExit(stand.ending())
        while variant not in read(name):
            if time.perf_counter() - began > PATIENCE:
                raise SystemExit(f"{name} did not become live; {stand.ending()}")
            time.sleep(0.004)  # a reader must not keep the service from what is measured
        if number >= 0:
            taken.append(1000 * (time.perf_counter() - began))
    return taken


def on_folder(folder: Path, deliveries: int) -> list[float]:
    """A folder of this machine."""
    with Stand(folder) as stand:
        stand.start()
        _await(stand, lambda: len(stand.published()) == stand.components)
        components = stand.cdn / "components"
        return measure(
            stand, lambda name: (components / name / "production.json").read_bytes(), deliveries
        )


def on_s3(folder: Path, deliveries: int, milliseconds: float) -> list[float]:
    """S3 where each request takes so long."""
    with ExitStack() as stack:
        port = free_port()
        words = [sys.executable, "-m", "moto.server", "-p", str(port)]
        server = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        stack.callback(server.wait)
        stack.callback(server.kill)
        wait_for(f"127.0.0.1:{port}")
        delay = stack.enter_context(Delay(f"127.0.0.1:{port}", milliseconds))
        reader = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            region_name="us-east-1",
        )
        reader.create_bucket(Bucket="bucket")
        stand = stack.enter_context(Stand(folder))
        stand.destination = "s3://bucket/myop"
        stand.start("--endpoint-url", delay.url, **LOGIN)
        _await(stand, lambda: "published" in stand.log.read_text())
        time.sleep(1)

        def read(name: str) -> bytes:
            key = f"myop/components/{name}/production.json"
            found: bytes = reader.get_object(Bucket="bucket", Key=key)["Body"].read()
            return found

        return measure(stand, read, deliveries)


def _await(stand: Stand, condition: Callable[[], bool]) -> None:
    for _ in range(int(PATIENCE / 0.05)):
        if condition():
            return
        time.sleep(0.05)
    raise SystemExit(f"the first full sync did not end; {stand.ending()}")


def main() -> None:
    """Measure, and print a line for each destination."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=40)
    parser.add_argument("--delay", type=float, default=0.0, help="of each request to S3, in ms")
    given = parser.parse_args()
    for name in ("folder", "s3"):
        with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
            if name == "folder":
                taken = on_folder(Path(scratch), given.deliveries)
            else:
                taken = on_s3(Path(scratch), given.deliveries, given.delay)
        figures = {
            "median_ms": round(statistics.median(taken), 1),
            "p90_ms": round(statistics.quantiles(taken, n=10)[8], 1),
            "most_ms": round(max(taken), 1),
        }
        print(name, json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
