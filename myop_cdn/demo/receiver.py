"""The listener of the demo: the one that `serve` runs, in a thread, with its runs to be seen."""

from __future__ import annotations

import queue
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from myop_cdn.errors import MyopCdnError
from myop_cdn.export.api import ApiExporter
from myop_cdn.listener.delivery import Rules
from myop_cdn.listener.http.sockets import Address, described, listen
from myop_cdn.listener.service import Listener, Settings
from myop_cdn.publish import Cause, publish
from myop_cdn.tree import Tree

if TYPE_CHECKING:
    from types import TracebackType

    from myop_cdn.demo.place import Place
    from myop_cdn.listener import Log
    from myop_cdn.model import Scope
    from myop_cdn.progress import Progress
    from myop_cdn.report import PublishReport

PATIENCE_SECONDS = 30.0  # for a run that takes a fraction of a second on an idle machine


class Receiver:
    """Takes deliveries signed with `secret`, exports from `api_url`, publishes to `place.cdn`.

    A context manager: it listens inside, and what has begun is finished at the end. Raises
    ListenerError where it can't begin.
    """

    def __init__(self, place: Place, api_url: str, api_key: str, secret: bytes, log: Log) -> None:
        self.destination = place.cdn.as_uri()
        self._tree = Tree(place.static)
        self._exporter = ApiExporter(api_url, api_key, "the demo", proxied=False)
        self._runs: queue.SimpleQueue[PublishReport | MyopCdnError] = queue.SimpleQueue()
        found = listen(Address("127.0.0.1", 0))
        settings = Settings(place.state, full_every=timedelta(0))
        self.url = described(found[0], "http", Rules().path)
        publishers = {self.destination: self._publish}
        self.listener = Listener(settings, found, lambda: (secret,), publishers, log)
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.listener.terminate()
        self._thread.join()

    def next_report(self) -> PublishReport:
        """What the next run did, once it is done. Raises MyopCdnError where it failed."""
        try:
            run = self._runs.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            raise MyopCdnError(
                f"the listener published nothing within {PATIENCE_SECONDS:.0f} s",
                "is the machine very busy? try again",
            ) from None
        if isinstance(run, MyopCdnError):
            raise run
        _check(run)
        return run

    def _run(self) -> None:
        try:
            self.listener.run()
        except MyopCdnError as error:
            self._runs.put(error)

    def _publish(
        self, scope: Scope, progress: Progress | None = None, deliveries: tuple[str, ...] = ()
    ) -> PublishReport:
        try:
            report = publish(
                scope,
                lambda: self._exporter,
                self._tree,
                [self.destination],
                progress=progress,
                cause=Cause("serve", delivery=", ".join(deliveries)),
            )
        except MyopCdnError as error:
            self._runs.put(error)
            raise
        self._runs.put(report)
        return report


def _check(report: PublishReport) -> None:
    """Raise MyopCdnError for a run that left something undone."""
    destinations = report.deploy.destinations if report.deploy else ()
    for one in destinations:
        if one.error is not None:
            raise one.error
    troubles = [
        *(document.error for document in report.sync.failed),
        *(one.refused for one in destinations if one.refused),
        *(key.error for one in destinations for key in one.failed),
    ]
    if troubles:
        raise MyopCdnError(f"the demo's publish was not whole: {troubles[0]}")
