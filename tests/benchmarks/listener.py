"""How fast `myop-cdn serve` takes deliveries, beside Flask under gunicorn.

    python -m tests.benchmarks.listener [--state-dir DIR] [--requests 10000] [--plot FILE.svg]

All are asked the same way in one run: valid, distinct deliveries over 256 connections. Flask does
the signature check alone and stores nothing; serve stores each delivery before it answers and
publishes meanwhile: in SQLite, and in PostgreSQL on the same machine (one that waits for the disk)
as one listener and as two.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.plot import Bars, bars
from tests.servers.postgres import programs, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECRET = "a-benchmark-secret"
KEY = "myop_sk_" + "0123456789abcdef" * 4
HERE = Path(__file__).parent
_USUAL, _MOST = 1500, 8000  # deliveries in a second: about as many as are taken, and never more

FLASK = """
import hashlib, hmac, os
from flask import Flask, abort, request
app = Flask(__name__)
secret = os.environ["MYOP_WEBHOOK_SECRET"].encode()

@app.post("/webhooks/myop")
def webhook():
    made = "sha256=" + hmac.new(secret, request.get_data(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(made, request.headers.get("X-Myop-Signature", "")):
        abort(401)
    return {"status": "accepted"}
"""


@contextmanager
def process(words: list[str], port: int, environment: dict[str, str], cwd: Path) -> Iterator[int]:
    """A server that listens on `port`, until the end of the block; yields its pid."""
    with (cwd / f"log-{port}").open("wb") as log:
        child = subprocess.Popen(
            words, env={**os.environ, **environment}, cwd=cwd, stdout=log, stderr=log
        )
        try:
            _await(port, child)
            yield child.pid
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(30)


def _await(port: int, child: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if child.poll() is not None:
            raise SystemExit(f"{child.args!r} ended with {child.returncode}")
        time.sleep(0.05)
    raise SystemExit(f"{child.args!r} does not listen")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def load(ports: list[int], connections: int, count: int, seed: int) -> dict[str, object]:
    """The figures of about `count` deliveries over so many connections to these ports."""
    words = [sys.executable, str(HERE / "load.py"), "--port", *map(str, ports)]
    words += ["--connections", str(connections), "--seed", str(seed), "--requests"]
    if (wrk := shutil.which("wrk")) is None:
        return _figures([*words, str(count)])
    seconds = max(1, count // _USUAL)
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        made, most = Path(folder) / "requests", _MOST * seconds
        subprocess.run(
            [*words, str(most), "--write", made], input=SECRET.encode() + b"\n", check=True
        )
        sending = [wrk, f"-t{len(ports)}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
        sending += ["--script", str(HERE / "load.lua"), f"http://127.0.0.1:{ports[0]}/"]
        figures = _figures([*sending, "--", str(made), *map(str, ports)])
    sent = int(str(figures["requests"]))
    assert sent < most, "deliveries were sent twice"
    return {**figures, "per_second": round(sent / float(str(figures["seconds"])))}


def _figures(words: Sequence[str]) -> dict[str, object]:
    """What a load generator's last line says."""
    done = subprocess.run(words, input=SECRET.encode() + b"\n", capture_output=True, check=True)
    figures: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return figures


def resident(pid: int) -> str:
    """The resident memory of a process, where /proc tells."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return "unknown"
    return next(line.split(":")[1].strip() for line in lines if line.startswith("VmRSS"))


def tree(folder: Path) -> Path:
    """A small export for the sandbox to serve."""
    entries = []
    for number in range(20):
        name = f"component-{number}"
        (folder / "components" / name).mkdir(parents=True)
        variant = {"id": "v", "name": "v", "loader": {"type": "HTMLLoader", "HTML": "x" * 4096}}
        item = {"name": name, "id": name, "organizationId": "o", "consume_variant": [variant]}
        text = json.dumps({"version": "1.0.0", "item": item}, indent=2)
        for environment in ("production", "preview"):
            (folder / "components" / name / f"{environment}.json").write_text(text)
        entries.append({"id": name, "name": name, "environments": ["production"]})
    manifest = {"version": 1, "exportedAt": "2026-01-01T00:00:00.000Z", "organization": "o"}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "components": entries}, indent=2))
    return folder


def measure_flask(scratch: Path, connections: int, count: int) -> dict[str, object]:
    """Flask under gunicorn with two workers, checking signatures."""
    (scratch / "flask_app.py").write_text(FLASK)
    port = free_port()
    words = [sys.executable, "-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}"]
    words += ["--backlog", "2048", "flask_app:app"]
    with process(words, port, {"MYOP_WEBHOOK_SECRET": SECRET}, scratch):
        load([port], connections, count // 10, seed=7)
        return load([port], connections, count, seed=8)


def measure_serve(scratch: Path, state: Path, connections: int, count: int) -> dict[str, object]:
    """serve, storing and publishing, with the journal in `state`."""
    api, port = free_port(), free_port()
    command = [sys.executable, "-m", "myop_cdn"]
    environment = {
        "MYOP_WEBHOOK_SECRET": SECRET,
        "MYOP_API_KEY": KEY,
        "MYOP_API_URL": f"http://127.0.0.1:{api}",
    }
    sandbox = [*command, "sandbox", "--tree", str(tree(scratch / "tree")), "--port", str(api)]
    words = [*command, "serve", "--port", str(port), "--state-dir", str(state)]
    words += ["--output", str(scratch / "out"), "--deploy", (scratch / "cdn").as_uri()]
    with process(sandbox, api, {}, scratch), process(words, port, environment, scratch) as pid:
        time.sleep(2)
        before = resident(pid)
        load([port], connections, count // 10, seed=9)
        figures = load([port], connections, count, seed=10)
        return {**figures, "rss_before": before, "rss_after": resident(pid)}


def measure_replicas(
    scratch: Path, journal: str, connections: int, count: int, replicas: int
) -> dict[str, object]:
    """So many listeners that share a journal in PostgreSQL, storing and publishing."""
    api, ports = free_port(), [free_port() for _ in range(replicas)]
    command = [sys.executable, "-m", "myop_cdn"]
    environment = {
        "MYOP_WEBHOOK_SECRET": SECRET,
        "MYOP_API_KEY": KEY,
        "MYOP_API_URL": f"http://127.0.0.1:{api}",
        "MYOP_CDN_JOURNAL": journal,
    }
    scratch.mkdir()
    sandbox = [*command, "sandbox", "--tree", str(tree(scratch / "tree")), "--port", str(api)]
    with ExitStack() as stack:
        stack.enter_context(process(sandbox, api, {}, scratch))
        for port in ports:
            words = [*command, "serve", "--port", str(port), "--output", str(scratch / f"o{port}")]
            words += ["--deploy", (scratch / "cdn").as_uri()]
            stack.enter_context(process(words, port, environment, scratch))
        time.sleep(2)
        load(ports, connections, count // 10, seed=11)
        return load(ports, connections, count, seed=12)


def main() -> None:
    """Measure both and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state-dir", type=Path, help="on the disk that is to be measured")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--only", choices=["flask", "serve", "postgres"])
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        scratch = Path(folder)
        state = given.state_dir or scratch / "state"
        results: dict[str, dict[str, object]] = {}
        measured = (given.connections, given.requests)

        def note(name: str, figures: dict[str, object]) -> None:
            results[name] = figures
            print(name, json.dumps(figures), flush=True)

        if given.only in (None, "serve"):
            note("serve, SQLite", measure_serve(scratch, state, *measured))
        if given.only in (None, "postgres") and programs() is not None:
            with running(durable=True) as server:
                for replicas in (1, 2):
                    kept = scratch / f"replicas-{replicas}"
                    journal = server.empty("benchmark")
                    found = measure_replicas(kept, journal, *measured, replicas)
                    note(
                        f"serve, PostgreSQL, {replicas} replica{'s' if replicas > 1 else ''}", found
                    )
        if given.only in (None, "flask"):
            note("Flask, stores nothing", measure_flask(scratch, *measured))
    if given.plot is not None:
        given.plot.write_text(
            bars(
                [
                    Bars(title, unit, {name: float(str(one[key])) for name, one in results.items()})
                    for title, unit, key in (
                        ("Deliveries answered in a second", "", "per_second"),
                        ("99 of 100 answered within", "ms", "p99_ms"),
                    )
                ]
            )
        )


if __name__ == "__main__":
    main()
