"""Publishers for a child process; found there by their names."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from myop_cdn.errors import KeyRejected, MyopCdnError
from myop_cdn.progress import Silent
from myop_cdn.report import DeployReport, DestinationReport, PublishReport, SyncReport

if TYPE_CHECKING:
    from myop_cdn.model import Scope
    from myop_cdn.progress import Progress


@dataclass(frozen=True)
class Obliging:
    """Does what the first release's component says."""

    folder: str

    def __call__(
        self, scope: Scope, progress: Progress | None = None, deliveries: tuple[str, ...] = ()
    ) -> PublishReport:
        progress = progress or Silent()
        word = scope.releases[0].component_id if scope.releases else "report"
        if word == "refuse":
            raise KeyRejected("the key was rejected", "make another")
        if word == "break":
            raise ZeroDivisionError
        if word == "unreadable":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/of/another/user")
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "sleep":
            (Path(self.folder) / "asleep").write_text(str(os.getpid()))
            time.sleep(60)
        for _ in range({"work": 12, "wait": 12}.get(word, 0)):
            time.sleep(0.25)
            progress.waited(0.25) if word == "wait" else progress.step()
        print("this must not end up among the reports")
        destination = DestinationReport("s3://b", error=MyopCdnError("no such bucket", "make it"))
        environment = os.environ.get("MYOP_WEBHOOK_SECRET", "none")
        said = str(os.nice(0)) if word == "nice" else environment
        report = SyncReport(scope.kind, "api", str(os.getpid()), warnings=(said, *deliveries))
        return PublishReport(report, DeployReport(False, (destination,)))
