"""The contract between this program and what caches a destination's objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_PATHS = 30  # past it one wildcard is cheaper and faster everywhere


@dataclass(frozen=True, slots=True)
class Place:
    """A destination as its CDN's origin sees it.

    bucket: its name, "" where there is none. root: what stands before each key in the path that
    the origin is asked for, with a slash at both ends: "/", "/site/", "/container/site/".
    """

    bucket: str
    root: str

    @classmethod
    def of(cls, url: str) -> Place:
        """The place that a destination's URL names.

        Buckets are origins of their own; Azure's containers are the first segment of the path.
        """
        scheme, _, rest = url.partition("://")
        if scheme == "file":
            return cls("", "/")
        if scheme == "https":
            _, _, rest = rest.partition("/")
        bucket, _, prefix = rest.partition("/")
        parts = [bucket] if scheme in ("az", "https") else []
        parts += [part for part in prefix.split("/") if part]
        return cls(bucket, "/" + "".join(f"{part}/" for part in parts))

    def paths(self, keys: Sequence[str], taken_off: str = "") -> list[str]:
        """The URL paths of `keys`, encoded and sorted; one wildcard where they are many.

        taken_off: what the CDN puts before a viewer's path when it asks the origin ("/site").
        """
        start = self.root
        taken_off = taken_off.rstrip("/")
        if start.startswith(f"{taken_off}/"):
            start = start.removeprefix(taken_off)
        if len(keys) > MOST_PATHS:
            return [f"{quote(start)}*"]
        return sorted(quote(f"{start}{key}") for key in keys)


class Cdn(Protocol):
    """Something that caches. Raises InvalidationError and nothing else."""

    name: str
    """How the user named it: "cloudfront:E123"."""

    def invalidate(self, keys: Sequence[str], place: Place) -> tuple[list[str], list[str]]:
        """Have the copies of these objects thrown away: the paths that were sent, and what to
        wait for (names of running invalidations, nothing where the service has no such).
        """

    def wait(self, running: Sequence[str]) -> None:
        """Return when all of `running` are done."""


class DryRun:
    """A CDN that is not told: what a dry run is."""

    def __init__(self, cdn: Cdn) -> None:
        self._cdn = cdn
        self.name = cdn.name

    def invalidate(self, keys: Sequence[str], place: Place) -> tuple[list[str], list[str]]:
        """Say which paths would be sent, but for an origin path, which only the CDN knows."""
        return place.paths(keys), []

    def wait(self, running: Sequence[str]) -> None:
        """Wait for nothing."""
