"""Reports: the exit code of a whole run, and its error."""

from __future__ import annotations

import pytest

from myop_cdn import errors
from myop_cdn.errors import ExitCode, Interrupted, MyopCdnError, RefusedError
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


def every_error() -> list[MyopCdnError]:
    """One of each class in the tree of errors."""
    classes: list[type[MyopCdnError]] = [MyopCdnError]
    for cls in classes:
        classes.extend(sub for sub in cls.__subclasses__() if sub.__module__ == errors.__name__)
    return [Interrupted() if cls is Interrupted else cls("no", "do") for cls in classes]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_no_report_with_an_error_ends_with_0_or_leaves_the_error_out(error: MyopCdnError) -> None:
    whole = DestinationReport("memory://whole")
    broken = DestinationReport("memory://broken", error=error)
    assert broken.exit_code == error.exit_code != 0
    assert broken.to_json()["error"] == error.to_json()
    for destinations in ((broken,), (broken, whole), (whole, broken)):
        for dry_run in (False, True):
            deployed = DeployReport(dry_run, destinations)
            published = PublishReport(SyncReport("full", "api", "out"), deployed)
            for report in (deployed, published):
                assert report.exit_code == error.exit_code
                assert report.to_json()["error"] == error.to_json()


def test_an_error_class_that_would_end_with_0_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="would end with 0"):
        type("Harmless", (MyopCdnError,), {"exit_code": ExitCode.DONE})


def test_a_sync_with_failed_documents_names_the_error_in_its_json() -> None:
    report = SyncReport("full", "api", "out", failed=(FailedDocument("a", "qa", "no"),))
    assert report.exit_code == report.to_json()["error"]["exitCode"] == 4
    assert PublishReport(report).to_json()["error"]["exitCode"] == 4
