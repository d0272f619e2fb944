"""Tell the CDNs which objects have changed, and remember those that could not be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from myop_cdn.cdn.base import Place
from myop_cdn.deploy.ledger import name_fingerprint
from myop_cdn.errors import InvalidationError
from myop_cdn.report import FailedKey

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from myop_cdn.cdn.base import Cdn


@dataclass(slots=True)
class Invalidations:
    """What was sent (paths), what is still owed (keys, by CDN), what runs, what failed."""

    paths: list[str] = field(default_factory=list)
    pending: dict[str, tuple[str, ...]] = field(default_factory=dict)
    running: list[tuple[Cdn, list[str]]] = field(default_factory=list)
    failed: list[FailedKey] = field(default_factory=list)

    def wait(self) -> None:
        """Return when all that runs is done; what fails is added to `failed`."""
        for cdn, running in self.running:
            try:
                cdn.wait(running)
            except InvalidationError as error:
                self.failed.append(FailedKey(cdn.name, error.message))


def invalidate(
    cdns: Sequence[Cdn],
    keys: Collection[str],
    pending: Mapping[str, tuple[str, ...]],
    url: str,
    *,
    hold: bool,
) -> Invalidations:
    """Send `keys`, and what is pending from earlier runs, to each of `cdns`.

    url: the destination's. hold: send nothing, only remember (documents failed to upload).
    """
    done = Invalidations(pending=dict(pending))
    for cdn in cdns:
        name = name_fingerprint(cdn.name)
        owed = sorted({*keys, *done.pending.get(name, ())})
        if not owed:
            continue
        done.pending[name] = tuple(owed)
        if hold:
            continue
        try:
            paths, running = cdn.invalidate(owed, Place.of(url))
        except InvalidationError as error:
            hint = f" ({error.hint})" if error.hint else ""
            done.failed.append(FailedKey(cdn.name, error.message + hint))
            continue
        del done.pending[name]
        done.paths.extend(paths)
        done.running.append((cdn, running))
    return done
