"""Two and three jobs at one destination, in every order of their requests: whoever comes when, no
release is lost, the manifest is true at every moment, and the log tells what happened.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.deploy import DeployOptions, apply, target
from myop_cdn.deploy.history import Selection
from myop_cdn.deploy.log import Log
from myop_cdn.deploy.rollback import roll_back
from myop_cdn.deploy.target import open_targets
from myop_cdn.errors import ExitCode
from myop_cdn.manifest import Manifest
from myop_cdn.model import MANIFEST, DeleteLimit, DocumentRef, Release, Scope
from myop_cdn.publish import publish
from myop_cdn.storage import open_backend
from myop_cdn.storage.memory import MemoryBackend
from myop_cdn.storage.store import Store
from myop_cdn.sync import SyncOptions
from tests.deploy.interleaving import (
    Job,
    Objects,
    Stepped,
    one_after_the_other,
    orders,
    snapshot,
    step,
)
from tests.deploy.test_newest_wins import Myop
from tests.deploy.trees import MemoryTree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from myop_cdn.document import Document
    from myop_cdn.report import PublishReport

_serial = count()
QA = "qa"


class SteppedMyop(Myop):
    """Myop, at which every job stops before each request, too."""

    def index(self) -> Manifest:
        step("index", lambda: tuple(sorted(self.variants)))
        return super().index()

    def document(self, ref: DocumentRef) -> Document:
        step(f"document {ref}", lambda: self.variants.get(ref))
        return super().document(ref)

    def now_released(self, component: str, environment: str = QA) -> None:
        """A new variant of one component, without a preview."""
        step(f"release {component}")
        ref = DocumentRef(component, environment)
        self.variants[ref] = self.variants.get(ref, 0) + 1


class World:
    """A destination with what was published there, set back before each order."""

    def __init__(self, folder: Path, *components: str) -> None:
        self.folder = folder
        self.url = f"memory://steps-{next(_serial)}/site"
        backend = open_backend(self.url)
        assert isinstance(backend, MemoryBackend)
        self.inner = backend
        self.objects = Objects()
        self.myop = SteppedMyop(longest=0)
        for component in components:
            self.myop.now_released(component)
        self.publish(Scope("full"))
        self.keep()

    def keep(self) -> None:
        """What is there now is what each order begins with."""
        self.stored = snapshot(self.inner.shelf.objects)
        self.variants = dict(self.myop.variants)

    def back(self) -> None:
        """As it was when it was kept."""
        self.inner.shelf.objects = snapshot(self.stored)
        prefix = self.inner.location.full("")
        self.objects.writers = {key.removeprefix(prefix): ("before", 0) for key in self.stored}
        self.myop.variants = dict(self.variants)

    def publish(self, scope: Scope, environment: str = QA, **options: Any) -> PublishReport:
        return publish(
            scope,
            lambda: self.myop,
            MemoryTree(),
            [self.url],
            SyncOptions(1, frozenset({environment}), ask_again_seconds=0, unknown_is_error=False),
            self.options(**options),
        )

    def options(self, **options: Any) -> DeployOptions:
        return DeployOptions(jobs=1, max_delete=DeleteLimit(percent=100), **options)

    # What jobs do

    def releases(self, component: str, environment: str = QA) -> Callable[[], None]:
        """A release, and its publish."""

        def work() -> None:
            self.myop.now_released(component, environment)
            number = self.myop.variants[DocumentRef(component, environment)]
            # What is replaced begins to be kept as soon as it is seen to be another variant.
            scope = Scope("incremental", (Release(component, environment, f"v{number}"),))
            assert self.publish(scope, environment).error is None

        return work

    def syncs(self, **options: Any) -> Callable[[], None]:
        """A scheduled full publish."""

        def work() -> None:
            assert self.publish(Scope("full"), **options).error is None

        return work

    # What holds

    def check_now(self) -> None:
        """The manifest names nothing that is not there."""
        full, objects = self.inner.location.full, self.inner.shelf.objects
        blob = objects.get(full(MANIFEST))
        for ref in Manifest.parse(blob.body.data).refs() if blob else ():
            assert full(ref.path) in objects, f"{ref.path} is named in vain"

    def live(self) -> dict[DocumentRef, int]:
        found = {}
        for key, one in self.inner.shelf.objects.items():
            ref = DocumentRef.of(self.inner.location.relative(key))
            if ref is not None:
                value = json.loads(one.body.data)
                found[ref] = int(value["item"]["consume_variant"][0]["id"][1:])
        return found

    def check_end(self, *, newest: bool = True) -> None:
        """Everything is as Myop has it, and the log says so."""
        self.check_now()
        if newest:
            assert self.live() == self.myop.variants
        blob = self.inner.shelf.objects[self.inner.location.full(MANIFEST)]
        assert set(Manifest.parse(blob.body.data).refs()) == set(self.live())
        commits, warnings = Log(Store(self.inner)).all(1)
        numbers = [one.number for one in commits]
        assert (numbers, warnings) == (list(range(len(numbers), 0, -1)), [])
        told: dict[str, str] = {}
        for commit in reversed(commits):
            for key, change in commit.changes.items():
                told[key] = change.after.sha256 if change.after else ""
        there = {
            ref.path: hashlib.sha256(self.inner.shelf.objects[full].body.data).hexdigest()
            for full in self.inner.shelf.objects
            if (ref := DocumentRef.of(self.inner.location.relative(full)))
        }
        assert {k: v for k, v in told.items() if v and k != MANIFEST} == there

    def explore(
        self,
        jobs: Callable[[], dict[str, Callable[[], None]]],
        end: Callable[[], None] | None = None,
        most: int | None = None,
    ) -> int:
        """Every order of these jobs; how many were followed to their end. most: see `orders`."""
        ended = 0

        def begin() -> tuple[list[Job], Callable[[], object]]:
            self.back()
            return [Job(name, work) for name, work in jobs().items()], self._state

        for order in orders(begin, most):
            if order.ended:
                ended += 1
                try:
                    (end or self.check_end)()
                except AssertionError as error:
                    raise AssertionError(f"in the order {order.steps}") from error
        assert ended > 1, "the jobs did not get in each other's way"
        return ended

    def _state(self) -> object:
        self.check_now()
        return (
            frozenset(self.objects.writers.items()),
            tuple(sorted(self.myop.variants.items())),
        )


@pytest.fixture
def make(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., World]:
    one_after_the_other(monkeypatch, eager=getattr(request, "param", False))

    def world(*components: str) -> World:
        made = World(tmp_path, *components)
        monkeypatch.setattr(target, "open_backend", lambda *_: Stepped(made.inner, made.objects))
        return made

    return world


def test_two_releases_of_one_document(make: Callable[..., World]) -> None:
    world = make("card", "menu")
    ended = world.explore(lambda: {"one": world.releases("card"), "two": world.releases("card")})
    assert ended > 10


def test_two_new_components(make: Callable[..., World]) -> None:
    """Both have to be named by the manifest."""
    world = make("card")
    world.explore(lambda: {"one": world.releases("new"), "two": world.releases("other")})


@pytest.mark.parametrize("delete", [False, True])
def test_a_release_beside_a_full_sync(make: Callable[..., World], delete: bool) -> None:
    world = make("card", "menu")
    jobs = {"sync": world.syncs(delete=delete), "release": world.releases("card")}
    world.explore(lambda: jobs)


def test_a_new_component_beside_a_full_sync_that_deletes(make: Callable[..., World]) -> None:
    world = make("card")
    jobs = {"sync": world.syncs(delete=True), "release": world.releases("new")}
    world.explore(lambda: jobs)


@pytest.mark.parametrize("make", [False, True], indirect=True, ids=["listing-first", "log-first"])
def test_a_release_of_another_environment_beside_a_full_sync(make: Callable[..., World]) -> None:
    """It is nothing that the sync exports, and the log goes on telling that it is there."""
    world = make("card")
    world.explore(lambda: {"sync": world.syncs(delete=True), "release": world.releases("new", "x")})


def test_a_component_that_comes_back_while_it_is_deleted(make: Callable[..., World]) -> None:
    """Gone from the index that the full sync has read, and released again."""
    world = make("card", "old")
    del world.myop.variants[DocumentRef("old", QA)]
    world.keep()
    jobs = {"sync": world.syncs(delete=True), "release": world.releases("old")}
    world.explore(lambda: jobs)


def test_a_release_beside_a_rollback(make: Callable[..., World]) -> None:
    """Either the release came first and is held back, or it is newer than the rollback's wish."""
    world = make("card", "menu")
    world.releases("card")()
    world.keep()
    card = DocumentRef("card", QA)

    def goes_back() -> None:
        (opened,) = open_targets([world.url], world.options())
        assert roll_back(opened, "1", Selection(), world.options()).error is None

    def end() -> None:
        state = Log(Store(world.inner)).newest().state
        if card.path in state.holds:
            assert world.live()[card] == 1
        else:
            assert world.live()[card] == 3
        world.check_end(newest=False)

    world.explore(lambda: {"back": goes_back, "release": world.releases("card")}, end)


