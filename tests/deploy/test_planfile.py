"""A plan in a file: carried out as it was written where nothing moved, else refused."""

from __future__ import annotations

import json
import zipfile
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.deploy import DeployOptions, HistoryLimit, apply, deploy
from myop_cdn.deploy.history import Selection
from myop_cdn.deploy.log import Log
from myop_cdn.deploy.rollback import roll_back
from myop_cdn.deploy.target import open_targets
from myop_cdn.errors import ExitCode, InputError, RefusedError
from myop_cdn.model import MANIFEST, DeleteLimit, DocumentRef, Scope
from myop_cdn.publish import publish
from myop_cdn.storage.memory import MemoryBackend
from myop_cdn.sync import SyncOptions
from myop_cdn.tree import Tree
from tests.deploy.test_newest_wins import Myop
from tests.deploy.trees import make_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from myop_cdn.report import DeployReport, DestinationReport

CARD, MENU = "components/card/qa.json", "components/menu/qa.json"
_serial = count()


@dataclass
class Site:
    """A destination, folders that are deployed there, and a plan."""

    folder: Path
    url: str

    @property
    def plan(self) -> Path:
        return self.folder / "release.plan"

    def tree(self, html: str, *names: str) -> Tree:
        root = self.folder / f"tree-{next(_serial)}"
        return make_tree(root, {name: ["qa"] for name in names or ("card", "menu")}, html=html)

    def deploy(self, html: str, *names: str, **options: Any) -> DestinationReport:
        report = deploy(self.tree(html, *names), [self.url], DeployOptions(**options))
        assert report.exit_code in (ExitCode.DONE, ExitCode.REFUSED)
        return report.destinations[0]

    def apply(self, **options: Any) -> DestinationReport:
        report: DeployReport = apply(self.plan, [self.url], DeployOptions(**options))
        return report.destinations[0]

    def everything(self) -> dict[str, bytes]:
        store = open_targets([self.url], DeployOptions())[0].store
        blobs = {one.key: store.get(one.key) for one in store.list()}
        return {key: blob.data for key, blob in blobs.items() if blob}

    def documents(self) -> dict[str, bytes]:
        return {k: v for k, v in self.everything().items() if not k.startswith(".myop-cdn")}

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change what the plan says."""
        with zipfile.ZipFile(self.plan) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        value = json.loads(members["plan.json"])
        change(value)
        members["plan.json"] = json.dumps(value).encode()
        with zipfile.ZipFile(self.plan, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)


@pytest.fixture(params=["memory", "file"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    memory = f"memory://plan-{next(_serial)}/site"
    return Site(tmp_path, memory if request.param == "memory" else f"file://{tmp_path}/cdn")


@pytest.fixture
def memory(tmp_path: Path) -> Site:
    return Site(tmp_path, f"memory://plan-{next(_serial)}/site")


def test_a_plan_changes_nothing_and_what_is_applied_is_what_a_deploy_does(
    site: Site, tmp_path: Path
) -> None:
    site.deploy("one", "card", "old")
    before = site.everything()
    planned = site.deploy("two", "card", "menu", plan_out=site.plan, delete=True)
    assert site.everything() == before
    applied = site.apply()
    assert (applied.uploaded, applied.deleted) == (planned.uploaded, planned.deleted)
    assert [str(up) for up in applied.uploaded if up.key == CARD] == ["Card · qa · Main → Main"]
    twin = Site(tmp_path, f"memory://plan-{next(_serial)}/site")
    twin.deploy("two", "card", "menu")
    assert site.documents() == twin.documents()
    newest = Log(open_targets([site.url], DeployOptions())[0].store).newest().newest
    assert newest is not None
    assert (newest.cause.command, newest.number) == ("deploy", 2)
    assert set(newest.changes) >= {CARD, MENU, "components/old/qa.json", MANIFEST}


def test_the_first_plan_for_an_empty_destination_is_carried_out(site: Site) -> None:
    site.deploy("one", plan_out=site.plan)
    assert site.everything() == {}
    assert len(site.apply().uploaded) == 5
    again = site.deploy("one")
    assert (again.uploaded, again.warnings) == ((), ())


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_options_that_decide_come_from_the_plan(memory: Site, encoding: str) -> None:
    chosen = {"cache_control": "no-cache", "encoding": encoding, "history": HistoryLimit(3)}
    memory.deploy("one", plan_out=memory.plan, **chosen)
    with pytest.raises(InputError, match="--cache-control"):
        memory.apply(cache_control="max-age=1")
    assert memory.apply(cache_control="no-cache").failure is None
    assert memory.deploy("one", **chosen).uploaded == ()


def changed(site: Site) -> None:
    site.deploy("three", "card", "menu")


def gone(site: Site) -> None:
    open_targets([site.url], DeployOptions())[0].store.delete([CARD])


def come(site: Site) -> None:
    site.deploy("one", "card", "menu", "new")


@pytest.mark.parametrize("move", [changed, gone, come])
def test_it_is_refused_where_something_moved_and_nothing_is_changed(
    site: Site, move: Callable[[Site], None]
) -> None:
    site.deploy("one", "card", "menu")
    site.deploy("two", "card", "menu", "new", plan_out=site.plan)
    move(site)
    before = site.everything()
    report = site.apply()
    assert report.exit_code is ExitCode.REFUSED
    assert report.refusal is not None
    assert "no longer what the plan saw" in report.refusal.message
    assert site.everything() == before


def test_what_others_release_elsewhere_does_not_hold_it_up(site: Site) -> None:
    myop = Myop(longest=0)
    for name in ("a", "b"):
        myop.release(name)
    none = SyncOptions(ask_again_seconds=0)

    def run(scope: Scope, **options: Any) -> None:
        tree = Tree(site.folder / f"work-{next(_serial)}")
        publish(scope, lambda: myop, tree, [site.url], none, DeployOptions(**options))

    run(Scope("full"))
    run(Scope("incremental", (myop.release("a"),)), plan_out=site.plan)
    run(Scope("incremental", (myop.release("b"),)))
    report = site.apply()
    assert report.failure is None
    assert [up.key for up in report.uploaded] == [
        "components/a/preview.json",
        "components/a/qa.json",
    ]
    found = {DocumentRef.of(key): data for key, data in site.documents().items()}
    assert b'"v2"' in found[DocumentRef("a", "qa")]
    assert b'"v2"' in found[DocumentRef("b", "qa")]


def test_a_write_in_the_last_moment_wins_over_the_plan(
    memory: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the look, before the write: the condition of the write keeps the promise."""
    memory.deploy("one", "card")
    memory.deploy("two", "card", plan_out=memory.plan)
    put, left = MemoryBackend.put, [CARD]

    def first(self: MemoryBackend, key: str, *args: Any, **more: Any) -> str:
        if key in left:
            left.clear()
            memory.deploy("three", "card")
        return put(self, key, *args, **more)

    monkeypatch.setattr(MemoryBackend, "put", first)
    report = memory.apply()
    assert report.exit_code in (ExitCode.REFUSED, ExitCode.PARTLY)
    assert b"three" in memory.documents()[CARD]


