"""A CDN with faults, each found with the line that fixes it."""

from __future__ import annotations

import gzip
import random
import re
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import pytest

from myop_cdn.check import CheckOptions, Expectation, LiveObjects, TreeFiles, check, parse
from myop_cdn.check.fixes import Fixes, Site
from myop_cdn.deploy import deploy
from myop_cdn.deploy.history import Selection
from myop_cdn.deploy.options import DeployOptions
from myop_cdn.deploy.target import open_targets
from myop_cdn.errors import InputError
from myop_cdn.model import DocumentRef
from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from myop_cdn.tree import Tree
from tests.api_server import NOTHING, ApiServer, Reply
from tests.samples import document, full_tree, index, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from myop_cdn.report import CheckReport, Fault
    from tests.conftest import Run

GOOD = {
    "Content-Type": "application/json",
    "Cache-Control": "public, max-age=300",
    "Access-Control-Allow-Origin": "*",
}
COMPONENTS = {name: ["prod"] for name in "abcdefgh"}
_serial = count()


class Cdn(ApiServer):
    """A web server that serves a tree below `/cdn`, as it should but for what `script` says."""

    def __init__(self, contents: Mapping[str, bytes], base: str = "/cdn") -> None:
        super().__init__({})
        self.base = base
        for path, body in contents.items():
            self.serve(path, body)

    def serve(self, path: str, *bodies: bytes | Reply, **headers: str) -> None:
        """Answer with these, one after the other, the last for ever."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        self.script[f"{self.base}/{path}"] = [
            Reply(one, 200, {**GOOD, **more}) if isinstance(one, bytes) else one for one in bodies
        ]

    def drop(self, path: str) -> None:
        """Answer 404 from now on."""
        del self.script[f"{self.base}/{path}"]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """What should be there."""
    return Tree(write(tmp_path / "tree", full_tree(COMPONENTS, "v-2")))


@pytest.fixture
def cdn(tree: Tree) -> Iterator[Cdn]:
    """It, served well."""
    with Cdn(full_tree(COMPONENTS, "v-2")) as running:
        yield running


def look(cdn: Cdn, expected: Expectation | None, base: str = "/cdn", **more: Any) -> CheckReport:
    return check(cdn.url + base, expected, replace(CheckOptions(jobs=4), **more))


def prod(component: str) -> str:
    return f"components/{component}/prod.json"


def by_key(report: CheckReport) -> dict[str, Fault]:
    """The one fault of each document."""
    keys = [key for one in report.faults for key in one.keys]
    assert len(keys) == len(set(keys)), report.faults
    return {key: one for one in report.faults for key in one.keys}


def test_a_cdn_that_is_right_is_right(cdn: Cdn, tree: Tree) -> None:
    report = look(cdn, TreeFiles(tree))
    assert report.faults == ()
    assert report.error is None
    assert len(report.checked) == 17


def test_ten_faults_are_found_each_with_the_line_that_mends_it(cdn: Cdn, tree: Tree) -> None:
    old, whole = document("a", "prod", "v-1"), document("b", "prod", "v-2")
    cdn.serve(prod("a"), old, Age="1200")
    cdn.serve(prod("b"), whole, Content_Type="text/plain")
    good = {name: value for name, value in GOOD.items() if "Origin" not in name}
    cdn.serve(prod("c"), Reply(document("c", "prod", "v-2"), 200, good))
    packed = gzip.compress(gzip.compress(document("d", "prod", "v-2")))
    cdn.serve(prod("d"), packed, Content_Encoding="gzip")
    cdn.drop(prod("e"))
    cdn.drop(prod("f"))
    cdn.serve("components/" + prod("f"), document("f", "prod", "v-2"))
    cdn.serve("manifest.json", index({**COMPONENTS, "old": ["prod"]}, "2026-01-01T00:00:00.000Z"))
    cdn.serve(prod("g"), Reply(document("g", "prod", "v-2"), 200, GOOD, sent=100))
    cdn.serve(prod("h"), Reply(b"", 301, {"Location": f"/new/{prod('h')}"}))
    cdn.script[f"/new/{prod('h')}"] = [Reply(document("h", "prod", "v-2"), 200, GOOD)]
    preview = "components/a/preview.json"
    cdn.serve(preview, document("b", "preview", "v-2"))

    report = look(cdn, TreeFiles(tree))

    found = by_key(report)
    assert {key: one.kind for key, one in found.items()} == {
        prod("a"): "stale",
        prod("b"): "type",
        prod("c"): "cors",
        prod("d"): "encoding",
        prod("e"): "missing",
        prod("f"): "base-url",
        "manifest.json": "manifest",
        prod("g"): "truncated",
        prod("h"): "redirect",
        preview: "component",
    }
    said = {key: one.message for key, one in found.items()}
    assert "cached for 1200 s of at most 300 s" in said[prod("a")]
    assert "'text/plain', not application/json" in said[prod("b")]
    assert "Access-Control-Allow-Origin is missing" in said[prod("c")]
    assert "gzip twice" in said[prod("d")]
    assert said[prod("e")].startswith("404")
    assert "wrong prefix" in said[prod("f")]
    assert "components/components" in said[prod("f")]
    assert "old manifest: exported 2026-01-01" in said["manifest.json"]
    assert "truncated" in said[prod("g")]
    assert f"redirect: 301 to {cdn.url}/new/" in said[prod("h")]
    assert said[preview] == "wrong component: the document of b"
    fixes = {
        prod("a"): f"purge /cdn/{prod('a')} at the CDN",
        prod("b"): "serve .json as application/json",
        prod("c"): "Access-Control-Allow-Origin: https://app.example.com",
        prod("d"): "--encoding identity",
        prod("e"): "myop-cdn publish",
        prod("f"): f"enableSelfHosted('{cdn.url}/cdn/components')",
        "manifest.json": "purge /cdn/manifest.json",
        prod("g"): f"purge /cdn/{prod('g')}",
        prod("h"): f"enableSelfHosted('{cdn.url}/new')",
        preview: "cache key hold the whole path",
    }
    assert all(fixes[key] in one.fix for key, one in found.items())
    assert report.error is not None
    assert "10 of 17" in report.error.message


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ("/cdn/components", "/cdn"),  # components/components
        ("/cdn", "/cdn/components"),
        ("/cdn", ""),
        ("/my/site", "/my/site/old"),
        ("/static/myop", "/static"),
    ],
)
def test_the_right_base_url_is_named(tree: Tree, there: str, asked: str) -> None:
    contents = full_tree(COMPONENTS, "v-2")
    with Cdn(contents, there) as cdn:
        report = look(cdn, TreeFiles(tree, "s3://bucket/cdn"), asked)
        assert report.base_url == cdn.url + there
        assert report.faults[0].fix.endswith(f"enableSelfHosted('{cdn.url}{there}')")
        alone = look(cdn, None, asked)  # nothing but the manifest can be looked for
        assert alone.base_url == cdn.url + there
        assert alone.error is not None


def test_previews_that_the_manifest_only_implies_may_be_missing(cdn: Cdn) -> None:
    for name in COMPONENTS:
        cdn.drop(f"components/{name}/preview.json")
    report = look(cdn, None)
    assert [(one.kind, len(one.keys), one.is_warning) for one in report.faults] == [
        ("missing", 8, True)
    ]
    assert report.error is None


@pytest.mark.parametrize(
    ("url", "destination", "headers", "words"),
    [
        ("https://d1.cloudfront.net", "s3://b/x", {}, ("SimpleCORS", "s3://b/x --cors-origin")),
        ("https://b.s3.eu-central-1.amazonaws.com", "", {}, ("CORS rule", '"MaxAgeSeconds"')),
        ("https://cdn.example.com", "gs://b", {}, ("gs://b --cors-file", '"responseHeader"')),
        ("https://acc.blob.core.windows.net/c", "", {}, ("--account-name acc", "az storage")),
        ("https://cdn.example.com", "", {"server": "nginx"}, ("nginx: add_header",)),
        ("https://cdn.example.com", "", {"x-amz-cf-id": "1"}, ("60669652-455b-4ae9-85a4",)),
    ],
)
def test_the_line_is_that_of_the_service(
    url: str, destination: str, headers: dict[str, str], words: tuple[str, ...]
) -> None:
    endpoint, path = parse(url)
    site = Site(endpoint, path, "https://app.example.com", destination)
    line = Fixes(site, headers).cors()
    assert all(word in line for word in words)


def test_nothing_to_go_by_is_said(cdn: Cdn) -> None:
    report = look(cdn, None, "/else/where/deep/down")
    assert [one.kind for one in report.faults] == ["manifest"]
    assert "--tree" in report.faults[0].fix


def test_without_an_expectation_the_manifest_tells_what_to_ask_for(cdn: Cdn) -> None:
    cdn.serve(prod("a"), document("a", "prod", "v-1"))  # which of the two is right is not known
    cdn.serve(prod("b"), document("a", "prod", "v-2"))
    cdn.drop(prod("c"))
    found = by_key(look(cdn, None))
    assert {key: one.kind for key, one in found.items()} == {
        prod("b"): "component",
        prod("c"): "missing",
    }


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(b"<html>", 200, GOOD), "missing", "HTML page"),
        (Reply(b'{"item": {', 200, GOOD), "truncated", "cut short"),
        (Reply(b"[]", 200, GOOD), "component", "not a document"),
        (Reply(b"no", 403, GOOD), "missing", "403"),
        (Reply(b"no", 503, GOOD), "status", "503"),
        (NOTHING, "truncated", "the connection ended"),
        (
            Reply(
                gzip.compress(document("a", "prod", "v-2"))[:100],
                200,
                {**GOOD, "Content-Encoding": "gzip"},
            ),
            "truncated",
            "cut short",
        ),
        (
            Reply(gzip.compress(document("a", "prod", "v-2")), 200, GOOD),
            "encoding",
            "without Content-Encoding",
        ),
        (
            Reply(document("a", "prod", "v-2"), 200, {**GOOD, "Content-Encoding": "br"}),
            "encoding",
            "'br'",
        ),
        (
            Reply(document("a", "prod", "v-2"), 200, {**GOOD, "Content-Encoding": "gzip"}),
            "encoding",
            "is not packed",
        ),
        (
            Reply(
                document("a", "prod", "v-2"),
                200,
                {**GOOD, "Access-Control-Allow-Origin": "https://other.example.com"},
            ),
            "cors",
            "'https://other.example.com'",
        ),
        (
            Reply(
                document("a", "prod", "v-2"),
                200,
                {**GOOD, "Access-Control-Allow-Origin": "*, *"},
            ),
            "cors",
            "two values",
        ),
        (Reply(b"", 302, {"Location": "javascript:alert(1)"}), "redirect", "302"),
    ],
)
def test_other_faults_are_told_apart(
    cdn: Cdn, tree: Tree, reply: Reply, kind: str, words: str
) -> None:
    cdn.serve(prod("a"), reply)
    report = look(cdn, TreeFiles(tree))
    fault = report.faults[0]
    assert (fault.kind, fault.keys, fault.is_warning) == (kind, (prod("a"),), False)
    assert words in fault.message
    assert fault.fix


def test_plain_http_of_another_machine_is_mixed_content_for_a_page_of_https(
    cdn: Cdn, tree: Tree
) -> None:
    url = cdn.url.replace("127.0.0.1", "0.0.0.0") + "/cdn"  # this machine, by no name of its own
    assert check(url, TreeFiles(tree), CheckOptions(origin="http://app.example.com")).faults == ()
    report = check(url, TreeFiles(tree))
    (fault,) = report.faults
    assert (fault.kind, fault.keys) == ("mixed-content", ())
    assert f"use https:{url.removeprefix('http:')} as the base URL" in fault.fix
    assert report.error is not None
    assert report.error.message == f"{url}: {fault.message}"


@pytest.mark.parametrize("others", [{}, {"a": ["prod", "qa"], "z": ["qa"]}])
def test_a_manifest_that_is_older_and_names_as_much_is_no_more_than_a_warning(
    cdn: Cdn, tree: Tree, others: dict[str, list[str]]
) -> None:
    """A publish that has nothing else to name leaves the one that is there."""
    cdn.serve("manifest.json", index({**COMPONENTS, **others}, "2026-01-01T00:00:00.000Z"))
    report = look(cdn, TreeFiles(tree))
    assert [(one.kind, one.is_warning) for one in report.faults] == [("manifest", True)]
    assert report.error is None


def test_a_redirect_in_circles_ends(cdn: Cdn, tree: Tree) -> None:
    cdn.serve(prod("a"), Reply(b"", 302, {"Location": f"/cdn/{prod('a')}"}))
    faults = look(cdn, TreeFiles(tree)).faults
    assert {one.kind for one in faults} == {"redirect", "status"}
    assert cdn.count()[f"/cdn/{prod('a')}"] == 4


def test_a_cdn_that_answers_nothing_is_not_asked_for_everything(cdn: Cdn, tree: Tree) -> None:
    for path in full_tree(COMPONENTS):
        cdn.serve(path, NOTHING)
    (fault,) = look(cdn, TreeFiles(tree)).faults
    assert len(fault.keys) == 17
    assert sum(cdn.count().values()) <= 2 * (8 + 4)


def test_one_fault_of_all_documents_is_said_once(tree: Tree) -> None:
    with Cdn({}) as cdn:
        for path, body in full_tree(COMPONENTS, "v-2").items():
            cdn.serve(path, Reply(body, 200, {"Content-Type": "application/json"}))
        faults = look(cdn, TreeFiles(tree)).faults
    assert [(one.kind, len(one.keys), one.is_warning) for one in faults] == [
        ("cors", 16, False),
        ("cache-control", 17, True),
    ]


def test_vary_is_missed_only_where_the_answer_varies(cdn: Cdn, tree: Tree) -> None:
    origin = CheckOptions().origin
    echoed = Reply(
        document("a", "prod", "v-2"), 200, {**GOOD, "Access-Control-Allow-Origin": origin}
    )
    cdn.serve(prod("a"), echoed)
    assert look(cdn, TreeFiles(tree)).faults == ()
    other = replace(echoed, headers={**GOOD, "Access-Control-Allow-Origin": "https://b.example"})
    cdn.serve(prod("a"), echoed, other)
    assert [(one.kind, one.is_warning) for one in look(cdn, TreeFiles(tree)).faults] == [
        ("vary", True)
    ]


def destination(tree: Tree, encoding: Literal["identity", "gzip"] = "identity") -> str:
    """What is there, published."""
    url = f"memory://check-{next(_serial)}"
    deploy(tree, [url], DeployOptions(encoding=encoding))
    return url


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_destination_tells_since_when_a_copy_is_stale(
    cdn: Cdn, tree: Tree, encoding: Literal["identity", "gzip"]
) -> None:
    target = open_targets([destination(tree, encoding)], DeployOptions())[0]
    expected = LiveObjects(target, Selection(), 4)
    assert look(cdn, expected).faults == ()
    cdn.serve(prod("a"), document("a", "prod", "v-1"), document("a", "prod", "v-2"))
    now = datetime.now(UTC) + timedelta(hours=3)
    (fault,) = look(cdn, expected, now=lambda: now).faults
    assert fault.kind == "stale"
    assert fault.message.startswith("stale for 3 h: holds")
    assert "past the cache the new one comes" in fault.message


def test_waiting_ends_as_soon_as_the_cdn_shows_the_new_ones(cdn: Cdn, tree: Tree) -> None:
    old, new = document("a", "prod", "v-1"), document("a", "prod", "v-2")
    cdn.serve(prod("a"), old, old, old, old, new)
    slept: list[float] = []
    options: dict[str, Any] = {
        "wait": timedelta(minutes=5),
        "sleep": slept.append,
        "clock": lambda: sum(slept),
    }
    assert look(cdn, TreeFiles(tree), **options).faults == ()
    assert slept == [1.0, 2.0]
    assert cdn.count()[f"/cdn/{prod('b')}"] == 1


def test_waiting_ends_at_its_end(cdn: Cdn, tree: Tree) -> None:
    cdn.drop(prod("a"))
    slept: list[float] = []
    options: dict[str, Any] = {
        "wait": timedelta(seconds=5),
        "sleep": slept.append,
        "clock": lambda: sum(slept),
    }
    report = look(cdn, TreeFiles(tree), **options)
    assert (sum(slept), [one.kind for one in report.faults]) == (5, ["missing"])


def test_a_wrong_base_url_is_not_waited_for(cdn: Cdn, tree: Tree) -> None:
    slept: list[float] = []
    report = look(cdn, TreeFiles(tree), "", wait=timedelta(hours=1), sleep=slept.append)
    assert (slept, report.base_url) == ([], f"{cdn.url}/cdn")


def test_a_name_without_an_address_is_not_waited_for(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # no question leaves this machine
    slept: list[float] = []
    options = CheckOptions(wait=timedelta(hours=1), sleep=slept.append)
    report = check("https://cdn.invalid/myop", TreeFiles(tree), options)
    assert (slept, [one.kind for one in report.faults]) == ([], ["unreachable"])


def test_what_waiting_can_not_mend_is_not_waited_for(cdn: Cdn, tree: Tree) -> None:
    cdn.serve(prod("a"), document("a", "prod", "v-2"), Content_Type="text/html")
    slept: list[float] = []
    look(cdn, TreeFiles(tree), wait=timedelta(hours=1), sleep=slept.append)
    assert slept == []


def test_a_sample_asks_for_so_many_documents(cdn: Cdn, tree: Tree) -> None:
    report = look(cdn, TreeFiles(tree), sample=3, chance=random.Random(1))
    assert (len(report.checked), report.documents) == (4, 16)
    assert sum(cdn.count().values()) == 4


def test_the_request_is_a_browser_s_of_another_origin(cdn: Cdn, run: Run, tree: Tree) -> None:
    run("check", f"{cdn.url}/cdn", "--tree", tree.root, "--origin", "https://shop.example.com")
    assert cdn.tokens == {None}
    assert cdn.cache_control == {None}


def test_what_the_cdn_says_does_not_reach_the_terminal_as_it_is(
    cdn: Cdn, run: Run, tree: Tree
) -> None:
    cdn.serve(prod("a"), document("a", "prod", "v-2"), Content_Type="text/\x1b[2Jhtml")
    ended = run("check", f"{cdn.url}/cdn", "--tree", tree.root)
    assert ended.code == 1
    assert b"\x1b" not in ended.out
    assert f"{prod('a')}: Content-Type 'text/" in ended.out.decode()
    assert "    fix: " in ended.out.decode()


def test_the_json_report_names_every_fault(cdn: Cdn, run: Run, tree: Tree) -> None:
    cdn.drop(prod("a"))
    ended = run("check", f"{cdn.url}/cdn", "--tree", tree.root, "--json")
    assert ended.code == ended.json["error"]["exitCode"] == 1
    (fault,) = ended.json["faults"]
    assert (fault["kind"], fault["keys"], fault["warning"]) == ("missing", [prod("a")], False)
    assert (ended.json["checked"], ended.json["against"]) == (17, str(tree.root))


def test_the_report_for_a_ci_system_has_a_case_for_each_document(
    cdn: Cdn, run: Run, tree: Tree, tmp_path: Path
) -> None:
    cdn.drop(prod("a"))
    run("check", f"{cdn.url}/cdn", "--tree", tree.root, "--report", tmp_path / "report.xml")
    text = (tmp_path / "report.xml").read_text()
    assert text.count("<testcase") == 17 + 1  # and one for the check as a whole
    assert text.count("<failure") == 1


def test_every_kind_of_fault_is_in_the_topic() -> None:
    room = files("myop_cdn") / "check"
    code = "".join(one.read_text("utf-8") for one in room.iterdir() if one.name.endswith(".py"))
    kinds = set(re.findall(r'(?:Finding|Fault)\(\s*"([a-z-]+)"', code))
    topic = (files("myop_cdn") / "docs" / "checking.md").read_text("utf-8")
    assert kinds
    assert kinds == set(
        re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", topic, re.M)))
    )


@pytest.mark.parametrize("url", ["cdn.example.com", "ftp://x", "https://u:p@x/", "https://x/?a=b"])
def test_what_is_not_a_base_url_is_bad_usage(run: Run, url: str) -> None:
    ended = run("check", url, "--json")
    assert (ended.code, ended.json["error"]["exitCode"]) == (2, 2)
    assert ":p@" not in ended.err


def test_an_expectation_of_nothing_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no document"):
        TreeFiles(Tree(tmp_path / "nothing"))


@pytest.fixture
def myop(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(write(tmp_path / "myop", full_tree(COMPONENTS, "v-2"))) as sandbox:
        yield sandbox


def published(run: Run, myop: Sandbox, tmp_path: Path, *words: str) -> object:
    return run(
        *("publish", f"memory://publish-{next(_serial)}", "--output", tmp_path / "out", *words),
        env={"MYOP_API_URL": myop.url, "MYOP_API_KEY": REHEARSAL_KEY},
    )


def test_publish_checks_what_it_exported(run: Run, cdn: Cdn, myop: Sandbox, tmp_path: Path) -> None:
    words = ("--check", f"{cdn.url}/cdn", "--check-wait", "0", "--json")
    ended = published(run, myop, tmp_path, *words)
    assert (ended.code, ended.json["check"]["checked"]) == (0, 17)  # type: ignore[attr-defined]
    cdn.serve(prod("a"), document("a", "prod", "v-1"))
    ended = published(run, myop, tmp_path, *words)
    assert ended.code == ended.json["error"]["exitCode"] == 1  # type: ignore[attr-defined]
    assert ended.json["deploy"]["destinations"][0]["uploaded"]  # type: ignore[attr-defined]


def test_publish_with_nothing_new_asks_for_the_manifest_that_it_left(
    run: Run, cdn: Cdn, myop: Sandbox, tmp_path: Path
) -> None:
    """Myop dates each export anew, and the destination's keeps its date."""
    env = {"MYOP_API_URL": myop.url, "MYOP_API_KEY": REHEARSAL_KEY}
    url = f"memory://publish-{next(_serial)}"
    run("publish", url, "--output", tmp_path / "first", env=env)
    write(myop.tree, {"manifest.json": index(COMPONENTS, "2027-01-01T00:00:00.000Z")})
    words = ("--output", tmp_path / "second", "--check", f"{cdn.url}/cdn", "--json")
    ended = run("publish", url, *words, env=env)
    assert ended.json["deploy"]["destinations"][0]["uploaded"] == []
    assert (ended.code, ended.json["check"]["faults"]) == (0, [])


def test_publish_with_a_wrong_base_url_publishes_nothing(
    run: Run, myop: Sandbox, tmp_path: Path
) -> None:
    ended = published(run, myop, tmp_path, "--check", "cdn.example.com")
    assert ended.code == 2  # type: ignore[attr-defined]
    assert not (tmp_path / "out").exists()
    assert not [one for one in myop.requests if one.ref == DocumentRef("a", "prod")]
