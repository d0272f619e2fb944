"""Documents that are gone from Myop: marked, then deleted when they have been gone long enough."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.deploy import DeployOptions
from myop_cdn.errors import Unreachable
from myop_cdn.model import DocumentRef, Scope
from myop_cdn.publish import publish
from myop_cdn.sync import SyncOptions
from myop_cdn.tree import Tree
from tests.deploy.test_newest_wins import Myop

if TYPE_CHECKING:
    from pathlib import Path

    from myop_cdn.manifest import Manifest

_serial = count()


@dataclass
class Scheduled:
    """A full publish every few minutes, deletions waiting for an hour as `serve` has it."""

    folder: Path
    myop: Myop = field(default_factory=lambda: Myop(longest=0))
    at: datetime = datetime(2026, 3, 24, 10, tzinfo=UTC)
    url: str = field(default_factory=lambda: f"memory://delete-after-{next(_serial)}/site")

    def publish(self, minutes: int = 0, **options: Any) -> tuple[str, ...]:
        """One run, so many minutes later; what it deleted."""
        self.at += timedelta(minutes=minutes)
        deploy = DeployOptions(delete=True, delete_after=timedelta(hours=1), **options)
        ended = publish(
            Scope("full"),
            lambda: self.myop,
            Tree(self.folder / "tree"),
            [self.url],
            SyncOptions(ask_again_seconds=0),
            deploy,
            now=lambda: self.at,
        )
        assert ended.error is None
        assert ended.deploy is not None
        return ended.deploy.destinations[0].deleted

    def hide(self, *components: str) -> dict[DocumentRef, int]:
        """Leave components out of the index; the variants, to put them back."""
        before = dict(self.myop.variants)
        for ref in before:
            if ref.component_id in components:
                del self.myop.variants[ref]
        return before


@pytest.fixture
def site(tmp_path: Path) -> Scheduled:
    site = Scheduled(tmp_path)
    for number in range(10):
        site.myop.release(f"c{number}")
    site.publish()
    return site


def test_an_index_that_flaps_deletes_nothing(site: Scheduled) -> None:
    """100 %, 80 %, 100 % … for three hours, a run every ten minutes."""
    for _ in range(9):
        whole = site.hide("c3", "c7")
        assert site.publish(minutes=10) == ()
        site.myop.variants = whole
        assert site.publish(minutes=10) == ()


def test_a_document_that_stays_away_is_deleted_after_that_long(site: Scheduled) -> None:
    site.hide("c3")
    assert site.publish(minutes=10) == ()
    assert site.publish(minutes=59) == ()
    assert site.publish(minutes=1) == ("components/c3/preview.json", "components/c3/qa.json")
    assert site.publish(minutes=60) == ()


def test_time_counts_from_the_last_time_that_it_was_there(site: Scheduled) -> None:
    whole = site.hide("c3")
    site.publish(minutes=10)
    site.myop.variants = dict(whole)
    site.publish(minutes=40)
    site.hide("c3")
    assert site.publish(minutes=20) == ()
    assert site.publish(minutes=59) == ()
    assert len(site.publish(minutes=1)) == 2


def test_deletions_count_over_a_day(site: Scheduled) -> None:
    """Two components an hour apart are more than a run may delete."""
    site.hide("c3")
    site.publish(minutes=10)
    assert len(site.publish(minutes=60)) == 2
    site.hide("c4", "c5")
    site.publish(minutes=10)
    with pytest.raises(AssertionError):
        site.publish(minutes=60)
    site.at += timedelta(hours=24)
    assert len(site.publish(minutes=60)) == 4


def test_a_document_that_the_index_no_longer_names_goes_though_myop_still_answers_for_it(
    site: Scheduled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index says what is gone: a preview is answered for, whatever is released."""
    whole = site.myop.index
    monkeypatch.setattr(
        site.myop, "index", lambda: whole().narrowed(lambda ref: ref.component_id != "c3")
    )
    site.publish(minutes=10)
    assert len(site.publish(minutes=60)) == 2
    assert site.publish(minutes=10) == ()


def test_an_index_that_does_not_answer_a_second_time_fails_no_deletion(
    site: Scheduled, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.hide("c3")
    site.publish(minutes=10)
    index, answers = site.myop.index, iter([True])

    def once() -> Manifest:
        if next(answers, None) is None:
            raise Unreachable("no answer")
        return index()

    monkeypatch.setattr(site.myop, "index", once)
    assert len(site.publish(minutes=60)) == 2