def test_what_was_rolled_back_since_is_refused(memory: Site) -> None:
    """A plan that brings the very content which a rollback holds back."""
    memory.deploy("one", "card")
    memory.deploy("two", "card", plan_out=memory.plan)
    memory.deploy("two", "card")
    target = open_targets([memory.url], DeployOptions())[0]
    roll_back(target, "1", Selection(), DeployOptions())
    before = memory.everything()
    assert memory.apply().exit_code is ExitCode.REFUSED
    assert memory.everything() == before


def test_deletions_count_against_the_limit_when_they_are_carried_out(memory: Site) -> None:
    names = [f"c{number}" for number in range(12)]
    memory.deploy("one", *names)
    memory.deploy("one", *names[2:], plan_out=memory.plan, delete=True)
    memory.deploy("one", *names[:-2], delete=True)  # within a day, and the manifest is another
    memory.edit(lambda plan: plan["destinations"][0].pop("manifest"))
    before = memory.everything()
    refused = memory.apply().refusal
    assert refused is not None
    assert "within the last 24 hours" in refused.message
    assert memory.everything() == before


def test_deletions_within_the_limit_of_the_whole_destination_are_carried_out(memory: Site) -> None:
    names = [f"c{number}" for number in range(12)]
    memory.deploy("one", *names)
    memory.deploy("one", *names[2:], plan_out=memory.plan, delete=True)
    report = memory.apply(max_delete=DeleteLimit())
    assert (len(report.deleted), report.failure) == (4, None)
    assert "C0 · qa · Main" in report.names.values()


