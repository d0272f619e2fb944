"""Moments as they are written in JSON, logs and metadata: ISO 8601, in UTC, with a Z."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """This machine's clock, aware."""
    return datetime.now(UTC)


def written(at: datetime | float, timespec: str = "milliseconds") -> str:
    """An aware moment, or seconds since 1970. timespec: as `datetime.isoformat` takes it."""
    at = at.astimezone(UTC) if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return at.isoformat(timespec=timespec).replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """The opposite, in UTC. Raises ValueError for one without a zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a moment without a zone")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("a moment out of range") from None
