"""Tell the CDNs which objects have changed, and remember those that could not be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.cdn.base import Place
from myop_cdn.deploy.log import name_fingerprint
from myop_cdn.errors import InvalidationError
from myop_cdn.report import FailedKey

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from myop_cdn.cdn.base import Cdn


class Invalidations:
    """One run's invalidations: what was sent (paths), and what failed."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.failed: list[FailedKey] = []
        self._told: dict[str, set[str]] = {}
        self._owed: dict[str, set[str]] = {}
        self._running: list[tuple[Cdn, list[str]]] = []

    def send(
        self,
        cdns: Sequence[Cdn],
        keys: Collection[str],
        owed: Mapping[str, Sequence[str]],
        url: str,
        *,
        hold: bool,
    ) -> None:
        """Tell each of `cdns` of `keys`, and of what it is owed from earlier runs, but of none
        twice.

        owed: keys by the CDNs' fingerprints. url: the destination's. hold: send nothing, only
        remember (documents failed to upload).
        """
        self.failed = []
        for cdn in cdns:
            name = name_fingerprint(cdn.name)
            told = self._told.setdefault(name, set())
            open_keys = {*keys, *owed.get(name, ())} - told
            self._owed[name] = set(open_keys)
            if not open_keys or hold:
                continue
            try:
                paths, running = cdn.invalidate(sorted(open_keys), Place.of(url))
            except InvalidationError as error:
                self.failed.append(FailedKey(cdn.name, error.sentence))
                continue
            told |= open_keys
            self._owed[name] = set()
            self.paths.extend(paths)
            self._running.append((cdn, running))

    def still_owed(self, before: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """What CDNs are owed after this run, `before` being what the newest commit says."""
        owed = {name: {*keys} - self._told.get(name, set()) for name, keys in before.items()}
        for name, keys in self._owed.items():
            owed[name] = owed.get(name, set()) | keys
        return {name: tuple(sorted(keys)) for name, keys in owed.items() if keys}

    def wait(self) -> None:
        """Return when all that runs is done; what fails is added to `failed`."""
        for cdn, running in self._running:
            try:
                cdn.wait(running)
            except InvalidationError as error:
                self.failed.append(FailedKey(cdn.name, error.sentence))
