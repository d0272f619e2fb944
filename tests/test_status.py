"""What is live at a destination, and what Myop has beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from myop_cdn.cli.history import _table
from myop_cdn.deploy import deploy
from myop_cdn.deploy.history import Selection
from myop_cdn.deploy.options import DeployOptions
from myop_cdn.deploy.remote import SINCE
from myop_cdn.deploy.target import open_targets
from myop_cdn.model import DocumentRef, Variant
from myop_cdn.moments import moment
from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from myop_cdn.status import LiveDocument, LiveStatus, read_status
from myop_cdn.storage.base import SHA256_METADATA, Body
from myop_cdn.tree import Tree
from tests.samples import document, full_tree, index, write
from tests.servers.s3 import aws, bucket, moto_endpoint, proxy  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run
    from tests.servers.proxy import Proxy
    from tests.servers.s3 import Bucket

_serial = count()
COMPONENTS = {"card": ["qa", "prod"], "form": ["qa"]}


@pytest.fixture
def url() -> str:
    """An empty destination."""
    return f"memory://status-{next(_serial)}/site"


def status_of(url: str, options: DeployOptions | None = None, *components: str) -> LiveStatus:
    target = open_targets([url], options or DeployOptions())[0]
    return read_status(target, Selection(frozenset(components)), 4)


def variants(status: LiveStatus) -> dict[str, str]:
    """The variant's id of each document by its path."""
    return {one.ref.path: one.variant.id if one.variant else "" for one in status.documents}


def test_the_log_tells_names_variants_and_since_when(tmp_path: Path, url: str) -> None:
    tree = Tree(write(tmp_path, full_tree(COMPONENTS)))
    deploy(tree, [url])
    tree.write("components/card/qa.json", document("card", "qa", "v-2"))
    before = datetime.now(UTC) - timedelta(seconds=1)
    deploy(tree, [url])
    status = status_of(url)
    assert [(one.name, one.ref.environment) for one in status.documents] == [
        ("The card", "prod"),
        ("The card", "qa"),
        ("The card", "preview"),
        ("The form", "qa"),
        ("The form", "preview"),
    ]
    qa = status.documents[1]
    assert qa.variant == Variant("v-2", "Main")
    assert qa.since is not None
    assert before < qa.since <= datetime.now(UTC)
    assert status.commit == 2
    assert status.error is None


def test_a_variant_is_live_since_it_came_not_since_its_bytes_changed(
    tmp_path: Path, url: str, run: Run
) -> None:
    tree = Tree(write(tmp_path, full_tree({"card": ["qa"]})))
    deploy(tree, [url])
    store = open_targets([url], DeployOptions())[0].store
    for environment in ("qa", "preview"):
        ref = DocumentRef("card", environment)
        info, body = store.head(ref.path), Body.of(tree.read(ref.path))
        assert info is not None
        assert info.headers is not None
        metadata = {k: v for k, v in (info.metadata or {}).items() if k != SHA256_METADATA}
        store.put(ref.path, body, info.headers, {**metadata, SINCE: "2001-09-09T00:00:00.000Z"})
    tree.write("components/card/qa.json", document("card", "qa", autoHeight=True))
    tree.write("components/card/preview.json", document("card", "preview", "v-2"))
    deploy(tree, [url])
    qa, preview = status_of(url).documents
    assert qa.since == datetime(2001, 9, 9, tzinfo=UTC)
    assert preview.since is not None
    assert preview.since > qa.since
    assert run("rollback", url, "--to", "1").code == 0
    assert status_of(url).documents[0].since == qa.since
    back = status_of(url).documents[1]
    assert (back.variant, back.since is not None and back.since >= preview.since) == (
        Variant("v-1", "Main"),
        True,
    )


def test_without_a_log_the_objects_tell(tmp_path: Path, url: str) -> None:
    deploy(Tree(write(tmp_path, full_tree(COMPONENTS))), [url])
    target = open_targets([url], DeployOptions())[0]
    target.store.delete([one.key for one in target.store.list(".myop-cdn/")])
    status = status_of(url)
    assert status.commit is None
    assert set(variants(status).values()) == {"v-1"}
    assert all(one.since for one in status.documents)


