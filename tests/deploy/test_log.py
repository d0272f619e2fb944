"""The destination's log, seen at a real S3 server: what it costs, what it finds, what it says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy import Cause, DeployOptions, deploy
from myop_cdn.deploy.log import Change, Checkpoint, Commit, Entry, Log, parse_changes
from myop_cdn.errors import ExitCode
from myop_cdn.model import DeleteLimit
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import OpenOptions
from myop_cdn.storage.store import Store
from tests.deploy.trees import make_tree

if TYPE_CHECKING:
    from pathlib import Path

    from myop_cdn.report import DestinationReport
    from myop_cdn.tree import Tree
    from tests.servers.proxy import Proxy
    from tests.servers.s3 import Bucket

COMPONENTS = {f"c{number}": ["qa", "prod"] for number in range(4)}
ONE = "components/c2/qa.json"


class Site:
    """A tree and the bucket it is deployed to, by way of a counting proxy."""

    def __init__(self, tree: Tree, bucket: Bucket, proxy: Proxy) -> None:
        self.tree = tree
        self.bucket = bucket
        self.proxy = proxy

    def deploy(self, **options: object) -> DestinationReport:
        """Deploy, the requests counted anew."""
        self.proxy.forget()
        settings = DeployOptions(endpoint_url=self.proxy.url, **options)  # type: ignore[arg-type]
        return deploy(self.tree, [self.bucket.url], settings).destinations[0]

    def log(self) -> Log:
        """The log as it lies in the bucket."""
        options = OpenOptions(endpoint_url=self.bucket.endpoint)
        return Log(Store(open_backend(self.bucket.url, options)))

    def keys(self, folder: str) -> list[str]:
        """What lies in a folder of the log."""
        return [key for key in self.bucket.objects() if key.startswith(f".myop-cdn/{folder}/")]

    def edit(self, path: str) -> None:
        """Change a file, its size kept."""
        data = self.tree.read(path)
        self.tree.write(path, data.replace(b"hello", b"hallo"))

    def writes(self) -> list[str]:
        """The keys that were written in the last run, in their order."""
        seen = [one.path for one in self.proxy.arrived if one.method not in ("GET", "HEAD")]
        return [path.partition("/")[2].partition("/")[2] for path in seen]


@pytest.fixture
def site(tmp_path: Path, bucket: Bucket, proxy: Proxy) -> Site:
    site = Site(make_tree(tmp_path, COMPONENTS), bucket, proxy)
    assert site.deploy().exit_code is ExitCode.DONE
    return site


def test_a_run_with_nothing_to_do_writes_nothing(site: Site) -> None:
    before = site.bucket.objects()
    report = site.deploy()
    assert (report.uploaded, report.unchanged, report.commit) == ((), 13, None)
    assert site.writes() == []
    assert site.bucket.objects() == before


def test_a_run_with_nothing_to_do_asks_for_the_listings_the_log_and_the_manifest(
    site: Site,
) -> None:
    site.deploy()
    assert [one.method for one in site.proxy.arrived] == ["GET"] * 5
    bare = [one for one in site.proxy.arrived if "/" not in one.path.strip("/")]
    assert len(bare) == 3  # listings: of the documents, the log, the checkpoints


def test_what_is_read_part_by_part_is_whole() -> None:
    odd = ['"},', ",\n", "\n", "\\", '{"a":[', "ü", "\u2028"]
    entries = {
        f"components/{number}{odd[number % len(odd)]}/qa.json": Entry(
            f"{number}", None if number % 3 else "f", asked=number, name=odd[number % len(odd)]
        )
        for number in range(2500)
    }
    checkpoint = Checkpoint(7, entries, 3)
    assert Checkpoint.parse(checkpoint.dump()) == checkpoint
    assert json.loads(checkpoint.dump())["number"] == 7
    changes = {key: Change(None, one) for key, one in entries.items()}
    data = Commit(1, "a", datetime.now(UTC), Cause("deploy"), changes).dump_changes()
    assert parse_changes(data) == changes
    for damaged in (data[:-1], data[1:], data.replace(b'":[', b"[", 1), b"[]", b"", b'{"a":[1,2]}'):
        with pytest.raises(ValueError, match=r"."):
            parse_changes(damaged)
    with pytest.raises(ValueError, match=r"."):
        Checkpoint.parse(checkpoint.dump()[:-200])


def test_a_commit_that_was_cleared_since_it_was_listed_is_told(site: Site) -> None:
    log = site.log()
    listed = log.newest_listed()
    log.delete([one.key for one in listed])
    assert log.view_of(listed) is None
    assert log.newest().is_empty


def test_one_changed_document_is_a_copy_a_write_and_a_commit(site: Site) -> None:
    old = site.bucket.get(ONE)["Body"].read()
    site.edit(ONE)
    report = site.deploy()
    assert [up.key for up in report.uploaded] == [ONE]
    kept, written, commit = site.writes()
    assert kept.startswith(".myop-cdn/history/")
    assert written == ONE
    assert commit.startswith(".myop-cdn/log/")
    assert site.bucket.get(kept)["Body"].read() == old


def test_a_commit_tells_what_was_changed_by_which_command_and_names_nobody(site: Site) -> None:
    site.edit(ONE)
    site.deploy()
    newest = site.log().newest().newest
    assert newest is not None
    assert list(newest.changes) == [ONE]
    change = newest.changes[ONE]
    assert change.before
    assert change.after
    assert change.before.sha256 != change.after.sha256
    assert change.after.name == "C2"
    key = site.keys("log")[0]
    stored = site.bucket.get(key)
    assert stored["CacheControl"] == "no-store"
    text = stored["Body"].read().decode()
    assert site.bucket.name not in text
    assert "AKTEST" not in text


def test_the_newest_of_many_changes_is_short_to_read(
    tmp_path: Path, bucket: Bucket, proxy: Proxy
) -> None:
    """What reads only the newest commit must not pay for a full run's changes."""
    site = Site(make_tree(tmp_path, {f"c{n}": ["qa"] for n in range(80)}), bucket, proxy)
    site.deploy()
    (key,) = site.keys("log")
    assert len(bucket.get(key)["Body"].read()) < 2000
    newest = site.log().newest()
    assert newest.number == 1
    whole = site.log().commit(1)
    assert whole is not None
    assert len(whole.changes) == 161


