"""Plots as SVG, by hand: time and memory against the number of objects, on logarithmic axes; and
bars beside each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT = 380, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 24, 36, 46
_COLOURS = ("#2563eb", "#d97706")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}"
    ".title{font-weight:600}.grid{stroke:#d0d7de;stroke-width:.6}"
    ".line{fill:none;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#9198a1}.grid{stroke:#3d444d}}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot: (number of objects, value) in order."""

    label: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Plot:
    """One pair of axes. unit: of the values."""

    title: str
    unit: str
    lines: Sequence[Line]


def svg(plots: Sequence[Plot]) -> str:
    """The plots side by side, as one SVG document that reads well on light and dark pages."""
    width = _WIDTH * len(plots)
    size = f'viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{' · '.join(plot.title for plot in plots)}</title><style>{_STYLE}</style>",
    ]
    for position, plot in enumerate(plots):
        parts.append(f'<g transform="translate({position * _WIDTH} 0)">')
        parts.extend(_axes(plot))
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    """From a value to a place between `begin` and `end`, by its logarithm."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(self.low + 1, math.ceil(math.log10(max(values))))
        self.begin, self.end = begin, end

    def place(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 1)

    @property
    def marks(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def _axes(plot: Plot) -> list[str]:
    points = [point for line in plot.lines for point in line.points]
    across = _Scale([x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    up = _Scale([y for _, y in points], _HEIGHT - _BOTTOM, _TOP)
    parts = [f'<text class="title" x="{_LEFT}" y="18">{plot.title}</text>']
    for mark in up.marks:
        y = up.place(mark)
        parts.append(f'<path class="grid" d="M{_LEFT} {y}H{_WIDTH - _RIGHT}"/>')
        text = f"{mark:g} {plot.unit}"
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{text}</text>')
    for mark in across.marks:
        x = across.place(mark)
        parts.append(f'<path class="grid" d="M{x} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
        text = f"{mark:,.0f}" if mark < 10**5 else f"{mark / 1000:,.0f} k"
        parts.append(f'<text x="{x}" y="{_HEIGHT - 28}" text-anchor="middle">{text}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">objects</text>')
    for number, (line, colour) in enumerate(zip(plot.lines, _COLOURS, strict=False)):
        x = _WIDTH - _RIGHT - 120 + number * 40
        parts.append(f'<text x="{x}" y="18" style="fill:{colour}">{line.label}</text>')
        # The first line's figures above it, the second's below: they may lie close together.
        parts.extend(_line(line, colour, across, up, -8 if number == 0 else 18))
    return parts


def _line(line: Line, colour: str, across: _Scale, up: _Scale, below: int) -> list[str]:
    places = [(across.place(x), up.place(y)) for x, y in line.points]
    path = "L".join(f"{x} {y}" for x, y in places)
    parts = [f'<path class="line" stroke="{colour}" d="M{path}"/>']
    for (x, y), (_, value) in zip(places, line.points, strict=True):
        parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
        parts.append(f'<text x="{x}" y="{y + below}" text-anchor="middle">{value:.3g}</text>')
    return parts


@dataclass(frozen=True, slots=True)
class Bars:
    """Values by what was measured. unit: of the values."""

    title: str
    unit: str
    values: Mapping[str, float]


def bars(groups: Sequence[Bars]) -> str:
    """Groups of bars below each other, each to a scale of its own that begins at zero."""
    height = sum(40 + 26 * len(group.values) for group in groups)
    width, left = 760, 220
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}" role="img">'
        ),
        f"<title>{' · '.join(group.title for group in groups)}</title><style>{_STYLE}</style>",
    ]
    top = 0
    for group in groups:
        parts.append(f'<text class="title" x="12" y="{top + 22}">{group.title}</text>')
        most = max(group.values.values())
        for number, (name, value) in enumerate(group.values.items()):
            y = top + 34 + 26 * number
            length = round(value / most * (width - left - 110), 1)
            parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{name}</text>')
            parts.append(
                f'<rect x="{left}" y="{y}" width="{length}" height="18" fill="{_COLOURS[0]}"/>'
            )
            words = f"{value:,.0f} {group.unit}".strip()
            parts.append(f'<text x="{left + length + 6}" y="{y + 13}">{words}</text>')
        top += 40 + 26 * len(group.values)
    return "\n".join([*parts, "</svg>", ""])
