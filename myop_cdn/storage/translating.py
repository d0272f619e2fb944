"""What requests raise, in the words of this program: the part that is the same for Google's and
Azure's services.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from myop_cdn.errors import MyopCdnError, StorageError, StorageUnavailable, StorageUnreachable
from myop_cdn.wire import NoConnection, TimedOut, TooMuch, Untrusted, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def translated(
    where: str, hint: str, of_library: Callable[[Exception, str], StorageError | None]
) -> Iterator[None]:
    """Make StorageErrors of what our own requests and a service's library raise.

    where: destination and key. hint: what to check without a connection. of_library: knows the
    library's errors; what it does not know is a defect, and raised as it is.
    """
    try:
        yield
    except MyopCdnError:
        raise
    except WireError as error:
        raise unanswered(error, where, hint) from None
    except Exception as error:
        known = of_library(error, where)
        if known is None:
            raise
        raise known from None


def unanswered(error: WireError, where: str, hint: str) -> StorageError:
    """What to say of a request that got no answer."""
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
