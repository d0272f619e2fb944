"""First deploys to Google Cloud Storage and Azure, beside their SDKs used naively.

The servers are emulators that take more of the machine than the clients do, so the CPU's ratio
says more than the wall clock's.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from tests.benchmarks import synthetic
from tests.benchmarks.fast_s3 import files_below
from tests.benchmarks.measuring import Attempt, BenchmarkError, Contestant, in_turn
from tests.benchmarks.result import Ratio, Result, against_peers
from tests.benchmarks.s3_tools import JOBS, OURS, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from tests.benchmarks.bench import Bench

NAIVE = "SDK, 16 threads"
_TARGET = 0.7
_SDK = {"gs": "google.cloud.storage", "az": "azure.storage.blob"}


def google(bench: Bench, name: str) -> Result:
    """gs://, at the emulator."""
    return _first(bench, name, "gs", _google)


def azure(bench: Bench, name: str) -> Result:
    """az://, at Azurite."""
    return _first(bench, name, "az", _azure)


@dataclass(frozen=True)
class _Bucket:
    """An empty bucket. sizes: of the objects in it, by key, when asked."""

    name: str
    variables: Mapping[str, str]
    sizes: Callable[[], dict[str, int]]


@contextmanager
def _google() -> Iterator[_Bucket]:
    from tests.servers import gcs

    with gcs.running() as url:
        body = json.dumps({"name": "bucket"}).encode()
        headers = {"Content-Type": "application/json"}
        urlopen(Request(f"{url}/storage/v1/b", body, headers), timeout=30).close()
        variables = environment(STORAGE_EMULATOR_HOST=url)
        yield _Bucket("bucket", variables, lambda: _google_sizes(url, "bucket"))


@contextmanager
def _azure() -> Iterator[_Bucket]:
    from azure.storage.blob import BlobServiceClient

    from tests.servers import azure

    with azure.running(Path(".pytest_cache") / "azurite") as url:
        text = azure.connection_string(url)
        with BlobServiceClient.from_connection_string(text) as service:
            container = service.create_container("bucket")

            def sizes() -> dict[str, int]:
                return {blob.name: int(blob.size or 0) for blob in container.list_blobs()}

            variables = environment(AZURE_STORAGE_CONNECTION_STRING=text)
            yield _Bucket("bucket", variables, sizes)


def _google_sizes(url: str, bucket: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    token = ""
    for _ in range(100):
        with urlopen(f"{url}/storage/v1/b/{bucket}/o?pageToken={token}", timeout=30) as answer:
            page = json.load(answer)
        sizes.update({item["name"]: int(item["size"]) for item in page.get("items", ())})
        token = page.get("nextPageToken", "")
        if not token:
            break
    return sizes


def _is_installed(module: str) -> bool:
    with suppress(ModuleNotFoundError):  # a package above it
        return find_spec(module) is not None
    return False


def _first(
    bench: Bench, name: str, scheme: str, serving: Callable[[], AbstractContextManager[_Bucket]]
) -> Result:
    tree = bench.tree(synthetic.REAL)
    wanted = {key: (tree / key).stat().st_size for key in files_below(tree)}

    def contestant(who: str, command: Callable[[str], list[str]]) -> Contestant:
        def begin() -> Attempt:
            # A server of its own for each attempt: the more these hold, the slower they get.
            bucket = servers.enter_context(serving())

            def check() -> None:
                sizes = bucket.sizes()
                servers.close()
                there = {key: n for key, n in sizes.items() if not key.startswith(".myop-cdn")}
                if there != wanted:
                    raise BenchmarkError(f"{who}: the bucket is not what was uploaded")

            return Attempt(command(bucket.name), bucket.variables, check)

        return Contestant(who, begin)

    ours = [*bench.finder.ours(), "-q", "deploy", "--source", str(tree), "--jobs", str(JOBS)]
    naive = [sys.executable, "-m", "tests.benchmarks.naive", scheme, str(tree)]
    with ExitStack() as servers:
        contestants = [contestant(OURS, lambda bucket: [*ours, f"{scheme}://{bucket}"])]
        if _is_installed(_SDK[scheme]):
            contestants.append(contestant(NAIVE, lambda bucket: [*naive, bucket]))
        figures = in_turn(contestants, bench.rounds, None, bench.say)
    ratios = against_peers(figures, OURS, {NAIVE: _TARGET})
    if NAIVE in figures:
        ratios = (*ratios, Ratio(f"{NAIVE}, CPU", figures[OURS].cpu / figures[NAIVE].cpu))
    kind = {"gs": "GCS", "az": "Azure"}[scheme]
    return Result(name, f"deploy {kind}, first, {synthetic.REAL.name}", figures, ratios)
