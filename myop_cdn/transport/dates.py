"""Moments as HTTP headers have them (RFC 9110, section 5.6.7).

The standard library's way is the `email` package, which takes 10 ms to load.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def written(seconds: float) -> str:
    """The moment so many seconds after the epoch, as `Sun, 06 Nov 1994 08:49:37 GMT`."""
    at = time.gmtime(seconds)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"{day}, {at.tm_mday:02} {month} {at.tm_year:04} {clock} GMT"


def read(text: str | None) -> datetime | None:
    """The moment in `text`, None where it is not in that form."""
    try:
        _, day, month, year, clock, zone = (text or "").split(" ")
        hour, minute, second = clock.split(":")
        if zone != "GMT":
            return None
        return datetime(
            int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second),
            tzinfo=UTC,
        )  # fmt: skip
    except ValueError:
        return None
