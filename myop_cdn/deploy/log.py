"""The destination's log: who published what, when and why; a transaction log of small objects.

    log/<number, inverted>.json     one object per commit, written by create-if-absent
    state/<number, inverted>.json   a checkpoint now and then: all objects as of that commit
    history/<sha256>                contents that were replaced or deleted

It lies below `.myop-cdn/` beside the objects, or where `--ledger` says. As Delta Lake does it, a
commit is a numbered object that is created if it is absent: who comes second reads the commits
that came between, settles what they touched and takes the next number. Unlike there, numbers are
inverted, so that a listing of one key finds the newest; and every commit carries what is small
and holds for the whole destination (what is held back, what CDNs are still owed), so that a run
which looks at a few documents reads one commit and no checkpoint.

The objects themselves stay the truth. All of this may be deleted: the next full run looks at
every object and begins anew. It may be public, so it names no host, no user and no secret.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import datetime, timedelta
from operator import eq
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from myop_cdn.errors import PreconditionFailed, StorageError
from myop_cdn.model import is_layout
from myop_cdn.moments import moment, written
from myop_cdn.storage.base import JSON_TYPE, Body, Headers, Precondition
from myop_cdn.workers import Beside, each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from myop_cdn.deploy.options import HistoryLimit
    from myop_cdn.storage.base import ObjectInfo
    from myop_cdn.storage.store import Store

T = TypeVar("T")

FOLDER = ".myop-cdn/"
OLD_LEDGER = f"{FOLDER}ledger.json"  # what version 0.1.0 kept in place of a log
HEADERS = Headers(JSON_TYPE, "no-store")
CHECKPOINT_EVERY = 20  # commits; read by full runs alone, and written by them
RECENT = timedelta(hours=24)  # over which deletions are counted
_FORM = 2
_DIGITS = 12
_LARGEST = 999_999_999_999
_LEAP = 10**8  # numbers between two commits that are kept, at the most: more were never written
_INLINE = 8_000  # bytes of carried state that each commit may repeat
_INLINE_CHANGES = 100  # that a commit's own object holds
_MOST_REMEMBERED = 10_000  # changes of a commit that was read
_FEWEST_COMMITS = 100  # before old ones are cleared
_AT_ONCE = 100  # commits that are read before it is seen whether they are enough
_PART = 1000  # objects that are written, and read, at once
_OBJECTS = b',"objects":'  # of a checkpoint
_BETWEEN = b",\n"  # the parts, and nowhere else: within them JSON has no line break
_COMMIT_LIMIT = 256 * 2**20
LAST_SECOND = 253_402_300_799  # of the year 9999, since 1970
_NAME = re.compile(f"([0-9]{{{_DIGITS}}})(-.*)?[.]json")
_APART = re.compile("changes/[0-9a-f]{16}[.]json")
_GARBAGE = (KeyError, TypeError, AttributeError, RecursionError, OverflowError)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Entry(NamedTuple):
    """One object as it was put.

    sha256: of the stored bytes, lower-case hex. headers: their fingerprint, None where the
    service keeps none. version: the service's. asked: when Myop was asked for it, in seconds
    since 1970 by Myop's clock; 0 where not known. name: the component's. variant, variant_name:
    what the document holds. announced: the sender's timestamp (ISO 8601) of the release that
    announced that variant; "" where none did. since: when that variant came here, in seconds since
    1970 by the clock of who put it; 0 where not known.
    """

    sha256: str
    headers: str | None = None
    version: str = ""
    asked: int = 0
    name: str = ""
    variant: str = ""
    variant_name: str = ""
    announced: str = ""
    since: int = 0

    @property
    def label(self) -> str:
        """The variant for people: its name, or its id where it has none."""
        return self.variant_name or self.variant

    def dump(self) -> list[str | int | None]:
        """As JSON: the fields in their order, without the empty ones at the end."""
        values: list[str | int | None] = [*self]
        while len(values) > 2 and not values[-1]:
            values.pop()
        if values[1:] == [None]:  # "" is another fingerprint than none at all
            values.pop()
        return values

    @classmethod
    def parse(cls, value: Any) -> Entry:
        """The opposite. Raises ValueError, TypeError."""
        (one,) = cls.parse_all([value])
        return one

    @classmethod
    def parse_all(cls, values: Sequence[Any]) -> list[Entry]:
        """As `parse`, for many: all are looked at field by field, which takes a third of the time
        that one after the other does. Raises ValueError, TypeError.
        """
        if not values:
            return []
        if not {list}.issuperset(map(type, values)):
            raise TypeError("not an entry")
        rows = ((*value, *_DEFAULTS[len(value) :]) for value in values)
        columns = list(zip(*rows, strict=True))
        for column, kind in zip(columns, _KINDS, strict=True):
            if not kind.issuperset(map(type, column)):
                raise TypeError("not an entry")
        for column in (columns[_ASKED], columns[_SINCE]):
            if min(column) < 0 or max(column) > LAST_SECOND:
                raise ValueError("a moment out of range")
        # A text stands in many entries, or in what a listing and the tree tell of the same object,
        # and so does a moment: each is kept once.
        moments: dict[int, int] = {}
        kept = (
            map(moments.setdefault, column, column)
            if kind is _NUMBER
            else (one and intern(one) for one in column)
            for column, kind in zip(columns, _KINDS, strict=True)
        )
        return list(map(cls._make, zip(*kept, strict=True)))


_DEFAULTS: tuple[Any, ...] = ("", None, "", 0, "", "", "", "", 0)
_TEXT: set[type] = {str}
_NUMBER: set[type] = {int}
_KINDS = (_TEXT, {*_TEXT, type(None)}, _TEXT, _NUMBER, _TEXT, _TEXT, _TEXT, _TEXT, _NUMBER)
_ASKED, _SINCE = 3, 8


class Change(NamedTuple):
    """What one commit did to one object. None: the object was, or is, not there."""

    before: Entry | None
    after: Entry | None


class Hold(NamedTuple):
    """What a rollback took away: content of this SHA-256, or ("") the object's absence.

    instead: the SHA-256 of what the rollback put there; "" where it put nothing.
    """

    sha256: str
    instead: str = ""


class State(NamedTuple):
    """What holds for the whole destination, carried from commit to commit.

    holds: by key. owed: keys that CDNs were not told of yet, by a fingerprint of the CDN's name.
    gone: since when documents have been gone from Myop (ISO 8601). removed: moments (seconds
    since 1970) and numbers of deletions within the last day. ignores_conditions: the service
    carries conditional writes out whatever is there; None: not known yet.
    """

    holds: Mapping[str, Hold] = {}
    owed: Mapping[str, tuple[str, ...]] = {}
    gone: Mapping[str, str] = {}
    removed: tuple[tuple[int, int], ...] = ()
    ignores_conditions: bool | None = None

    def removed_since(self, moment: datetime) -> int:
        """How many documents were deleted after `moment`."""
        since = moment.timestamp()
        return sum(count for at, count in self.removed if at > since)

    def removed_with(self, count: int, now: datetime) -> tuple[tuple[int, int], ...]:
        """`removed` with so many deletions now, and without what is older than a day."""
        if not count:
            return self.removed
        since = (now - RECENT).timestamp()
        recent = (one for one in self.removed if one[0] > since)
        return (*recent, (int(now.timestamp()), count))

    def joined(self, other: State, base: State) -> State:
        """With what `other` did to `base`, beside which this was made."""
        return State(
            _joined(self.holds, other.holds, base.holds),
            _joined(self.owed, other.owed, base.owed),
            _joined(self.gone, other.gone, base.gone),
            tuple(sorted({*self.removed, *other.removed})),
            self.ignores_conditions or other.ignores_conditions,
        )

    def dump(self) -> dict[str, Any]:
        """As JSON, without what is empty."""
        value: dict[str, Any] = {}
        if self.holds:
            value["holds"] = {k: [one.sha256, one.instead] for k, one in self.holds.items()}
        if owed := {cdn: list(keys) for cdn, keys in sorted(self.owed.items()) if keys}:
            value["owed"] = owed
        if self.gone:
            value["gone"] = dict(self.gone)
        if self.removed:
            value["removed"] = [list(one) for one in self.removed]
        if self.ignores_conditions is not None:
            value["conditions"] = "ignored" if self.ignores_conditions else "kept"
        return value

    @classmethod
    def parse(cls, value: Any) -> State:
        """The opposite. Raises ValueError, TypeError, KeyError, AttributeError."""
        conditions = value.get("conditions")
        return cls(
            {str(k): Hold(str(a), str(b)) for k, (a, b) in value.get("holds", {}).items()},
            {str(cdn): tuple(map(str, keys)) for cdn, keys in value.get("owed", {}).items()},
            {str(key): str(since) for key, since in value.get("gone", {}).items()},
            tuple((int(at), int(count)) for at, count in value.get("removed", ())),
            None if conditions is None else conditions == "ignored",
        )


class Cause(NamedTuple):
    """Why something is published. command: "publish", "deploy", "rollback", … delivery: the
    delivery's id in the listener's journal. announced: the newest timestamp (ISO 8601) that the
    sender signed. scope: "full", "incremental", or what was rolled back to.
    """

    command: str
    scope: str = ""
    delivery: str = ""
    announced: str = ""

    def dump(self) -> dict[str, str]:
        """As JSON, without what is empty."""
        values = {
            "command": self.command,
            "scope": self.scope,
            "delivery": self.delivery,
            "announced": self.announced,
        }
        return {name: value for name, value in values.items() if value}

    @classmethod
    def parse(cls, value: Any) -> Cause:
        """The opposite."""
        known = ("command", "scope", "delivery", "announced")
        return cls(*(str(value.get(name, "")) for name in known))


class Commit(NamedTuple):
    """One commit. at: when, by the clock of who wrote it, aware. changes: by key. anew: what
    had been before was not known when it was written, so nothing can be taken back past it.
    state_at: the commit that spells out the state, where this one does not. changes_at: where the
    changes are, below the log's folder, where they are kept apart; `changes` may be empty then.
    """

    number: int
    id: str
    at: datetime
    cause: Cause
    changes: Mapping[str, Change]
    state: State = State()
    anew: bool = False
    state_at: int | None = None
    changes_at: str | None = None

    def dump(self) -> bytes:
        """The bytes of the object."""
        changes = self.dump_changes() if self.changes_at is None else _json(self.changes_at)
        head: dict[str, Any] = {"form": _FORM, "number": self.number, "id": self.id}
        head |= {"at": written(self.at), "cause": self.cause.dump()}
        if self.anew:
            head["anew"] = True
        state = self.state.dump() if self.state_at is None else self.state_at
        return b'%b,"state":%b,"changes":%b}' % (_json(head)[:-1], _json(state), changes)

    def dump_changes(self) -> bytes:
        """The changes alone. Part by part: as one value they would take the memory twice."""
        changes = list(self.changes.items())
        parts = (changes[start : start + _PART] for start in range(0, len(changes), _PART))
        return b"{%b}" % _BETWEEN.join(_json(dict(map(_dumped, part)))[1:-1] for part in parts)

    @classmethod
    def parse(cls, data: bytes) -> Commit:
        """The commit in `data`. Raises ValueError where it is none, or of a later form."""
        try:
            raw = _parsed(data)
            state, changes = raw["state"], raw["changes"]
            apart = isinstance(changes, str)
            if apart and not _APART.fullmatch(changes):
                raise ValueError("its changes are kept elsewhere")
            return cls(
                int(raw["number"]),
                str(raw["id"]),
                moment(raw["at"]),
                Cause.parse(raw["cause"]),
                {} if apart else _changes(changes),
                State() if isinstance(state, int) else State.parse(state),
                bool(raw.get("anew")),
                state if isinstance(state, int) else None,
                changes if apart else None,
            )
        except _GARBAGE as error:
            raise ValueError(f"not a commit ({type(error).__name__})") from None


class Checkpoint(NamedTuple):
    """All objects as of one commit. kept: how many commits there were when old ones were cleared
    for the last time.
    """

    number: int
    objects: dict[str, Entry]
    kept: int = 0

    def dump(self) -> bytes:
        """The bytes of the object. Part by part: as one value it would take the memory twice."""
        keys = sorted(self.objects)
        parts = (keys[start : start + _PART] for start in range(0, len(keys), _PART))
        joined = _BETWEEN.join(
            _json({key: self.objects[key].dump() for key in part})[1:-1] for part in parts
        )
        head = _json({"form": _FORM, "number": self.number, "kept": self.kept})
        return b"%b%b{%b}}" % (head[:-1], _OBJECTS, joined)

    @classmethod
    def parse(cls, data: bytes) -> Checkpoint:
        """The checkpoint in `data`. Raises ValueError where it is none, or of a later form."""
        try:
            start = data.index(_OBJECTS)
            raw = _parsed(data[:start] + b"}")
            objects: dict[str, Entry] = {}
            for part in _parts(data, start + len(_OBJECTS), len(data) - 1):
                objects.update(zip(_keys(part), Entry.parse_all([*part.values()]), strict=True))
            return cls(int(raw["number"]), objects, int(raw["kept"]))
        except _GARBAGE as error:
            raise ValueError(f"not a checkpoint ({type(error).__name__})") from None


class View(NamedTuple):
    """The log as it was read at one moment.

    newest: the newest commit, its changes left out; None where there is none, or it can't be read.
    number: its number, 0 where there is no commit. state: as it carries it. objects: all objects,
    where everything was read and nothing was missing; else None. base_at, as_of: see `moment_of`.
    checkpoint: the number of the newest one, None where there is none. old: a ledger of version
    0.1.0 was read in its place. kept: see `Checkpoint`. warnings: what could not be read.
    """

    newest: Commit | None = None
    number: int = 0
    state: State = State()
    objects: Mapping[str, Entry] | None = None
    base_at: datetime | None = None
    as_of: Mapping[str, datetime | None] = {}
    checkpoint: int | None = None
    old: bool = False
    kept: int = 0
    warnings: tuple[str, ...] = ()

    def moment_of(self, key: str) -> datetime | None:
        """The service's moment at which the entry of an object was written, at the latest; None
        where it is not known.
        """
        return self.as_of.get(key, self.base_at)

    @property
    def is_empty(self) -> bool:
        """Whether there is no log at all."""
        return self.number == 0 and self.checkpoint is None and not self.old


class Log:
    """The log of one destination: the objects below `folder` in `store`.

    old_ledger: the key of the ledger that version 0.1.0 kept.
    """

    def __init__(self, store: Store, folder: str = FOLDER, old_ledger: str = OLD_LEDGER) -> None:
        self.store = store
        self.folder = folder
        self.old_ledger = old_ledger
        self._read: dict[int, Commit] = {}

    def newest(self) -> View:
        """What the newest commit tells: a listing of two keys, and that object.

        Raises StorageError.
        """
        view = None
        while view is None:
            view = self.view_of(self.newest_listed())
        return view

    def newest_listed(self) -> Sequence[ObjectInfo]:
        """Where the newest commit is, to be read by `view_of`. Raises StorageError."""
        return self._names(2)

    def view_of(self, listed: Sequence[ObjectInfo]) -> View | None:
        """What that commit tells; None where it was cleared since it was listed. StorageError."""
        number = self._number(listed[0]) if listed else 0
        if not listed or number == 0:
            return View()
        is_one = len(listed) < 2 or self._number(listed[1]) != number
        try:
            commit = self._commit(listed[0].key, whole=False) if is_one else self.commit(number)
        except ValueError as error:
            problem = f"the newest commit of the log could not be read ({error})"
            return View(None, number, warnings=(problem,))
        return None if commit is None else View(commit, number, self.state_of(commit))

    def everything(self, jobs: int) -> View:
        """All objects as the log has them: the newest checkpoint and the commits since.

        Raises StorageError.
        """
        listing = Beside(lambda: self.store.list(f"{self.folder}state/"), "look")
        listed, has_ledger = self._listed()
        states = self._real(listing.result())
        if listed and states and self._number(states[0]) > max(listed):
            listed, has_ledger = self._listed()  # written in between, after its commit
        numbers = sorted(listed, reverse=True)
        if numbers:
            states = [one for one in states if self._number(one) <= numbers[0]]
        expected = self._number(states[0]) if states else 0
        warnings: list[str] = []
        reading = Beside(lambda: self._checkpoint(states, warnings), "look")
        since = [one.key for number in numbers if number > expected for one in listed[number]]
        commits = self._commits(since, jobs, warnings)
        checkpoint, base_at = reading.result()
        taken_over = State()
        old = False
        if checkpoint is None and has_ledger and (found := self._old_ledger(warnings)) is not None:
            checkpoint, base_at, taken_over = found
            old = True
        base = checkpoint.number if checkpoint else 0
        if base < expected:
            missed = [number for number in numbers if base < number <= expected]
            since = [one.key for number in missed for one in listed[number]]
            commits |= self._commits(since, jobs, warnings)
        newest = commits.get(numbers[0]) if numbers else None
        if numbers and newest is None and numbers[0] <= base:
            keys = [one.key for one in listed[numbers[0]]]
            whole = len(keys) > 1  # the checkpoint has the changes of a commit that stands alone
            newest = self._commits(keys, 1, warnings, whole=whole).get(numbers[0])
        number = max(numbers[0] if numbers else 0, base)
        order = sorted(commits)
        # A number is only a name in a listing: no list may be made as long as it says.
        whole = len(order) == number - base and all(map(eq, order, range(base + 1, number + 1)))
        if numbers and not whole:
            warnings.append("commits of the log are missing or damaged: every object is looked at")
        state = self.state_of(newest) if newest else taken_over
        if old and newest:
            state = state._replace(owed={**taken_over.owed, **state.owed})
        view = View(
            newest and newest._replace(changes={}),
            number,
            state,
            checkpoint=base or None,
            old=old,
            kept=checkpoint.kept if checkpoint else 0,
            warnings=tuple(warnings),
        )
        if not whole or (view.is_empty and not commits):
            return view
        if checkpoint is None:
            base_at = listed[order[0]][-1].modified
        objects = checkpoint.objects if checkpoint else {}
        as_of: dict[str, datetime | None] = {}
        for one in order:
            at = listed[one][-1].modified
            for key, change in commits[one].changes.items():
                if change.after is None:
                    objects.pop(key, None)
                else:
                    objects[key] = change.after
                if at == base_at:
                    as_of.pop(key, None)
                else:
                    as_of[key] = at
        return view._replace(objects=objects, base_at=base_at, as_of=as_of)

    def _listed(self) -> tuple[dict[int, list[ObjectInfo]], bool]:
        """All commits by number (there may be several where a service ignores conditions), and
        whether there may be a ledger of version 0.1.0.
        """
        start = f"{self.folder}log/"
        # The ledger's name and the log's begin alike, so that one listing has both.
        common = f"{self.folder}l" if self.old_ledger == f"{self.folder}ledger.json" else start
        found = self.store.list(common)
        listed: dict[int, list[ObjectInfo]] = {}
        for one in self._real([one for one in found if one.key.startswith(start)]):
            listed.setdefault(self._number(one), []).append(one)
        return listed, common == start or any(one.key == self.old_ledger for one in found)

    def commit(self, number: int) -> Commit | None:
        """The commit of this number; None where it is gone or can't be read. StorageError."""
        known = self._read.get(number)
        if known is None or (known.changes_at and not known.changes):
            keys = [one.key for one in self.store.list(f"{self.folder}log/{_inverted(number)}")]
            return self._commits(keys, 1, []).get(number)
        return known

    def since(self, number: int) -> tuple[int, list[Commit]]:
        """The newest commit's number and the commits after `number`, oldest first; one that can't
        be read is left out. Raises StorageError.
        """
        size = 10
        while True:
            found = [one for one in self._names(size) if self._number(one) > number]
            if len(found) < size:
                break
            size *= 10
        newer = self._commits([one.key for one in found], 1, [])
        last = max((self._number(one) for one in found), default=number)
        return last, [newer[one] for one in sorted(newer)]

    def all(self, jobs: int) -> tuple[list[Commit], list[str]]:
        """Every commit that can be read, newest first, and warnings. Raises StorageError."""
        warnings: list[str] = []
        return [commit for commit, _ in self.newest_first(jobs, warnings)], warnings

    def newest_first(
        self, jobs: int, warnings: list[str], size: int = _AT_ONCE
    ) -> Iterator[tuple[Commit, int]]:
        """The commits that can be read, newest first, each with how many are older. They are read
        `size` at a time, as they are wanted.

        warnings: takes what can't be read. Raises StorageError.
        """
        keys: dict[int, list[str]] = {}
        for one in self._names():
            keys.setdefault(self._number(one), []).append(one.key)
        numbers = sorted(keys, reverse=True)
        for start in range(0, len(numbers), size):
            part = numbers[start : start + size]
            known = {one: self._read[one] for one in part if self._has_read(one, keys[one])}
            unread = [key for one in part if one not in known for key in keys[one]]
            found = known | self._commits(unread, jobs, warnings)
            for at, number in enumerate(part, start + 1):
                if number in found:
                    yield found[number], len(numbers) - at

    def _has_read(self, number: int, keys: Sequence[str]) -> bool:
        """Whether the commit of this number, at these keys, is known with its changes."""
        known = self._read.get(number)
        return known is not None and len(keys) == 1 and bool(known.changes or not known.changes_at)

    def append(self, commit: Commit) -> bool:
        """Write a commit under its number; False where somebody else has that number already.

        Raises StorageError.
        """
        key = self.key_of(commit)
        short = self._shortened(commit)
        if len(commit.changes) > _INLINE_CHANGES:
            # Who publishes one document reads the newest commit: it must not be as long as a
            # full run's changes.
            short = short._replace(changes_at=f"changes/{commit.id}.json")
            apart = Body.of(commit.dump_changes())
            self.store.put(f"{self.folder}{short.changes_at}", apart, HEADERS)
        body = Body.of(short.dump())
        if commit.state.ignores_conditions:
            # Nobody can be kept from a number: each writer has a name of its own.
            self.store.put(key, body, HEADERS)
        else:
            try:
                self.store.put(key, body, HEADERS, precondition=Precondition(None))
            except PreconditionFailed:
                # Or a write whose answer was lost on the way was tried again, and found itself.
                there = self.store.get(key, _COMMIT_LIMIT)
                return there is not None and there.data == body.data
        self._read[commit.number] = commit
        return True

    def key_of(self, commit: Commit) -> str:
        """Where a commit is kept."""
        suffix = f"-{commit.id}" if commit.state.ignores_conditions else ""
        return f"{self.folder}log/{_inverted(commit.number)}{suffix}.json"

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint. One that is there already says the same. Raises StorageError."""
        key = f"{self.folder}state/{_inverted(checkpoint.number)}.json"
        self.store.put(key, Body.of(checkpoint.dump()), HEADERS)

    def drop_old_ledger(self) -> None:
        """Delete the ledger that was taken over. Raises StorageError."""
        self.store.delete([self.old_ledger])

    def state_of(self, commit: Commit) -> State:
        """What a commit carries; where it names another that spells it out, what that one says.

        Raises StorageError.
        """
        if commit.state_at is None:
            return commit.state
        spelled = self.commit(commit.state_at)
        return spelled.state if spelled else State()

    def history_key(self, sha256: str) -> str:
        """Where content of this hash is kept."""
        return f"{self.folder}history/{sha256}"

    def ignores_conditions(self, version: str | None) -> bool:
        """Whether the service carries a conditional write out whatever is there.

        Tried with an object that is not there, to be replaced if it has `version`, any version
        the service has given; None where none is known. Raises StorageError.
        """
        probe, body = f"{self.folder}probe.json", Body.of(b"{}")
        if version is None:
            version = self.store.put(probe, body, HEADERS)
            self.store.delete([probe])
        try:
            self.store.put(probe, body, HEADERS, precondition=Precondition(version))
        except PreconditionFailed:
            return False
        self.store.delete([probe])
        return True

    def clear(self, newest: Commit, limit: HistoryLimit, jobs: int, kept: int) -> int:
        """Delete commits and contents that are not to be kept any longer; how many stay.

        Every commit has to be read for that, so it is done when they have become twice as many as
        stayed the last time (`kept`). Contents are deleted a day after they were put there: a
        run that has not committed yet may need them. Raises StorageError.
        """
        listed = self.store.list(f"{self.folder}log/")
        if len(listed) < max(_FEWEST_COMMITS, 2 * kept):
            return kept
        commits, _ = self.all(jobs)
        spent: dict[str, int] = {}
        needed = {newest.state_at, newest.number}
        hashes = {hold.instead for hold in self.state_of(newest).holds.values()}
        for commit in commits:
            for key, change in commit.changes.items():
                spent[key] = spent.get(key, 0) + 1
                young = limit.age is not None and newest.at - commit.at <= limit.age
                if young or (limit.age is None and spent[key] <= limit.count):
                    needed.add(commit.number)
                    hashes |= {one.sha256 for one in (change.before, change.after) if one}
        gone = [one.key for one in listed if self._number(one) not in needed]
        ids = {commit.id for commit in commits if commit.number in needed}
        start = f"{self.folder}changes/"
        for one in self.store.list(start):
            is_old = one.modified is None or newest.at - one.modified > RECENT
            if is_old and one.key.removeprefix(start).removesuffix(".json") not in ids:
                gone.append(one.key)
        start = f"{self.folder}history/"
        for one in self.store.list(start):
            is_old = one.modified is not None and newest.at - one.modified > RECENT
            if is_old and one.key.removeprefix(start) not in hashes:
                gone.append(one.key)
        gone += [
            one.key
            for one in self.store.list(f"{self.folder}state/")
            if self._number(one) < newest.number
        ]
        self.delete(gone)
        return len(needed)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects of the log. Raises StorageError."""
        size = self.store.delete_batch
        for at in range(0, len(keys), size):
            self.store.delete(keys[at : at + size])

    def _shortened(self, commit: Commit) -> Commit:
        """With a reference in place of a large state that an earlier commit spells out."""
        before = self._read.get(commit.number - 1)
        if before is None or len(_json(commit.state.dump())) <= _INLINE:
            return commit
        same = commit.state == self.state_of(before)
        at = before.number if before.state_at is None else before.state_at
        return commit._replace(state_at=at) if same else commit

    def _names(self, most: int | None = None) -> list[ObjectInfo]:
        """Where the commits are, the newest first; the first `most`, where that is given."""
        size = most
        while True:
            listed = self.store.list(f"{self.folder}log/", size)
            found = self._real(listed)
            if most is None or size is None or len(found) >= most or len(listed) < size:
                return found[:most]
            size *= 10

    def _real(self, listed: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        """Those of these that have the name of a commit, or of a checkpoint, and a number that may
        have been reached: one far beyond all others is somebody else's, and going on after it
        numbers would run out.
        """
        real, last = [], 0
        for one in reversed(listed):
            number = self._number(one)
            if 0 < number <= last + _LEAP:
                real.append(one)
                last = number
        real.reverse()
        return real

    def _number(self, info: ObjectInfo) -> int:
        """The number in a commit's or checkpoint's name; 0 for a foreign object."""
        name = _NAME.fullmatch(info.key.rpartition("/")[2])
        return _LARGEST - int(name[1]) if name else 0

    def _commit(self, key: str, *, whole: bool = True) -> Commit | None:
        """The commit at `key`, None where there is nothing. Raises ValueError, StorageError.

        whole: with its changes where they are kept apart.
        """
        blob = self.store.get(key, _COMMIT_LIMIT)
        if blob is None:
            return None
        commit = Commit.parse(blob.data)
        if whole and commit.changes_at is not None:
            apart = self.store.get(f"{self.folder}{commit.changes_at}", _COMMIT_LIMIT)
            if apart is None:
                raise ValueError("its changes are gone")
            commit = commit._replace(changes=parse_changes(apart.data))
        self._remember(commit)
        return commit

    def _remember(self, commit: Commit) -> None:
        is_large = commit.changes_at is not None and len(commit.changes) > _MOST_REMEMBERED
        self._read[commit.number] = commit._replace(changes={}) if is_large else commit

    def _commits(
        self, keys: Sequence[str], jobs: int, warnings: list[str], *, whole: bool = True
    ) -> dict[int, Commit]:
        """The commits at these keys, by number; what can't be read is warned of. whole: see
        `_commit`.
        """
        found: dict[int, list[Commit]] = {}

        def read(key: str) -> Commit | None:
            try:
                return self._commit(key, whole=whole)
            except ValueError as error:
                warnings.append(f"{key} could not be read ({error})")
                return None

        for done in each(read, keys, jobs, "log", lambda error: error is not None):
            if done.error is not None:
                raise done.error
            if done.result is not None:
                found.setdefault(done.result.number, []).append(done.result)
        together: dict[int, Commit] = {}
        for number in sorted(found):
            together[number] = self._together(found[number])
            self._remember(together[number])
        return together

    def _together(self, commits: list[Commit]) -> Commit:
        """Commits of one number as one: a service that ignores conditions keeps nobody from it."""
        first, *others = sorted(commits, key=lambda one: (one.at, one.id))
        if not others:
            return first
        before = self.commit(first.number - 1)
        base = self.state_of(before) if before else State()
        changes, state = dict(first.changes), self.state_of(first)
        for other in others:
            state = state.joined(self.state_of(other), base)
            for key, change in other.changes.items():
                earlier = changes.get(key)
                changes[key] = change._replace(before=earlier.before) if earlier else change
        last = others[-1]._replace(changes=changes, state=state, state_at=None, changes_at=None)
        return last._replace(anew=any(one.anew for one in commits))

    def _checkpoint(
        self, states: Sequence[ObjectInfo], warnings: list[str]
    ) -> tuple[Checkpoint | None, datetime | None]:
        for one in states:
            blob = self.store.get(one.key)
            try:
                return (Checkpoint.parse(blob.data), one.modified) if blob else (None, None)
            except ValueError as error:
                warnings.append(f"{one.key} could not be read ({error})")
        return None, None

    def _old_ledger(self, warnings: list[str]) -> tuple[Checkpoint, datetime | None, State] | None:
        """What a ledger of version 0.1.0 remembers, as a checkpoint before the first commit."""
        blob = self.store.get(self.old_ledger)
        if blob is None:
            return None
        info = self.store.head(self.old_ledger)
        try:
            raw = json.loads(blob.data)
            if raw["form"] != 1:
                raise ValueError(f"form {raw['form']!r} is not known")
            objects = {
                key: Entry.parse([sha256, headers, version or ""])
                for key, (sha256, headers, version) in raw["objects"].items()
            }
            owed = {cdn: tuple(map(str, keys)) for cdn, keys in raw["pending"].items()}
            ignored = True if raw.get("conditions") == "ignored" else None
        except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
            why = str(error) if type(error) is ValueError else type(error).__name__
            warnings.append(f"the ledger could not be read ({why}); every object is looked at")
            return Checkpoint(0, {}), None, State()
        state = State(owed=owed, ignores_conditions=ignored)
        return Checkpoint(0, objects), info.modified if info else None, state


def parse_changes(data: bytes) -> dict[str, Change]:
    """The changes in `data`, by key. Raises ValueError where it is something else."""
    changes: dict[str, Change] = {}
    try:
        for part in _parts(data, 0, len(data)):
            changes |= _changes(part)
    except _GARBAGE as error:
        raise ValueError(f"not the changes of a commit ({type(error).__name__})") from None
    return changes


def new_id() -> str:
    """A random name for a commit."""
    return os.urandom(8).hex()


def name_fingerprint(name: str) -> str:
    """A CDN's or a destination's name in the log: 16 hex digits, so that accounts stay out."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def check_number(text: str) -> int | None:
    """The commit that `text` names, or None where it names none."""
    return int(text) if text.isdecimal() and len(text) < _DIGITS else None


def unreadable(log: Log) -> StorageError:
    """What is said where a command needs a log and there is none."""
    return StorageError(f"{log.store.url}: nothing was published here yet: there is no log")


def _joined(mine: Mapping[str, T], theirs: Mapping[str, T], base: Mapping[str, T]) -> dict[str, T]:
    """What two made of `base`, each on its own; where both changed a key, what is theirs."""
    joined = dict(mine)
    for key in theirs.keys() | base.keys():
        if theirs.get(key) == base.get(key):
            continue
        if key in theirs:
            joined[key] = theirs[key]
        else:
            joined.pop(key, None)
    return joined


def _inverted(number: int) -> str:
    return f"{_LARGEST - number:0{_DIGITS}d}"


def _json(value: Any) -> bytes:
    return _encoder.encode(value).encode("utf-8", "surrogatepass")


def _parsed(data: bytes) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(data)
    if raw["form"] != _FORM:
        raise ValueError(f"form {raw['form']!r} is not known")
    return raw


def _dumped(item: tuple[str, Change]) -> tuple[str, list[Any]]:
    key, change = item
    before = change.before.dump() if change.before else None
    return key, [before, change.after.dump() if change.after else None]


def _parts(data: bytes, start: int, end: int) -> Iterator[dict[str, Any]]:
    """The members of the JSON object that `data` is from `start` to `end`, part by part, as they
    were written: as one value they would take their memory twice. Raises ValueError.
    """
    if data[start : start + 1] != b"{" or data[end - 1 : end] != b"}":
        raise ValueError("not an object")
    at = start + 1
    while at < end:
        to = data.find(_BETWEEN, at, end - 1)
        to = end - 1 if to < 0 else to
        part: dict[str, Any] = json.loads(b"{%b}" % data[at:to])
        yield part
        at = to + len(_BETWEEN)


def _changes(part: Mapping[str, Any]) -> dict[str, Change]:
    befores, afters = zip(*part.values(), strict=True) if part else ((), ())
    changes = map(Change, _optional(befores), _optional(afters))
    return dict(zip(_keys(part), changes, strict=True))


def _optional(values: Sequence[Any]) -> list[Entry | None]:
    entries = iter(Entry.parse_all([one for one in values if one is not None]))
    return [None if one is None else next(entries) for one in values]


def _keys(keys: Iterable[str]) -> Iterator[str]:
    """These keys, of objects that this program may have put there. Raises ValueError."""
    for key in keys:
        usual = key.startswith("components/") and key.endswith(".json")
        if (not usual or "/." in key or "//" in key) and not is_layout(key):
            raise ValueError("a key outside of the tree")
        yield intern(key)
