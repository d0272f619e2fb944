"""The ledger: what this program remembers of a destination between runs. A value, no I/O.

It lies beside the objects, in what may be a public bucket, so it says nothing about who or what
wrote it: per object a SHA-256 of the stored bytes, a fingerprint of the headers and the version
that the service gave; the keys whose invalidation is still owed, under a fingerprint of the CDN's
name; and a random number for each commit, by which a conditional write tells two commits apart
even where the service's versions are hashes of the content.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LEDGER = ".myop-cdn/ledger.json"
FORM = 1
_PART = 1000  # objects that are written at once
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as it was put: hex SHA-256 as stored, headers' fingerprint, version."""

    sha256: str
    headers: str | None
    version: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is remembered. pending: keys by the CDN's fingerprint. ignores_conditions: the
    service carries conditional writes out whatever is there.
    """

    objects: Mapping[str, Entry] = field(default_factory=dict)
    pending: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignores_conditions: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Ledger:
        """The ledger in `data`. Raises ValueError where it is none, or of a later form."""
        try:
            raw = json.loads(data)
            if raw["form"] != FORM:
                raise ValueError(f"form {raw['form']!r} is not known")
            return cls(
                _entries(raw["objects"]),
                {cdn: tuple(map(str, keys)) for cdn, keys in raw["pending"].items()},
                raw.get("conditions") == "ignored",
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a ledger ({type(error).__name__})") from None

    def dump(self, commit: str) -> bytes:
        """The ledger's bytes for one commit."""
        pending = {cdn: list(keys) for cdn, keys in sorted(self.pending.items()) if keys}
        rest: dict[str, Any] = {"pending": pending}
        if self.ignores_conditions:
            rest["conditions"] = "ignored"
        # Part by part: as one value it would take a run's memory a second time.
        keys = sorted(self.objects)
        parts = (keys[start : start + _PART] for start in range(0, len(keys), _PART))
        objects = b",".join(_json(dict(map(self._facts, part)))[1:-1] for part in parts)
        return b'%b,"objects":{%b},%b' % (_head(commit), objects, _json(rest)[1:])

    def _facts(self, key: str) -> tuple[str, list[str | None]]:
        one = self.objects[key]
        return key, [one.sha256, one.headers, one.version]


def is_of_commit(data: bytes, commit: str) -> bool:
    """Whether `data` is a ledger that was written by this commit."""
    return data.startswith(_head(commit) + b",")


def _head(commit: str) -> bytes:
    return _json({"form": FORM, "commit": commit})[:-1]


def _json(value: Any) -> bytes:
    return _encoder.encode(value).encode("utf-8", "surrogatepass")


def name_fingerprint(name: str) -> str:
    """A CDN's or a destination's name in the ledger: 16 hex digits, so that accounts stay out."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _entries(objects: dict[str, Any]) -> dict[str, Entry]:
    """The objects of a ledger, in the place of what they are made from: no second copy."""
    fingerprints: dict[str | None, str | None] = {}  # nearly all have the same one
    for key, facts in objects.items():
        sha256, headers, version = map(_text, facts)
        objects[key] = Entry(sha256, fingerprints.setdefault(headers, headers), version)
    return objects


def _text(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise TypeError("neither text nor null")
    return value
