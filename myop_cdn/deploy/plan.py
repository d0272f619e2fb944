"""What a deploy is going to do, and what is refused for safety. Pure: values in, values out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from myop_cdn.errors import RefusedError
from myop_cdn.model import MANIFEST, DocumentRef, largest_component
from myop_cdn.moments import moment, written
from myop_cdn.report import Overtaken, Reason, Upload

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from myop_cdn.deploy.log import Hold
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.remote import RemoteObject
    from myop_cdn.deploy.source import LocalObject, Source

CACHED_FOR = timedelta(minutes=10)  # how long Myop may answer from a cache, at the most
LATER = "the destination holds a later one"
HELD = "held back since it was rolled back; another content, or rollback --resume, lifts that"


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides beside the objects themselves.

    headers: the fingerprint of the headers to serve with, None where none can be kept. holds:
    what is held back. by_moment: documents whose moment is known are held against the moment of
    what is there (they may have been exported long ago). force: put them there all the same.
    now: where Myop told no moment.
    """

    headers: str | None = None
    holds: Mapping[str, Hold] = field(default_factory=dict)
    by_moment: bool = False
    force: bool = False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


class Plan(NamedTuple):
    """What is to be done with each document. Keys are sorted.

    cached: documents whose content looks like a cached answer of Myop's.
    """

    uploads: tuple[Upload, ...] = ()
    unchanged: tuple[str, ...] = ()
    overtaken: tuple[Overtaken, ...] = ()
    cached: tuple[str, ...] = ()


def make_plan(
    wanted: Mapping[str, LocalObject], remote: Mapping[str, RemoteObject], rules: Rules
) -> Plan:
    """Hold what is wanted against what is there, by key."""
    uploads: list[Upload] = []
    unchanged: list[str] = []
    overtaken: list[Overtaken] = []
    cached: list[str] = []
    for key in sorted(wanted):
        mine, there = wanted[key], remote.get(key)
        reason = _reason(mine, there, rules.headers)
        if reason is None:
            unchanged.append(key)
        elif reason != "headers" and (why := _overtaken(mine, there, rules)):
            overtaken.append(Overtaken(key, why))
        elif reason == "content" and there and not rules.force and looks_cached(mine, there, rules):
            cached.append(key)
        else:
            uploads.append(_upload(key, reason, mine, there))
    return Plan(tuple(uploads), tuple(unchanged), tuple(overtaken), tuple(cached))


def needs_facts(mine: LocalObject, there: RemoteObject, rules: Rules) -> bool:
    """Whether it has to be known what the object there remembers, and is not."""
    if there.facts is not None or rules.force or there.same_content(mine) is not False:
        return False
    return bool(mine.variants) or (rules.by_moment and mine.is_noted)


def looks_cached(mine: LocalObject, there: RemoteObject, rules: Rules) -> bool:
    """Whether `mine` is taken for an answer from a cache: what is there was announced less than
    ten minutes before, and `mine` holds another variant and was not announced later.
    """
    facts = there.facts
    if facts is None or not facts.announced or not mine.variants or facts.variant in mine.variants:
        return False
    try:
        announced = moment(facts.announced)
        if mine.entry.announced and moment(mine.entry.announced) > announced:
            return False
    except ValueError:
        return False
    asked = datetime.fromtimestamp(mine.entry.asked, UTC) if mine.entry.asked else rules.now
    return asked - announced < CACHED_FOR


def may_delete(source: Source, options: DeployOptions) -> tuple[bool, str | None]:
    """Whether this source may delete at all, and a note where `delete` is passed over.

    Raises RefusedError where deleting was asked for and the tree is not a whole one.
    """
    if not options.delete:
        return False, None
    why = _incomplete(source)
    if why is None:
        return not source.broken, None
    if options.skip_partial_delete:
        return False, f"--delete was passed over: {why}"
    raise RefusedError(
        f"--delete needs a complete tree, and {why}",
        "run a full sync first (myop-cdn sync --full), or leave --delete out",
    )


def check_limit(
    gone: Collection[str], there: Collection[str], recent: int, options: DeployOptions
) -> None:
    """Raise RefusedError where more would be deleted than may be.

    gone: the documents to be deleted. there: all documents of this tool there. recent: how many
    were deleted within the last day.
    """
    if not gone:
        return
    count, total = len(gone) + recent, len(there) + recent
    largest = largest_component(ref for ref in map(DocumentRef.of, there) if ref)
    if not options.max_delete.allows(count, total, largest_component=largest):
        before = f", {recent} of them within the last 24 hours," if recent else ""
        raise RefusedError(
            f"{count} of {total} documents{before} would be deleted; the limit is "
            f"{options.max_delete}",
            "nothing was changed; look at it with --dry-run --max-delete 100%, "
            "then raise --max-delete if that is meant",
        )


def check_manifest(
    dropped: Collection[DocumentRef], listed: Collection[DocumentRef], options: DeployOptions
) -> None:
    """Raise RefusedError where a manifest would name far less than the one there. It is what
    an index that lost most of its components looks like.
    """
    largest = largest_component(listed)
    if dropped and not options.max_delete.allows(
        len(dropped), len(listed), largest_component=largest
    ):
        raise RefusedError(
            f"the new {MANIFEST} would no longer name {len(dropped)} of {len(listed)} documents; "
            f"the limit is {options.max_delete}",
            "nothing was changed; is it the right API key and folder? If so, raise --max-delete",
        )


def _reason(mine: LocalObject, there: RemoteObject | None, headers: str | None) -> Reason | None:
    if there is None:
        return "new"
    if there.same_content(mine) is not True:
        return "content"
    return None if there.same_headers(headers) is not False else "headers"


def _overtaken(mine: LocalObject, there: RemoteObject | None, rules: Rules) -> str | None:
    hold = rules.holds.get(mine.key)
    if hold is not None and hold.sha256 == mine.sha256:
        return HELD
    if there is None or rules.force or not rules.by_moment or not mine.is_noted:
        return None
    if there.facts is None or there.facts.asked <= mine.entry.asked:
        return None
    return f"{LATER}, from {written(there.facts.asked, 'seconds')}"


def _upload(key: str, reason: Reason, mine: LocalObject, there: RemoteObject | None) -> Upload:
    before = there.facts if there else None
    name = mine.entry.name or (before.name if before else "")
    label = before.label if before else ""
    return Upload(key, reason, name, label, mine.entry.label, mine.size)


def _incomplete(source: Source) -> str | None:
    if source.manifest is None:
        return f"the tree is partial: it has no {MANIFEST}"
    if not source.manifest.entries:
        return f"the tree's {MANIFEST} names no component"
    missing = source.missing
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"the tree's {MANIFEST} names {missing[0]}{more}, which it does not hold"
    return None
