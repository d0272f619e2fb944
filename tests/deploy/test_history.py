"""What is read of a long log, and what is said of the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy import Cause, DeployOptions
from myop_cdn.deploy.history import Past, Selection, forget, read_diff, read_history
from myop_cdn.deploy.log import Change, Commit, Entry, Log, new_id
from myop_cdn.deploy.target import Target, open_targets
from myop_cdn.errors import InputError
from myop_cdn.moments import written
from myop_cdn.storage.base import MAX_OBJECT_BYTES
from myop_cdn.storage.store import Store

if TYPE_CHECKING:
    from myop_cdn.storage.base import Blob

COMMITS = 250
BEGAN = datetime(2026, 3, 24, 10, tzinfo=UTC)
_serial = count()


class CountingStore(Store):
    """Counts what is read."""

    gets = 0

    def get(self, key: str, limit: int = MAX_OBJECT_BYTES) -> Blob | None:
        self.gets += 1
        return super().get(key, limit)


@pytest.fixture(scope="module")
def url() -> str:
    """A log of a commit a minute: each publishes `card`, and every fiftieth `rare`."""
    url = f"memory://long-log-{next(_serial)}/site"
    (target,) = open_targets([url], DeployOptions())
    for number in range(1, COMMITS + 1):
        name = "card" if number % 50 else "rare"
        change = Change(None, Entry(f"{number:064x}", name=name))
        at = BEGAN + timedelta(minutes=number)
        changes = {f"components/{name}/qa.json": change}
        assert target.log.append(Commit(number, new_id(), at, Cause("publish"), changes))
    return url


@pytest.fixture
def opened(url: str) -> tuple[Target, CountingStore]:
    (target,) = open_targets([url], DeployOptions())
    store = CountingStore(target.log.store.backend)
    return target._replace(log=Log(store)), store


def rare(*more: str) -> Selection:
    return Selection(frozenset({"rare", *more}))


def test_only_the_newest_commits_are_read(opened: tuple[Target, CountingStore]) -> None:
    target, store = opened
    report = read_history(target, Selection(), 4, 7)
    assert [one.number for one in report.commits] == list(range(COMMITS, COMMITS - 7, -1))
    assert (report.older, store.gets) == (COMMITS - 7, 7)


def test_a_component_is_looked_for_as_far_as_it_may_be(
    opened: tuple[Target, CountingStore],
) -> None:
    target, store = opened
    report = read_history(target, rare(), 4, 12, 120)
    assert [one.number for one in report.commits] == [250, 200, 150]
    assert report.older == COMMITS - 120
    assert store.gets == 200  # by the hundred
    assert read_history(target, rare(), 4, 2, 120).older == 199


def test_a_component_that_was_not_found_may_be_named_by_an_older_commit(
    opened: tuple[Target, CountingStore],
) -> None:
    some = read_history(opened[0], rare("typo"), 4, 5, 50)
    assert some.warnings == (
        "none of the 50 newest commits of the log names the component typo; it names card, rare",
    )
    everything = read_history(opened[0], rare("typo"), 4)
    assert (len(everything.commits), everything.older) == (5, 0)
    assert everything.warnings[0].startswith("no commit of the log names the component typo")


def test_a_commit_is_read_once(opened: tuple[Target, CountingStore]) -> None:
    """A listener's page looks at one log again and again."""
    target, store = opened
    read_history(target, rare(), 4, 12, 120)
    before = store.gets
    read_history(target, rare(), 4, 12, 120)
    assert store.gets - before == 1  # whether the newest one is still that


@pytest.mark.parametrize(
    ("start", "end", "reads"),
    [
        (None, None, 1),
        ("246", None, 8),
        (None, "246", 8),
        (written(BEGAN + timedelta(minutes=246, seconds=30)), None, 8),
    ],
)
def test_a_diff_reads_no_older_commit_than_it_is_about(
    opened: tuple[Target, CountingStore], start: str | None, end: str | None, reads: int
) -> None:
    target, store = opened
    report = read_diff(target, start, end, 4)
    assert (report.start, report.end) in {(249, 250), (246, 250), (245, 246)}
    assert set(report.changes) <= {"components/card/qa.json", "components/rare/qa.json"}
    assert report.changes
    assert store.gets == reads


def test_a_diff_of_an_unknown_commit_names_the_nearest(
    opened: tuple[Target, CountingStore],
) -> None:
    for text, nearest in (("0", 1), ("251", 250), ("1999-01-01T00:00:00Z", 1)):
        with pytest.raises(InputError) as caught:
            read_diff(opened[0], text, None, 4)
        assert caught.value.hint.startswith(f"the nearest is {nearest}, ")


@pytest.mark.parametrize(
    ("selection", "to", "gets"),
    [
        (Selection(frozenset({"card"})), "249", 8),
        (Selection(frozenset({"card"})), written(BEGAN + timedelta(minutes=249)), 8),
        (rare(), "249", 56),
        (Selection(), "120", 152),
        (rare("wrong"), "249", COMMITS),
    ],
)
def test_a_rollback_reads_as_far_as_what_it_goes_back_to(
    opened: tuple[Target, CountingStore], selection: Selection, to: str, gets: int
) -> None:
    """Each document's last commit by then is enough; two rounds of requests are made at once."""
    target, store = opened
    past = Past.back_to(target.log, 4, to, selection)
    assert past.resolve(to) == int(to if to.isdigit() else "249")
    assert store.gets == gets


def test_all_the_past_is_forgotten_without_reading_it(
    opened: tuple[Target, CountingStore],
) -> None:
    target, store = opened
    assert forget(target, Selection(), 4).forgotten == 0
    assert store.gets == 1
