"""`myop-cdn status`: what is live at a destination, and what Myop has beside it."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from shutil import get_terminal_size
from typing import TYPE_CHECKING

import click

from myop_cdn.cli.history import warn
from myop_cdn.cli.options import Destination, argument, command, group, option, option_group
from myop_cdn.cli.settings import (
    ApiSettings,
    JsonSettings,
    SelectionSettings,
    SiteSettings,
    api_of,
    open_target,
    selection_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from myop_cdn.cli.console import Console
    from myop_cdn.deploy.history import Selection
    from myop_cdn.status import LiveDocument, LiveStatus


@option_group("Compare")
class StatusSettings:
    """All that `status` takes."""

    destination: str = argument(type=Destination(), metavar="DESTINATION")
    against: str | None = option(
        "Ask Myop for each document, and show what is behind.", type=click.Choice(["myop"])
    )
    html: Path | None = option(
        "Also write it as a page: one file that shows the documents, before and after.", "FILE"
    )
    which: SelectionSettings = group(SelectionSettings)
    site: SiteSettings = group(SiteSettings)
    api: ApiSettings = group(ApiSettings)
    output_json: JsonSettings = group(JsonSettings)


@command(
    StatusSettings,
    "myop-cdn status s3://my-bucket/myop",
    "myop-cdn status s3://my-bucket/myop --against myop --environment production",
    "myop-cdn status s3://my-bucket/myop --html live.html",
)
def status(console: Console, settings: StatusSettings) -> LiveStatus:
    """Show what is live at a destination: each component's variant, and since when.

    With --against myop the exit code is 4 where Myop has something newer, 0 where all is
    current. Without it neither Myop nor an API key is needed.
    """
    from myop_cdn.status import compare, read_status

    selection = selection_of(settings.which)
    jobs = settings.site.jobs
    exporter = None
    if settings.against is not None:
        from myop_cdn.export.api import ApiExporter

        url, key, source = api_of(settings.api, console.warn_once)
        exporter = ApiExporter(url, key, source, allow_http=settings.api.allow_http)
    with closing(open_target(settings.destination, settings.site)) as target:
        report = read_status(target, selection, jobs)
        if exporter is not None:
            with console.progress() as progress:
                report = compare(report, target, exporter, selection, jobs, progress)
        if settings.html is not None:
            from myop_cdn.cli.reports import write_page
            from myop_cdn.page.snapshot import of_status

            data = of_status(report, target, selection, jobs, datetime.now(UTC))
            write_page(settings.html, data)
            console.info(f"the page is {settings.html}")
    warn(console, report.warnings)
    if not console.wants_json:
        _say(console, report, selection)
    return report


def _say(console: Console, report: LiveStatus, selection: Selection) -> None:
    if report.documents and sys.stdout is not None and sys.stdout.isatty():
        width = get_terminal_size().columns
        console.data(*_table(report.documents, width))
    elif report.documents:
        console.data(*map(_line, report.documents))
    for one in report.unknown:
        console.warning(one.problem)
    console.info(_summary(report, selection))
    if report.error is not None:
        console.error(report.error)


def _summary(report: LiveStatus, selection: Selection) -> str:
    live = [one for one in report.documents if one.state != "missing"]
    if not live:
        what = "nothing" if selection.is_everything else "none of what was named"
        return f"{report.url}: {what} is live here"
    components = len({one.ref.component_id for one in live})
    what = f"{_count(len(live), 'document')} of {_count(components, 'component')}"
    if report.committed:
        what += f"; last commit {report.commit}, {_moment(report.committed)} UTC"
    if report.against and report.error is None:
        what += "; all up to date with Myop"
    return f"{report.url}: {what}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _line(one: LiveDocument) -> str:
    """For a pipe: "Pricing Card (pricing-card) · production · Aurora · since 2026-…Z"."""
    from myop_cdn.deploy.log import written

    ref = one.ref
    parts = [f"{one.name} ({ref.component_id})" if one.name else ref.component_id, ref.environment]
    parts.append(_variant(one))
    if one.since:
        parts.append(f"since {written(one.since)}")
    return " · ".join(part for part in (*parts, _state(one), _held(one)) if part)


def _variant(one: LiveDocument) -> str:
    if one.state == "missing":
        return "-"
    return (one.variant.name or one.variant.id) if one.variant else "?"


def _held(one: LiveDocument) -> str:
    return "held back since a rollback" if one.held else ""


def _state(one: LiveDocument) -> str:
    words = {
        "current": "current",
        "gone": "no longer in Myop",
        "unknown": "no answer from Myop",
    }
    if not one.is_behind:
        return words.get(one.state, "")
    called = (one.myop.name or one.myop.id) if one.myop else ""
    if one.myop == one.variant:
        called = "other content"
    return f"{one.state}: Myop has {called}"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _table(documents: Sequence[LiveDocument], width: int) -> Iterator[str]:
    """For a terminal of so many cells: a heading for each component, a line for each document."""
    from rich.cells import cell_len, set_cell_size

    from myop_cdn.text import shown

    since = 16  # cells: 2026-03-24 10:00
    environments = min(24, max((cell_len(one.ref.environment) for one in documents), default=0))
    room = width - environments - since - 6
    variants = min(room, max((cell_len(shown(_variant(one))) for one in documents), default=0))
    for component_id, group_ in groupby(documents, lambda one: one.ref.component_id):
        mine = list(group_)
        name = next((one.name for one in mine if one.name), "")
        room = width - cell_len(component_id) - 2
        called = _cut(shown(name), room) if room > 0 else ""
        yield _cut(f"{called}  {component_id}" if name and called else component_id, width)
        for one in mine:
            cells = (
                set_cell_size(_cut(shown(one.ref.environment), environments), environments),
                set_cell_size(_cut(shown(_variant(one)), variants), variants),
                _moment(one.since) if one.since else " " * since,
            )
            line = "  " + "  ".join(cells)
            state = shown("; ".join(filter(None, (_state(one), _held(one)))), width)
            if cell_len(line) + 2 + cell_len(state) <= width:
                yield f"{line}  {state}".rstrip()
            else:
                yield line.rstrip()
                yield _cut(f"  {'':{environments}}  ↳ {state}", width)


def _cut(text: str, cells: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= cells else set_cell_size(text, max(0, cells - 1)) + "…"
