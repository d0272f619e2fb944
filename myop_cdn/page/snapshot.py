"""The data of a page that is a file: of a destination, or of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from myop_cdn.deploy.history import Selection, read_history
from myop_cdn.errors import MyopCdnError, StorageError
from myop_cdn.model import DocumentRef
from myop_cdn.moments import written
from myop_cdn.page import render
from myop_cdn.page.documents import no_versions, read_document, versions
from myop_cdn.workers import each

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from myop_cdn.deploy.log import Commit
    from myop_cdn.deploy.target import Target
    from myop_cdn.status import LiveDocument, LiveStatus
    from myop_cdn.summary import Item, Section, Summary

MOST = 24 * 2**20  # characters of HTML in one file; what is over that is named, but not shown
_MOST_OVER = 64  # documents that are read and find no room before no other is
_COMMITS = 500  # whose versions are listed


class Contents:
    """The HTML in one file, by a key of its own. jobs: documents that are read at once."""

    def __init__(self, jobs: int, most: int = MOST) -> None:
        self.html: dict[str, str] = {}
        self._jobs = jobs
        self._left = most
        self._over = 0

    def add(self, target: Target, wanted: Sequence[tuple[str, DocumentRef, str]]) -> None:
        """Read documents, the first ones first, as long as there is room.

        wanted: for each its key, the document, and the content's SHA-256, "" for what is there.
        What can't be read is left out.
        """

        def read(one: tuple[str, DocumentRef, str]) -> str:
            html = render.html_of(read_document(target, one[1], one[2]))
            self._over += len(html) > self._left
            return html

        wanted = [one for one in dict.fromkeys(wanted) if one[0] not in self.html]
        for done in each(read, wanted, self._jobs, "page", lambda _: self._over > _MOST_OVER):
            if done.result is not None and len(done.result) <= self._left:
                self._left -= len(done.result)
                self.html[done.item[0]] = done.result


def of_status(
    status: LiveStatus,
    target: Target,
    selection: Selection,
    jobs: int,
    now: datetime,
    command: str = "status",
) -> dict[str, Any]:
    """What is live at a destination, with as much of its documents as a file may hold.

    command: which one writes it. Raises StorageError.
    """
    contents = Contents(jobs)
    try:
        report = read_history(target, selection, jobs, read=_COMMITS)
        past, older = versions(report), report.older
    except StorageError:  # without a log there is no past
        past, older = {}, 0
    newest = sorted(
        (one for one in status.documents if one.state != "missing"),
        key=lambda one: one.since or datetime.fromtimestamp(0, UTC),
        reverse=True,
    )
    contents.add(target, [(_key(one), one.ref, "") for one in newest])
    before = []
    for one in newest:
        listed = past.get(one.ref.component_id, {}).get("environments", {})
        for version in listed.get(one.ref.environment, [])[1:2]:
            if sha256 := version["sha256"]:
                before.append((str(sha256), one.ref, str(sha256)))
    contents.add(target, before)
    behind, unknown = len(status.behind), len(status.unknown)
    tiles = [_tile("Documents", str(len(newest)), f"of {_components(newest)} components")]
    if status.against:
        words = f"{unknown} could not be asked for" if unknown else "held against Myop"
        tiles.append(_tile("Behind Myop", str(behind), words, "bad" if behind else "good"))
    state = {
        "destinations": [{"destination": status.url, "state": "ok"}],
        "commit": status.commit,
        "committed": written(status.committed) if status.committed else None,
        "tiles": tiles,
    }
    place = {
        **_matrix((one.ref, one.name, _live(one)) for one in status.documents),
        "history": past,
        "older": older,
        "documents": {f"{o.ref.component_id}/{o.ref.environment}": _key(o) for o in newest},
    }
    return _data(command, state, {status.url: place}, contents, now)


def of_run(
    summary: Summary, targets: Mapping[str, Target], commits: Mapping[str, str], now: datetime
) -> dict[str, Any]:
    """What a run changed, before and after.

    targets: the destinations by URL, as far as they can be read; commits: what was committed at
    each. Where there are none, all sections of the run are shown.
    """
    contents = Contents(8)
    headline = _tile("Run", summary.headline, f"myop-cdn {summary.command}", "good")
    if summary.error is not None:
        headline = _tile("Run", "Failed", summary.error.message, "bad")
    tiles = [headline]
    tiles += [_tile(one.title, one.outcome, f"{one.seconds:.1f} s") for one in summary.sections]
    places = {}
    deployed = [one for one in summary.sections if one.title in targets]
    for section in deployed or summary.sections:
        found = None
        target, number = targets.get(section.title), commits.get(section.title)
        if target is not None and number is not None:
            try:
                found = target.log.commit(int(number))
            except MyopCdnError:  # the report tells of the run, not of what came after
                target = None
        places[section.title] = _place(section, target, found, contents, now)
    state = {
        "destinations": [{"destination": url, "state": "ok"} for url in places],
        "tiles": tiles,
    }
    return _data(summary.command, state, places, contents, now)


def _place(
    section: Section,
    target: Target | None,
    commit: Commit | None,
    contents: Contents,
    now: datetime,
) -> dict[str, Any]:
    listed = [(ref, one) for one in section.notable if (ref := DocumentRef.of(one.key))]
    history: dict[str, dict[str, Any]] = {}
    wanted = []
    for ref, one in listed:
        change = commit.changes.get(one.key) if commit else None
        before, after = (change.before, change.after) if change else (None, None)
        mine = history.setdefault(ref.component_id, no_versions(ref.component_id))
        mine["name"] = mine["name"] or one.name
        known = [
            (entry.sha256 if entry else None, label, at)
            for entry, label, at in ((after, one.after, written(now)), (before, one.before, None))
            if entry or label
        ]
        mine["environments"][ref.environment] = [
            {
                "commit": str(commit.number if commit else 0) if index == 0 else "before",
                "at": at,
                "cause": {"command": one.action if index == 0 else "as it was before"},
                "sha256": sha256,
                "variantId": None,
                "variantName": label,
            }
            for index, (sha256, label, at) in enumerate(known)
        ]
        wanted += [(sha256, ref, sha256) for sha256, _, _ in known if sha256]
    if target is not None:
        contents.add(target, wanted)
    shown = ((ref, one.name, _changed(one, now)) for ref, one in listed)
    documents = {
        f"{ref.component_id}/{ref.environment}": found[0]["sha256"]
        for ref, _ in listed
        if (found := history[ref.component_id]["environments"][ref.environment])
    }
    return {**_matrix(shown), "history": history, "documents": documents}


def _changed(item: Item, now: datetime) -> dict[str, Any]:
    state: str = item.state if item.state in ("failed", "skipped") else "live"
    if item.action.startswith("deleted"):
        state = "deleted"
    return {
        "variantId": None,
        "variantName": item.after or item.before or item.action,
        "since": written(now),
        "state": state,
        "note": item.note,
    }


def _live(document: LiveDocument) -> dict[str, Any]:
    variant = document.variant
    return {
        "variantId": variant.id if variant else None,
        "variantName": variant.name or None if variant else None,
        "since": written(document.since) if document.since else None,
        "sha256": document.sha256,
        "state": document.state,
        "held": document.held,
    }


def _matrix(documents: Iterable[tuple[DocumentRef, str, dict[str, Any]]]) -> dict[str, Any]:
    items: dict[str, dict[str, Any]] = {}
    environments: dict[str, int] = {}
    for ref, name, live in documents:
        item = items.setdefault(
            ref.component_id, {"id": ref.component_id, "name": name, "live": {}}
        )
        item["name"] = item["name"] or name
        item["live"][ref.environment] = live
        environments[ref.environment] = environments.get(ref.environment, 0) + 1
    ordered = sorted(items.values(), key=lambda one: (one["name"].casefold(), one["id"]))
    return {"items": ordered, "environments": environments}


def _data(
    command: str,
    state: dict[str, Any],
    places: dict[str, dict[str, Any]],
    contents: Contents,
    now: datetime,
) -> dict[str, Any]:
    state |= {"writtenBy": f"myop-cdn {command}", "at": written(now)}
    return {"state": state, "places": places, "html": contents.html}


def _key(document: LiveDocument) -> str:
    return document.sha256 or document.ref.path


def _components(documents: Iterable[LiveDocument]) -> int:
    return len({one.ref.component_id for one in documents})


def _tile(label: str, value: str, detail: str, tone: str = "") -> dict[str, str]:
    return {"label": label, "value": value, "detail": detail, "tone": tone}