def test_one_that_was_killed_half_way_is_completed_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.deploy("one", "card", "menu")
    site.deploy("two", "card", "menu", "new", plan_out=site.plan)
    with monkeypatch.context() as patch:

        def die(*_: object) -> bool:
            raise KeyboardInterrupt

        patch.setattr(Log, "append", die)
        with pytest.raises(KeyboardInterrupt):
            site.apply()
    report = site.apply()
    assert (report.failure, report.uploaded, report.commit) == (None, (), "2")
    again = site.apply()
    assert (again.failure, again.uploaded, again.commit) == (None, (), None)
    assert site.deploy("two", "card", "menu", "new").uploaded == ()


def test_a_dry_run_of_a_plan_says_whether_it_still_holds(memory: Site) -> None:
    memory.deploy("one")
    memory.deploy("two", plan_out=memory.plan)
    before = memory.everything()
    assert len(memory.apply(dry_run=True).uploaded) == 4
    assert memory.everything() == before
    memory.deploy("three")
    assert memory.apply(dry_run=True).exit_code is ExitCode.REFUSED


def test_it_counts_for_its_destinations_alone(memory: Site, tmp_path: Path) -> None:
    memory.deploy("one", plan_out=memory.plan)
    for url in (f"{memory.url}/deeper", f"memory://other-{next(_serial)}/site"):
        with pytest.raises(RefusedError, match="the plan was made for"):
            replace(memory, url=url).apply()


def test_where_one_destination_moved_nothing_is_changed_at_any(memory: Site) -> None:
    other = replace(memory, url=f"memory://plan-{next(_serial)}/site")
    both = [memory.url, other.url]
    deploy(memory.tree("one"), both)
    deploy(memory.tree("two"), both, DeployOptions(plan_out=memory.plan))
    other.deploy("three")
    before = memory.everything(), other.everything()
    report = apply(memory.plan, both)
    assert report.exit_code is ExitCode.REFUSED
    assert all(one.refused for one in report.destinations)
    assert (memory.everything(), other.everything()) == before


def test_a_release_that_is_none_makes_a_plan_that_does_nothing(memory: Site) -> None:
    options = DeployOptions(plan_out=memory.plan)
    myop = Myop(longest=0)
    publish(Scope("none"), lambda: myop, Tree(memory.folder / "x"), [memory.url], None, options)
    report = memory.apply()
    assert (report.failure, report.uploaded, report.commit) == (None, (), None)


def test_a_refused_dry_run_writes_no_plan(memory: Site) -> None:
    memory.deploy("one", *(f"c{number}" for number in range(8)))
    assert memory.deploy("one", "c0", delete=True, plan_out=memory.plan).refused
    assert not list(memory.folder.glob("*plan*"))


def test_documents_that_were_gone_are_marked_from_when_it_is_carried_out(memory: Site) -> None:
    from datetime import timedelta

    after = {"delete": True, "delete_after": timedelta(hours=1)}
    memory.deploy("one", "card", "menu")
    memory.deploy("one", "card", plan_out=memory.plan, **after)
    assert memory.apply().deleted == ()
    state = Log(open_targets([memory.url], DeployOptions())[0].store).newest().state
    assert set(state.gone) == {MENU, "components/menu/preview.json"}


def path_out(plan: dict[str, Any]) -> None:
    plan["destinations"][0]["changes"][0]["key"] = "components/../../etc/passwd"


