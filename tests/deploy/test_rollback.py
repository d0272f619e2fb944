"""Documents taken back to what they were: what is copied, held back, refused and completed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.deploy import DeployOptions, deploy
from myop_cdn.deploy.history import Past, Selection, forget, read_diff, read_history
from myop_cdn.deploy.log import Cause, Change, Commit, Entry, Log, new_id
from myop_cdn.deploy.rollback import RollbackReport, resume, roll_back
from myop_cdn.deploy.target import Target, open_targets
from myop_cdn.errors import ExitCode, InputError, StorageError, StorageUnavailable
from myop_cdn.model import MANIFEST, DeleteLimit
from myop_cdn.moments import utc_now, written
from myop_cdn.storage.base import Body, Headers
from myop_cdn.storage.memory import MemoryBackend
from myop_cdn.storage.store import Store
from tests.deploy.trees import make_tree

if TYPE_CHECKING:
    from pathlib import Path

    from myop_cdn.report import DestinationReport
    from tests.servers.proxy import Proxy
    from tests.servers.s3 import Bucket

CARD, PREVIEW = "components/card/qa.json", "components/card/preview.json"
ALL = Selection()
CARD_ALONE = Selection(frozenset({"card"}))
_serial = count()


def _die(*_: object) -> bool:
    raise KeyboardInterrupt


@dataclass
class Site:
    """A destination that folders are deployed to, each holding another content."""

    folder: Path
    url: str
    endpoint: str | None = None

    def options(self, **more: Any) -> DeployOptions:
        more.setdefault("max_delete", DeleteLimit(percent=100))
        return DeployOptions(endpoint_url=self.endpoint, **more)

    def deploy(self, html: str, *names: str, **options: Any) -> DestinationReport:
        tree = make_tree(
            self.folder / f"tree-{next(_serial)}",
            {name: ["qa"] for name in names or ("card", "menu")},
            html=html,
        )
        report = deploy(tree, [self.url], self.options(**options))
        assert report.exit_code is ExitCode.DONE
        return report.destinations[0]

    def target(self, **options: Any) -> Target:
        return open_targets([self.url], self.options(**options))[0]

    def back(self, to: str, selection: Selection = ALL, **options: Any) -> RollbackReport:
        return roll_back(self.target(**options), to, selection, self.options(**options))

    def html(self, key: str = CARD) -> str | None:
        blob = self.target().store.get(key)
        if blob is None:
            return None
        html = json.loads(blob.data)["item"]["consume_variant"][0]["loader"]["HTML"]
        return str(html).partition("<!--")[0]

    def named(self) -> set[str]:
        blob = self.target().store.get(MANIFEST)
        assert blob is not None
        return {one["id"] for one in json.loads(blob.data)["components"]}

    def holds(self) -> dict[str, str]:
        holds = self.target().log.newest().state.holds
        return {key: one.sha256 for key, one in holds.items()}

    def everything(self) -> dict[str, bytes]:
        store = self.target().store
        blobs = {one.key: store.get(one.key) for one in store.list()}
        return {key: blob.data for key, blob in blobs.items() if blob}


@pytest.fixture(params=["memory", "file"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    memory = f"memory://rollback-{next(_serial)}/site"
    return Site(tmp_path, memory if request.param == "memory" else f"file://{tmp_path}/cdn")


@pytest.fixture
def memory(tmp_path: Path) -> Site:
    return Site(tmp_path, f"memory://rollback-{next(_serial)}/site")


def test_what_is_meant_goes_back_and_all_else_stays(site: Site) -> None:
    site.deploy("one")
    site.deploy("two")
    report = site.back("1", Selection(frozenset({"card"}), frozenset({"qa"})))
    assert report.error is None
    assert [up.key for up in report.destination.uploaded] == [CARD]
    assert report.destination.commit == "3"
    assert (site.html(), site.html(PREVIEW), site.html("components/menu/qa.json")) == (
        "one",
        "two",
        "two",
    )
    newest = site.target().log.newest().newest
    assert newest is not None
    assert (newest.cause.command, newest.cause.scope) == ("rollback", "1")
    assert list(newest.changes) == [CARD]


def test_the_same_content_is_held_back_and_another_one_lifts_that(site: Site) -> None:
    site.deploy("one")
    site.deploy("two")
    site.back("1")
    again = site.deploy("two")
    assert {one.key for one in again.overtaken} >= {CARD, PREVIEW}
    assert site.html() == "one"
    site.deploy("three")
    assert (site.html(), site.holds()) == ("three", {})


def test_a_second_rollback_still_holds_back_what_myop_has(site: Site) -> None:
    """Going further back must not let the newest content through again."""
    for html in ("one", "two", "three"):
        site.deploy(html)
    site.back("2")
    site.back("1")
    assert site.html() == "one"
    site.deploy("three")
    assert site.html() == "one"


def test_going_forward_to_what_was_held_back_lifts_the_hold(site: Site) -> None:
    site.deploy("one")
    site.deploy("two")
    site.back("1")
    assert site.back("2").error is None
    assert (site.html(), site.holds()) == ("two", {})


def test_nothing_is_held_back_after_a_resume(site: Site) -> None:
    site.deploy("one")
    site.deploy("two")
    site.back("1")
    only = Selection(frozenset({"card"}))
    report = resume(site.target(), only, site.options())
    assert set(report.resumed) == {CARD, PREVIEW}
    assert set(site.holds()) == {"components/menu/qa.json", "components/menu/preview.json"}
    site.deploy("two")
    assert (site.html(), site.html("components/menu/qa.json")) == ("two", "one")
    nothing = resume(site.target(), only, site.options())
    assert (nothing.resumed, nothing.destination.commit, nothing.error) == ((), None, None)


def test_a_document_that_was_not_there_is_removed_and_stays_away(site: Site) -> None:
    site.deploy("one", "card")
    site.deploy("one", "card", "menu")
    report = site.back("1")
    assert set(report.destination.deleted) == {
        "components/menu/qa.json",
        "components/menu/preview.json",
    }
    assert site.named() == {"card"}
    site.deploy("one", "card", "menu")
    assert (site.html("components/menu/qa.json"), site.named()) == (None, {"card"})


def test_a_deleted_document_comes_back_and_is_named_and_is_not_deleted_again(site: Site) -> None:
    site.deploy("one", "card", "menu")
    site.deploy("one", "card", delete=True)
    assert site.named() == {"card"}
    site.back("1")
    assert (site.html("components/menu/qa.json"), site.named()) == ("one", {"card", "menu"})
    site.deploy("one", "card", delete=True)
    assert site.html("components/menu/qa.json") == "one"


def test_more_removals_than_the_limit_are_refused_and_nothing_is_changed(site: Site) -> None:
    site.deploy("one", "card")
    site.deploy("two", *(f"c{number}" for number in range(8)))
    before = site.everything()
    report = site.back("1", max_delete=DeleteLimit())
    assert report.error is not None
    assert report.error.exit_code is ExitCode.REFUSED
    assert site.everything() == before


def test_a_dry_run_tells_all_and_changes_nothing(site: Site) -> None:
    site.deploy("one", "card")
    site.deploy("two", "card", "menu")
    before = site.everything()
    report = site.back("1", dry_run=True)
    assert {up.key for up in report.destination.uploaded} == {CARD, PREVIEW, MANIFEST}
    assert len(report.destination.deleted) == 2
    assert site.everything() == before


def test_a_rollback_with_nothing_to_do_writes_nothing(site: Site) -> None:
    site.deploy("one")
    before = site.everything()
    report = site.back("1")
    assert (report.destination.uploaded, report.destination.commit) == ((), None)
    assert site.everything() == before


def test_content_that_is_not_kept_is_named_and_the_others_go_back(site: Site) -> None:
    site.deploy("one")
    site.deploy("two")
    log = site.target().log
    first = log.commit(1)
    assert first is not None
    entry = first.changes[CARD].after
    assert entry is not None
    log.delete([log.history_key(entry.sha256)])
    report = site.back("1")
    assert [one.key for one in report.destination.failed] == [CARD]
    assert report.error is not None
    assert report.error.exit_code is ExitCode.PARTLY
    assert (site.html(), site.html(PREVIEW)) == ("two", "one")


def test_where_nothing_is_kept_it_is_refused(site: Site) -> None:
    site.deploy("one")
    site.deploy("two", history=_nothing())
    before = site.everything()
    report = site.back("1")
    assert report.error is not None
    assert report.error.exit_code is ExitCode.REFUSED
    assert site.everything() == before


def _nothing() -> Any:
    from myop_cdn.deploy import HistoryLimit

    return HistoryLimit(0)


def test_a_moment_names_the_last_commit_by_then(site: Site) -> None:
    site.deploy("one")
    site.deploy("two")
    past = Past.read(site.target().log, 4)
    second, first = past.commits
    assert past.resolve(written(first.at + timedelta(milliseconds=1))) in (1, 2)
    assert past.resolve("2999-01-01T00:00:00+02:00") == 2
    assert past.resolve(second.at.isoformat()) == 2
    with pytest.raises(InputError) as caught:
        past.resolve("1999-01-01T00:00:00Z")
    assert "the nearest is 1" in caught.value.hint


@pytest.mark.parametrize("text", ["9", "0", "-1", "yesterday", "2026-03-24", "", "9" * 30, "0x1"])
def test_an_unknown_commit_is_bad_input(memory: Site, text: str) -> None:
    memory.deploy("one")
    with pytest.raises(InputError) as caught:
        memory.back(text)
    assert caught.value.hint


def test_no_log_is_an_error(memory: Site) -> None:
    with pytest.raises(StorageError, match="there is no log"):
        memory.back("1")


def test_it_is_refused_to_go_back_past_a_commit_that_is_missing(memory: Site) -> None:
    for html in ("one", "two", "three"):
        memory.deploy(html)
    log = memory.target().log
    log.delete([one.key for one in log.store.list(f"{log.folder}log/")][1:2])
    report = memory.back("1")
    assert report.error is not None
    assert report.error.exit_code is ExitCode.REFUSED
    assert "commit 2 is missing" in report.error.message
    assert memory.html() == "three"


def test_a_damaged_newest_commit_is_refused(memory: Site) -> None:
    memory.deploy("one")
    memory.deploy("two")
    log = memory.target().log
    (newest, *_) = log.store.list(f"{log.folder}log/")
    log.store.put(newest.key, Body.of(b"\0"), Headers())
    report = memory.back("1")
    assert report.error is not None
    assert report.error.exit_code is ExitCode.REFUSED


def test_one_that_was_killed_before_its_commit_is_completed_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had put back must be held back all the same."""
    site.deploy("one")
    site.deploy("two")
    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", _die)
        with pytest.raises(KeyboardInterrupt):
            site.back("1")
    assert (site.html(), site.holds()) == ("one", {})
    assert site.back("1").destination.commit == "3"
    site.deploy("two")
    assert site.html() == "one"


