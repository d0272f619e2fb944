"""HTTP/1.1 over kept-alive connections, for the few requests that this program makes by the
thousand.

Why not a library: of the time that a general client takes for a small request, most goes into
what these requests don't use, and under many threads it doubles. Whatever is out of the
ordinary (a proxy, a redirect) is left to the libraries; callers look first.
"""

from myop_cdn import __version__
from myop_cdn.wire.answer import Answer
from myop_cdn.wire.errors import (
    Broken,
    NoConnection,
    TimedOut,
    TooMuch,
    Unanswered,
    Unresolved,
    Untrusted,
    WireError,
)
from myop_cdn.wire.pool import Origin, Pool

AGENT = {"User-Agent": f"myop-cdn/{__version__}"}
"""The header that says who asks."""

__all__ = [
    "AGENT",
    "Answer",
    "Broken",
    "NoConnection",
    "Origin",
    "Pool",
    "TimedOut",
    "TooMuch",
    "Unanswered",
    "Unresolved",
    "Untrusted",
    "WireError",
]