def log_key(plan: dict[str, Any]) -> None:
    plan["destinations"][0]["changes"][0] |= {"key": ".myop-cdn/log/1.json", "action": "delete"}


def other_document(plan: dict[str, Any]) -> None:
    plan["destinations"][0]["changes"][0]["key"] = "components/else/qa.json"


def header(plan: dict[str, Any]) -> None:
    plan["options"]["cacheControl"] = "a\r\nSet-Cookie: b"


def form(plan: dict[str, Any]) -> None:
    plan["form"] = 99


def manifest(plan: dict[str, Any]) -> None:
    plan["destinations"][0]["manifest"]["file"] = "../../etc/passwd"


@pytest.mark.parametrize("forge", [path_out, log_key, other_document, header, form, manifest])
def test_a_plan_that_was_tampered_with_is_bad_input(
    memory: Site, forge: Callable[[dict[str, Any]], None]
) -> None:
    memory.deploy("one", plan_out=memory.plan)
    memory.edit(forge)
    with pytest.raises(InputError) as caught:
        memory.apply()
    assert caught.value.hint
    assert memory.everything() == {}


@pytest.mark.parametrize("field", ["made", "cause", "options", "destinations"])
@pytest.mark.parametrize("value", [None, 7, "x", [], [[]], {}, {"a": 1}])
def test_no_value_of_another_type_ends_in_anything_but_bad_input(
    memory: Site, field: str, value: object
) -> None:
    memory.deploy("one", plan_out=memory.plan)
    memory.edit(lambda plan: plan.update({field: value}))
    with suppress(InputError, RefusedError):  # a cause may be empty, for one
        memory.apply()


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_file_that_was_cut_short_is_bad_input(memory: Site, keep: float) -> None:
    memory.deploy("one", plan_out=memory.plan)
    data = memory.plan.read_bytes()
    memory.plan.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError, match="not a plan"):
        memory.apply()


@pytest.mark.parametrize(
    ("before", "offset", "value"),
    [
        (b"plan.json", 9, 0xFF),  # the first byte of what is packed
        (b"PK\x01\x02", 6, 0xC8),  # the version of ZIP that is needed
        (b"PK\x01\x02", 10, 14),  # packed by another method, LZMA
    ],
)
def test_a_file_whose_bytes_were_damaged_is_bad_input(
    memory: Site, before: bytes, offset: int, value: int
) -> None:
    memory.deploy("one", plan_out=memory.plan)
    data = bytearray(memory.plan.read_bytes())
    data[data.index(before) + offset] = value
    memory.plan.write_bytes(data)
    with pytest.raises(InputError):
        memory.apply()


def test_a_device_in_the_place_of_a_plan_is_bad_input(memory: Site) -> None:
    memory.plan.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="not a plan"):
        memory.apply()


def test_a_document_that_was_exchanged_is_bad_input(memory: Site) -> None:
    memory.deploy("one", plan_out=memory.plan)
    with zipfile.ZipFile(memory.plan) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[CARD] = members[CARD].replace(b"one", b"evil")
    with zipfile.ZipFile(memory.plan, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match="damaged"):
        memory.apply()


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"form": 1}', b"\xff", b"null"])
def test_a_plan_whose_inside_is_nonsense_is_bad_input(memory: Site, data: bytes) -> None:
    with zipfile.ZipFile(memory.plan, "w") as archive:
        archive.writestr("plan.json", data)
    with pytest.raises(InputError):
        memory.apply()


def test_it_names_nobody_and_no_secret(memory: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass
    import socket

    monkeypatch.setenv("MYOP_API_KEY", "myop_sk_secret")
    memory.deploy("one", plan_out=memory.plan, ledger="memory://hidden-ledger/x")
    with zipfile.ZipFile(memory.plan) as archive:
        whole = b"\n".join(archive.read(name) for name in archive.namelist()).decode()
    texts = (socket.gethostname(), getpass.getuser(), "secret", "hidden-ledger", str(memory.folder))
    assert [text for text in texts if text in whole] == []
