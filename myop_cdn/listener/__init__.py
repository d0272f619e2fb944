"""The listener: takes signed deliveries over HTTP, keeps them, and has them published.

    http/                                HTTP/1.1: sockets, time, and bytes
    delivery                             what a delivery has to be
    queue/                               what was accepted and what is to come of it
    worker, child                        what is published, and when, in which process
    admin/, status, metrics              what an operator sees
    state_folder                         one process for each journal
    service                              all of it put together

It knows nothing of exports and destinations: it is given a `Publisher` for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from myop_cdn.model import Scope
    from myop_cdn.progress import Progress
    from myop_cdn.report import PublishReport


class Publisher(Protocol):
    """Brings what `scope` names to where readers find it. Called on one thread, one at a time."""

    def __call__(
        self, scope: Scope, progress: Progress | None = None, deliveries: tuple[str, ...] = ()
    ) -> PublishReport:
        """Do it all, and report. Must bear to be killed halfway and asked again.

        progress: is told how it goes; a run that tells nothing for long is taken to hang.
        deliveries: the ids of those that it is done for.

        Raises MyopCdnError when nothing, or nothing certain, was done; ProcessKilled where that
        says nothing of another attempt at once.
        """


class Log(Protocol):
    """Where the listener's words go. Called from several threads; must be quick."""

    def debug(self, message: str, **fields: object) -> None:
        """A detail."""

    def info(self, message: str, **fields: object) -> None:
        """Something worth knowing."""

    def warning(self, message: str, **fields: object) -> None:
        """Something to look at."""
