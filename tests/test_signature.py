"""The webhook's signature: a verdict for every header there can be."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from myop_cdn.errors import InputError
from myop_cdn.signature import check_age, sign, verify

BODY = b'{"event":"components.deployed"}'
SECRET = b"whsec_1"
GOOD = "sha256=" + hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()
DIGITS = GOOD.removeprefix("sha256=")
NOW = datetime(2026, 3, 24, 12, 0, tzinfo=UTC)


def test_a_signature_is_the_hmac_of_the_raw_body() -> None:
    assert sign(BODY, SECRET) == GOOD
    assert verify(BODY, GOOD, [SECRET]).valid
    assert verify(memoryview(BODY), GOOD.encode(), [SECRET]).valid
    assert verify(b"", sign(b"", SECRET), [SECRET]).valid


def test_rotation_tells_which_secret_matched() -> None:
    assert verify(BODY, GOOD, [b"old", b"older", SECRET]).index == 2
    assert verify(BODY, GOOD, [SECRET, SECRET]).index == 0
    assert verify(BODY, GOOD, [b"old"]).index is None


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "there is no signature"),
        ("", "is empty"),
        (b"", "is empty"),
        (GOOD[:-1], "63 hex digits"),
        ("sha256=", "0 hex digits"),
        (GOOD + "0", "65 hex digits"),
        ("sha256=" + DIGITS.upper(), "lower case"),
        (GOOD.upper(), "prefix is not"),
        (DIGITS, 'prefix "sha256=" is missing'),
        ("sha1=" + DIGITS[:40], 'prefix "sha256=" is missing'),
        ("sha512=" + DIGITS * 2, 'prefix "sha256=" is missing'),
        (GOOD + GOOD, "more than one"),
        (GOOD + ", " + GOOD, "more than one"),
        ("sha256=" + GOOD, "more than one"),
        (GOOD + " ", "blanks"),
        (GOOD + "\n", "blanks"),
        (" " + GOOD, "missing"),
        ("sha256= " + DIGITS, "blanks"),
        (GOOD[:40] + " " + GOOD[40:], "blanks"),
        (GOOD[:-1] + "g", "other than hex"),
        (GOOD[:-1] + "\xe9", "other than ASCII"),
        (GOOD[:-1] + "\uff10", "no header can hold"),
        (GOOD[:-1] + "\udc80", "no header can hold"),
        (GOOD.encode()[:-1] + b"\xff", "other than ASCII"),
        ("sha256=" + "0" * 64, "does not match"),
        (sign(BODY + b"\n", SECRET), "does not match"),
        (sign(BODY, b"another"), "does not match"),
    ],
)
def test_every_other_header_is_refused_for_a_reason_that_quotes_nothing(
    header: str | bytes | None, reason: str
) -> None:
    verdict = verify(BODY, header, [SECRET])
    assert not verdict.valid
    assert reason in verdict.reason
    assert DIGITS[:16] not in verdict.reason
    assert SECRET.decode() not in verdict.reason


@given(st.binary(max_size=80), st.text(st.characters(exclude_categories=())) | st.binary())
def test_an_arbitrary_header_is_a_refusal_and_never_raises(
    body: bytes, header: str | bytes
) -> None:
    assert not verify(body, header, [SECRET]).valid


@given(st.binary(), st.binary(min_size=1), st.integers(0, 70), st.sampled_from("0123456789abcdef"))
def test_one_changed_digit_is_a_refusal(body: bytes, secret: bytes, at: int, digit: str) -> None:
    assume(secret.strip())
    good = sign(body, secret)
    assert verify(body, good, [secret]).valid
    at = min(at, len(good) - 1)
    assume(good[at] != digit)
    assert not verify(body, good[:at] + digit + good[at + 1 :], [secret]).valid


@pytest.mark.parametrize("secrets", [[], [b""], [b" \n"], [SECRET, b""], [b"\t", SECRET]])
def test_no_secret_or_a_blank_one_is_refused_whatever_the_header(secrets: list[bytes]) -> None:
    with pytest.raises(InputError):
        verify(BODY, GOOD, secrets)
    with pytest.raises(InputError):
        verify(BODY, sign(BODY, b""), secrets)


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-03-24T12:00:00.000Z",
        "2026-03-24T11:55:00Z",
        "2026-03-24T12:05:00.000000Z",
        "2026-03-24 12:00:00+00:00",
        "2026-03-24T14:00:00+0200",
        "2026-03-24t12:00:00z",
        "2026-03-24T12:00:00.123456789Z",
    ],
)
def test_a_timestamp_within_the_age_passes(timestamp: str) -> None:
    assert check_age(timestamp, timedelta(minutes=5), NOW) is None


@pytest.mark.parametrize(
    ("timestamp", "words"),
    [
        (None, "no timestamp"),
        ("", "ISO 8601"),
        ("2026-03-24", "ISO 8601"),
        ("2026-03-24T12:00:00", "ISO 8601"),
        ("1774353600", "ISO 8601"),
        ("٢026-03-24T12:00:00Z", "ISO 8601"),
        ("2026-03-24T12:00:00Z\n", "ISO 8601"),
        ("2026-02-30T12:00:00Z", "not a date"),
        ("2026-03-24T25:00:00Z", "not a date"),
        ("0000-03-24T12:00:00Z", "not a date"),
        ("2026-03-24T12:00:00+99:99", "not a date"),
        ("2026-03-24T11:54:59Z", "301s old; 300s is the most"),
        ("2026-03-24T09:00:00Z", "3h old"),
        ("0001-01-01T00:00:00Z", "d old"),
        ("2026-03-24T12:05:01Z", "301s in the future"),
        ("9999-12-31T23:59:59Z", "in the future"),
        ("9999-12-31T23:59:59-23:59", "in the future"),
    ],
)
def test_any_other_timestamp_is_refused(timestamp: str | None, words: str) -> None:
    trouble = check_age(timestamp, timedelta(seconds=300), NOW)
    assert trouble is not None
    assert words.replace("300s", "5m").replace("301s", "5m") in trouble


@given(st.text())
def test_an_arbitrary_timestamp_never_raises(text: str) -> None:
    check_age(text, timedelta(1), NOW)
