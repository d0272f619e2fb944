"""Invalidations as part of a deploy, at moto's CloudFront."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from myop_cdn.deploy import DeployOptions, deploy
from myop_cdn.deploy.history import Selection
from myop_cdn.deploy.log import Log
from myop_cdn.deploy.rollback import roll_back
from myop_cdn.deploy.target import open_targets
from myop_cdn.errors import ExitCode
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import OpenOptions
from myop_cdn.storage.store import Store
from tests.deploy.trees import document, make_tree
from tests.servers.proxy import Answer, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from myop_cdn.report import DestinationReport
    from myop_cdn.tree import Tree
    from tests.servers.s3 import Bucket

COMPONENTS = {"card": ["qa"], "form one": ["qa"]}
ONE = "components/form one/qa.json"
DENIED = b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"


class Site:
    """A tree, a bucket, and a distribution before it whose origin path is /site."""

    def __init__(self, tree: Tree, bucket: Bucket, client: Any, proxy: Proxy) -> None:
        self.tree = tree
        self.bucket = bucket
        self.client = client
        self.proxy = proxy
        origin = {
            "Id": "bucket",
            "DomainName": f"{bucket.name}.s3.amazonaws.com",
            "OriginPath": "/site",
            "S3OriginConfig": {"OriginAccessIdentity": ""},
        }
        behaviour = {"TargetOriginId": "bucket", "ViewerProtocolPolicy": "allow-all"}
        config = {
            "CallerReference": bucket.name,
            "Origins": {"Quantity": 1, "Items": [origin]},
            "DefaultCacheBehavior": behaviour,
            "Comment": "",
            "Enabled": True,
        }
        self.id = client.create_distribution(DistributionConfig=config)["Distribution"]["Id"]

    def deploy(self, **options: Any) -> DestinationReport:
        """Deploy, and have the distribution told."""
        options.setdefault("invalidate", (f"cloudfront:{self.id}",))
        settings = DeployOptions(endpoint_url=self.bucket.endpoint, **options)
        return deploy(self.tree, [f"{self.bucket.url}/site"], settings).destinations[0]

    def back(self, to: str) -> DestinationReport:
        """Roll everything back, and have the distribution told."""
        options = DeployOptions(
            endpoint_url=self.bucket.endpoint, invalidate=(f"cloudfront:{self.id}",)
        )
        (target,) = open_targets([f"{self.bucket.url}/site"], options)
        return roll_back(target, to, Selection(), options).destination

    def invalidated(self) -> list[list[str]]:
        """The paths of every invalidation, oldest first."""
        items = self.client.list_invalidations(DistributionId=self.id)["InvalidationList"]
        ids = [item["Id"] for item in items.get("Items", ())]
        batches = [
            self.client.get_invalidation(DistributionId=self.id, Id=one)["Invalidation"]
            for one in ids
        ]
        batches.sort(key=lambda one: one["CreateTime"])
        return [sorted(one["InvalidationBatch"]["Paths"]["Items"]) for one in batches]

    def pending(self) -> list[tuple[str, ...]]:
        """What the destination's log says is owed."""
        options = OpenOptions(endpoint_url=self.bucket.endpoint)
        store = Store(open_backend(f"{self.bucket.url}/site", options))
        return list(Log(store).newest().state.owed.values())


