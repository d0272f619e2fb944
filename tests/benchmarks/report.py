"""What was found, written down: JSON for programs, Markdown for people, SVG for the README."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.benchmarks.plot import Line, Plot, svg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.benchmarks.result import Result


def write(results: Sequence[Result], folder: Path, rounds: int) -> None:
    """Write `benchmarks.json`, `benchmarks.md` and, where it was measured, how full runs and a
    release grow: `growth.svg`, `release.svg`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    value = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "rounds": rounds,
        "benchmarks": [one.to_json() for one in results],
    }
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    (folder / "benchmarks.json").write_text(text, "utf-8")
    (folder / "benchmarks.md").write_text(markdown(results, rounds), "utf-8")
    for name, title in (("growth", "Deploy to S3"), ("release", "One release")):
        if plots := _plots([one for one in results if one.name.startswith(name)], title):
            (folder / f"{name}.svg").write_text(svg(plots), "utf-8")


def markdown(results: Sequence[Result], rounds: int) -> str:
    """The tables: first the ratios, then every contestant's figures."""
    return "\n".join([*_ratio_table(results), "", *_figure_tables(results), "", _foot(rounds), ""])


def _ratio_table(results: Sequence[Result]) -> list[str]:
    rows = ["| work | against | this tool | at most | reached |", "|---|---|---|---|---|"]
    for result in results:
        for one in result.ratios:
            target = "" if one.target is None else f"{one.target:g} {one.unit}"
            measured = f"{one.measured:.2f} {one.unit}"
            rows.append(
                f"| {result.title} | {one.against} | {measured} | {target} | {one.verdict} |"
            )
    return rows


def _figure_tables(results: Sequence[Result]) -> list[str]:
    rows: list[str] = []
    for result in results:
        rows += [
            "", f"### {result.title}", "",
            "| | wall s | CPU s | peak MB | requests | slowest ÷ fastest |",
            "|---|---|---|---|---|---|",
        ]  # fmt: skip
        for name, one in result.figures.items():
            asked = ", ".join(f"{n} {method}" for method, n in sorted(one.requests.items()))
            rows.append(
                f"| {name} | {one.wall:.2f} | {one.cpu:.2f} | {one.peak_mb:.0f} | {asked} | "
                f"{one.spread:.2f} |"
            )
    return rows


def _foot(rounds: int) -> str:
    return (
        f"Medians of {rounds} runs in turn after one warm-up; {_machine()}. Compare figures of one "
        "table only: the machine's speed differs from hour to hour."
    )


def _machine() -> str:
    return f"{os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}"


def _plots(grown: Sequence[Result], title: str) -> list[Plot]:
    """Time and memory by the number of objects, a line for each result."""
    if not grown:
        return []
    time = [
        Line(_label(one), [(float(n), figures.wall) for n, figures in one.figures.items()])
        for one in grown
    ]
    memory = [
        Line(_label(one), [(float(n), figures.peak_mb) for n, figures in one.figures.items()])
        for one in grown
    ]
    return [Plot(f"{title}: time", "s", time), Plot(f"{title}: memory", "MB", memory)]


def _label(result: Result) -> str:
    """What is different about a result: "first", or "30 ms"."""
    return result.title.split(", ")[1].removesuffix(" a request")
