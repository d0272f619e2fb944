"""What a delivery has to be: asked without a socket, and what is owed for what was refused."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from myop_cdn.listener.delivery import DeliveryChecks, Refusal, Rules
from myop_cdn.listener.queue.base import Record
from tests.listener.rig import PATH, SECRET, Rig, signature, until, webhook

if TYPE_CHECKING:
    from collections.abc import Callable


def content(body: bytes, *fields: tuple[str, bytes], now: float | None = None) -> Record | Refusal:
    checks = DeliveryChecks(Rules(), (b"another", SECRET), new_id=lambda: "id")
    if now is not None:
        checks = DeliveryChecks(Rules(), (SECRET,), lambda: now)
    return checks.content(body, signature(body).encode(), "1.2.3.4", fields)


def test_the_checks_of_a_request_need_no_server() -> None:
    checks = DeliveryChecks(Rules(), (SECRET,))
    assert checks.target("POST", PATH) is None
    elsewhere, otherwise = checks.target("POST", "/"), checks.target("GET", PATH)
    assert elsewhere is not None
    assert otherwise is not None
    assert (elsewhere.status, otherwise.status) == (404, 405)
    assert checks.signature([signature(b"x").encode()]) is None
    for values in ([], [b"sha256="], [signature(b"x").encode()] * 2):
        refusal = checks.signature(values)
        assert refusal is not None
        assert refusal.status == 401


def test_a_good_delivery_becomes_a_record() -> None:
    body = webhook("a/prod")
    record = content(body, ("user-agent", b"Myop\x9b31m\xff"), ("x-myop-signature", b"never kept"))
    assert isinstance(record, Record)
    assert (record.id, record.secret, record.kind, record.state) == (
        "id",
        1,
        "incremental",
        "waiting",
    )
    assert record.body == body
    assert record.headers == {"user-agent": "Myop\\x9b31m\xff"}
    assert abs(record.announced - record.received) < 60


def test_what_somebody_else_signed_is_not_understood_at_all() -> None:
    checks = DeliveryChecks(Rules(), (b"another",))
    refusal = checks.content(b"{", signature(b"{").encode(), "", ())
    assert refusal == Refusal(401, "the signature does not match the body")


@pytest.mark.parametrize("body", [b"{", webhook("a/prod", age=3600), webhook("a/prod", age=-3600)])
def test_what_myop_signed_is_told_from_what_anybody_sent(body: bytes) -> None:
    refusal = content(body)
    assert isinstance(refusal, Refusal)
    assert refusal.authentic
    assert refusal.reason in (
        "the signed body is not a payload",
        "the signed timestamp is out of range",
    )


def test_no_limit_of_age_takes_any_timestamp() -> None:
    body = webhook("a/prod", age=10**7)
    checks = DeliveryChecks(Rules(max_age=timedelta(0)), (SECRET,))
    record = checks.content(body, signature(body).encode(), "", ())
    assert isinstance(record, Record)
    assert record.once


@pytest.mark.parametrize("body", [webhook("a/prod", age=3600), b'{"event": 5}'])
def test_a_signed_delivery_that_is_refused_makes_a_full_sync_due(rig: Rig, body: bytes) -> None:
    """Myop does not send it again: whatever it announced would be lost."""
    assert rig.post(body).status in (400, 401)
    until(lambda: "full" in rig.publisher.kinds)


def test_a_replay_of_old_deliveries_drives_one_full_sync_and_no_more(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig().start()
    for age in range(3600, 3620):
        assert rig.post(webhook("a/prod", age=age)).status == 401
    until(lambda: rig.publisher.kinds == ["full"])
    for age in range(3600, 3620):
        assert rig.post(webhook("b/prod", age=age)).status == 401
    assert rig.post(webhook("c/prod")).status == 200
    until(lambda: len(rig.publisher.kinds) == 2)
    assert rig.publisher.kinds == ["full", "incremental"]


def test_what_nobody_signed_makes_nothing_due(rig: Rig) -> None:
    assert rig.post(webhook("a/prod", age=3600), secret=b"forged").status == 401
    assert rig.post(webhook("b/prod")).status == 200
    until(lambda: rig.publisher.kinds == ["incremental"])