def test_changed_headers_are_found_and_carried_out_alone(site: Site) -> None:
    report = site.deploy(cache_control="no-cache")
    assert {up.reason for up in report.uploaded} == {"headers"}
    assert len(report.uploaded) == 13
    assert site.deploy(cache_control="no-cache").uploaded == ()


def test_an_object_that_somebody_replaced_or_deleted_is_put_back(site: Site) -> None:
    good = site.tree.read(ONE)
    site.bucket.put(ONE, b"x" * len(good))
    assert [up.key for up in site.deploy().uploaded] == [ONE]
    site.bucket.client.delete_object(Bucket=site.bucket.name, Key=ONE)
    assert [up.key for up in site.deploy().uploaded] == [ONE]
    assert site.bucket.get(ONE)["Body"].read() == good


def test_an_object_whose_version_is_not_told_holds_nothing_up(site: Site) -> None:
    site.proxy.without_etag = "c2/qa.json"
    report = site.deploy()
    assert (report.exit_code, report.uploaded, report.unchanged) == (ExitCode.DONE, (), 13)
    site.edit(ONE)
    report = site.deploy()
    assert report.exit_code is ExitCode.DONE
    assert [up.key for up in report.uploaded] == [ONE]
    assert site.bucket.get(ONE)["Body"].read() == site.tree.read(ONE)


def test_what_was_deleted_is_kept_and_counted(site: Site, tmp_path: Path) -> None:
    gone = site.tree.read("components/c3/qa.json")
    fewer = {name: COMPONENTS[name] for name in ("c0", "c1", "c2")}
    site.tree = make_tree(tmp_path / "fewer", fewer)
    report = site.deploy(delete=True, max_delete=DeleteLimit(count=3))
    assert len(report.deleted) == 3
    stored = site.bucket.objects()
    assert "components/c3/qa.json" not in stored
    assert gone in [stored[key] for key in site.keys("history")]
    assert sum(count for _, count in site.log().newest().state.removed) == 3
