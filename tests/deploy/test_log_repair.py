"""The log in trouble, or not told of everything: what a full run makes of it, at S3."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.deploy import DeployOptions, deploy
from myop_cdn.deploy.log import (
    OLD_LEDGER,
    Cause,
    Change,
    Checkpoint,
    Commit,
    Entry,
    Hold,
    Log,
    State,
    View,
)
from myop_cdn.errors import ExitCode
from myop_cdn.model import MANIFEST, DeleteLimit, is_layout
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import OpenOptions
from myop_cdn.storage.store import Store
from tests.deploy.trees import document, make_tree
from tests.servers.s3 import Bucket

if TYPE_CHECKING:
    from pathlib import Path

    from myop_cdn.report import DestinationReport
    from myop_cdn.tree import Tree
    from tests.servers.proxy import Proxy

COMPONENTS = {f"c{number}": ["qa", "prod"] for number in range(4)}
ONE = "components/c2/qa.json"
TWO = "components/c3/qa.json"


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

    def log(self) -> View:
        """The log as it lies in the bucket."""
        options = OpenOptions(endpoint_url=self.bucket.endpoint)
        return Log(Store(open_backend(self.bucket.url, options))).everything(4)

    def log_keys(self) -> list[str]:
        """The objects of the log, but for what is kept of the past."""
        return [key for key in self.bucket.objects() if key.startswith(".myop-cdn/")]

    def edit(self, path: str) -> None:
        """Change a file, its size kept."""
        data = self.tree.read(path)
        self.tree.write(path, data.replace(b"hello", b"hallo"))


@pytest.fixture
def site(tmp_path: Path, bucket: Bucket, proxy: Proxy) -> Site:
    site = Site(make_tree(tmp_path, COMPONENTS), bucket, proxy)
    assert site.deploy().exit_code is ExitCode.DONE
    return site


def test_gzip_uploads_once_and_the_same_bytes_every_time(site: Site) -> None:
    import gzip

    first = site.deploy(encoding="gzip")
    assert len(first.uploaded) == 13
    answer = site.bucket.get(ONE)
    assert answer["ContentEncoding"] == "gzip"
    assert gzip.decompress(answer["Body"].read()) == site.tree.read(ONE)
    assert site.deploy(encoding="gzip").uploaded == ()
    site.edit(ONE)
    assert [up.key for up in site.deploy(encoding="gzip").uploaded] == [ONE]
    assert len(site.deploy().uploaded) == 13
    assert "ContentEncoding" not in site.bucket.get(ONE)


def test_headers_that_somebody_changed_in_place_are_put_back(site: Site) -> None:
    time.sleep(1.1)  # S3 lists times in whole seconds
    site.bucket.client.copy_object(
        Bucket=site.bucket.name,
        Key=ONE,
        CopySource={"Bucket": site.bucket.name, "Key": ONE},
        MetadataDirective="REPLACE",
        CacheControl="no-cache",
        ContentType="text/plain",
    )
    assert [(up.key, up.reason) for up in site.deploy().uploaded] == [(ONE, "headers")]
    assert site.bucket.get(ONE)["ContentType"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("damage", [None, b"", b"[]", b'{"form": 99}', b"\xff", b"[" * 100_000])
def test_a_log_that_is_gone_or_damaged_begins_anew(site: Site, damage: bytes | None) -> None:
    before = site.log().objects
    for key in site.log_keys():
        if damage is None:
            site.bucket.client.delete_object(Bucket=site.bucket.name, Key=key)
        else:
            site.bucket.put(key, damage)
    report = site.deploy()
    assert report.uploaded == ()
    assert report.exit_code is ExitCode.DONE
    assert report.warnings[-1] == "the log begins anew with the 12 documents that are there"
    assert len(report.warnings) > (damage is not None)
    after = site.log().objects
    assert before is not None
    assert after is not None
    assert {k: e.sha256 for k, e in after.items() if k != "manifest.json"} == {
        k: e.sha256 for k, e in before.items() if k != "manifest.json"
    }
    again = site.deploy()
    assert (again.commit, again.warnings) == (None, ())
    site.edit(ONE)
    assert [up.key for up in site.deploy().uploaded] == [ONE]


def test_a_commit_that_is_missing_is_noticed_and_made_up_for(site: Site) -> None:
    for number in range(3):
        site.tree.write(ONE, site.tree.read(ONE).replace(b"hello", b"hello" + bytes([65 + number])))
        site.deploy()
    site.bucket.client.delete_object(Bucket=site.bucket.name, Key=".myop-cdn/log/999999999996.json")
    report = site.deploy()
    assert "missing" in report.warnings[0]
    assert (report.uploaded, report.exit_code) == ((), ExitCode.DONE)
    assert site.log().objects is not None
    assert site.deploy().warnings == ()


def test_a_log_that_is_an_older_copy_is_told_of_what_came_since(site: Site) -> None:
    old = {key: site.bucket.objects()[key] for key in site.log_keys()}
    site.edit(ONE)
    site.tree.write("components/new/qa.json", document("new"))
    site.deploy()
    for key in site.log_keys():
        site.bucket.client.delete_object(Bucket=site.bucket.name, Key=key)
    for key, data in old.items():
        site.bucket.put(key, data)
    report = site.deploy()
    assert (report.uploaded, report.exit_code) == ((), ExitCode.DONE)
    assert report.warnings == (
        "documents that were changed without an entry in the log, and are in it now: 2",
    )
    objects = site.log().objects
    assert objects is not None
    assert {ONE, "components/new/qa.json"} <= objects.keys()
    again = site.deploy()
    assert (again.commit, again.warnings) == (None, ())


@pytest.mark.parametrize("with_log", [True, False])
def test_a_copy_of_the_bucket_by_another_tool_is_taken_over(
    site: Site, moto_endpoint: str, with_log: bool
) -> None:
    """It kept bytes and headers, and none of our metadata."""
    objects = site.bucket.objects()
    name = f"{site.bucket.name}-copy"
    client = site.bucket.client
    client.create_bucket(Bucket=name)
    for key, data in objects.items():
        if with_log or not key.startswith(".myop-cdn/"):
            kind = "application/json; charset=utf-8"
            cache = "public, max-age=300"
            client.put_object(Bucket=name, Key=key, Body=data, ContentType=kind, CacheControl=cache)
    copy = Site(site.tree, Bucket(moto_endpoint, name, client), site.proxy)
    copy.edit(ONE)
    report = copy.deploy(delete=True)
    assert [up.key for up in report.uploaded] == [ONE]
    assert (report.deleted, report.exit_code) == ((), ExitCode.DONE)
    assert bool(report.warnings) is not with_log
    again = copy.deploy()
    assert (again.uploaded, again.commit, again.warnings) == ((), None, ())


def test_the_ledger_of_an_older_version_is_taken_over_once(site: Site) -> None:
    objects = site.log().objects
    assert objects is not None
    for key in site.log_keys():
        site.bucket.client.delete_object(Bucket=site.bucket.name, Key=key)
    old = {
        "form": 1,
        "commit": "ab",
        "objects": {key: [one.sha256, one.headers, one.version] for key, one in objects.items()},
        "pending": {"f" * 16: [ONE]},
    }
    site.bucket.put(OLD_LEDGER, json.dumps(old).encode())
    report = site.deploy()
    assert (report.uploaded, report.warnings) == ((), ())
    assert OLD_LEDGER not in site.log_keys()
    after = site.log()
    assert after.objects is not None
    assert {key: one.version for key, one in after.objects.items()} == {
        key: one.version for key, one in objects.items()
    }
    assert after.state.owed == {"f" * 16: (ONE,)}
    assert site.deploy().commit is None


def test_the_object_outranks_the_log(site: Site) -> None:
    """Who can write the log alone can't freeze a document at content of the same size."""
    size = len(site.tree.read(ONE))
    site.bucket.put(
        ONE,
        b"x" * size,
        ContentType="application/json; charset=utf-8",
        CacheControl="public, max-age=300",
    )
    etag = site.bucket.get(ONE)["ETag"].strip('"')
    newest = site.log().newest
    assert newest is not None
    forged = {
        key: Change(one.before, one.after._replace(version=etag) if key == ONE else one.after)
        for key, one in newest.changes.items()
        if one.after
    }
    site.bucket.put(".myop-cdn/log/999999999998.json", newest._replace(changes=forged).dump())
    assert [up.key for up in site.deploy().uploaded] == [ONE]


