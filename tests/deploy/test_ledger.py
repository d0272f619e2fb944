"""The ledger, seen at a real S3 server: what it costs, what it finds, what it says."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.deploy import DeployOptions, deploy
from myop_cdn.deploy.ledger import LEDGER, Entry, Ledger, is_of_commit
from myop_cdn.errors import ExitCode
from myop_cdn.model import DeleteLimit
from myop_cdn.storage.base import Body
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

    def ledger(self) -> Ledger:
        """The ledger as it lies in the bucket."""
        return Ledger.parse(self.bucket.get(LEDGER)["Body"].read())

    def edit(self, path: str) -> None:
        """Change a file, its size kept."""
        data = self.tree.read(path)
        self.tree.write(path, data.replace(b"hello", b"hallo"))


@pytest.fixture
def site(tmp_path: Path, bucket: Bucket, proxy: Proxy) -> Site:
    site = Site(make_tree(tmp_path, COMPONENTS), bucket, proxy)
    assert site.deploy().exit_code is ExitCode.DONE
    return site


def test_a_run_with_nothing_to_do_is_one_listing_and_one_ledger_read(site: Site) -> None:
    report = site.deploy()
    assert (report.uploaded, report.unchanged) == ((), 13)
    assert site.proxy.counted() == {"GET": 1, "LIST": 1}


def test_an_md5_is_computed_only_where_the_ledger_does_not_know_the_object(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[bytes] = []
    md5 = Body.md5.fget  # type: ignore[attr-defined]

    def counted(body: Body) -> str:
        hashed.append(body.data)
        return str(md5(body))

    monkeypatch.setattr(Body, "md5", property(counted))
    assert site.deploy().unchanged == 13
    assert hashed == []
    site.bucket.client.delete_object(Bucket=site.bucket.name, Key=LEDGER)
    assert site.deploy().unchanged == 13
    documents = [site.tree.read(key) for key in site.ledger().objects]
    assert set(documents) <= set(hashed)


def test_one_changed_object_is_two_writes(site: Site) -> None:
    site.edit(ONE)
    report = site.deploy()
    assert [(up.key, up.reason) for up in report.uploaded] == [(ONE, "content")]
    puts = [one.path for one in site.proxy.forwarded if one.method != "GET"]
    assert [path.partition("/")[2].partition("/")[2] for path in puts] == [ONE, LEDGER]


def test_changed_headers_are_found_and_carried_out_alone(site: Site) -> None:
    report = site.deploy(cache_control="public, max-age=60")
    assert {up.reason for up in report.uploaded} == {"headers"}
    assert len(report.uploaded) == 13
    assert site.bucket.get(ONE)["CacheControl"] == "public, max-age=60"
    assert site.deploy(cache_control="public, max-age=60").uploaded == ()


def test_gzip_uploads_once_and_the_same_bytes_every_time(site: Site) -> None:
    import gzip

    first = site.deploy(encoding="gzip")
    assert len(first.uploaded) == 13
    answer = site.bucket.get(ONE)
    assert answer["ContentEncoding"] == "gzip"
    assert gzip.decompress(answer["Body"].read()) == site.tree.read(ONE)
    assert site.deploy(encoding="gzip").uploaded == ()
    assert site.proxy.counted() == {"GET": 1, "LIST": 1}
    site.edit(ONE)
    assert [up.key for up in site.deploy(encoding="gzip").uploaded] == [ONE]
    assert len(site.deploy().uploaded) == 13
    assert "ContentEncoding" not in site.bucket.get(ONE)


def test_an_object_that_somebody_replaced_is_put_back(site: Site) -> None:
    size = len(site.tree.read(ONE))
    site.bucket.put(ONE, b"x" * size)
    assert [(up.key, up.reason) for up in site.deploy().uploaded] == [(ONE, "content")]


def test_an_object_that_somebody_deleted_is_put_back(site: Site) -> None:
    site.bucket.client.delete_object(Bucket=site.bucket.name, Key=ONE)
    assert [(up.key, up.reason) for up in site.deploy().uploaded] == [(ONE, "new")]


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
def test_a_ledger_that_is_gone_or_damaged_is_made_again(site: Site, damage: bytes | None) -> None:
    before = site.ledger()
    if damage is None:
        site.bucket.client.delete_object(Bucket=site.bucket.name, Key=LEDGER)
    else:
        site.bucket.put(LEDGER, damage)
    report = site.deploy()
    assert report.uploaded == ()
    assert report.exit_code is ExitCode.DONE
    assert bool(report.warnings) == (damage is not None)
    assert site.ledger() == before
    site.deploy()
    assert site.proxy.counted() == {"GET": 1, "LIST": 1}


def test_an_etag_that_is_no_hash_of_the_content_does_not_upload_again(
    tmp_path: Path, bucket: Bucket, proxy: Proxy
) -> None:
    """An object uploaded in parts, as other tools do with large files, has such an ETag."""
    site = Site(make_tree(tmp_path, COMPONENTS), bucket, proxy)
    site.deploy()
    data = site.tree.read(ONE)
    listed = site.ledger().objects[ONE]
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
    assert site.proxy.counted()["HEAD"] == 1
    assert "-" in site.ledger().objects[ONE].version
    assert site.deploy().uploaded == ()
    assert site.proxy.counted() == {"GET": 1, "LIST": 1}
    site.edit(ONE)
    assert [(up.key, up.reason) for up in site.deploy().uploaded] == [(ONE, "content")]


def test_the_ledger_is_not_to_be_cached_and_names_nobody(site: Site) -> None:
    import getpass
    import socket

    answer = site.bucket.get(LEDGER)
    text = answer["Body"].read().decode()
    assert answer["CacheControl"] == "no-store"
    for secret in (socket.gethostname(), getpass.getuser(), "AKTEST", "secretkey", "127.0.0.1"):
        assert secret not in text
    assert set(json.loads(text)) == {"form", "commit", "objects", "pending"}


def test_the_ledger_can_lie_elsewhere(tmp_path: Path, bucket: Bucket, proxy: Proxy) -> None:
    site = Site(make_tree(tmp_path / "tree", COMPONENTS), bucket, proxy)
    folder = f"file://{tmp_path}/ledgers"
    site.deploy(ledger=folder)
    assert len(list((tmp_path / "ledgers").glob("*.json"))) == 1
    site.deploy(ledger=f"{folder}/mine.json")
    assert (tmp_path / "ledgers" / "mine.json").exists()
    assert not [key for key in bucket.objects() if key.startswith(".myop-cdn")]
    site.deploy(ledger=folder)
    assert site.proxy.counted() == {"LIST": 1}


def test_what_was_deleted_leaves_the_ledger(site: Site, tmp_path: Path) -> None:
    site.tree = make_tree(tmp_path / "less", {"c1": ["qa"]})
    report = site.deploy(delete=True, max_delete=DeleteLimit(10))
    assert len(report.deleted) == 10
    assert set(site.ledger().objects) == {
        "components/c1/qa.json",
        "components/c1/preview.json",
        "manifest.json",
    }


def test_a_partial_tree_keeps_what_is_known_of_the_rest(site: Site, tmp_path: Path) -> None:
    before = site.ledger()
    part = make_tree(tmp_path / "part", {"c9": ["qa"]}, complete=False)
    Site(part, site.bucket, site.proxy).deploy()
    after = site.ledger()
    kept = {key: one for key, one in before.objects.items() if key != "manifest.json"}
    assert {key: after.objects[key] for key in kept} == kept
    assert "components/c9/qa.json" in after.objects


def test_a_ledger_survives_writing_and_reading() -> None:
    ledger = Ledger(
        {"components/ü/q.json": Entry("a" * 64, "b" * 16, 'v"1'), "x": Entry("c", None, "")},
        {"f" * 16: ("manifest.json",)},
        ignores_conditions=True,
    )
    assert Ledger.parse(ledger.dump("abc")) == ledger


def test_a_ledger_tells_the_commit_that_wrote_it() -> None:
    data = Ledger({"x": Entry("a", None, "1")}).dump("abc")
    assert is_of_commit(data, "abc")
    assert not is_of_commit(data, "ab")
    assert not is_of_commit(data, "abd")
    assert not is_of_commit(b"", "abc")


def test_a_large_ledger_is_written_in_parts_that_fit_together() -> None:
    objects = {f"components/{n:05d}/qa.json": Entry("a", None, str(n)) for n in range(2001)}
    data = Ledger(objects).dump("abc")
    assert Ledger.parse(data).objects == objects
    assert list(json.loads(data)["objects"]) == sorted(objects)


TEXT = st.text(max_size=8)


@given(
    st.dictionaries(TEXT, st.builds(Entry, TEXT, st.none() | TEXT, TEXT), max_size=4),
    st.dictionaries(TEXT, st.lists(TEXT, min_size=1, max_size=2).map(tuple), max_size=2),
    st.booleans(),
)
def test_every_ledger_reads_as_it_was_written(
    objects: dict[str, Entry], pending: dict[str, tuple[str, ...]], ignores: bool
) -> None:
    ledger = Ledger(objects, pending, ignores)
    data = ledger.dump("0123")
    assert Ledger.parse(data) == ledger
    assert set(json.loads(data)) - {"conditions"} == {"form", "commit", "objects", "pending"}
