"""The manifest as read, completed and written."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.errors import InputError
from myop_cdn.manifest import Manifest
from myop_cdn.model import DocumentRef
from tests.samples import ORGANIZATION, index, official

NOW = datetime(2026, 3, 24, 13, 37, 0, 7_999, UTC)


def parsed(components: dict[str, list[str]], **more: Any) -> Manifest:
    return Manifest.parse(index(components, **more))


def test_what_was_read_is_written_byte_for_byte() -> None:
    body = index({"b": ["qa", "demo"], "a": []}, unknown={"z": 1, "a": 2})
    assert Manifest.parse(body).dump() == body


def test_members_that_are_not_known_stay_where_they_are() -> None:
    body = official({"components": [{"x": 1, "id": "a", "environments": []}], "later": True})
    assert Manifest.parse(body).dump() == body


def test_previews_are_implied_and_never_listed() -> None:
    manifest = parsed({"a": ["qa", "preview"], "b": []})
    assert manifest.refs() == [DocumentRef("a", "qa")]
    assert manifest.previews() == [DocumentRef("a", "preview"), DocumentRef("b", "preview")]


def test_an_environment_that_stands_twice_is_one_document() -> None:
    assert parsed({"a": ["qa", "qa"]}).refs() == [DocumentRef("a", "qa")]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", 'list "components"'),
        (b"{}", 'list "components"'),
        (b'{"components": {}}', 'list "components"'),
        (b'{"version": 2, "components": []}', "version 2"),
        (b'{"version": "1", "components": []}', 'version "1"'),
        (b'{"components": ["a"]}', "components[0] is not an object"),
        (b'{"components": [{"id": "a"}, {}]}', "components[1].id is not a string"),
        (b'{"components": [{"id": ".."}]}', "components[0].id is '..'"),
        (b'{"components": [{"id": "a"}, {"id": "a"}]}', "components[1].id appears twice: a"),
        (b'{"components": [{"id": "a", "environments": "qa"}]}', "environments is not a list"),
        (b'{"components": [{"id": "a", "environments": ["qa", ""]}]}', "environments[1] is empty"),
        (b'{"components": [{"id": "a", "environments": ["a/b"]}]}', "environments[0] holds a sl"),
    ],
)
def test_what_is_no_manifest_names_the_place(body: bytes, place: str) -> None:
    with pytest.raises(InputError) as caught:
        Manifest.parse(body)
    assert place in caught.value.message


def test_a_manifest_without_environments_is_read_but_not_complete() -> None:
    manifest = Manifest.parse(b'{"components": [{"id": "a"}, {"id": "b", "environments": []}]}')
    assert not manifest.complete
    assert manifest.refs() == []
    assert parsed({"a": []}).complete


def test_a_narrowed_manifest_lists_what_was_kept() -> None:
    manifest = parsed({"a": ["qa", "demo"], "b": ["demo"], "c": []})
    assert manifest.narrowed(lambda ref: ref.environment in {"qa"}).dump() == index({"a": ["qa"]})
    assert manifest.narrowed(lambda ref: ref.environment in {"preview"}).dump() == index(
        {"a": [], "b": [], "c": []}
    )
    assert manifest.narrowed(lambda ref: ref.environment in {"preview", "demo"}).dump() == index(
        {"a": ["demo"], "b": ["demo"], "c": []}
    )
    assert manifest.narrowed(lambda ref: ref.environment in {"none"}).entries == ()


def test_documents_complete_entries_in_place_and_new_components_come_last() -> None:
    manifest = parsed({"b": ["qa"], "a": []})
    new = manifest.with_documents(
        [
            (DocumentRef("a", "demo"), "another name"),
            (DocumentRef("c", "preview"), "The c"),
            (DocumentRef("c", "qa"), "The c"),
            (DocumentRef("b", "qa"), "The b"),
        ]
    )
    assert new.dump() == index({"b": ["qa"], "a": ["demo"], "c": ["qa"]})


def test_nothing_new_leaves_the_manifest_itself() -> None:
    manifest = parsed({"a": ["qa"]})
    same = [(DocumentRef("a", "qa"), "renamed"), (DocumentRef("a", "preview"), "renamed")]
    assert manifest.with_documents(same) is manifest


def test_a_date_is_filled_in_only_where_there_is_none() -> None:
    assert parsed({"a": []}).stamped(NOW).exported_at == "2026-03-24T10:00:00.000Z"
    bare = Manifest.parse(b'{"components": []}').stamped(NOW)
    assert json.loads(bare.dump()) == {
        "version": 1,
        "exportedAt": "2026-03-24T13:37:00.007Z",
        "components": [],
    }


def test_only_the_date_and_the_order_may_differ_for_two_manifests_to_say_the_same() -> None:
    one = parsed({"a": ["qa"]})
    assert one.says_the_same(parsed({"a": ["qa"]}, at="2027-01-01T00:00:00.000Z"))
    two = parsed({"a": ["qa", "demo"], "b": []})
    assert two.says_the_same(parsed({"b": [], "a": ["demo", "qa"]}))
    assert not two.says_the_same(parsed({"b": ["qa"], "a": ["demo", "qa"]}))
    assert not two.says_the_same(parsed({"a": ["qa", "demo"]}))
    told = two.entries[0]
    renamed = told._replace(raw={**told.raw, "name": "another"})
    assert not two.says_the_same(two._replace(entries=(renamed, two.entries[1])))
    assert not one.says_the_same(parsed({"a": ["qa", "demo"]}))
    assert not one.says_the_same(parsed({"a": ["qa"]}, organization="another"))


def test_a_date_or_an_organization_that_is_no_text_is_none() -> None:
    odd = Manifest.parse(b'{"components": [], "exportedAt": 7, "organization": null}')
    assert (odd.exported_at, odd.organization) == (None, None)
    assert parsed({}).organization == ORGANIZATION


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["components", "id", "environments", "version", "name"]), inner
            )
        ),
        max_leaves=10,
    )
)
def test_any_json_is_a_manifest_or_an_input_error(value: Any) -> None:
    with suppress(InputError):
        manifest = Manifest.parse(json.dumps(value).encode())
        assert Manifest.parse(manifest.dump()) == manifest