def test_content_that_no_commit_accounts_for_is_looked_for_in_the_whole_log(
    memory: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback that was killed put back something older than what is read of a long log."""
    memory.deploy("zero")
    memory.deploy("one")
    log = memory.target().log
    for number in range(3, 43):
        change = Change(None, Entry(f"{number:064x}"))
        changes = {"components/filler/qa.json": change}
        assert log.append(Commit(number, new_id(), utc_now(), Cause("publish"), changes))
    memory.deploy("two")
    memory.deploy("three")
    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", _die)
        with pytest.raises(KeyboardInterrupt):
            memory.back("1", CARD_ALONE)
    assert memory.html() == "zero"
    memory.back("43", CARD_ALONE)
    memory.deploy("three")
    assert memory.html() == "two"


def test_an_error_half_way_is_reported_and_what_was_done_is_held_back(
    memory: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.deploy("one")
    memory.deploy("two")
    copy = MemoryBackend.copy

    def fail(self: MemoryBackend, *args: Any) -> str:
        if args[3] == CARD:
            raise StorageError("no")
        return copy(self, *args)

    monkeypatch.setattr(MemoryBackend, "copy", fail)
    report = memory.back("1")
    assert [one.key for one in report.destination.failed] == [CARD]
    assert report.error is not None
    assert report.error.exit_code is ExitCode.PARTLY
    assert CARD not in memory.holds()
    assert PREVIEW in memory.holds()


def between(monkeypatch: pytest.MonkeyPatch, name: str, key: str, act: Any) -> None:
    """`act` once, just before the first such request for `key`."""
    inner, left = getattr(MemoryBackend, name), [act]

    def first(self: MemoryBackend, *args: Any, **more: Any) -> Any:
        if left and any(isinstance(one, str) and one.startswith(key) for one in args):
            left.pop()()
        return inner(self, *args, **more)

    monkeypatch.setattr(MemoryBackend, name, first)


def test_what_somebody_publishes_meanwhile_stays(
    memory: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.deploy("one", "card")
    memory.deploy("two", "card")
    between(monkeypatch, "copy", CARD, lambda: memory.deploy("three", "card"))
    report = memory.back("1", Selection(environments=frozenset({"qa"})))
    assert report.error is None
    assert [one.key for one in report.destination.overtaken] == [CARD]
    assert (memory.html(), memory.holds()) == ("three", {})


def test_the_content_that_was_taken_away_is_taken_away_again(
    memory: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that began before knows of no hold yet."""
    memory.deploy("one", "card")
    memory.deploy("two", "card")
    log = ".myop-cdn/log/999999999996"
    between(monkeypatch, "put", log, lambda: memory.deploy("two", "card"))
    report = memory.back("1")
    assert report.error is None
    assert memory.html() == "one"
    assert set(memory.holds()) == {CARD, PREVIEW}
    memory.deploy("two", "card")
    assert memory.html() == "one"


def test_a_copy_whose_answer_was_lost_counts(memory: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.deploy("one", "card")
    memory.deploy("two", "card")
    copy, lost = MemoryBackend.copy, [CARD]
    monkeypatch.setattr("myop_cdn.storage.store.retry.sleep", lambda _: True)

    def lose(self: MemoryBackend, *args: Any) -> str:
        version = copy(self, *args)
        if args[3] in lost:
            lost.remove(args[3])
            raise StorageUnavailable("the connection broke")
        return version

    monkeypatch.setattr(MemoryBackend, "copy", lose)
    report = memory.back("1")
    assert (report.error, report.destination.overtaken) == (None, ())
    assert memory.html() == "one"
    assert CARD in memory.holds()


def test_at_s3_one_document_is_one_copy_one_commit_and_what_goes_is_kept_once(
    tmp_path: Path, bucket: Bucket, proxy: Proxy
) -> None:
    """What is taken away is kept by a copy of its own, unless it is kept already."""
    site = Site(tmp_path, f"{bucket.url}/site", proxy.url)
    site.deploy("one")
    site.deploy("two")
    card = Selection(frozenset({"card"}), frozenset({"qa"}))

    def written(to: str) -> list[str]:
        proxy.forget()
        assert site.back(to, card).error is None
        arrived = [one for one in proxy.arrived if one.method not in ("GET", "HEAD")]
        return [one.path.partition("/site/")[2].rpartition("/")[0] for one in arrived]

    kept, copied, commit = ".myop-cdn/history", CARD.rpartition("/")[0], ".myop-cdn/log"
    assert written("1") == [kept, copied, commit]
    assert site.html() == "one"
    assert bucket.get(f"site/{CARD}")["CacheControl"] == "public, max-age=300"
    assert written("2") == [copied, commit]
    assert (site.html(), written("1"), site.html()) == ("two", [copied, commit], "one")
    site.deploy("two")
    assert site.html() == "one"


def test_only_what_differs_of_a_large_destination_is_copied(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """537 objects, three of which were published since."""
    names = [f"c{number:03d}" for number in range(268)]
    site.deploy("one", *names)
    (at,) = (one.at for one in Past.read(site.target().log, 4).commits)
    later = make_tree(site.folder / "later", {"c007": ["qa"], "c100": ["qa"]}, html="two")
    (later.root / MANIFEST).unlink()
    (later.root / "components/c100/preview.json").unlink()
    assert len(deploy(later, [site.url], site.options()).destinations[0].uploaded) == 3
    copies: list[str] = []

    def counting(store: Store, source: Store, key: str, version: str, to: str, *rest: Any) -> str:
        copies.append(to)
        return copy(store, source, key, version, to, *rest)

    copy = Store.copy
    monkeypatch.setattr(Store, "copy", counting)
    report = site.back(written(at))
    changed = {"components/c007/preview.json", "components/c007/qa.json", "components/c100/qa.json"}
    assert report.error is None
    assert {up.key for up in report.destination.uploaded} == changed
    assert {key for key in copies if not key.startswith(".myop-cdn/")} == changed
    assert len(copies) <= 2 * len(changed)
    assert site.html("components/c007/qa.json") == "one"


def test_a_log_elsewhere_serves_as_well(site: Site) -> None:
    elsewhere = f"memory://logs-{next(_serial)}/x"
    site.deploy("one", ledger=elsewhere)
    site.deploy("two", ledger=elsewhere)
    assert site.back("1", ledger=elsewhere).error is None
    assert site.html() == "one"
    assert not [key for key in site.everything() if key.startswith(".myop-cdn/log")]


def test_a_gzipped_destination_keeps_its_encoding(memory: Site) -> None:
    memory.deploy("one", "card", encoding="gzip")
    memory.deploy("one", "card", "menu", encoding="gzip")
    memory.back("1")
    blob = memory.target().store.get(MANIFEST)
    assert blob is not None
    assert blob.headers.content_encoding == "gzip"
    assert blob.data[:2] == b"\x1f\x8b"


# History and differences


def test_history_lists_the_newest_first_and_narrows(site: Site) -> None:
    site.deploy("one", "card")
    site.deploy("one", "card", "menu")
    report = read_history(site.target(), ALL, 4)
    assert [one.number for one in report.commits] == [2, 1]
    card = read_history(site.target(), Selection(frozenset({"card"})), 4)
    assert [one.number for one in card.commits] == [1]
    assert set(card.commits[0].changes) == {CARD, PREVIEW}


def test_a_difference_is_what_remains_of_all_commits_between(site: Site) -> None:
    site.deploy("one", "card")
    site.deploy("two", "card")
    site.deploy("one", "card", "menu")
    last = read_diff(site.target(), None, None, 4)
    assert (last.start, last.end) == (2, 3)
    assert CARD in last.changes
    whole = read_diff(site.target(), "1", None, 4)
    assert CARD not in whole.changes
    assert "components/menu/qa.json" in whole.changes
    reverse = read_diff(site.target(), "3", "1", 4)
    assert reverse.changes["components/menu/qa.json"].after is None


def test_what_is_forgotten_can_not_be_put_back(site: Site) -> None:
    site.deploy("one")
    site.deploy("two")
    card = Selection(frozenset({"card"}))
    assert forget(site.target(), card, 4).forgotten == 2
    assert site.html() == "two"
    refused = site.back("1", card).error
    assert refused is not None
    assert refused.exit_code is ExitCode.REFUSED
    assert site.back("1", Selection(frozenset({"menu"}))).error is None


def test_the_clock_is_an_argument(memory: Site) -> None:
    memory.deploy("one")
    memory.deploy("two")
    at = datetime(2026, 3, 24, 10, tzinfo=UTC)
    roll_back(memory.target(), "1", ALL, memory.options(), lambda: at)
    newest = memory.target().log.newest().newest
    assert newest is not None
    assert newest.at == at
