"""The manifest: the index of all exported components, and Myop's answer to `GET /export`.

Documented as "an index of all exported components"; real ones read `{"version": 1,
"exportedAt", "organization", "components": [{"id", "name", "environments": [...]}]}`, where
`environments` leaves out `preview` and every listed component has a preview document too.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple

from myop_cdn import jsontext, names
from myop_cdn.errors import InputError
from myop_cdn.model import PREVIEW, DocumentRef
from myop_cdn.moments import moment, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime


class Entry(NamedTuple):
    """One component of a manifest. environments is None where the entry names none."""

    id: str
    name: str
    environments: tuple[str, ...] | None
    raw: dict[str, Any]

    def with_environments(self, environments: tuple[str, ...]) -> Entry:
        """The same entry listing these environments."""
        raw = {**self.raw, "environments": list(environments)}
        return self._replace(environments=environments, raw=raw)


class Manifest(NamedTuple):
    """A manifest as read, its members not named here kept in `raw`."""

    entries: tuple[Entry, ...]
    raw: dict[str, Any]

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """The manifest in `data`.

        Raises InputError with the place ("components[3].id") for anything not of the form.
        An entry may lack `environments` (the documentation's example does); see `complete`.
        """
        try:
            raw = jsontext.loads(data)
        except ValueError as error:
            reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            if isinstance(error, jsontext.Foreign):
                raise InputError(f"not JSON ({reason})") from None
            raise InputError(f"not JSON: {reason}") from None
        if not isinstance(raw, dict) or not isinstance(raw.get("components"), list):
            raise InputError('no object with a list "components"')
        version = raw.get("version", jsontext.Number("1"))
        if version != jsontext.Number("1"):
            raise InputError(f"version {jsontext.dumps(version).decode()[:40]} is not known")
        entries = tuple(
            _entry(item, f"components[{i}]") for i, item in enumerate(raw["components"])
        )
        seen: set[str] = set()
        for position, entry in enumerate(entries):
            if entry.id in seen:
                raise InputError(
                    f"components[{position}].id appears twice: {names.shown(entry.id)}"
                )
            seen.add(entry.id)
        return cls(entries, raw)

    @property
    def complete(self) -> bool:
        """Whether every entry names its environments, as real manifests do."""
        return all(entry.environments is not None for entry in self.entries)

    @property
    def exported_at(self) -> str | None:
        """When Myop made it, as written (ISO 8601), or None."""
        value = self.raw.get("exportedAt")
        return value if isinstance(value, str) else None

    @property
    def organization(self) -> str | None:
        """Whose components these are, or None."""
        value = self.raw.get("organization")
        return value if isinstance(value, str) else None

    def refs(self) -> list[DocumentRef]:
        """The documents it lists, in its order; previews are not listed, only implied."""
        return [
            DocumentRef(entry.id, environment)
            for entry in self.entries
            for environment in entry.environments or ()
            if environment != PREVIEW
        ]

    def all_refs(self) -> list[DocumentRef]:
        """The documents it lists and the previews it implies."""
        return self.refs() + self.previews()

    def previews(self) -> list[DocumentRef]:
        """The preview document of every component."""
        return [DocumentRef(entry.id, PREVIEW) for entry in self.entries]

    def narrowed(self, keep: Callable[[DocumentRef], bool]) -> Manifest:
        """What is left of it with only the documents that `keep` says.

        A component of which nothing is kept, not even its preview, is left out.
        """
        kept = []
        for entry in self.entries:
            mine = tuple(
                one for one in entry.environments or () if keep(DocumentRef(entry.id, one))
            )
            if mine or keep(DocumentRef(entry.id, PREVIEW)):
                kept.append(entry.with_environments(mine))
        return self._replace(entries=tuple(kept))

    def with_documents(self, documents: Iterable[tuple[DocumentRef, str]]) -> Manifest:
        """The manifest with these documents (and their components' names) listed too.

        Entries are added at the end or completed in place; the order stays. A preview adds its
        component but is not listed among the environments. Self is returned when nothing is new.
        """
        entries = {entry.id: entry for entry in self.entries}
        changed = False
        for ref, name in documents:
            entry = entries.get(ref.component_id)
            if entry is None:
                raw = {"id": ref.component_id, "name": name, "environments": []}
                entry = Entry(ref.component_id, name, (), raw)
                entries[entry.id] = entry
                changed = True
            listed = entry.environments or ()
            if not ref.is_preview and ref.environment not in listed:
                entries[entry.id] = entry.with_environments((*listed, ref.environment))
                changed = True
        return self._replace(entries=tuple(entries.values())) if changed else self

    def stamped(self, now: datetime) -> Manifest:
        """With `exportedAt` filled in where Myop gave none. now: UTC."""
        if "exportedAt" in self.raw:
            return self
        first = {"version": jsontext.Number("1"), "exportedAt": written(now)}
        return self._replace(raw={**first, **self.raw})

    def says_the_same(self, other: Manifest) -> bool:
        """Whether nothing differs but `exportedAt` and the order of what is listed."""
        return self._meaning() == other._meaning()

    def is_older_than(self, other: Manifest) -> bool:
        """Whether it was exported earlier; False where a moment is missing, or has no zone."""
        try:
            return moment(self.exported_at or "") < moment(other.exported_at or "")
        except ValueError:
            return False

    def dump(self) -> bytes:
        """The bytes of `manifest.json`, as the official tool writes them."""
        return jsontext.dumps({**self.raw, "components": [entry.raw for entry in self.entries]})

    def _meaning(self) -> dict[str, Any]:
        listed = {
            entry.id: {
                **entry.raw,
                "environments": None if entry.environments is None else {*entry.environments},
            }
            for entry in self.entries
        }
        return {**self.raw, "exportedAt": None, "components": listed}


def _entry(item: Any, place: str) -> Entry:
    if not isinstance(item, dict):
        raise InputError(f"{place} is not an object")
    component_id = item.get("id")
    if trouble := names.problem(component_id):
        raise InputError(f"{place}.id {trouble}")
    environments = item.get("environments")
    if environments is not None:
        if not isinstance(environments, list):
            raise InputError(f"{place}.environments is not a list")
        for position, environment in enumerate(environments):
            if trouble := names.problem(environment):
                raise InputError(f"{place}.environments[{position}] {trouble}")
        environments[:] = map(intern, environments)  # the same few, again and again
        environments = tuple(dict.fromkeys(environments))
    assert isinstance(component_id, str)  # names.problem has seen to it
    name = item.get("name")
    return Entry(component_id, name if isinstance(name, str) else component_id, environments, item)