@pytest.fixture
def site(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with Proxy(bucket.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFRONT", proxy.url)
        client = boto3.client("cloudfront", endpoint_url=bucket.endpoint)
        yield Site(make_tree(tmp_path, COMPONENTS), bucket, client, proxy)


def test_changed_and_deleted_paths_are_sent_without_the_origin_path(site: Site) -> None:
    first = site.deploy(wait=True)
    assert first.exit_code is ExitCode.DONE
    assert "/components/form%20one/qa.json" in first.invalidated
    site.bucket.put("site/components/old/qa.json", document("old"))
    site.tree.write(ONE, site.tree.read(ONE).replace(b"hello", b"hallo"))
    report = site.deploy(delete=True)
    expected = ["/components/form%20one/qa.json", "/components/old/qa.json"]
    assert list(report.invalidated) == expected
    assert site.invalidated()[-1] == expected


def test_nothing_changed_sends_nothing(site: Site) -> None:
    site.deploy()
    report = site.deploy()
    assert report.invalidated == ()
    assert len(site.invalidated()) == 1


def test_many_paths_are_one_wildcard(site: Site, tmp_path: Path) -> None:
    site.tree = make_tree(tmp_path / "many", {f"c{number}": ["qa"] for number in range(20)})
    assert site.deploy().invalidated == ("/*",)


def test_one_that_failed_is_made_up_for_by_the_next_run(site: Site) -> None:
    site.deploy()
    site.proxy.meddle = lambda seen: Answer(403, DENIED, "text/xml")
    site.tree.write(ONE, site.tree.read(ONE).replace(b"hello", b"hallo"))
    failed = site.deploy()
    assert failed.exit_code is ExitCode.PARTLY
    assert [one.key for one in failed.failed] == [f"cloudfront:{site.id}"]
    assert "cloudfront:CreateInvalidation" in failed.failed[0].error
    assert site.pending() == [(ONE,)]
    assert site.deploy().exit_code is ExitCode.PARTLY
    site.proxy.meddle = lambda seen: None
    made_up = site.deploy()
    assert made_up.uploaded == ()
    assert made_up.invalidated == ("/components/form%20one/qa.json",)
    assert site.pending() == []
    assert site.deploy().invalidated == ()


def test_what_is_owed_to_one_cdn_is_not_forgotten_by_a_run_without_it(site: Site) -> None:
    site.deploy()
    site.proxy.meddle = lambda seen: Answer(403, DENIED, "text/xml")
    site.tree.write(ONE, site.tree.read(ONE).replace(b"hello", b"hallo"))
    site.deploy()
    site.tree.write(ONE, site.tree.read(ONE).replace(b"hallo", b"hullo"))
    site.deploy(invalidate=())
    assert site.pending() == [(ONE,)]


def test_a_run_that_was_killed_before_its_end_is_made_up_for(site: Site) -> None:
    """Its uploads are there, and neither log nor distribution has heard of them."""
    site.deploy()
    site.tree.write(ONE, site.tree.read(ONE).replace(b"hello", b"hallo"))
    site.bucket.put(
        f"site/{ONE}",
        site.tree.read(ONE),
        ContentType="application/json; charset=utf-8",
        CacheControl="public, max-age=300",
    )
    report = site.deploy()
    assert report.uploaded == ()
    assert report.invalidated == ("/components/form%20one/qa.json",)
    assert site.deploy().invalidated == ()


def test_a_dry_run_tells_nobody(site: Site) -> None:
    report = site.deploy(dry_run=True)
    assert "/site/manifest.json" in report.invalidated
    assert site.invalidated() == []


def test_a_distribution_that_is_missing_fails_alone(site: Site) -> None:
    report = site.deploy(invalidate=("cloudfront:E2EXAMPLE",))
    assert report.exit_code is ExitCode.PARTLY
    assert len(report.uploaded) == 5
    assert "NoSuchDistribution" in report.failed[0].error


def test_a_rollback_of_one_document_is_one_invalidation(site: Site) -> None:
    site.deploy()
    site.tree.write(ONE, site.tree.read(ONE).replace(b"hello", b"hallo"))
    site.deploy()
    before = len(site.invalidated())
    assert site.back("1").invalidated == ("/components/form%20one/qa.json",)
    assert site.invalidated()[before:] == [["/components/form%20one/qa.json"]]
    assert site.pending() == []


def test_what_a_rollback_could_not_tell_is_owed_and_made_up_for_by_the_next_run(site: Site) -> None:
    site.deploy()
    site.tree.write(ONE, site.tree.read(ONE).replace(b"hello", b"hallo"))
    site.deploy()
    site.proxy.meddle = lambda seen: Answer(403, DENIED, "text/xml")
    report = site.back("1")
    assert report.exit_code is ExitCode.PARTLY
    assert [one.key for one in report.uploaded] == [ONE]
    assert site.pending() == [(ONE,)]
    site.proxy.meddle = lambda seen: None
    held = site.deploy()
    assert [one.key for one in held.overtaken] == [ONE]
    assert held.invalidated == ("/components/form%20one/qa.json",)
    assert site.pending() == []
    site.tree.write(ONE, site.tree.read(ONE).replace(b"hallo", b"third"))
    assert [up.key for up in site.deploy().uploaded] == [ONE]
