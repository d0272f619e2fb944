"""What was published at a destination, as its log tells: commits, and what lies between two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from myop_cdn import names
from myop_cdn.deploy.log import Change, Commit, check_number, unreadable
from myop_cdn.errors import InputError
from myop_cdn.model import DocumentRef
from myop_cdn.moments import moment, written
from myop_cdn.report import spoken
from myop_cdn.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from myop_cdn.deploy.log import Entry, Log, State, View
    from myop_cdn.deploy.target import Target
    from myop_cdn.errors import MyopCdnError

_MOST_NAMED = 10  # components or environments, beside one that is not known


@dataclass(frozen=True, slots=True)
class Selection:
    """Which documents are meant: of these components and environments, empty for all."""

    components: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()

    @property
    def is_everything(self) -> bool:
        """Whether nothing narrows it."""
        return not self.components and not self.environments

    def has(self, key: str) -> bool:
        """Whether the object is a document that is meant; the manifest never is."""
        ref = DocumentRef.of(key)
        return (
            ref is not None
            and (not self.components or ref.component_id in self.components)
            and (not self.environments or ref.environment in self.environments)
        )


@dataclass(frozen=True, slots=True)
class Past:
    """The commits of a log that can be read, newest first, and how the newest was found. older:
    how many there are beside these, which were not read.
    """

    view: View
    commits: tuple[Commit, ...]
    warnings: tuple[str, ...] = ()
    older: int = 0

    @classmethod
    def read(
        cls, log: Log, jobs: int, enough: Callable[[Commit], bool] | None = None, size: int = 100
    ) -> Past:
        """Read the commits, newest first, `size` at a time, up to the one that is `enough`.

        enough: called for each in turn; None: every commit is read. Raises StorageError, also
        where there is no log at all.
        """
        view = log.newest()
        if view.number == 0:
            raise unreadable(log)
        commits, warnings, left = [], list(view.warnings), 0
        for commit, older in log.newest_first(jobs, warnings, size):
            if commit.number > view.number:
                continue
            commits.append(commit)
            if enough is not None and enough(commit):
                left = older
                break
        return cls(view, tuple(commits), tuple(dict.fromkeys(warnings)), left)

    @classmethod
    def back_to(cls, log: Log, jobs: int, to: str, selection: Selection) -> Past:
        """Read no more commits than tell what the documents meant were as of `to`, a commit or a
        moment: those since, and older ones up to the last of each document that was touched since.

        Raises InputError, StorageError.
        """
        reached, has_reached, sought = _reached(to), False, set[str]()
        components, environments = {*selection.components}, {*selection.environments}

        def enough(commit: Commit) -> bool:
            nonlocal has_reached
            has_reached = has_reached or reached(commit)
            touched = chosen(commit, selection).keys()
            (sought.difference_update if has_reached else sought.update)(touched)
            for ref in filter(None, map(DocumentRef.of, commit.changes)):
                components.discard(ref.component_id)
                environments.discard(ref.environment)
            return has_reached and not (sought or components or environments)

        return cls.read(log, jobs, enough, 2 * jobs)

    def resolve(self, text: str) -> int:
        """The commit that a number or a moment (ISO 8601) names: of a moment, the last by then.

        Raises InputError for one that is not there, with the nearest.
        """
        number = check_number(text)
        numbers = [one.number for one in self.commits]
        if number is not None:
            if number in numbers:
                return number
            raise InputError(f"there is no commit {number}", self._nearest(number))
        at = _moment(text)
        by_then = [one.number for one in self.commits if one.at <= at]
        if by_then:
            return max(by_then)
        oldest = min(numbers, default=0)
        raise InputError(f"there is no commit as old as {written(at)}", self._nearest(oldest))

    def gap(self, number: int) -> str | None:
        """Why it is not known what was there as of this commit; None where it is known."""
        there = {one.number: one for one in self.commits}
        for one in range(self.view.number, number, -1):
            if one not in there:
                return f"commit {one} is missing or can't be read"
            if there[one].anew:
                return f"the log begins anew with commit {one}"
        return None

    def between(self, start: int, end: int, selection: Selection) -> dict[str, Change]:
        """What the commits after `start` up to `end` did together, by key; to the manifest, too,
        where nothing narrows it. Objects that ended as they were are left out.
        """
        total: dict[str, Change] = {}
        for commit in reversed(self.commits):
            if start < commit.number <= end:
                for key, change in chosen(commit, selection).items():
                    first = total.get(key, change)
                    total[key] = Change(first.before, change.after)
        return {key: one for key, one in sorted(total.items()) if _differs(one)}

    def unknown(self, selection: Selection) -> tuple[str, ...]:
        """A warning for each component and environment meant that no commit read names."""
        if selection.is_everything:
            return ()
        refs = {DocumentRef.of(key) for commit in self.commits for key in commit.changes}
        known = [ref for ref in refs if ref]
        log = f"none of the {len(self.commits)} newest commits" if self.older else "no commit"
        components = {ref.component_id for ref in known}
        environments = {ref.environment for ref in known}
        return (
            *_unknown(log, "component", selection.components, components),
            *_unknown(log, "environment", selection.environments, environments),
        )

    def contents(self) -> dict[str, set[str]]:
        """The SHA-256 of all that each object has held, by the commits."""
        found: dict[str, set[str]] = {}
        for commit in self.commits:
            for key, change in commit.changes.items():
                held = (end.sha256 for end in (change.before, change.after) if end)
                found.setdefault(key, set()).update(held)
        return found

    def _nearest(self, number: int) -> str:
        if not self.commits:
            return "no commit of the log can be read"
        near = min(self.commits, key=lambda one: (abs(one.number - number), one.number))
        return f"the nearest is {near.number}, of {written(near.at)}; 'history' lists them"


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """The commits that touched what is meant, newest first. held: keys that are held back; names:
    what people call what is, by key. older: how many commits beside these were not looked at.
    forgotten: how many kept contents were deleted; None where that was not asked for.
    """

    url: str
    commits: tuple[Commit, ...]
    held: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    forgotten: int | None = None
    names: Mapping[str, str] = field(default_factory=dict, compare=False)
    older: int = 0
    error: MyopCdnError | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn history --json`."""
        report: dict[str, Any] = {
            "command": "history",
            "url": self.url,
            "commits": [
                {
                    "commit": str(one.number),
                    "at": written(one.at),
                    "cause": one.cause.dump(),
                    "changes": changes_json(one.changes),
                }
                for one in self.commits
            ],
            "older": self.older,
            "held": list(self.held),
            "names": dict(self.names),
            "warnings": list(self.warnings),
        }
        if self.forgotten is not None:
            report["forgotten"] = self.forgotten
        return report


