"""What the listener says to clients, over real connections."""

from __future__ import annotations

import json
import select
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from myop_cdn.listener.delivery import Rules
from tests.listener.rig import PATH, PATIENCE, SECRET, Rig, request, signature, until, webhook

if TYPE_CHECKING:
    from collections.abc import Callable


def head(*lines: str) -> bytes:
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def test_a_valid_delivery_is_answered_200_with_its_id(rig: Rig) -> None:
    reply = rig.post(webhook("a/prod"))
    assert reply.status == 200
    assert reply.json["status"] == "accepted"
    assert len(reply.json["delivery"]) == 16


def test_the_answer_says_nothing_about_the_program(rig: Rig) -> None:
    reply = rig.post(webhook("a/prod"))
    assert set(reply.headers) == {"date", "content-type", "content-length"}


def test_another_path_is_404_whatever_else_is_wrong(rig: Rig) -> None:
    reply = rig.say(
        head("PUT /other HTTP/1.1", "Host: a", "Content-Length: 1", "Content-Length: 2")
    )
    assert reply is not None
    assert reply.status == 404


def test_another_method_is_405_before_framing_and_signature(rig: Rig) -> None:
    reply = rig.say(head(f"GET {PATH} HTTP/1.1", "Host: a", "Content-Length: x"))
    assert reply is not None
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"


def test_no_length_is_411(rig: Rig) -> None:
    reply = rig.say(head(f"POST {PATH} HTTP/1.1", "Host: a"))
    assert reply is not None
    assert reply.status == 411


def test_a_length_over_the_limit_is_413_before_the_signature_is_looked_at(rig: Rig) -> None:
    reply = rig.say(head(f"POST {PATH} HTTP/1.1", "Host: a", "Content-Length: 99999999"))
    assert reply is not None
    assert reply.status == 413


def test_a_client_that_sends_an_oversized_body_still_reads_the_413(rig: Rig) -> None:
    body = b"x" * (3 * 1024 * 1024)
    reply = rig.say(request(body))
    assert reply is not None
    assert reply.status == 413
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Content-Length: 3, 3",),
        ("Content-Length: 3", "X-Folded: a\r\n b"),
        ("Content-Length: 3\nX-Bare: LF",),
        ("Content-Length : 3",),
    ],
)
def test_framing_that_could_be_read_in_two_ways_is_400_and_the_end(
    rig: Rig, fields: tuple[str, ...]
) -> None:
    """No request can be smuggled in behind one that is read in two ways."""
    with rig.wire() as wire:
        smuggled = request(webhook("smuggled/prod"))
        wire.send(head(f"POST {PATH} HTTP/1.1", "Host: a", *fields) + smuggled)
        reply = wire.reply()
        assert reply is not None
        assert reply.status == 400
        assert reply.headers["connection"] == "close"
        assert wire.closed()
    assert rig.publisher.scopes == []


def test_a_missing_doubled_or_misshapen_signature_is_401(rig: Rig) -> None:
    body = webhook("a/prod")
    good = f"X-Myop-Signature: {signature(body)}"
    length = f"Content-Length: {len(body)}"
    for lines in ([], [good, good], [good.upper()], [good[:-1]], [good + "0"], [good + ", x"]):
        reply = rig.say(head(f"POST {PATH} HTTP/1.1", "Host: a", length, *lines) + body)
        assert reply is not None
        assert reply.status == 401, lines


def test_a_signature_of_another_body_is_401(rig: Rig) -> None:
    body = webhook("a/prod")
    reply = rig.say(request(body).replace(b'"a"', b'"b"'))
    assert reply is not None
    assert reply.status == 401


def test_no_signature_is_refused_before_the_body_is_sent(rig: Rig) -> None:
    reply = rig.say(head(f"POST {PATH} HTTP/1.1", "Host: a", "Content-Length: 100"))
    assert reply is not None
    assert reply.status == 401


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"not JSON", b"[" * 100_000, b"\xff"])
def test_a_signed_body_that_is_no_payload_is_400(rig: Rig, body: bytes) -> None:
    assert rig.post(body).status == 400
    assert rig.publisher.scopes == []


@pytest.mark.parametrize("age", [301, -301, 10**9, -(10**9)])
def test_a_timestamp_out_of_range_is_401(rig: Rig, age: float) -> None:
    assert rig.post(webhook("a/prod", age=age)).status == 401


@pytest.mark.parametrize("timestamp", ["", "yesterday", "2026-01-01T00:00:00"])
def test_a_timestamp_that_is_none_is_401(rig: Rig, timestamp: str) -> None:
    assert rig.post(webhook("a/prod", timestamp=timestamp)).status == 401


def test_any_age_is_taken_without_max_age(make_rig: Callable[..., Rig]) -> None:
    from datetime import timedelta

    rig = make_rig(rules=Rules(max_age=timedelta(0))).start()
    assert rig.post(webhook("a/prod", age=10**6)).status == 200


def test_another_event_is_recorded_and_left_alone(rig: Rig) -> None:
    body = webhook("a/prod", event="components.archived")
    assert rig.post(body).json["status"] == "ignored"
    assert rig.post(webhook("b/prod")).status == 200
    until(lambda: rig.publisher.scopes)
    assert [release.component_id for release in rig.publisher.scopes[0].releases] == ["b"]


def test_a_chunked_delivery_is_taken(rig: Rig) -> None:
    body = webhook("a/prod")
    lines = [f"POST {PATH} HTTP/1.1", "Host: a", f"X-Myop-Signature: {signature(body)}"]
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    reply = rig.say(head(*lines, "Transfer-Encoding: chunked") + chunks)
    assert reply is not None
    assert reply.status == 200


