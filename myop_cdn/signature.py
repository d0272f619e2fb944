"""The webhook's signature: bytes, a header and secrets in; a verdict out. No I/O.

Myop signs with `X-Myop-Signature: sha256=<lower-case hex HMAC-SHA256 of the raw body>`, the
key being the signing secret (Myop's page on generic webhooks). The signature covers the body
alone; the body holds the timestamp, so that is signed too.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from myop_cdn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

_TIMESTAMP = r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:?\d\d)"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of a signature.

    index: which secret matched, counted from 0, or None: then the signature is not valid and
    `reason` says why in words that hold neither digest nor secret. mismatch: the signature is
    well-formed, but of another body or another secret.
    """

    index: int | None
    reason: str = ""
    mismatch: bool = False

    @property
    def valid(self) -> bool:
        """Whether one of the secrets made this signature of this body."""
        return self.index is not None


def sign(body: bytes, secret: bytes) -> str:
    """The header value that Myop would send for `body`."""
    return "sha256=" + hmac.digest(secret, body, "sha256").hex()


def verify(
    body: bytes | memoryview, header: str | bytes | None, secrets: Sequence[bytes]
) -> Verdict:
    """Whether `header` is the signature of `body` under one of `secrets`.

    header: the value as received; text is taken as latin-1, as HTTP libraries give it. Every
    secret is tried and compared in constant time, so the time tells nothing of which matched.
    Raises InputError when there is no secret, or one of them is blank: an empty key would
    let anybody sign.
    """
    check_secrets(secrets)
    claimed = _digest(header)
    if isinstance(claimed, str):
        return Verdict(None, claimed)
    matched: int | None = None
    for index, secret in enumerate(secrets):
        made = hmac.digest(secret, body, "sha256").hex().encode()
        if hmac.compare_digest(made, claimed) and matched is None:
            matched = index
    if matched is None:
        return Verdict(None, "the signature does not match the body", mismatch=True)
    return Verdict(matched)


def check_secrets(secrets: Sequence[bytes]) -> None:
    """Raise InputError when there is no secret, or a blank one."""
    if not secrets:
        raise InputError(
            "no signing secret",
            "set MYOP_WEBHOOK_SECRET or --secret-file; Myop shows the secret once, when the "
            "webhook is added (Dashboard > Rollout > Settings > Self-Hosting)",
        )
    for position, secret in enumerate(secrets):
        if not secret.strip():
            raise InputError(f"signing secret {position} is empty or blank")


def _digest(header: str | bytes | None) -> bytes | str:
    """The hex digits of a well-formed header, or what is wrong with it."""
    if header is None:
        return "there is no signature"
    if isinstance(header, str):
        try:
            header = header.encode("latin-1")
        except UnicodeEncodeError:
            return "the signature holds characters no header can hold"
    if not header:
        return "the signature is empty"
    digits = header.removeprefix(b"sha256=")
    if len(header) != 71 or len(digits) != 64 or digits.translate(None, b"0123456789abcdef"):
        return _malformed(header)
    return digits


def _malformed(header: bytes) -> str:
    """Why a header is not `sha256=` and 64 lower-case hex digits, without quoting it."""
    if not header.isascii():
        return "the signature holds characters other than ASCII"
    if header.count(b"sha256=") > 1 or b"," in header:
        return "there is more than one signature"
    if not header.startswith(b"sha256="):
        if header.lower().startswith(b"sha256="):
            return 'the prefix is not "sha256=" in lower case'
        return 'the prefix "sha256=" is missing'
    digits = header.removeprefix(b"sha256=")
    if any(digit in b" \t\r\n\v\f" for digit in digits):
        return "there are blanks in the signature"
    if any(digit not in b"0123456789abcdefABCDEF" for digit in digits):
        return "the signature holds characters other than hex digits"
    if len(digits) != 64:
        return f"the signature has {len(digits)} hex digits; 64 are needed"
    return "the hex digits are not all in lower case"


def check_age(timestamp: str | None, max_age: timedelta, now: datetime) -> str | None:
    """What is wrong with a signed timestamp, in words, or None.

    timestamp: ISO 8601 with a zone, as Myop writes it ("2026-03-24T13:37:00.000Z"). It may lie
    up to `max_age` in the past and in the future, as clocks differ. now: with a zone.
    """
    if timestamp is None:
        return "the body holds no timestamp"
    if not re.fullmatch(_TIMESTAMP, timestamp, re.ASCII):
        return "the timestamp is not in ISO 8601 with a time zone"
    moment = _moment(timestamp)
    if moment is None:
        return "the timestamp is not a date that exists"
    age = now - moment
    if age > max_age:
        return f"the delivery is {_words(age)} old; {_words(max_age)} is the most"
    if -age > max_age:
        return f"the timestamp lies {_words(-age)} in the future; is this machine's clock right?"
    return None


@lru_cache(64)
def parse_timestamp(text: str) -> datetime | None:
    """The moment that a payload's `timestamp` names, in UTC; None where it names none.

    text: ISO 8601 with a zone, as Myop writes it ("2026-03-24T13:37:00.000Z").
    """
    from datetime import UTC

    moment = _moment(text) if re.fullmatch(_TIMESTAMP, text, re.ASCII) else None
    try:
        return moment.astimezone(UTC) if moment else None
    except OverflowError:  # at the calendar's ends
        return None


def _moment(text: str) -> datetime | None:
    from datetime import datetime as parser

    try:
        return parser.fromisoformat(text.upper())
    except ValueError:
        return None


def _words(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
