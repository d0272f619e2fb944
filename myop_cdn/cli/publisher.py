"""What a listener publishes with: `publish` for one destination, in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from myop_cdn.cli.console import SILENT, Console
from myop_cdn.cli.settings import NoticeSettings, deploy_options, sync_options
from myop_cdn.inputs import SECRET_VARIABLE
from myop_cdn.listener.child import ChildPublisher

if TYPE_CHECKING:
    from myop_cdn.cli.serve import ServeSettings
    from myop_cdn.deploy import DeployOptions
    from myop_cdn.listener.queue.base import Queue
    from myop_cdn.model import Scope
    from myop_cdn.progress import Progress
    from myop_cdn.report import PublishReport

_NAMED = 10  # deliveries in a commit of a destination's log
# An index that flaps must not take anything away while nobody looks on.
_DELETE_AFTER = timedelta(hours=1)
# What a publishing process has no use for: secrets of the listener's own, and its service's.
NOT_FOR_CHILDREN = (
    "MYOP_WEBHOOK_SECRET_FILE", "MYOP_CDN_NOTIFY", "MYOP_CDN_NOTIFY_FILE",
    "MYOP_CDN_NOTIFY_SECRET", "MYOP_CDN_NOTIFY_SECRET_FILE", "MYOP_CDN_SERVE_NOTIFY",
    "MYOP_CDN_SERVE_ON_FAILURE", "NOTIFY_SOCKET", "WATCHDOG_USEC",
    "MYOP_CDN_JOURNAL", "MYOP_CDN_SERVE_JOURNAL", "PGPASSWORD", "PGPASSFILE", "PGSERVICE",
    "PGSERVICEFILE",
)  # fmt: skip
# What a publishing process needs for its first upload, by the destination's scheme.
_MODULES = {
    "s3": ("myop_cdn.storage.s3", "boto3"),
    "gs": ("myop_cdn.storage.gcs", "google.auth.transport.requests"),
    "az": ("myop_cdn.storage.azure", "azure.identity"),
    "file": ("myop_cdn.storage.local",),
}


@dataclass(frozen=True, slots=True)
class CommandPublisher:
    """Sync, then deploy, as `publish` does it. Everything is opened anew for each run, so that a
    key that was changed is seen. It is pickled: runs happen in a process of their own.

    destination: the one it brings up to date, None for the output folder alone.
    """

    settings: ServeSettings
    destination: str | None

    def __call__(
        self, scope: Scope, progress: Progress | None = None, deliveries: tuple[str, ...] = ()
    ) -> PublishReport:
        """Export what `scope` names and bring the destination up to it."""
        from myop_cdn.cli.source import exporter_of
        from myop_cdn.publish import Cause, publish
        from myop_cdn.tree import Tree

        export, limits = self.settings.export, self.settings.limits
        return publish(
            scope,
            # What there is to warn of was said when the listener started.
            lambda: exporter_of(export, Console(SILENT)),
            Tree(export.output),
            () if self.destination is None else (self.destination,),
            # What is behind is retried beside the others, and a name that no component has yet
            # is not a reason to publish nothing.
            replace(sync_options(export, limits), ask_again_seconds=0.0, unknown_is_error=False),
            deploy_options_of(self.settings),
            progress,
            Cause("serve", delivery=_named(deliveries)),
        )

    @property
    def name(self) -> str:
        """What the listener calls the destination."""
        from myop_cdn.text import shown_url

        return shown_url(self.destination or self.settings.export.output.absolute().as_uri())

    @property
    def modules(self) -> tuple[str, ...]:
        """What a publishing process needs for its first run, whatever is to be published."""
        scheme = (self.destination or "").partition("://")[0].lower()
        return (
            "myop_cdn.cli.source",
            "myop_cdn.publish",
            "myop_cdn.export.api",
            "myop_cdn.export.auto",
            *_MODULES.get(scheme, ()),
        )


def _named(deliveries: tuple[str, ...]) -> str:
    """Deliveries as a destination's log names them."""
    more = len(deliveries) - _NAMED
    return ", ".join(deliveries[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def deploy_options_of(settings: ServeSettings) -> DeployOptions:
    """How a listener's runs deploy."""
    return deploy_options(settings.deploy, settings.limits, delete_after=_DELETE_AFTER)


def publishers_of(settings: ServeSettings) -> list[CommandPublisher]:
    """One for each destination. None knows whom the listener tells, or where its journal is."""
    known = replace(
        settings,
        notices=NoticeSettings(notify=(), on_failure=None),
        state=replace(settings.state, journal=None),
    )
    destinations = settings.publishing.deploy or (None,)
    return [CommandPublisher(known, destination) for destination in destinations]


def child_of(publisher: CommandPublisher, queue: Queue, lock: int | None = None) -> ChildPublisher:
    """A process for one destination: where it hangs it is cut off, and holds up no other.

    lock: of the state folder, which the process is to hold, too.
    """
    return ChildPublisher(
        publisher,
        lock,
        without=(SECRET_VARIABLE, *NOT_FOR_CHILDREN),
        modules=publisher.modules,
        held_until=partial(queue.held_until, publisher.name),
    )