@pytest.mark.parametrize("make", [False, True], indirect=True, ids=["listing-first", "log-first"])
def test_a_full_sync_beside_a_rollback_never_undoes_it(make: Callable[..., World]) -> None:
    world = make("card")
    world.releases("card")()
    world.keep()

    def goes_back() -> None:
        (opened,) = open_targets([world.url], world.options())
        assert roll_back(opened, "1", Selection(), world.options()).error is None

    def end() -> None:
        assert world.live()[DocumentRef("card", QA)] == 1
        world.check_end(newest=False)

    world.explore(lambda: {"back": goes_back, "sync": world.syncs()}, end)


def test_a_release_beside_a_plan_that_is_carried_out(make: Callable[..., World]) -> None:
    """The plan is carried out before the release, or refused; it never goes over it."""
    world = make("card", "menu")
    plan = world.folder / "release.plan"
    world.myop.now_released("card")
    world.publish(Scope("incremental", (Release("card", QA),)), plan_out=plan)
    world.keep()

    def applies() -> None:
        report = apply(plan, [world.url], world.options())
        assert report.exit_code in (ExitCode.DONE, ExitCode.REFUSED)

    world.explore(lambda: {"apply": applies, "release": world.releases("card")})


def test_two_full_syncs_that_delete(make: Callable[..., World], races_long: bool) -> None:
    if not races_long:
        pytest.skip("--races-long")
    world = make("card", "old")
    del world.myop.variants[DocumentRef("old", QA)]
    world.keep()
    world.explore(lambda: {name: world.syncs(delete=True) for name in ("one", "two")})


def test_two_rollbacks(make: Callable[..., World]) -> None:
    """To two commits: one of them is what is there, and the newest content is held back."""
    world = make("card")
    world.releases("card")()
    world.releases("card")()
    world.keep()

    def goes_back(to: str) -> None:
        (opened,) = open_targets([world.url], world.options())
        assert roll_back(opened, to, Selection(), world.options()).error is None

    def end() -> None:
        world.check_end(newest=False)
        assert world.live()[DocumentRef("card", QA)] in (1, 2)
        before = world.live()
        world.publish(Scope("full"))
        assert world.live() == before

    world.explore(lambda: {"one": partial(goes_back, "1"), "two": partial(goes_back, "2")}, end)


def test_three_releases_of_one_document(make: Callable[..., World], races_long: bool) -> None:
    """The first thousands of orders: there are tens of thousands."""
    if not races_long:
        pytest.skip("--races-long")
    world = make("card")
    names = ("one", "two", "three")
    world.explore(lambda: {name: world.releases("card") for name in names}, most=5_000)
