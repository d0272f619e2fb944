"""The values that cross the doors between rooms. Frozen, typed, without I/O."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from myop_cdn import names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

MANIFEST = "manifest.json"
COMPONENTS = "components"
PREVIEW = "preview"
# Nearly every document's path: nothing else need be looked for.
_USUAL = re.compile(f"{COMPONENTS}/({names.PLAIN})/({names.PLAIN})[.]json")


class DocumentRef(NamedTuple):
    """One component document: which component, in which environment.

    The environment `preview` is the component's preview document (Myop's static format).
    """

    component_id: str
    environment: str

    @property
    def path(self) -> str:
        """Where it lies, relative to the tree or the prefix, with forward slashes."""
        return f"{COMPONENTS}/{self.component_id}/{self.environment}.json"

    @property
    def is_preview(self) -> bool:
        """Whether this is the latest variant, released or not."""
        return self.environment == PREVIEW

    @classmethod
    def of(cls, path: str) -> DocumentRef | None:
        """The document that lies at `path`, or None where the layout has no such path."""
        if usual := _USUAL.fullmatch(path):
            return cls(usual[1], usual[2])
        folder, _, rest = path.partition("/")
        component_id, slash, file = rest.partition("/")
        environment = file.removesuffix(".json")
        if folder != COMPONENTS or not slash or environment == file:
            return None
        if names.problem(component_id) or names.problem(environment):
            return None
        return cls(component_id, environment)


def is_layout(path: str) -> bool:
    """Whether `path` is of this tool's own layout: the manifest or a component document."""
    usual = _USUAL.fullmatch(path) is not None
    return usual or path == MANIFEST or DocumentRef.of(path) is not None


class Release(NamedTuple):
    """One announced release: this variant is now live for that component and environment.

    announced_at: the sender's signed timestamp, aware, where the payload had one.
    """

    component_id: str
    environment: str
    variant_id: str | None = None
    environment_id: str | None = None
    announced_at: datetime | None = None

    @property
    def ref(self) -> DocumentRef:
        """The document that the release changed."""
        return DocumentRef(self.component_id, self.environment)


class Variant(NamedTuple):
    """One variant that a document holds: its id and its name ("" where it has none)."""

    id: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class ExportedDocument:
    """What Myop answered for one document in this run.

    sha256: of the file's bytes, lower-case hex. asked_at: when Myop was asked, by Myop's own
    `Date`, aware; None where it told none. name: the component's. release: what was announced
    for it in this run. holds_announced: whether it holds the announced variant; True where none
    was announced. size: of the file in bytes.
    """

    ref: DocumentRef
    sha256: str
    asked_at: datetime | None
    name: str
    variants: tuple[Variant, ...] = ()
    release: Release | None = None
    holds_announced: bool = True
    size: int | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """The variant for people: the announced one where it is held, else the first, by its name,
        or its id where it has none.
        """
        announced = self.release.variant_id if self.release else None
        held = [one for one in self.variants if one.id == announced] or list(self.variants)
        return (held[0].name or held[0].id) if held else ""


class Scope(NamedTuple):
    """What a sync has to export.

    kind: `full` is everything in Myop's index, `incremental` the documents of `releases`,
    `none` nothing at all. A full scope keeps the releases that were announced with it, so
    that the exported documents can be held against them.
    """

    kind: Literal["full", "incremental", "none"]
    releases: tuple[Release, ...] = ()

    @classmethod
    def merge(cls, scopes: list[Scope]) -> Scope:
        """One scope that does the work of all, given oldest first.

        A full one supersedes the others; of several releases of one component and
        environment the newest counts: the one that was announced last, where both say when.
        """
        newest: dict[DocumentRef, Release] = {}
        for scope in scopes:
            for release in scope.releases:
                other = newest.pop(release.ref, None)
                newest[release.ref] = release if other is None else _later(other, release)
        releases = tuple(newest.values())
        if any(scope.kind == "full" for scope in scopes):
            return cls("full", releases)
        return cls("incremental", releases) if releases else cls("none")

    def without_announcements(self) -> Scope:
        """The same without the moments of the announcements: for a payload that nobody signed,
        whose timestamp could be anybody's.
        """
        return self._replace(
            releases=tuple(one._replace(announced_at=None) for one in self.releases)
        )


def _later(first: Release, second: Release) -> Release:
    """Which of two releases of one document counts; `second` came later."""
    if first.announced_at is None or second.announced_at is None:
        return second
    return first if first.announced_at > second.announced_at else second


Form = Literal["webhook", "github", "gitlab", "data", "array"]


class Delivery(NamedTuple):
    """A payload that was understood.

    form: which of the known forms it came in. event: the webhook's event, where the form has
    one. timestamp: as written (ISO 8601), unchecked. scope: what it asks for.
    """

    form: Form
    scope: Scope
    event: str | None = None
    timestamp: str | None = None
    organization_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteLimit:
    """How many objects one run may remove: a count, a percentage, or (neither given) the
    default of 25 %, or all documents of one component, whichever is more.
    """

    count: int | None = None
    percent: float | None = None

    @property
    def is_default(self) -> bool:
        """Whether nobody chose it."""
        return self.count is None and self.percent is None

    def allows(self, removed: int, total: int, *, largest_component: int) -> bool:
        """Whether `removed` of `total` documents may go.

        largest_component: how many of the `total` belong to the component that has the most of
        them; see `largest_component`.
        """
        if self.count is not None:
            return removed <= self.count
        if self.percent is not None:
            return removed * 100 <= self.percent * total
        return removed <= max(largest_component, total * 25 // 100)

    def __str__(self) -> str:
        if self.count is not None:
            return str(self.count)
        if self.percent is not None:
            return f"{self.percent:g} %"
        return "25 %, or one component's documents"


def largest_component(refs: Iterable[DocumentRef]) -> int:
    """How many of these documents belong to the component that has the most of them."""
    return max(Counter(ref.component_id for ref in refs).values(), default=0)
