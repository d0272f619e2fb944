"""One component document, checked."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.document import Document, describe, named
from myop_cdn.errors import CutShort, DocumentError
from myop_cdn.model import DocumentRef, Variant
from tests.samples import document, official

REF = DocumentRef("card", "qa")


def test_a_document_keeps_the_servers_key_order_and_unknown_members() -> None:
    body = document("card", "qa", zebra={"b": 1, "a": [2]}, unknown=None)
    found = Document.parse(REF, json.dumps(json.loads(body)).encode())
    assert found.body == body
    assert (found.name, found.variants) == ("The card", (Variant("v-1", "Main"),))


def test_a_document_without_a_name_is_called_by_its_id() -> None:
    body = official({"item": {"id": "card", "consume_variant": [{}]}})
    assert Document.parse(REF, body).name == "card"
    assert Document.parse(REF, body).variants == ()


@pytest.mark.parametrize("html", ["", "<p>", '"', "\\", '", "id": "other', "größer \n☃ 🎉"])
@pytest.mark.parametrize("repeated", [1, 3000])
@pytest.mark.parametrize("indent", [None, 2])
def test_the_names_of_a_document_are_read_past_its_long_texts(
    html: str, repeated: int, indent: int | None
) -> None:
    def variant(number: int, **more: str) -> dict[str, object]:
        loader = {"type": "HTMLLoader", "HTML": html * repeated, "last": html * repeated}
        return {"name": f"größer {number}", "loader": loader, **more, "id": f"v-{number}"}

    item = {"consume_variant": [variant(1, note=html * repeated), variant(2)]}
    value = {"item": {**item, "id": "card", "name": 'The "card"'}, "version": "0.2.10"}
    data = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    found = Document.parse(REF, data)
    assert named(REF, data) == (found.name, found.variants)
    assert found.variants == (Variant("v-1", "größer 1"), Variant("v-2", "größer 2"))


@pytest.mark.parametrize("whose", ["component", "variant"])
@pytest.mark.parametrize("lost", ["id", "name", "consume_variant"])
def test_no_name_is_lost_where_members_share_a_line_with_a_long_text(whose: str, lost: str) -> None:
    def laid(value: dict[str, object], *, hides: bool) -> str:
        """JSON with a line for each member; the one that is lost lies between two texts."""
        lines = [json.dumps({key: one})[1:-1] for key, one in value.items()]
        if hides and lost in value:
            at = [*value].index(lost)
            lines[at] = f'"note": "{"x" * 5000}", {lines[at]}, "last": "z"'
        return "{\n" + ",\n".join(lines) + "\n}"

    variant = laid({"id": "v-1", "name": "One"}, hides=whose == "variant")
    item = laid({"id": "card", "name": "Card", "consume_variant": 0}, hides=whose == "component")
    item = item.replace('"consume_variant": 0', f'"consume_variant": [{variant}, {{"id": "v-2"}}]')
    data = b'{\n  "item": ' + item.encode() + b"\n}"
    found = Document.parse(REF, data)
    assert named(REF, data) == (found.name, found.variants)
    assert (found.name, found.variants) == ("Card", (Variant("v-1", "One"), Variant("v-2")))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html>busy</html>", "is HTML"),
        (b"\n <!DOCTYPE html>", "is HTML"),
        (b"busy", "is not JSON"),
        (b"[1", "is not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "not a component document"),
        (b"null", "not a component document"),
        (b"{}", 'no "item"'),
        (b'{"item": []}', 'no "item"'),
        (b'{"error": "not found"}', 'no "item"'),
        (b'{"item": {}}', "without an id"),
        (b'{"item": {"id": 7}}', "without an id"),
        (document("banner", "qa"), "is a document of banner"),
        (b'{"item": {"id": "card"}}', "consume_variant"),
        (b'{"item": {"id": "card", "consume_variant": {}}}', "consume_variant"),
        (b'{"item": {"id": "card", "consume_variant": [1]}}', "consume_variant"),
        (b'{"a":' * 9000 + b"1" + b"}" * 9000, "nested too deeply"),
    ],
)
def test_what_is_no_document_names_component_and_environment_and_is_not_asked_again(
    data: bytes, words: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        Document.parse(REF, data)
    assert not isinstance(caught.value, CutShort)
    assert caught.value.message.startswith("component card in qa: ")
    assert words in caught.value.message


@pytest.mark.parametrize("size", [0, 1, 2, 100, 300])
def test_the_beginning_of_a_document_is_cut_short(size: int) -> None:
    with pytest.raises(CutShort, match="component card in qa"):
        Document.parse(REF, document("card", "qa")[:size])


WHOLE = document("card", "qa")


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=3), st.booleans())
def test_any_bytes_are_a_document_or_a_document_error(at: int, put: bytes, whole: bool) -> None:
    data = WHOLE[:at] + put + WHOLE[at + 1 :] if whole else put
    with suppress(DocumentError):
        assert Document.parse(REF, data).ref == REF


def test_names_in_messages_are_printable() -> None:
    assert describe(DocumentRef("a\u202eb", "qa")) == "component a\\u202eb in qa"
