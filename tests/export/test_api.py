"""Myop's documented API as an exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import CutShort, DocumentError, IndexFormError, KeyRejected, Unreachable
from myop_cdn.export.api import ApiExport, ApiExporter
from myop_cdn.model import DocumentRef, Scope
from myop_cdn.progress import Silent
from tests.api_server import NOTHING, ApiServer, Reply
from tests.samples import KEY, document, full_tree, index

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = full_tree({"card": ["qa", "größer & 1"]})
REF = DocumentRef("card", "qa")


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(FILES) as running:
        yield running


@pytest.fixture
def api(server: ApiServer) -> Iterator[ApiExport]:
    exporter = ApiExporter(server.url, KEY, "MYOP_API_KEY", wait=lambda seconds: True)
    with exporter.open(Scope("full"), Silent()) as export:
        yield export


def test_the_requests_are_those_of_the_documentation(server: ApiServer, api: ApiExport) -> None:
    api.index()
    for environment in ("qa", "preview", "größer & 1"):
        ref = DocumentRef("card", environment)
        assert api.document(ref).body == FILES[ref.path]
    assert server.targets == [
        "/export",
        "/consume?id=card&env=qa",
        "/consume?id=card&preview=true",
        "/consume?id=card&env=gr%C3%B6%C3%9Fer%20%26%201",
    ]
    assert (api.name, api.asks_again) == ("api", True)


def test_everything_is_asked_for_through_a_proxy(
    server: ApiServer, forward_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", forward_proxy)
    exporter = ApiExporter(server.url, KEY, "MYOP_API_KEY", wait=lambda seconds: True)
    with exporter.open(Scope("full"), Silent()) as api:
        refs = api.index().all_refs()
        assert len(refs) == 3
        for ref in refs:
            assert api.document(ref).body == FILES[ref.path]


@pytest.mark.parametrize("constant", [b"NaN", b"-Infinity"])
def test_what_is_no_json_is_not_taken_for_cut_short_and_not_asked_for_again(
    server: ApiServer, api: ApiExport, constant: bytes
) -> None:
    words = rf"not JSON \({constant.decode()}\)"
    server.script["manifest.json"] = [Reply(b'{"components": [], "x": ' + constant + b"}")]
    with pytest.raises(IndexFormError, match=words):
        api.index()
    server.script[REF.path] = [Reply(b'{"item": ' + constant + b"}")]
    with pytest.raises(DocumentError, match=words):
        api.document(REF)
    assert server.asked == ["manifest.json", REF.path]


def test_a_base_url_may_have_a_path(server: ApiServer) -> None:
    with ApiExporter(f"{server.url}/v2/", KEY, "k").open(Scope("full"), Silent()) as api:
        server.files["/v2/export"] = index({})
        assert api.index().entries == ()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>", 200),
        Reply(b"busy", 200),
        Reply(b"[]"),
        Reply(b"null"),
        Reply(b"{}"),
        Reply(b'{"components": [{"id": "a"}]}'),
        Reply(b'{"components": [{"id": "../a", "environments": []}]}'),
        Reply(b'{"components": [{"id": "a", "environments": [""]}]}'),
        Reply(b'{"components": [{"id": "a", "environments": []}, {"id": "a"}]}'),
        Reply(b'{"components":' * 9000 + b"1" + b"}" * 9000),
        Reply(b'{"error": "not found"}', 404),
        Reply(b"", 400),
        Reply(b"", 204),
    ],
)
def test_an_index_of_another_form_says_so_and_is_not_asked_again(
    server: ApiServer, api: ApiExport, reply: Reply
) -> None:
    server.script["manifest.json"] = [reply]
    with pytest.raises(IndexFormError, match="not in the documented form") as caught:
        api.index()
    assert "--exporter npx" in caught.value.hint
    assert len(server.asked) == 1
    is_of_an_api = reply.status == 200 and reply.body[:1] not in b"<b"
    assert ("check MYOP_API_URL" in caught.value.hint) is not is_of_an_api
    assert (f"{server.url}/export" in caught.value.message) is not is_of_an_api


@pytest.mark.parametrize("body", [b"", b" \n", b"{", b"\n{", FILES["manifest.json"][:-3]])
def test_an_index_that_is_cut_short_is_asked_again(
    server: ApiServer, api: ApiExport, body: bytes
) -> None:
    server.script["manifest.json"] = [Reply(body), Reply(FILES["manifest.json"])]
    assert api.index().dump() == FILES["manifest.json"]
    server.script["manifest.json"] = [Reply(body)]
    with pytest.raises(CutShort, match="the index"):
        api.index()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(b"", 404), "no such component or variant (404)"),
        (Reply(b'{"error": "id is missing"}', 400), "answered 400"),
        (Reply(b"", 204), "answered 204"),
        (Reply(b"gone " + KEY.encode(), 410), "answered 410 (gone ***)"),
        (Reply(b"<html>maintenance</html>"), "is HTML"),
        (Reply(b"[]"), "not a component document"),
        (Reply(b'{"item": {"id": "card"}}'), "consume_variant"),
        (Reply(document("banner", "qa")), "of banner"),
        (Reply(b"", 301, {"Location": "http://evil.example/"}), "another host"),
    ],
)
def test_an_unusable_document_names_itself_and_is_not_asked_again(
    server: ApiServer, api: ApiExport, reply: Reply, words: str
) -> None:
    server.script[REF.path] = [reply]
    with pytest.raises(DocumentError) as caught:
        api.document(REF)
    assert caught.value.message.startswith("component card in qa: ")
    assert words in caught.value.message
    assert KEY not in caught.value.message
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"", framing="close"),
        Reply(FILES[REF.path], sent=40),
        Reply(FILES[REF.path][:40], framing="close"),
        Reply(FILES[REF.path], framing="chunked", sent=40),
        NOTHING,
    ],
)
def test_a_document_that_is_cut_short_is_asked_again_and_named_in_the_end(
    server: ApiServer, api: ApiExport, reply: Reply
) -> None:
    server.script[REF.path] = [reply, reply, Reply(FILES[REF.path])]
    assert api.document(REF).body == FILES[REF.path]
    server.script[REF.path] = [reply]
    with pytest.raises((CutShort, Unreachable), match="component card in qa"):
        api.document(REF)


def test_a_rejected_key_is_told_as_such(server: ApiServer, api: ApiExport) -> None:
    server.script["manifest.json"] = server.script[REF.path] = [Reply(b"", 401)]
    for ask in (api.index, lambda: api.document(REF)):
        with pytest.raises(KeyRejected):
            ask()
