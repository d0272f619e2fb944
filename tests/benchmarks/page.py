"""What the listener's page costs: its size, and deliveries beside an open page and without one.

    python -m tests.benchmarks.page [--components 10000] [--rounds 10]

A journal with so many components in five environments each; rounds take turns, with a visitor that
asks as the page does and without one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from myop_cdn.listener.queue.base import Lane, LiveDocument
from myop_cdn.listener.queue.journal import FILE
from myop_cdn.listener.queue.sqlite import SqliteQueue
from myop_cdn.model import DocumentRef
from tests.benchmarks.listener import KEY, SECRET, free_port, load, process, tree
from tests.listener.rig import Lines

ENVIRONMENTS = ("production", "staging", "qa", "dev", "demo")
VISITOR = """
import sys, time, urllib.request
from urllib.error import HTTPError
url, tag, pause = sys.argv[1], "", 0.25
def get(path, **headers):
    asked = urllib.request.Request(url + path, headers={"Accept-Encoding": "gzip", **headers})
    try:
        with urllib.request.urlopen(asked) as answer:
            answer.read()
            return answer.headers["ETag"]
    except HTTPError as error:
        return None
while True:
    began = time.monotonic()
    found = get("page/state", **({"If-None-Match": tag, "Prefer": "wait=8"} if tag else {}))
    pause = 0.25 if time.monotonic() - began > 1 else min(2.5, pause * 1.6)
    if found:
        tag = found
        get("page/components?limit=24")
    time.sleep(pause)
"""


def fill(state: Path, destination: str, components: int) -> None:
    """A journal in which so many components are live."""
    state.mkdir(mode=0o700)
    queue = SqliteQueue(state / FILE, [Lane(destination, 86400)], Lines())
    queue.start()
    documents = [
        LiveDocument(
            DocumentRef(f"c{number:05}-0000-4000-8000-000000000000", environment),
            f"Component {number} of many",
            f"v{number}",
            f"Variant {number}",
            1.78e9 + number,
        )
        for number in range(components)
        for environment in ENVIRONMENTS
    ]
    queue.set_live(destination, documents, [])
    queue.close()


def size(url: str) -> tuple[int, float]:
    """The bytes of an answer as it is sent, and the seconds it took."""
    began = time.monotonic()
    asked = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(asked) as answer:
        return len(answer.read()), time.monotonic() - began


def processor(pid: int) -> float:
    """Seconds of processor time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and print a line for each round and for each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=3000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        scratch = Path(folder)
        cdn, state = (scratch / "cdn").as_uri(), scratch / "state"
        fill(state, cdn, given.components)
        api, port, admin = free_port(), free_port(), free_port()
        command = [sys.executable, "-m", "myop_cdn"]
        environment = {"MYOP_WEBHOOK_SECRET": SECRET, "MYOP_API_KEY": KEY}
        environment["MYOP_API_URL"] = f"http://127.0.0.1:{api}"
        sandbox = [*command, "sandbox", "--tree", str(tree(scratch / "tree")), "--port", str(api)]
        serve = [*command, "serve", "--port", str(port), "--admin", f"127.0.0.1:{admin}"]
        serve += ["--state-dir", str(state), "--output", str(scratch / "out"), "--deploy", cdn]
        with (
            process(sandbox, api, {}, scratch),
            process([*serve, "--no-sync-at-start"], port, environment, scratch) as pid,
        ):
            url = f"http://127.0.0.1:{admin}/"
            load([port], 64, given.requests // 3, 1)  # it has begun, and is warm
            for path in ("", "page/state", "page/components", "page/components?search=777"):
                took = [size(url + path) for _ in range(3)]
                print(f"/{path}: {took[0][0]} bytes, {min(one[1] for one in took) * 1000:.0f} ms")
            rounds(given, url, port, pid)


def rounds(given: argparse.Namespace, url: str, port: int, pid: int) -> None:
    """Deliveries with a visitor and without, in turns."""
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for number in range(given.rounds):
        visited = number % 4 in (1, 2)  # A B B A: the journal grows, and each round with it
        visitor = subprocess.Popen([sys.executable, "-c", VISITOR, url]) if visited else None
        try:
            time.sleep(0.7)
            before = processor(pid)
            figures: dict[str, object] = load([port], 64, given.requests, 10 + number)
            numbers = {name: float(str(figures[name])) for name in ("p50_ms", "p99_ms")}
            numbers["processor_seconds"] = round(processor(pid) - before, 2)
        finally:
            if visitor is not None:
                visitor.kill()
                visitor.wait()
        found[visited].append(numbers)
        print("with a page" if visited else "without", json.dumps(numbers), flush=True)
    for visited, all_rounds in found.items():
        middle = {
            name: statistics.median(one[name] for one in all_rounds) for name in all_rounds[0]
        }
        print("median", "with a page" if visited else "without", json.dumps(middle))


if __name__ == "__main__":
    main()
