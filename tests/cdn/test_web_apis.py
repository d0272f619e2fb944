"""Cloudflare, Cloud CDN and Front Door against a stand-in that checks what it is asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from myop_cdn.cdn import open_cdn
from myop_cdn.cdn.api import Api
from myop_cdn.cdn.base import MOST_PATHS, Place
from myop_cdn.cdn.cloudcdn import CloudCdn
from myop_cdn.cdn.cloudflare import Cloudflare
from myop_cdn.cdn.frontdoor import FrontDoor
from myop_cdn.errors import InputError, InvalidationError
from tests.servers.api import Asked, Said, StandIn

if TYPE_CHECKING:
    from pathlib import Path

KEYS = ["components/a b/qa.json", "manifest.json"]
MANY = [f"components/c{number}/qa.json" for number in range(MOST_PATHS + 1)]
SITE = Place.of("s3://bucket/site")


def api(stand_in: StandIn) -> Api:
    """A client of the stand-in that does not wait between tries."""
    return Api("cdn", stand_in.url, lambda: "token", "the hint", wait=lambda _: True)


def test_cloudflare_is_sent_prefixes_so_that_every_variant_goes() -> None:
    with StandIn(lambda _: Said({"success": True})) as stand_in:
        cdn = Cloudflare("zone1234", "cdn.example.com", api(stand_in))
        paths, running = cdn.invalidate(KEYS, SITE)
        cdn.wait(running)
    assert paths == ["/site/components/a%20b/qa.json", "/site/manifest.json"]
    body = {"prefixes": [f"cdn.example.com{path}" for path in paths]}
    assert stand_in.asked == [Asked("POST", "/zones/zone1234/purge_cache", "token", body)]


def test_cloudflare_takes_the_zones_own_name_where_no_host_is_given() -> None:
    def answer(asked: Asked) -> Said:
        named = {"success": True, "result": {"name": "example.com"}}
        return Said(named if asked.method == "GET" else {"success": True})

    with StandIn(answer) as stand_in:
        Cloudflare("zone1234", None, api(stand_in)).invalidate(MANY, SITE)
    assert [one.path for one in stand_in.asked] == [
        "/zones/zone1234",
        "/zones/zone1234/purge_cache",
    ]
    assert stand_in.asked[1].body == {"prefixes": ["example.com/site/"]}


def test_cloudflare_that_does_not_take_a_purge_is_an_error() -> None:
    with StandIn(lambda _: Said({"success": False})) as stand_in, pytest.raises(InvalidationError):
        Cloudflare("zone1234", "h", api(stand_in)).invalidate(KEYS, SITE)


def test_cloud_cdn_is_sent_one_path_a_call_and_waited_for() -> None:
    polls = iter(["RUNNING", "DONE", "DONE"])

    def answer(asked: Asked) -> Said:
        if asked.method == "POST":
            return Said({"name": f"operation-{len(asked.body['path'])}"})
        return Said({"status": next(polls)})

    with StandIn(answer) as stand_in:
        cdn = CloudCdn("my-project", "my-map", api(stand_in), sleep=lambda _: None)
        paths, running = cdn.invalidate(KEYS, SITE)
        cdn.wait(running)
    posts = [one for one in stand_in.asked if one.method == "POST"]
    assert [one.body for one in posts] == [{"path": path} for path in paths]
    assert {one.path for one in posts} == {
        "/projects/my-project/global/urlMaps/my-map/invalidateCache"
    }
    gets = [one.path for one in stand_in.asked if one.method == "GET"]
    assert len(gets) == 3
    assert gets[0] == f"/projects/my-project/global/operations/{running[0]}"


def test_front_door_is_sent_all_paths_and_asked_until_it_is_done() -> None:
    polls = iter([202, 202, 200])
    where: list[str] = []

    def answer(asked: Asked) -> Said:
        if asked.method == "POST":
            return Said({}, 202, (("Location", f"{where[0]}/operations/1"),))
        return Said({}, next(polls))

    with StandIn(answer) as stand_in:
        where.append(stand_in.url)
        cdn = FrontDoor("sub", "group", "profile", "end", api(stand_in), sleep=lambda _: None)
        paths, running = cdn.invalidate(MANY, Place.of("az://container/site"))
        cdn.wait(running)
    assert paths == ["/container/site/*"]
    first = stand_in.asked[0]
    assert first.body == {"contentPaths": paths}
    assert first.path.startswith(
        "/subscriptions/sub/resourceGroups/group/providers/Microsoft.Cdn"
        "/profiles/profile/afdEndpoints/end/purge?api-version="
    )
    assert [one.path for one in stand_in.asked[1:]] == ["/operations/1"] * 3


def test_a_busy_service_is_asked_again_and_one_that_refuses_is_not() -> None:
    statuses = iter([503, 429, 200])
    with StandIn(lambda _: Said({"success": True}, next(statuses))) as stand_in:
        Cloudflare("zone1234", "h", api(stand_in)).invalidate(KEYS, SITE)
        assert len(stand_in.asked) == 3
    with StandIn(lambda _: Said({}, 403)) as stand_in:
        with pytest.raises(InvalidationError) as caught:
            Cloudflare("zone1234", "h", api(stand_in)).invalidate(KEYS, SITE)
        assert caught.value.hint == "the hint"
        assert len(stand_in.asked) == 1


def test_no_answer_at_all_is_an_error() -> None:
    with StandIn(lambda _: Said({})) as stand_in:
        gone = api(stand_in)
    with pytest.raises(InvalidationError, match="no answer"):
        gone.call("GET", "x")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "cloudfront",
        "cloudfront:",
        "cloudfront:a/b",
        "akamai:1",
        "cloudcdn:p",
        "cloudcdn:P Q/map",
        "frontdoor:a/b/c",
        "cloudflare:zone1234/host/path",
        "cloudflare:../x",
    ],
)
def test_a_name_that_is_none_is_bad_usage(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "t")
    with pytest.raises(InputError):
        open_cdn(name)


def test_a_good_name_opens_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "t")
    names = ["cloudfront:E2EXAMPLE", "cloudcdn:my-project/map", "frontdoor:s/g/p/e"]
    for name in [*names, "cloudflare:0123456789abcdef", "cloudflare:zone1234/cdn.example.com"]:
        assert open_cdn(name).name == name


def test_cloudflare_without_a_token_is_bad_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
    with pytest.raises(InputError, match="token"):
        open_cdn("cloudflare:zone1234")


def test_no_credentials_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "IDENTITY_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidationError, match="Google credentials"):
        open_cdn("cloudcdn:my-project/map").invalidate(KEYS, SITE)
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(InvalidationError, match="azure-identity"):
        open_cdn("frontdoor:s/g/p/e").invalidate(KEYS, SITE)


@pytest.mark.parametrize(
    ("url", "taken_off", "path"),
    [
        ("s3://b", "", "/manifest.json"),
        ("s3://b/site", "", "/site/manifest.json"),
        ("s3://b/site", "/site", "/manifest.json"),
        ("s3://b/site/v1", "/site/", "/v1/manifest.json"),
        ("s3://b/site2", "/site", "/site2/manifest.json"),
        ("gs://b/my site/ü", "", "/my%20site/%C3%BC/manifest.json"),
        ("az://container/site", "/container", "/site/manifest.json"),
        ("https://acc.blob.core.windows.net/container", "", "/container/manifest.json"),
        ("file:///var/www", "", "/manifest.json"),
    ],
)
def test_paths_are_as_a_viewer_asks_for_them(url: str, taken_off: str, path: str) -> None:
    assert Place.of(url).paths(["manifest.json"], taken_off) == [path]


def test_many_paths_become_one_wildcard() -> None:
    assert len(SITE.paths(MANY[:MOST_PATHS])) == MOST_PATHS
    assert SITE.paths(MANY) == ["/site/*"]
    assert SITE.paths(MANY, "/site") == ["/*"]
