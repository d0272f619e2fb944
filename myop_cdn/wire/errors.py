"""What can go wrong on the wire. For callers, who say it in their own words; never for users."""

from __future__ import annotations


class WireError(Exception):
    """No whole answer came."""


class NoConnection(WireError):
    """Nobody could be reached: the name, the route or the port. Nothing was sent."""


class Unresolved(NoConnection):
    """The host's name has no address."""


class Unanswered(NoConnection):
    """No connection in time."""


class Untrusted(WireError):
    """The other side's certificate is not trusted, or is not of the name that was asked for."""


class TimedOut(WireError):
    """The connection stood, but nothing came for too long."""


class Broken(WireError):
    """The connection ended early, or what came is not HTTP."""


class TooMuch(WireError):
    """A body of more bytes than are taken."""
