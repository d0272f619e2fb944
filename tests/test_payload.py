"""Payloads: every form, every refusal."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn import payload
from myop_cdn.errors import PayloadError
from myop_cdn.model import Release, Scope
from tests.payloads import MALFORMED
from tests.samples import ORGANIZATION, release, webhook

CARD = release("card", "qa")
FULL = Scope("full")
MOMENT = datetime(2026, 3, 24, 13, 37, tzinfo=UTC)
ONE = Scope("incremental", (Release("card", "qa", "v-1", "env-qa"),))
ANNOUNCED = Scope("incremental", (Release("card", "qa", "v-1", "env-qa", MOMENT),))
GITLAB = {"id": 17, "ref": "main", "variables": {"A": "b"}}


def parsed(value: Any) -> Any:
    return payload.parse(json.dumps(value).encode())


def test_the_webhooks_body() -> None:
    delivery = payload.parse(webhook(CARD))
    assert (delivery.form, delivery.scope) == ("webhook", ANNOUNCED)
    assert delivery.event == "components.deployed"
    assert delivery.timestamp == "2026-03-24T13:37:00.000Z"
    assert delivery.organization_id == ORGANIZATION


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ({"client_payload": {"releases": [CARD]}}, "github"),
        ({"action": "myop-components-deployed", "client_payload": {"releases": [CARD]}}, "github"),
        ({**json.loads(webhook(CARD)), **GITLAB}, "gitlab"),
        ({"releases": [CARD]}, "data"),
        ({"releases": [CARD], "fullSync": False, "unknown": 1}, "data"),
        ([CARD], "array"),
        ([{**CARD, "unknown": {}}], "array"),
    ],
)
def test_the_other_forms_are_told_apart_by_themselves(value: Any, form: str) -> None:
    delivery = parsed(value)
    assert (delivery.form, delivery.scope.without_announcements()) == (form, ONE)


@pytest.mark.parametrize(
    ("timestamp", "moment"),
    [
        ("2026-03-24T13:37:00.250Z", MOMENT + timedelta(milliseconds=250)),
        ("2026-03-24T14:37:00+01:00", MOMENT),
        ("2026-03-24T13:37:00", None),  # of which time zone?
        ("2026-02-30T13:37:00Z", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_release_was_announced_at_the_webhooks_timestamp(
    timestamp: str, moment: datetime | None
) -> None:
    (one,) = payload.parse(webhook(CARD, timestamp=timestamp)).scope.releases
    assert one.announced_at == moment


def test_forms_without_a_timestamp_announce_at_no_moment() -> None:
    for value in ({"client_payload": {"releases": [CARD]}}, {"releases": [CARD]}, [CARD]):
        assert parsed(value).scope == ONE


@pytest.mark.parametrize(
    "value",
    [
        {"event": "components.deployed"},
        {"event": "components.deployed", "data": {}},
        {"event": "components.deployed", "data": {"releases": []}},
        {"event": "components.deployed", "data": {"fullSync": True}},
        {"client_payload": {}},
        {"client_payload": None},
        {"client_payload": {"releases": []}},
        {"releases": []},
        {"fullSync": True},
        {"schedule": "0 4 * * *"},
        {"workflow": ".github/workflows/sync.yml", "inputs": None, "ref": "refs/heads/main"},
        GITLAB,
    ],
)
def test_a_known_form_without_releases_is_a_full_sync(value: Any) -> None:
    assert parsed(value).scope == FULL


def test_a_full_sync_keeps_what_was_announced_with_it() -> None:
    assert parsed({"fullSync": True, "releases": [CARD]}).scope == Scope("full", ONE.releases)


def test_another_event_asks_for_nothing_whatever_it_holds() -> None:
    delivery = parsed({"event": "components.archived", "data": [1, 2]})
    assert delivery.scope == Scope("none")


def test_of_two_releases_of_one_document_the_last_counts() -> None:
    later = release("card", "qa", "v-2")
    assert parsed([CARD, release("b", "qa"), later]).scope.releases == (
        Release("b", "qa", "v-1", "env-qa"),
        Release("card", "qa", "v-2", "env-qa"),
    )


def test_a_variant_need_not_be_named() -> None:
    value = [{"componentId": "card", "environment": "qa"}]
    assert parsed(value).scope.releases == (Release("card", "qa"),)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert payload.parse(b"\xef\xbb\xbf" + webhook(CARD)).scope == ANNOUNCED


@pytest.mark.parametrize(("body", "place"), MALFORMED)
def test_a_malformed_payload_is_refused_whole_and_the_place_named(body: bytes, place: str) -> None:
    with pytest.raises(PayloadError) as caught:
        payload.parse(body)
    assert place in caught.value.message
    assert "\n" not in caught.value.message


FORMS = (
    "known forms: the webhook's body, GitHub's event file or dispatch body, GitLab's "
    "$TRIGGER_PAYLOAD file, the data object, an array of releases"
)


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        (b" ", "the payload is empty", "did the step before this one fail?"),
        (b"[]", "the array of releases is empty", "for a full sync give no payload"),
        (b"{}", "the payload is an object in no known form", FORMS),
        (b"0.5", "the payload is a number, not an object", FORMS),
        (b'{"event": ""}', "event is empty", ""),
        (b"[" * 50_000, "the payload is nested too deeply", ""),
        (b"[" + b"9" * 5000 + b"]", "the payload holds a number that is too long", ""),
        (b'["card"]', "[0] is a string, not an object", ""),
        (b'{"releases": 1.5}', "releases is a number, not an array", ""),
        (b'{"workflow": "a", "ref": "b"}', "the payload is an object in no known form", FORMS),
        (b'{"workflow": "a.yml"}', "the payload is an object in no known form", FORMS),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(body: bytes, message: str, hint: str) -> None:
    with pytest.raises(PayloadError) as caught:
        payload.parse(body)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ({"schedule": "0 4 * * *"}, "github"),
        ({"workflow": "sync.yaml", "inputs": None}, "github"),
        ({"workflow": "sync.yml", "ref": "main"}, "github"),
        (GITLAB, "gitlab"),
        ({"event": "components.deployed"}, "webhook"),
        ({"event": "components.deployed", "id": 1, "ref": "main"}, "gitlab"),
        ({"event": "components.deployed", "id": 1}, "webhook"),
    ],
)
def test_a_form_without_releases_is_told_too(value: Any, form: str) -> None:
    assert parsed(value).form == form


def test_a_body_that_gitlab_wrote_again_is_known_by_two_of_its_keys() -> None:
    for added, known in (({"id": 1, "ref": "a"}, True), ({"id": 1}, False), (GITLAB, True)):
        assert payload.is_reserialized(json.dumps({"event": "x", **added}).encode()) is known
    for other in (b"", b"[]", b'["id", "ref", "variables"]', b"no json"):
        assert not payload.is_reserialized(other)


def test_what_is_not_named_is_left_out_and_what_comes_after_is_read() -> None:
    one = {"componentId": "card", "environment": "qa", "environmentId": "env-qa"}
    assert parsed([one]).scope.releases == (Release("card", "qa", None, "env-qa"),)


def test_a_payload_beyond_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    body = webhook(CARD)
    monkeypatch.setattr(payload, "MAX_BYTES", len(body))
    assert payload.parse(body).scope == ANNOUNCED
    monkeypatch.setattr(payload, "MAX_BYTES", 1_500_000)
    with pytest.raises(PayloadError) as caught:
        payload.parse(b" " * 3_449_999)
    assert caught.value.message == "the payload has 3.4 MB; 1.5 MB is the most"


def test_releases_alone_are_an_array() -> None:
    assert payload.parse_releases(json.dumps([CARD]).encode()) == ONE.releases


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"releases": []}', b"null", b"[1]", b"["])
def test_anything_else_is_no_array_of_releases(body: bytes) -> None:
    with pytest.raises(PayloadError):
        payload.parse_releases(body)


def test_an_object_in_place_of_releases_is_told_where_it_belongs() -> None:
    with pytest.raises(PayloadError) as caught:
        payload.parse_releases(b"{}")
    assert caught.value.message == "the releases are an object, not an array"
    assert caught.value.hint == "give a whole payload with --payload"


@pytest.mark.parametrize(
    ("body", "timestamp"),
    [
        (webhook(CARD), "2026-03-24T13:37:00.000Z"),
        (b'{"timestamp": 7}', None),
        (b"{}", None),
        (b"[]", None),
        (b"no json", None),
    ],
)
def test_the_signed_timestamp_is_read_as_written(body: bytes, timestamp: str | None) -> None:
    assert payload.signed_timestamp(body) == timestamp


words = st.sampled_from(
    ["event", "data", "releases", "fullSync", "client_payload", "componentId", "environment"]
)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=4) | words,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_json_is_a_delivery_or_a_payload_error(value: Any) -> None:
    with suppress(PayloadError):
        scope = parsed(value).scope
        assert scope.kind != "incremental" or scope.releases


@given(st.binary(max_size=60))
def test_any_bytes_are_a_delivery_or_a_payload_error(data: bytes) -> None:
    with suppress(PayloadError):
        payload.parse(data)
    assert payload.is_reserialized(data) in (True, False)


class Key(str):
    """A key that counts how often it is compared with another."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Key.compared += 1
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        Key.compared += 1
        return str.__ne__(self, other)

    __hash__ = str.__hash__


@given(st.integers(1, 3000), st.data())
def test_a_doubled_key_is_found_in_linear_time(size: int, draw: st.DataObject) -> None:
    """Nobody has vouched for these bytes yet."""
    twice = draw.draw(st.integers(0, size - 1))
    pairs: list[tuple[str, Any]] = [(Key(f"k{n}"), n) for n in range(size)]
    pairs.insert(draw.draw(st.integers(twice + 1, size)), (Key(f"k{twice}"), None))
    Key.compared = 0
    with pytest.raises(PayloadError, match=rf"'k{twice}' appears twice"):
        payload._object(pairs)
    assert Key.compared <= 10 * size + 100
