"""The webhook's signature: a verdict for every header there can be."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from myop_cdn.errors import InputError
from myop_cdn.signature import Verdict, check_age, parse_timestamp, sign, verify

BODY = b'{"event":"components.deployed"}'
SECRET = b"whsec_1"
GOOD = "sha256=" + hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()
DIGITS = GOOD.removeprefix("sha256=")
AHEAD = "in the future; is this machine's clock right?"
MISSING = 'the prefix "sha256=" is missing'
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
        ("", "the signature is empty"),
        (b"", "the signature is empty"),
        (GOOD[:-1], "the signature has 63 hex digits; 64 are needed"),
        ("sha256=", "the signature has 0 hex digits; 64 are needed"),
        (GOOD + "0", "the signature has 65 hex digits; 64 are needed"),
        ("sha256=" + DIGITS.upper(), "the hex digits are not all in lower case"),
        (GOOD.upper(), 'the prefix is not "sha256=" in lower case'),
        (DIGITS, MISSING),
        ("sha1=" + DIGITS[:40], MISSING),
        ("sha512=" + DIGITS * 2, MISSING),
        (GOOD + GOOD, "there is more than one signature"),
        (GOOD + ",", "there is more than one signature"),
        (GOOD[:-1] + "X", "the signature holds characters other than hex digits"),
        (GOOD + ", " + GOOD, "there is more than one signature"),
        ("sha256=" + GOOD, "there is more than one signature"),
        (GOOD + " ", "there are blanks in the signature"),
        (GOOD + "\n", "there are blanks in the signature"),
        (" " + GOOD, MISSING),
        ("sha256= " + DIGITS, "there are blanks in the signature"),
        (GOOD[:40] + " " + GOOD[40:], "there are blanks in the signature"),
        (GOOD[:-1] + "g", "the signature holds characters other than hex digits"),
        (GOOD[:-1] + "\xe9", "the signature holds characters other than ASCII"),
        (GOOD[:-1] + "\uff10", "the signature holds characters no header can hold"),
        (GOOD[:-1] + "\udc80", "the signature holds characters no header can hold"),
        (GOOD.encode()[:-1] + b"\xff", "the signature holds characters other than ASCII"),
        ("sha256=" + "0" * 64, "the signature does not match the body"),
        (sign(BODY + b"\n", SECRET), "the signature does not match the body"),
        (sign(BODY, b"another"), "the signature does not match the body"),
    ],
)
def test_every_other_header_is_refused_for_a_reason_that_quotes_nothing(
    header: str | bytes | None, reason: str
) -> None:
    verdict = verify(BODY, header, [SECRET])
    mismatch = reason == "the signature does not match the body"
    assert verdict == Verdict(None, reason, mismatch)
    assert not verdict.valid
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
    for header in (GOOD, sign(BODY, b"")):
        with pytest.raises(InputError) as raised:
            verify(BODY, header, secrets)
        blank = next((number for number, one in enumerate(secrets) if not one.strip()), None)
        if blank is None:
            assert raised.value.message == "no signing secret"
            assert raised.value.hint == (
                "set MYOP_WEBHOOK_SECRET or --secret-file; Myop shows the secret once, when the "
                "webhook is added (Dashboard > Rollout > Settings > Self-Hosting)"
            )
        else:
            assert raised.value.message == f"signing secret {blank} is empty or blank"


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


FORM = "the timestamp is not in ISO 8601 with a time zone"
NO_DATE = "the timestamp is not a date that exists"


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        (None, "the body holds no timestamp"),
        ("", FORM),
        ("2026-03-24", FORM),
        ("2026-03-24T12:00:00", FORM),
        ("1774353600", FORM),
        ("٢026-03-24T12:00:00Z", FORM),
        ("2026-03-24T12:00:00Z\n", FORM),
        ("2026-02-30T12:00:00Z", NO_DATE),
        ("2026-03-24T25:00:00Z", NO_DATE),
        ("0000-03-24T12:00:00Z", NO_DATE),
        ("2026-03-24T12:00:00+99:99", NO_DATE),
        ("2026-03-24T11:54:59Z", "the delivery is 5m old; 5m is the most"),
        ("2026-03-24T09:00:00Z", "the delivery is 3h old; 5m is the most"),
        ("2026-03-24T10:00:00Z", "the delivery is 2h old; 5m is the most"),
        ("2026-03-24T10:00:01Z", "the delivery is 119m old; 5m is the most"),
        ("2026-03-22T12:00:00Z", "the delivery is 2d old; 5m is the most"),
        ("0001-01-01T00:00:00Z", "the delivery is 739698d old; 5m is the most"),
        ("2026-03-24T12:05:01Z", f"the timestamp lies 5m {AHEAD}"),
        ("9999-12-31T23:59:59Z", f"the timestamp lies 2912360d {AHEAD}"),
        ("9999-12-31T23:59:59-23:59", f"the timestamp lies 2912361d {AHEAD}"),
    ],
)
def test_any_other_timestamp_is_refused(timestamp: str | None, reason: str) -> None:
    assert check_age(timestamp, timedelta(minutes=5), NOW) == reason


def test_an_age_in_seconds_is_told_in_seconds() -> None:
    said = check_age("2026-03-24T11:58:01Z", timedelta(seconds=30), NOW)
    assert said == "the delivery is 119s old; 30s is the most"
    said = check_age("2026-03-24T11:58:00Z", timedelta(seconds=119), NOW)
    assert said == "the delivery is 2m old; 119s is the most"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-24T13:00:00+01:00", NOW),
        ("2026-03-24t12:00:00z", NOW),
        ("2026-03-24T12:00:00", None),
        ("2026-02-30T12:00:00Z", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("٢026-03-24T12:00:00Z", None),
        ("2026-03-24T12:00:00Z ", None),
    ],
)
def test_a_payload_s_timestamp_is_a_moment_in_utc_or_none(
    text: str, moment: datetime | None
) -> None:
    parsed = parse_timestamp(text)
    assert parsed == moment
    assert parsed is None or parsed.tzinfo is UTC


@given(st.text())
def test_an_arbitrary_timestamp_never_raises(text: str) -> None:
    check_age(text, timedelta(1), NOW)
