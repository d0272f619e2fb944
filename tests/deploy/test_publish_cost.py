"""What one release costs at S3, and what an old folder can't undo."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy import DeployOptions, deploy
from myop_cdn.errors import ExitCode
from myop_cdn.manifest import Manifest
from myop_cdn.model import MANIFEST, DocumentRef, Scope
from myop_cdn.publish import publish
from myop_cdn.storage import open_backend
from myop_cdn.storage.contract import listing
from myop_cdn.storage.memory import MemoryBackend
from myop_cdn.sync import SyncOptions, sync
from myop_cdn.tree import Tree
from tests.deploy.test_newest_wins import Myop, Site

if TYPE_CHECKING:
    from pathlib import Path

    from myop_cdn.document import Document
    from myop_cdn.report import DestinationReport
    from myop_cdn.storage.base import Blob
    from tests.servers.proxy import Proxy
    from tests.servers.s3 import Bucket

MOST_REQUESTS = 10


class DatedMyop(Myop):
    """Myop, whose index bears the moment of each answer, and a member that nobody knows."""

    answers = 0

    def index(self) -> Manifest:
        self.answers += 1
        value = json.loads(super().index().dump())
        value["exportedAt"] = f"2026-03-24T10:00:{self.answers:02d}.000Z"
        for entry in value["components"]:
            entry["owner"] = f"the owner of {entry['id']}"
        return Manifest.parse(json.dumps(value).encode())


@pytest.mark.parametrize("components", [5, 150])
def test_one_release_takes_as_many_requests_whatever_lies_there(
    tmp_path: Path, bucket: Bucket, proxy: Proxy, components: int
) -> None:
    myop = Myop(longest=0)
    for number in range(components):
        myop.release(f"c{number}")
    options = DeployOptions(endpoint_url=proxy.url)
    none = SyncOptions(ask_again_seconds=0)
    publish(Scope("full"), lambda: myop, Tree(tmp_path / "full"), [bucket.url], none, options)
    proxy.forget()
    scope = Scope("incremental", (myop.release("c1"),))
    ended = publish(scope, lambda: myop, Tree(tmp_path / "one"), [bucket.url], none, options)
    assert ended.exit_code is ExitCode.DONE
    assert ended.deploy is not None
    assert len(ended.deploy.destinations[0].uploaded) == 2
    assert len(proxy.arrived) <= MOST_REQUESTS
    assert not [one.path for one in proxy.arrived if "manifest" in one.path or "state" in one.path]


@pytest.mark.parametrize("kept", [True, False], ids=["kept-folders", "fresh-folders"])
def test_jobs_of_some_and_of_all_environments_take_turns_and_have_nothing_to_do(
    tmp_path: Path, kept: bool
) -> None:
    """Neither the date of an export nor the order of what it lists is worth a write."""
    myop = DatedMyop(longest=0)
    for component, environment in (("b", "qa"), ("a", "qa"), ("a", "prod"), ("c", "prod")):
        myop.release(component, environment)
    site = Site(tmp_path, f"memory://turns-{kept}-{tmp_path.name}", myop)
    serial = count()

    def run(*environments: str) -> DestinationReport:
        name = "-".join(environments) or "all"
        tree = Tree(tmp_path / (name if kept else f"{name}-{next(serial)}"))
        options = SyncOptions(environments=frozenset(environments), ask_again_seconds=0)
        ended = publish(Scope("full"), lambda: myop, tree, [site.url], options)
        assert ended.deploy is not None
        return ended.deploy.destinations[0]

    def everything() -> dict[str, Blob | None]:
        return {key: site.backend.get(key) for key in listing(site.backend)}

    run("prod")
    run()
    run("qa")
    before = everything()
    for environments in (("prod",), (), ("qa",), ("prod", "preview"), ()):
        report = run(*environments)
        assert (report.uploaded, report.commit, report.failure) == ((), None, None)
    assert everything() == before
    myop.release("d", "prod")
    assert {up.key for up in run("prod").uploaded} == {"components/d/prod.json", MANIFEST}
    blob = site.backend.get(MANIFEST)
    assert blob is not None
    listed = json.loads(blob.data)["components"]
    assert [one["id"] for one in listed][-1] == "d"
    assert [one["owner"] for one in listed] == [f"the owner of {one['id']}" for one in listed]


def test_a_folder_that_was_overtaken_undoes_nothing(tmp_path: Path) -> None:
    myop = Myop(longest=0)
    for name in ("a", "b", "c", "d", "e"):
        myop.release(name)
    site = Site(tmp_path, f"memory://overtaken-{tmp_path.name}", myop)
    folder = Tree(tmp_path / "folder")
    sync(Scope("full"), myop, folder, SyncOptions(ask_again_seconds=0))
    site.publish(Scope("full"))
    myop.later += 5
    site.publish(Scope("incremental", (myop.release("a"),)))
    report = deploy(folder, [site.url])
    assert report.exit_code is ExitCode.DONE
    assert site.live() == myop.variants
    gone_by = [one.key for one in report.destinations[0].overtaken]
    assert gone_by == ["components/a/preview.json", "components/a/qa.json"]
    forced = deploy(folder, [site.url], DeployOptions(force=True))
    assert forced.exit_code is ExitCode.DONE
    assert site.live()[DocumentRef("a", "qa")] == 1


def test_an_old_workspace_changes_what_was_released_alone(tmp_path: Path) -> None:
    myop = Myop(longest=0)
    for name in ("a", "b", "c"):
        myop.release(name)
    site = Site(tmp_path, f"memory://workspace-{tmp_path.name}", myop)
    old = Tree(tmp_path / "old")
    none = SyncOptions(ask_again_seconds=0)
    publish(Scope("full"), lambda: myop, old, [site.url], none)
    site.publish(Scope("incremental", (myop.release("a"),)))
    ended = publish(Scope("incremental", (myop.release("b"),)), lambda: myop, old, [site.url], none)
    assert ended.deploy is not None
    uploaded = [up.key for up in ended.deploy.destinations[0].uploaded]
    assert uploaded == ["components/b/preview.json", "components/b/qa.json"]
    assert site.live() == myop.variants


class AwaitingMyop(Myop):
    """Myop, which answers when what is to be replaced is kept, or says that it never was."""

    def __init__(self, there: MemoryBackend) -> None:
        super().__init__(longest=0)
        self.kept = threading.Event()
        self.there = there
        self.patience = 0.0  # seconds

    def document(self, ref: DocumentRef) -> Document:
        """What is released there."""
        until = time.monotonic() + self.patience
        while not ref.is_preview and time.monotonic() < until and not self.kept.is_set():
            if any("/history/" in key for key in listing(self.there)):
                self.kept.set()
            time.sleep(0.001)
        return super().document(ref)


def test_what_a_release_replaces_is_kept_while_myop_is_asked(tmp_path: Path) -> None:
    url = f"memory://early-{tmp_path.name}"
    there = open_backend(url)
    assert isinstance(there, MemoryBackend)
    myop = AwaitingMyop(there)
    site = Site(tmp_path, url, myop)
    myop.release("a")
    site.publish(Scope("full"))
    myop.patience = 20.0
    site.publish(Scope("incremental", (myop.release("a"),)))
    assert myop.kept.is_set()
    assert site.live() == myop.variants


@pytest.mark.parametrize("announced", [True, False])
def test_a_release_that_is_there_or_was_announced_before_copies_nothing(
    tmp_path: Path, announced: bool
) -> None:
    myop = Myop(longest=0)
    site = Site(tmp_path, f"memory://late-{announced}-{tmp_path.name}", myop)
    at = datetime(2026, 3, 24, 10, tzinfo=UTC)
    first = myop.release("a")._replace(announced_at=at if announced else None)
    second = myop.release("a")._replace(announced_at=at + timedelta(seconds=1))
    site.publish(Scope("full"))
    site.publish(Scope("incremental", (second,)))
    before = listing(site.backend)
    late = [second, first] if announced else [second]
    for release in late:
        site.publish(Scope("incremental", (release,)))
    assert listing(site.backend) == before