def test_a_delivery_byte_by_byte_is_taken(rig: Rig) -> None:
    with rig.wire() as wire:
        for byte in request(webhook("a/prod")):
            wire.send(bytes([byte]))
        reply = wire.reply()
    assert reply is not None
    assert reply.status == 200


def test_expect_continue_is_answered_after_the_checks_that_need_no_body(rig: Rig) -> None:
    body = webhook("a/prod")
    whole = request(body, "Expect: 100-continue")
    with rig.wire() as wire:
        wire.send(whole[: -len(body)])
        first = wire.reply()
        assert first is not None
        assert first.status == 100
        final = wire.send(body).reply()
        assert final is not None
        assert final.status == 200
    refused = rig.say(
        head(f"POST {PATH} HTTP/1.1", "Host: a", "Content-Length: 9", "Expect: 100-continue")
    )
    assert refused is not None
    assert refused.status == 401


def test_an_expectation_that_nobody_knows_is_417(rig: Rig) -> None:
    reply = rig.say(request(webhook("a/prod"), "Expect: miracles"))
    assert reply is not None
    assert reply.status == 417


def test_requests_on_one_connection_are_answered_in_their_order(rig: Rig) -> None:
    bodies = [webhook(f"c{number}/prod") for number in range(20)]
    with rig.wire() as wire:
        wire.send(b"".join(request(body) for body in bodies))
        replies = [wire.reply() for _ in bodies]
        assert [reply.status for reply in replies if reply] == [200] * 20
        again = [wire.send(request(body)).reply() for body in bodies]
    firsts = [reply.json["delivery"] for reply in replies if reply]
    assert [reply.json["delivery"] for reply in again if reply] == firsts


def test_connection_close_is_kept(rig: Rig) -> None:
    with rig.wire() as wire:
        reply = wire.send(request(webhook("a/prod"), "Connection: close")).reply()
        assert reply is not None
        assert reply.headers["connection"] == "close"
        assert wire.closed()


def test_a_refusal_with_a_body_still_to_come_closes(rig: Rig) -> None:
    with rig.wire() as wire:
        smuggled = request(webhook("smuggled/prod"))
        length = f"Content-Length: {len(smuggled)}"
        reply = wire.send(head("POST /other HTTP/1.1", "Host: a", length) + smuggled).reply()
        assert reply is not None
        assert reply.status == 404
        assert wire.closed()
    assert rig.publisher.scopes == []


def test_a_refusal_is_the_last_word_on_its_connection(rig: Rig) -> None:
    with rig.wire() as wire:
        first = wire.send(head("GET /other HTTP/1.1", "Host: a") * 2).reply()
        assert first is not None
        assert first.status == 404
        assert first.headers["connection"] == "close"
        assert wire.closed()


def test_head_is_answered_without_a_body(rig: Rig) -> None:
    with rig.wire() as wire:
        wire.send(head("HEAD / HTTP/1.1", "Host: a"))
        reply = wire.reply(head_only=True)
        assert reply is not None
        assert reply.status == 404
        assert wire.closed()


def test_a_client_that_leaves_before_the_answer_harms_nobody(rig: Rig) -> None:
    rig.wire().send(request(webhook("a/prod"))).close()
    assert rig.post(webhook("b/prod")).status == 200


def test_several_secrets_are_taken_and_the_log_tells_which_one_matched(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    rig.secrets = lambda: (b"new", b"old")
    rig.start()
    assert rig.post(webhook("a/prod"), secret=b"old").status == 200
    assert rig.count("secret_matched", index="1") == 1
    until(lambda: any(fields.get("signed_with") == 1 for _, _, fields in rig.log.lines))


def test_no_log_line_holds_a_secret_a_signature_or_a_body(rig: Rig) -> None:
    body = webhook("a/prod", organizationId="not to be logged")
    assert rig.post(body).status == 200
    assert rig.post(body, secret=b"wrong").status == 401
    assert rig.post(b"not to be logged").status == 400
    until(lambda: rig.publisher.scopes)
    text = rig.log.text()
    assert "not to be logged" not in text
    assert "sha256=" not in text
    assert SECRET.decode() not in text


def test_errors_are_short_json(rig: Rig) -> None:
    reply = rig.say(b"\x16\x03\x01 not HTTP\r\n\r\n")
    assert reply is not None
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.body)["status"] == "rejected"
    assert len(reply.body) < 200


def test_too_many_large_requests_at_once_are_shed(make_rig: Callable[..., Rig]) -> None:
    from myop_cdn.listener.http.protocol import ServerLimits

    rig = make_rig(limits=replace(ServerLimits(), buffered=300_000)).start()
    part = request(b"x" * 1_000_000)[:130_000]
    wires = [rig.wire().send(part) for _ in range(3)]
    ready, _, _ = select.select([wire.sock for wire in wires], [], [], PATIENCE)
    replies = [wire.reply() for wire in wires if wire.sock in ready]
    assert [reply.status for reply in replies if reply] == [503]
    assert rig.post(webhook("a/prod")).status == 200
    for wire in wires:
        wire.close()


def test_a_defect_in_a_check_ends_one_connection_and_not_the_listener(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from myop_cdn.listener import delivery

    def broken(*_: object) -> None:
        raise ZeroDivisionError("details")

    with monkeypatch.context() as patched:
        patched.setattr(delivery, "verify", broken)
        reply = rig.post(webhook("a/prod"))
    assert reply.status == 500
    assert b"details" not in reply.body
    assert rig.post(webhook("b/prod")).status == 200


def test_refusals_are_logged_once_a_minute_for_each_kind(rig: Rig) -> None:
    for _ in range(5):
        rig.post(webhook("a/prod"), secret=b"wrong")
    lines = [line for line in rig.log.lines if line[:2] == ("info", "refused")]
    assert len(lines) == 1
