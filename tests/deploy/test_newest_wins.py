"""Several jobs publish to one destination at once: no release is lost, whatever their pace, and
the manifest never names a document that is not there.

`--races-long`: many rounds, at every service. TEST_RACES: how many. What
every order of two jobs leads to is seen in test_interleavings.py; here they have threads and
delays.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.deploy import DeployOptions, target
from myop_cdn.deploy.log import Log
from myop_cdn.document import Document
from myop_cdn.errors import DocumentError, ExitCode
from myop_cdn.manifest import Manifest
from myop_cdn.model import DeleteLimit, DocumentRef, Release, Scope
from myop_cdn.publish import publish
from myop_cdn.storage import open_backend
from myop_cdn.storage.store import Store
from myop_cdn.sync import SyncOptions
from tests.deploy.destinations import EVERYWHERE, empty_destination
from tests.deploy.trees import MemoryTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from myop_cdn.report import PublishReport

FEW_ROUNDS, MANY_ROUNDS = 2, 200
_serial = count()


@dataclass
class Myop:
    """Myop's side: what is released, and answers that take a while."""

    variants: dict[DocumentRef, int] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    longest: float = 0.004
    later: int = 0  # seconds that its clock goes ahead
    lock: threading.Lock = field(default_factory=threading.Lock)

    name = "api"
    asks_again = False

    @contextmanager
    def open(self, scope: Scope, progress: object = None) -> Iterator[Myop]:
        """It answers to anybody."""
        yield self

    def index(self) -> Manifest:
        """All that is released."""
        self.wait()
        environments: dict[str, list[str]] = {}
        for ref in list(self.variants):
            listed = environments.setdefault(ref.component_id, [])
            if not ref.is_preview:
                listed.append(ref.environment)
        entries = [{"id": k, "name": k, "environments": v} for k, v in environments.items()]
        value = {"version": 1, "exportedAt": "2026-03-24T10:00:00.000Z", "components": entries}
        return Manifest.parse(json.dumps(value).encode())

    def document(self, ref: DocumentRef) -> Document:
        """What is released there, as of some moment while it is being asked."""
        self.wait()
        number = self.variants.get(ref)
        self.wait()
        if number is None:
            raise DocumentError(f"{ref.path}: not found")
        variant = {"id": f"v{number}", "name": f"V{number}", "loader": {}}
        item = {"id": ref.component_id, "name": ref.component_id, "consume_variant": [variant]}
        return Document.parse(ref, json.dumps({"item": item}).encode(), self.now())

    def release(self, component: str, environment: str = "qa") -> Release:
        """Release a new variant; its preview is another one too."""
        with self.lock:
            for ref in (DocumentRef(component, environment), DocumentRef(component, "preview")):
                self.variants[ref] = self.variants.get(ref, 0) + 1
        ref = DocumentRef(component, environment)
        return Release(component, environment, f"v{self.variants[ref]}")

    def now(self) -> datetime:
        """Its clock."""
        return datetime.now(UTC) + timedelta(seconds=self.later)

    def wait(self) -> None:
        """A random while."""
        time.sleep(self.chance.random() * self.longest)


def slow(backend: Any, myop: Myop) -> Any:
    """A destination whose requests take a while."""

    def slowed(inner: Any) -> Any:
        def request(*args: Any, **more: Any) -> Any:
            myop.wait()
            return inner(*args, **more)

        return request

    for name in ("list", "head", "get", "put", "copy", "delete_version", "delete"):
        setattr(backend, name, slowed(getattr(backend, name)))
    return backend


class Site:
    """A destination and the jobs that publish there."""

    def __init__(self, folder: Path, url: str, myop: Myop) -> None:
        self.folder = folder
        self.url = url
        self.myop = myop
        self.backend = open_backend(url)
        self.rounds = FEW_ROUNDS

    def publish(self, scope: Scope, **options: Any) -> PublishReport:
        """One job, in a workspace of its own."""
        return publish(
            scope,
            lambda: self.myop,
            MemoryTree(),
            [self.url],
            SyncOptions(jobs=4, ask_again_seconds=0),
            DeployOptions(jobs=4, max_delete=DeleteLimit(percent=100), **options),
        )

    def live(self) -> dict[DocumentRef, int]:
        """The variants that the destination holds."""
        found = {}
        for one in self.backend.list(None, "components/").objects:
            ref, blob = DocumentRef.of(one.key), self.backend.get(one.key)
            assert ref is not None
            assert blob is not None
            variant = json.loads(blob.data)["item"]["consume_variant"][0]["id"]
            found[ref] = int(variant[1:])
        return found

    def dangling(self) -> list[str]:
        """The documents that the manifest names, and that are not there."""
        blob = self.backend.get("manifest.json")
        named = Manifest.parse(blob.data).all_refs() if blob else []
        return [ref.path for ref in named if self.backend.head(ref.path) is None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each race at every service, where there is the time."""
    if "site" in metafunc.fixturenames:
        is_long = metafunc.config.getoption("--races-long", default=False)
        services = EVERYWHERE if is_long else EVERYWHERE[:2]
        metafunc.parametrize("site", services, indirect=True)


@pytest.fixture
def site(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    races_long: bool,
) -> Site:
    myop = Myop()
    for number in range(6):
        myop.release(f"c{number}")
    url = empty_destination(request.param, request, tmp_path, monkeypatch)
    site = Site(tmp_path, url, myop)
    assert site.publish(Scope("full")).exit_code is ExitCode.DONE
    monkeypatch.setattr(
        target, "open_backend", lambda url, options: slow(open_backend(url, options), myop)
    )
    usual = MANY_ROUNDS if races_long else FEW_ROUNDS
    site.rounds = int(os.environ.get("TEST_RACES", usual))
    return site


@pytest.mark.parametrize("delete", [False, True])
def test_no_release_is_lost_beside_a_full_sync(site: Site, delete: bool) -> None:
    """One full and three to eight incremental jobs, with random delays at every step."""
    myop = site.myop
    commits: list[str] = []
    for number in range(site.rounds):
        myop.chance = chance = random.Random(number)
        myop.longest = chance.choice((0.001, 0.004, 0.02))
        over = threading.Event()
        seen: list[str] = []

        def poll(over: threading.Event = over, seen: list[str] = seen) -> None:
            while not over.is_set():
                seen.extend(site.dangling())
                time.sleep(0.002)

        def release(component: str) -> PublishReport:
            myop.wait()
            return site.publish(Scope("incremental", (myop.release(component),)))

        jobs = [f"c{chance.randrange(6)}" for _ in range(chance.randint(2, 7))]
        jobs.append(f"new{number % 20}")
        with ThreadPoolExecutor(len(jobs) + 2) as pool:
            polling = pool.submit(poll)
            full = pool.submit(site.publish, Scope("full"), delete=delete)
            ended = [*pool.map(release, jobs), full.result()]
            over.set()
            polling.result()
        assert [str(one.error) for one in ended if one.error] == []
        assert site.live() == myop.variants, f"round {number}"
        assert seen == []
        blob = site.backend.get("manifest.json")
        assert blob is not None
        assert set(Manifest.parse(blob.data).all_refs()) == set(myop.variants)
        told = [one.deploy.destinations[0].commit for one in ended if one.deploy]
        commits += [commit for commit in told if commit]
    # One log: nobody's commit has taken another one's number.
    newest = Log(Store(site.backend)).newest().number
    assert sorted(map(int, commits)) == list(range(newest - len(commits) + 1, newest + 1))
