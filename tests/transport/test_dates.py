"""Moments in headers, held against the standard library's slower way."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.transport import dates

SECONDS = st.integers(0, 4_102_444_800)  # to the year 2100


@given(SECONDS)
def test_both_ways_are_those_of_the_standard_library(seconds: int) -> None:
    text = dates.written(seconds)
    assert text == formatdate(seconds, usegmt=True)
    assert dates.read(text) == parsedate_to_datetime(text)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "yesterday",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nvo 1994 08:49:37 GMT",
    ],
)
def test_another_form_is_no_moment(text: str | None) -> None:
    assert dates.read(text) is None


def test_the_moment_has_a_zone() -> None:
    assert dates.read("Sun, 06 Nov 1994 08:49:37 GMT") == datetime(
        1994, 11, 6, 8, 49, 37, tzinfo=UTC
    )
