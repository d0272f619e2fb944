"""What a benchmark found: a value that the reports are written from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.measuring import Figures


@dataclass(frozen=True, slots=True)
class Ratio:
    """This tool held against something: a peer, or a limit.

    measured: this tool's figure divided by the other one's (or the figure itself, with `unit`).
    target: what it should be at most, None where nothing was promised.
    """

    against: str
    measured: float
    target: float | None = None
    unit: str = "x"

    @property
    def verdict(self) -> str:
        """Whether the target, where there is one, was met: "yes" or "no"."""
        if self.target is None:
            return ""
        return "yes" if self.measured <= self.target else "no"


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark. figures: by contestant, this tool first."""

    name: str
    title: str
    figures: Mapping[str, Figures] = field(default_factory=dict)
    ratios: tuple[Ratio, ...] = ()

    def without_targets(self) -> Result:
        """The same without a word on what should be reached: of a run that proves nothing."""
        ratios = tuple(replace(one, target=None) for one in self.ratios)
        return replace(self, title=f"(tiny) {self.title}", ratios=ratios)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "contestants": {
                name: {
                    "wall": one.wall,
                    "cpu": one.cpu,
                    "peakMb": one.peak_mb,
                    "spread": one.spread,
                    "requests": one.requests,
                    "runs": [asdict(sample) for sample in one.samples],
                }
                for name, one in self.figures.items()
            },
            "ratios": [{**asdict(one), "verdict": one.verdict} for one in self.ratios],
        }


def against_peers(
    figures: Mapping[str, Figures], ours: str, targets: Mapping[str, float]
) -> tuple[Ratio, ...]:
    """The wall time's ratio of medians against every other contestant."""
    mine = figures[ours].wall
    return tuple(
        Ratio(name, mine / one.wall, targets.get(name))
        for name, one in figures.items()
        if name != ours
    )
