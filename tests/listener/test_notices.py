"""What a listener's runs give occasion to tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import MyopCdnError, RefusedError
from myop_cdn.listener.queue import agenda
from myop_cdn.report import DeployReport, DestinationReport, PublishReport, SyncReport, Upload
from tests.listener.rig import Rig, failing, raising, until, webhook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from myop_cdn.model import Scope
    from myop_cdn.notify.policy import Event


class Told(Rig):
    """A rig that keeps the events."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.events: list[Event] = []
        self.tell = self.events.append

    def kinds(self) -> list[tuple[str, str]]:
        return [(one.kind, one.subject) for one in self.events]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST", "EARLY", "SETTLE"):
        monkeypatch.setattr(agenda, name, 0.01)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    made = Told(tmp_path)
    made.start()
    yield made
    made.stop()


def test_failures_refusals_and_successes_are_events_of_their_lane(told: Told) -> None:
    told.publisher.answers = [
        raising(MyopCdnError("no such bucket", "make it")),
        raising(RefusedError("too many would go")),
    ]
    told.post(webhook("a/prod"))
    until(lambda: len(told.events) == 3)
    assert told.kinds() == [
        ("failed", "s3://b"),
        ("refused", "s3://b"),
        ("succeeded", "s3://b"),
    ]
    assert told.events[0].message == "no such bucket (make it)"


def test_a_release_is_given_up_once_and_what_follows_is_told_when_it_is_published(
    told: Told,
) -> None:
    told.publisher.answers = [failing("bad/prod")] * 7
    told.post(webhook("bad/prod"))
    until(lambda: ("succeeded", "s3://b: releases") in told.kinds())
    of_releases = [one for one in told.events if one.subject == "s3://b: releases"]
    assert [one.kind for one in of_releases] == ["given_up", "succeeded"]
    assert of_releases[0].message == "components/bad/prod.json: 404"
    # Runs that got nothing through say nothing of the destination.
    assert told.kinds().count(("succeeded", "s3://b")) == 1


def test_what_a_full_sync_by_the_schedule_finds_unannounced_is_drift(tmp_path: Path) -> None:
    def drifted(scope: Scope) -> PublishReport:
        keys = ("components/a/prod.json", "components/a/preview.json", "manifest.json")
        uploaded = tuple(Upload(key, "content") for key in keys)
        headers = (Upload("components/b/prod.json", "headers"),)
        destination = DestinationReport("s3://b", uploaded=(*uploaded, *headers))
        return PublishReport(SyncReport("full", "api", "out"), DeployReport(False, (destination,)))

    rig = Told(tmp_path)
    rig.settings = replace(rig.settings, full_every=timedelta(seconds=0.5))
    rig.publisher.answers = [drifted]
    rig.start()
    try:
        until(lambda: "drift" in dict(rig.kinds()))
    finally:
        rig.stop()
    (drift,) = (one for one in rig.events if one.kind == "drift")
    assert drift.message == "components/a/prod.json"