def test_documents_of_another_tool_are_read(tmp_path: Path) -> None:
    write(tmp_path, full_tree({"card": ["qa"]}))
    (tmp_path / "components/card/odd.json").write_bytes(b"not a document")
    status = status_of(f"file://{tmp_path}")
    assert variants(status) == {
        "components/card/odd.json": "",
        "components/card/qa.json": "v-1",
        "components/card/preview.json": "v-1",
    }


@pytest.mark.parametrize("components", [2, 60])
def test_no_document_is_asked_for_one_by_one_where_the_log_knows(
    tmp_path: Path,
    bucket: Bucket,  # noqa: F811
    proxy: Proxy,  # noqa: F811
    components: int,
) -> None:
    tree = Tree(write(tmp_path, full_tree({f"c{n}": ["qa"] for n in range(components)})))
    options = DeployOptions(endpoint_url=proxy.url)
    deploy(tree, [bucket.url], options)
    tree.write("components/c1/qa.json", document("c1", "qa", "v-2"))
    deploy(tree, [bucket.url], options)
    proxy.forget()
    status = status_of(bucket.url, options)
    assert len(status.documents) == 2 * components
    assert variants(status)["components/c1/qa.json"] == "v-2"
    assert not [one for one in proxy.arrived if "/components/" in one.path]
    assert len(proxy.arrived) <= 7


def test_what_another_tool_put_there_is_read_once_by_a_deploy(
    tmp_path: Path,
    bucket: Bucket,  # noqa: F811
    proxy: Proxy,  # noqa: F811
) -> None:
    tree = Tree(write(tmp_path, full_tree(COMPONENTS)))
    options = DeployOptions(endpoint_url=proxy.url)
    for ref in tree.refs():
        bucket.put(
            ref.path,
            tree.read(ref.path),
            CacheControl=options.cache_control,
            ContentType="application/json; charset=utf-8",
        )
    assert deploy(tree, [bucket.url], options).destinations[0].unchanged == 5
    proxy.forget()
    status = status_of(bucket.url, options)
    assert {(one.name, one.variant) for one in status.documents} == {
        ("The card", Variant("v-1", "Main")),
        ("The form", Variant("v-1", "Main")),
    }
    assert not [one for one in proxy.arrived if "/components/" in one.path]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_gets_a_table_that_fits(width: int) -> None:
    long, since = (
        "An extraordinarily long name of a variant " * 3,
        datetime(2026, 3, 24, tzinfo=UTC),
    )
    documents = [
        LiveDocument(DocumentRef("c" * 36, "production"), "größer 🎉 部品" * 9, Variant("v", long)),
        LiveDocument(
            DocumentRef("c" * 36, "e" * 60), "", Variant("v", "\x1b[2J"), since, held=True
        ),
        LiveDocument(DocumentRef("d", "qa"), "D", state="missing", myop=Variant("v", long)),
        LiveDocument(DocumentRef("d", "preview"), "D", Variant("v", ""), since, state="unknown"),
    ]
    lines = list(_table(documents, width))
    assert [line for line in lines if cell_len(line) > width] == []
    assert not any("\x1b" in line for line in lines)
    assert any("2026-03-24 00:00" in line for line in lines)
    assert any("held back since a rollback" in line for line in lines)


def test_one_component_is_listed_alone(tmp_path: Path, url: str) -> None:
    deploy(Tree(write(tmp_path, full_tree(COMPONENTS))), [url])
    assert {one.ref.component_id for one in status_of(url, None, "form").documents} == {"form"}


@pytest.fixture
def myop(tmp_path: Path) -> Iterator[Sandbox]:
    """Myop, with what was deployed before it is changed there."""
    with Sandbox(write(tmp_path / "myop", full_tree(COMPONENTS))) as sandbox:
        yield sandbox


