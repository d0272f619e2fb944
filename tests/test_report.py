"""Reports: the exit code of a whole run, and its error."""

from __future__ import annotations

from myop_cdn.errors import MyopCdnError, RefusedError
from myop_cdn.report import (
    DeployReport,
    DestinationReport,
    FailedDocument,
    FailedKey,
    PublishReport,
    SyncReport,
)


def test_a_publish_ends_with_the_worse_half() -> None:
    failed = SyncReport("full", "api", "out", failed=(FailedDocument("a", "qa", "no"),))
    whole = SyncReport("full", "api", "out", added=("x",))
    refused = DeployReport(False, (DestinationReport("memory://x", refused="too many"),))
    broken = DeployReport(False, (DestinationReport("memory://x", error=MyopCdnError("no")),))
    partly = DeployReport(False, (DestinationReport("s3://x", failed=(FailedKey("k", "no"),)),))
    assert PublishReport(failed).exit_code == 4
    assert PublishReport(failed, refused).exit_code == 3
    assert PublishReport(failed, broken).exit_code == 1
    assert PublishReport(whole, partly).exit_code == 4
    assert PublishReport(whole, DeployReport(False)).to_json()["deploy"]["destinations"] == []
    assert PublishReport(whole).to_json()["deploy"] is None
    assert PublishReport(whole).error is None
    assert isinstance(PublishReport(whole, refused).error, RefusedError)
    assert whole.changed
    assert not failed.changed
