"""A request of our own that got no answer, as an error for users."""

from __future__ import annotations

from myop_cdn.errors import StorageError, StorageUnavailable, StorageUnreachable
from myop_cdn.wire import NoConnection, TimedOut, TooMuch, Untrusted, WireError


def unanswered(error: WireError, where: str, hint: str) -> StorageError:
    """What to say of it. where: destination and key. hint: what to check without a connection."""
    if isinstance(error, NoConnection):
        return StorageUnreachable(f"{where}: no connection to the service", hint)
    if isinstance(error, Untrusted):
        return StorageError(
            f"{where}: no trusted TLS connection to the service",
            "REQUESTS_CA_BUNDLE names a proxy's own certificates",
        )
    if isinstance(error, TooMuch):
        return StorageError(f"{where}: the answer is longer than any that is taken")
    how = "no answer in time" if isinstance(error, TimedOut) else "the connection broke"
    return StorageUnavailable(f"{where}: {how}")