def test_an_etag_that_is_no_hash_of_the_content_does_not_upload_again(
    tmp_path: Path, bucket: Bucket, proxy: Proxy
) -> None:
    """An object uploaded in parts, as other tools do with large files, has such an ETag."""
    site = Site(make_tree(tmp_path, COMPONENTS), bucket, proxy)
    site.deploy()
    data = site.tree.read(ONE)
    objects = site.log().objects
    assert objects is not None
    listed = objects[ONE]
    upload = bucket.client.create_multipart_upload(
        Bucket=bucket.name,
        Key=ONE,
        ContentType="application/json; charset=utf-8",
        CacheControl="public, max-age=300",
        Metadata={"myopsha256": listed.sha256},
    )
    where = {"Bucket": bucket.name, "Key": ONE, "UploadId": upload["UploadId"]}
    part = bucket.client.upload_part(**where, PartNumber=1, Body=data)
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    bucket.client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert site.deploy().uploaded == ()
    after = site.log().objects
    assert after is not None
    assert "-" in after[ONE].version
    assert site.deploy().uploaded == ()
    site.edit(ONE)
    assert [(up.key, up.reason) for up in site.deploy().uploaded] == [(ONE, "content")]


def test_the_log_is_not_to_be_cached_and_names_nobody(site: Site) -> None:
    import getpass
    import socket

    for key in site.log_keys():
        answer = site.bucket.get(key)
        text = answer["Body"].read().decode()
        assert answer["CacheControl"] == "no-store"
        for secret in (socket.gethostname(), getpass.getuser(), "AKTEST", "secretkey", "127.0.0.1"):
            assert secret not in text