def against(run: Run, myop: Sandbox, url: str, *words: str) -> dict[str, str]:
    """The state of each document, by component and environment."""
    ended = run(
        "status",
        url,
        "--against",
        "myop",
        "--json",
        *words,
        env={"MYOP_API_URL": myop.url, "MYOP_API_KEY": REHEARSAL_KEY},
    )
    assert ended.code == (4 if ended.json["behind"] else 0)
    assert ("error" in ended.json) == bool(ended.json["behind"])
    return {
        f"{one['componentId']}/{one['environment']}": one["state"]
        for one in ended.json["documents"]
    }


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_what_myop_has_too_is_current(run: Run, myop: Sandbox, url: str, encoding: str) -> None:
    run("deploy", url, "--source", myop.tree, "--encoding", encoding)
    assert set(against(run, myop, url).values()) == {"current"}


def test_what_is_behind_missing_and_gone_is_told_apart(run: Run, myop: Sandbox, url: str) -> None:
    run("deploy", url, "--source", myop.tree)
    changed = {
        "components/card/qa.json": document("card", "qa", "v-2"),
        "components/card/prod.json": document("card", "prod", autoHeight=True),
        "components/new/qa.json": document("new", "qa"),
        "components/new/preview.json": document("new", "preview"),
        "manifest.json": index({"card": ["qa", "prod"], "new": ["qa"]}),
    }
    write(myop.tree, changed)
    assert against(run, myop, url) == {
        "card/qa": "behind",
        "card/prod": "behind",
        "card/preview": "current",
        "form/qa": "gone",
        "form/preview": "gone",
        "new/qa": "missing",
        "new/preview": "missing",
    }
    assert set(against(run, myop, url, "--component", "form").values()) == {"gone"}


def test_what_a_rollback_holds_back_is_said(run: Run, myop: Sandbox, url: str) -> None:
    run("deploy", url, "--source", myop.tree)
    write(myop.tree, {"components/card/qa.json": document("card", "qa", "v-2")})
    run("deploy", url, "--source", myop.tree)
    run("rollback", url, "--to", "1", "--component", "card")
    ended = run("status", url, "--component", "card", "--environment", "qa")
    line = ended.out.decode().strip()
    assert line.startswith("The card (card) · qa · Main · since ")
    assert line.endswith(" · held back since a rollback")


def test_a_destination_where_nothing_is_ends_well_and_says_so(run: Run, url: str) -> None:
    ended = run("status", url)
    assert (ended.code, ended.out) == (0, b"")
    assert "nothing is live here" in ended.err


def test_nothing_of_what_was_named_is_not_nothing_at_all(run: Run, myop: Sandbox, url: str) -> None:
    run("deploy", url, "--source", myop.tree)
    ended = run("status", url, "--component", "nope")
    assert (ended.code, ended.out) == (0, b"")
    assert f"{url}: none of what was named is live here" in ended.err


def test_a_document_that_myop_does_not_answer_is_unknown(run: Run, myop: Sandbox, url: str) -> None:
    run("deploy", url, "--source", myop.tree)
    (myop.tree / DocumentRef("form", "qa").path).write_bytes(b"{}")
    ended = run(
        *("status", url, "--against", "myop", "--json"),
        env={"MYOP_API_URL": myop.url, "MYOP_API_KEY": REHEARSAL_KEY},
    )
    assert ended.code == 4
    unknown = [one for one in ended.json["documents"] if one["state"] == "unknown"]
    assert [one["key"] for one in unknown] == ["components/form/qa.json"]
    assert unknown[0]["problem"]


def test_a_comparison_without_a_key_is_bad_usage(run: Run, url: str) -> None:
    ended = run("status", url, "--against", "myop", "--json")
    assert (ended.code, ended.json["error"]["message"]) == (2, "there is no API key")


def test_the_json_tells_moments_as_everywhere(run: Run, tmp_path: Path, url: str) -> None:
    deploy(Tree(write(tmp_path, full_tree({"card": ["qa"]}))), [url])
    report = run("status", url, "--json").json
    assert report["commit"] == "1"
    assert moment(report["documents"][0]["since"]) <= moment(report["committed"])
