"""Runs that end at their n-th request, for every n: what is there is whole and true at that
moment, and the next run completes the work and the log.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.deploy import DeployOptions, apply
from myop_cdn.deploy.history import Selection
from myop_cdn.deploy.log import Log
from myop_cdn.deploy.rollback import roll_back
from myop_cdn.deploy.target import open_targets
from myop_cdn.manifest import Manifest
from myop_cdn.model import MANIFEST, DeleteLimit, DocumentRef, Release, Scope
from myop_cdn.publish import publish
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import OpenOptions
from myop_cdn.storage.contract import listing
from myop_cdn.storage.store import Store
from myop_cdn.sync import SyncOptions
from myop_cdn.tree import Tree
from tests.deploy.interleaving import one_after_the_other
from tests.deploy.test_newest_wins import Myop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.s3 import Bucket

_serial = count()
REQUESTS = ("list", "head", "get", "put", "copy", "delete_version", "delete")


class KilledError(BaseException):
    """The process is gone."""


@dataclass
class Death:
    """When the process is killed: before its request of this number."""

    at: int = 0
    requests: int = 0

    def mortal(self, backend: Any) -> Any:
        """The backend, until then."""

        def request(inner: Callable[..., Any], *args: Any, **more: Any) -> Any:
            self.requests += 1
            if self.at and self.requests >= self.at:
                raise KilledError
            return inner(*args, **more)

        for name in REQUESTS:
            setattr(backend, name, partial(request, getattr(backend, name)))
        return backend


@dataclass
class Site:
    """A destination where something was published, and what is published next."""

    folder: Path
    url: str
    endpoint: str | None = None
    myop: Myop = field(default_factory=lambda: Myop(longest=0))

    def publish(self, scope: Scope, **options: Any) -> None:
        tree = Tree(self.folder / "work" / str(next(_serial)))
        sync = SyncOptions(1, ask_again_seconds=0)
        ended = publish(scope, lambda: self.myop, tree, [self.url], sync, self.options(**options))
        assert ended.error is None

    def options(self, **options: Any) -> DeployOptions:
        limit = DeleteLimit(percent=100)
        return DeployOptions(jobs=1, max_delete=limit, endpoint_url=self.endpoint, **options)

    def begin(self) -> None:
        """Three components are there; of these one is another now, one gone, and one is new."""
        for name in ("card", "menu", "old"):
            self.myop.release(name)
        self.publish(Scope("full"))
        self.publish(Scope("incremental", (self.myop.release("card"),)))
        self.myop.release("card")
        self.myop.release("new")
        for environment in ("qa", "preview"):
            del self.myop.variants[DocumentRef("old", environment)]

    def everything(self) -> None:
        """A full publish that deletes."""
        self.publish(Scope("full"), delete=True)

    def releases(self) -> None:
        """A publish of a change and of a new component."""
        self.publish(Scope("incremental", (Release("card", "qa"), Release("new", "qa"))))

    def back(self) -> None:
        """A rollback of everything to the first commit."""
        (target,) = open_targets([self.url], self.options())
        assert roll_back(target, "1", Selection(), self.options()).error is None

    def plan(self) -> None:
        """A plan, carried out; made where it is not there yet, as its making changes nothing."""
        file = self.folder / "release.plan"
        if not file.exists():
            self.publish(Scope("full"), delete=True, plan_out=file)
        report = apply(file, [self.url], DeployOptions(endpoint_url=self.endpoint, jobs=1))
        assert report.error is None

    def backend(self) -> Any:
        return open_backend(self.url, OpenOptions(endpoint_url=self.endpoint))

    def documents(self) -> dict[str, bytes]:
        """What is there, each of it whole, and named in vain nowhere."""
        backend = self.backend()
        keys = [key for key in listing(backend) if DocumentRef.of(key)]
        found = {key: backend.get(key).data for key in keys}
        for data in found.values():
            json.loads(data)
        blob = backend.get(MANIFEST)
        named = {ref.path for ref in Manifest.parse(blob.data).all_refs()} if blob else set()
        assert named <= found.keys()
        return found

    def check_log(self) -> None:
        """One log, and it says what is there."""
        commits, warnings = Log(Store(self.backend())).all(1)
        numbers = [one.number for one in commits]
        assert (numbers, warnings) == (list(range(len(numbers), 0, -1)), [])
        told = {
            key: one.after for commit in reversed(commits) for key, one in commit.changes.items()
        }
        there = {k: hashlib.sha256(data).hexdigest() for k, data in self.documents().items()}
        assert {k: one.sha256 for k, one in told.items() if one and k != MANIFEST} == there


def kill_at_every_request(
    make: Callable[[], Site], work: str, monkeypatch: pytest.MonkeyPatch, every: int = 1
) -> None:
    """Kill `work` before its first request, before its second …, and run it again each time."""
    one_after_the_other(monkeypatch)
    module = import_module("myop_cdn.deploy.target")
    wanted: dict[str, bytes] = {}
    for at in range(1, 200, every):
        site, death = make(), Death(at)
        run: Callable[[], None] = getattr(site, work)
        killed = False
        with monkeypatch.context() as patch:
            patch.setattr(module, "open_backend", partial(opened, death))
            try:
                run()
            except KilledError:
                killed = True
        site.documents()
        run()
        site.check_log()
        wanted = wanted or site.documents()
        assert site.documents() == wanted, f"killed at request {at}"
        before = listing(site.backend())
        run()
        assert listing(site.backend()) == before, f"killed at request {at}: all was not done"
        if not killed:
            return
    raise AssertionError("it makes more requests than that")


def opened(death: Death, url: str, options: OpenOptions) -> Any:
    """The backend of somebody who is going to be killed."""
    return death.mortal(open_backend(url, options))


WORK = ["everything", "releases", "back", "plan"]


@pytest.mark.parametrize("work", WORK)
def test_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    first = Site(tmp_path, f"memory://killed-{next(_serial)}/site")
    first.begin()
    objects = dict(first.backend().shelf.objects)

    def make() -> Site:
        site = Site(tmp_path, f"memory://killed-{next(_serial)}/site", myop=first.myop)
        site.backend().shelf.objects = dict(objects)
        (tmp_path / "release.plan").unlink(missing_ok=True)
        return site

    kill_at_every_request(make, work, monkeypatch)


@pytest.mark.parametrize("work", WORK)
def test_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str, races_long: bool
) -> None:
    first = Site(tmp_path, f"file://{tmp_path}/first")
    first.begin()

    def make() -> Site:
        folder = tmp_path / f"cdn-{next(_serial)}"
        shutil.copytree(tmp_path / "first", folder)
        (tmp_path / "release.plan").unlink(missing_ok=True)
        return Site(tmp_path, f"file://{folder}", myop=first.myop)

    kill_at_every_request(make, work, monkeypatch, 1 if races_long else 3)


def test_at_s3(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, races_long: bool
) -> None:
    def make() -> Site:
        site = Site(tmp_path, f"{bucket.url}/{next(_serial)}", bucket.endpoint)
        site.begin()
        (tmp_path / "release.plan").unlink(missing_ok=True)
        return site

    for work in WORK if races_long else ["everything"]:
        kill_at_every_request(make, work, monkeypatch, 1 if races_long else 4)