def test_the_log_can_lie_elsewhere(tmp_path: Path, bucket: Bucket, proxy: Proxy) -> None:
    site = Site(make_tree(tmp_path / "tree", COMPONENTS), bucket, proxy)
    folder = f"file://{tmp_path}/ledgers"
    site.deploy(ledger=folder)
    assert len(list((tmp_path / "ledgers").glob("*/log/*.json"))) == 1
    site.deploy(ledger=f"{folder}/mine.json")
    assert list((tmp_path / "ledgers" / "mine" / "log").iterdir())
    assert site.log_keys() == []
    assert site.deploy(ledger=folder).commit is None


def test_what_was_deleted_leaves_the_log(site: Site, tmp_path: Path) -> None:
    site.tree = make_tree(tmp_path / "less", {"c1": ["qa"]})
    report = site.deploy(delete=True, max_delete=DeleteLimit(percent=100))
    assert len(report.deleted) == 10
    assert set(site.log().objects or ()) == {
        "components/c1/qa.json",
        "components/c1/preview.json",
        "manifest.json",
    }


def test_a_partial_tree_keeps_what_is_known_of_the_rest(site: Site, tmp_path: Path) -> None:
    before = site.log().objects or {}
    part = make_tree(tmp_path / "part", {"c9": ["qa"]}, complete=False)
    Site(part, site.bucket, site.proxy).deploy()
    after = site.log().objects or {}
    kept = {key: one for key, one in before.items() if key != "manifest.json"}
    assert {key: after[key] for key in kept} == kept
    assert "components/c9/qa.json" in after


TEXT = st.text(max_size=8)
KEYS = st.just(MANIFEST) | TEXT.map(lambda name: f"components/{name}/qa.json").filter(is_layout)
SECONDS = st.integers(0, 2**33)
ENTRIES = st.builds(Entry, TEXT, st.none() | TEXT, TEXT, SECONDS, TEXT, TEXT, TEXT, TEXT, SECONDS)
STATES = st.builds(
    State,
    st.dictionaries(TEXT, st.builds(Hold, TEXT, TEXT), max_size=2),
    st.dictionaries(TEXT, st.lists(TEXT, min_size=1, max_size=2).map(tuple), max_size=2),
    st.dictionaries(TEXT, TEXT, max_size=2),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=2).map(tuple),
    st.none() | st.booleans(),
)
CHANGES = st.builds(Change, st.none() | ENTRIES, st.none() | ENTRIES)
NOW = datetime(2026, 3, 24, 10, 0, 0, 123000, tzinfo=UTC)


@given(st.dictionaries(KEYS, CHANGES, max_size=3), STATES, st.booleans(), TEXT)
def test_every_commit_reads_as_it_was_written(
    changes: dict[str, Change], state: State, anew: bool, delivery: str
) -> None:
    commit = Commit(7, "ab", NOW, Cause("publish", "full", delivery), changes, state, anew)
    assert Commit.parse(commit.dump()) == commit


def test_a_large_checkpoint_is_written_in_parts_that_fit_together() -> None:
    objects = {f"components/{n:05d}/qa.json": Entry("a", None, str(n)) for n in range(2001)}
    data = Checkpoint(3, objects).dump()
    assert Checkpoint.parse(data).objects == objects
    assert list(json.loads(data)["objects"]) == sorted(objects)


def test_two_commits_of_one_number_are_read_as_one() -> None:
    """Where a service ignores conditions nobody can be kept from a number: none is to be lost."""
    store = Store(open_backend("memory://one-number/site"))
    log = Log(store)
    ignored = State({"k": Hold("0")}, {}, {"gone": "then"}, (), True)
    assert log.append(Commit(1, "aa", NOW, Cause("publish"), {}, ignored))
    entry = Entry("1", version="v")

    def beside(name: str, seconds: int, key: str, state: State) -> None:
        at = NOW + timedelta(seconds=seconds)
        commit = Commit(2, name, at, Cause("publish"), {key: Change(None, entry)}, state)
        assert log.append(commit)

    beside("bb", 2, ONE, ignored._replace(holds={"k": Hold("0"), ONE: Hold("a", "1")}))
    beside("cc", 1, TWO, ignored._replace(holds={}, owed={"cdn": (TWO,)}))
    fresh = Log(store)
    view = fresh.newest()
    assert view.newest is not None
    assert (view.number, set(view.newest.changes)) == (2, {ONE, TWO})
    assert view.state.holds == {ONE: Hold("a", "1")}
    assert (view.state.owed, view.state.gone) == ({"cdn": (TWO,)}, {"gone": "then"})
    number, newer = Log(store).since(1)
    assert (number, [set(one.changes) for one in newer]) == (2, [{ONE, TWO}])
    everything = Log(store).everything(2)
    assert set(everything.objects or {}) == {ONE, TWO}
    assert everything.state == view.state
    assert [one.number for one in Log(store).all(2)[0]] == [2, 1]
