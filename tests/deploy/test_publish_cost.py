"""What one release costs at S3, and what an old folder can't undo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy import DeployOptions, deploy
from myop_cdn.errors import ExitCode
from myop_cdn.model import DocumentRef, Scope
from myop_cdn.publish import publish
from myop_cdn.sync import SyncOptions, sync
from myop_cdn.tree import Tree
from tests.deploy.test_newest_wins import Myop, Site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.proxy import Proxy
    from tests.servers.s3 import Bucket

MOST_REQUESTS = 10


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