@dataclass(frozen=True, slots=True)
class DiffReport:
    """What changed from one commit to another; 0 is the time before the first."""

    url: str
    start: int
    end: int
    changes: Mapping[str, Change]
    warnings: tuple[str, ...] = ()
    error: MyopCdnError | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn diff --json`."""
        return {
            "command": "diff",
            "url": self.url,
            "from": str(self.start),
            "to": str(self.end),
            "changes": changes_json(self.changes),
            "warnings": list(self.warnings),
        }


def read_history(
    target: Target, selection: Selection, jobs: int, limit: int = 0, read: int = 0
) -> HistoryReport:
    """The newest commits at a destination that touched what is meant.

    limit: how many at the most. read: how many are read at the most, to find those. 0: all.
    Raises StorageError.
    """
    commits: list[Commit] = []
    looked_at = 0

    def enough(one: Commit) -> bool:
        nonlocal looked_at
        looked_at += 1
        changes = chosen(one, selection)
        if changes or selection.is_everything:
            commits.append(_with_changes(one, changes))
        return 0 < limit == len(commits) or looked_at == read

    most = limit if limit and selection.is_everything else read
    past = Past.read(target.log, jobs, enough, min(most or 100, 100))
    held = held_keys(past.view.state, selection)
    names = {key: _held_name(past, key) for key in held}
    warnings = (*past.warnings, *past.unknown(selection))
    url = target.store.url
    return HistoryReport(url, tuple(commits), held, warnings, names=names, older=past.older)


def read_diff(target: Target, start: str | None, end: str | None, jobs: int) -> DiffReport:
    """What changed from `start` to `end`, commits or moments; from `end` to `start` in reverse.
    No commit older than those is read.

    start: None for the commit before `end`. end: None for the newest. Raises InputError,
    StorageError.
    """
    reached = [_reached(text) for text in (start, end) if text is not None]
    size = jobs if reached else 1
    past = Past.read(target.log, jobs, lambda commit: all(one(commit) for one in reached), size)
    last = past.view.number if end is None else past.resolve(end)
    first = last - 1 if start is None else past.resolve(start)
    low, high = sorted((first, last))
    warnings = list(past.warnings)
    known = {one.number for one in past.commits}
    missing = next((one for one in range(low + 1, high + 1) if one not in known), None)
    if missing is not None:
        warnings.append(f"what commit {missing} did is not known any more")
    changes = past.between(low, high, Selection())
    if first > last:
        changes = {key: Change(one.after, one.before) for key, one in changes.items()}
    return DiffReport(target.store.url, first, last, changes, tuple(warnings))


def forget(target: Target, selection: Selection, jobs: int) -> HistoryReport:
    """Delete the kept contents of what is meant. What another document's past needs, or what a
    rollback has put in place, stays. Raises StorageError.
    """
    log, everything = target.log, selection.is_everything
    past = Past.read(log, jobs, lambda _: everything, 1 if everything else 100)
    start = log.history_key("")
    kept = {one.key.removeprefix(start) for one in log.store.list(start)}
    mine = kept if everything else set()
    others = {one.instead for one in past.view.state.holds.values()}
    if not everything:
        for key, hashes in past.contents().items():
            (mine if selection.has(key) else others).update(hashes)
    gone = sorted(kept & (mine - others))
    log.delete([log.history_key(sha256) for sha256 in gone])
    warnings = (*past.warnings, *past.unknown(selection))
    return HistoryReport(
        target.store.url, (), held_keys(past.view.state, selection), warnings, len(gone)
    )


def _held_name(past: Past, key: str) -> str:
    """What people call the content that a rollback took away of this document."""
    sha256 = past.view.state.holds[key].sha256
    for commit in past.commits:
        change = commit.changes.get(key)
        for one in (change.before, change.after) if change else ():
            if one is not None and one.sha256 == sha256:
                return spoken(key, one.name, one.label)
    return spoken(key, "")


def held_keys(state: State, selection: Selection) -> tuple[str, ...]:
    """The documents meant that are held back."""
    return tuple(sorted(key for key in state.holds if selection.has(key)))


def chosen(commit: Commit, selection: Selection) -> Mapping[str, Change]:
    """What a commit did to the documents meant."""
    if selection.is_everything:
        return commit.changes
    return {key: one for key, one in commit.changes.items() if selection.has(key)}


def changes_json(changes: Mapping[str, Change]) -> list[dict[str, Any]]:
    """Changes as in the JSON reports, by key."""
    listed = []
    for key, one in sorted(changes.items()):
        ref, known = DocumentRef.of(key), one.after or one.before
        said: dict[str, Any] = {"key": key}
        if ref is not None:
            said |= {"componentId": ref.component_id, "environment": ref.environment}
        said["component"] = known.name if known else ""
        listed.append({**said, "before": _entry(one.before), "after": _entry(one.after)})
    return listed


def check_names(kind: str, given: Collection[str]) -> frozenset[str]:
    """The names, a component's or an environment's. Raises InputError for one that is not."""
    for name in given:
        if problem := names.problem(name):
            raise InputError(f"{kind} {shown(name)!r} {problem}")
    return frozenset(given)


def _unknown(log: str, kind: str, meant: Collection[str], known: Collection[str]) -> list[str]:
    there = ", ".join(map(shown, sorted(known))) if len(known) <= _MOST_NAMED else ""
    return [
        f"{log} of the log names the {kind} {shown(name)}" + (f"; it names {there}" * bool(there))
        for name in sorted({*meant}.difference(known))
    ]


def _entry(one: Entry | None) -> dict[str, str] | None:
    if one is None:
        return None
    said = {
        "sha256": one.sha256,
        "variantId": one.variant,
        "variant": one.variant_name,
        "announced": one.announced,
    }
    return {name: value for name, value in said.items() if value}


def _with_changes(commit: Commit, changes: Mapping[str, Change]) -> Commit:
    return commit if changes is commit.changes else commit._replace(changes=changes)


def _differs(change: Change) -> bool:
    before, after = change.before, change.after
    return (before.sha256 if before else None) != (after.sha256 if after else None)


def _reached(text: str) -> Callable[[Commit], bool]:
    """Whether a commit is as old as the one that a number or a moment names. InputError."""
    number = check_number(text)
    if number is not None:
        return lambda commit: commit.number <= number
    at = _moment(text)
    return lambda commit: commit.at <= at


def _moment(text: str) -> datetime:
    try:
        return moment(text)
    except ValueError:
        pass
    raise InputError(
        f"{shown(text)!r} is neither a commit nor a time",
        "write a commit's number, or a time as 2026-03-24T10:00:00Z, with its zone",
    )
