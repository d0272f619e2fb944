"""`myop-cdn check`: whether a CDN answers as it should, and what fixes it."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from myop_cdn.cli.options import ORIGIN, Destination, argument, command, group, option, option_group
from myop_cdn.cli.settings import (
    JsonSettings,
    ReportSettings,
    SelectionSettings,
    SiteSettings,
    open_target,
    selection_of,
)

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from myop_cdn.check import Expectation
    from myop_cdn.cli.console import Console
    from myop_cdn.report import CheckReport, Fault

_MOST_NAMED = 3  # documents that a line names
_MOST_LINES = 20  # of one kind of fault


@option_group("What should be there")
class ExpectationSettings:
    """What should be there."""

    tree: Path | None = option(
        "The folder that sync wrote. Without it and --destination the CDN's own manifest "
        "tells what to ask for, and contents are not compared.",
        "DIR",
    )
    destination: str | None = option(
        "The destination behind the CDN, as given to deploy.", "URL", type=Destination()
    )


@option_group("Asking")
class AskSettings:
    """How the CDN is asked."""

    origin: str = option(
        "The origin of the page that asks: your application's.",
        "URL",
        type=ORIGIN,
        default="https://app.example.com",
    )
    sample: int | None = option(
        "Ask for N documents, chosen at random, instead of all.", "N", type=click.IntRange(1)
    )
    wait: timedelta = option(
        "Keep asking for this long, until the CDN shows the new documents.", default="0"
    )


@option_group()
class CheckSettings:
    """All that `check` takes."""

    base_url: str = argument(metavar="BASE_URL")
    expected: ExpectationSettings = group(ExpectationSettings)
    asking: AskSettings = group(AskSettings)
    which: SelectionSettings = group(SelectionSettings)
    site: SiteSettings = group(SiteSettings)
    output_json: JsonSettings = group(JsonSettings)
    reports: ReportSettings = group(ReportSettings)


@command(
    CheckSettings,
    "myop-cdn check https://cdn.example.com/myop",
    "myop-cdn check https://cdn.example.com/myop \\\n"
    "    --destination s3://my-bucket/myop --wait 5m",
)
def check(console: Console, settings: CheckSettings) -> CheckReport:
    """Ask a CDN for the documents as a browser would, and say what is wrong.

    BASE_URL is what enableSelfHosted() is given. Status, bytes, Content-Type, Cache-Control,
    encoding, CORS and age are looked at. The exit code is 1 where something is wrong; each fault
    is shown with the line that fixes it. Nothing is changed anywhere.
    """
    from myop_cdn.check import CheckOptions, LiveObjects, TreeFiles
    from myop_cdn.check import check as run
    from myop_cdn.errors import InputError
    from myop_cdn.tree import Tree

    expected, asking = settings.expected, settings.asking
    if expected.tree is not None and expected.destination is not None:
        raise InputError("--tree and --destination both say what should be there: give one")
    selection = selection_of(settings.which)
    options = CheckOptions(
        origin=asking.origin,
        sample=asking.sample,
        wait=asking.wait,
        jobs=settings.site.jobs,
        selection=selection,
    )
    with ExitStack() as stack:
        expectation: Expectation | None = None
        if expected.tree is not None:
            expectation = TreeFiles(Tree(expected.tree))
        elif expected.destination is not None:
            target = open_target(expected.destination, settings.site)
            stack.callback(target.close)
            expectation = LiveObjects(target, selection, settings.site.jobs)
        progress = stack.enter_context(console.progress())
        report = run(settings.base_url, expectation, options, progress)
    say_check(console, report)
    return report


def say_check(console: Console, report: CheckReport) -> None:
    """The report in words: each fault with what fixes it on stdout, the rest on stderr."""
    from myop_cdn.errors import CheckFailed
    from myop_cdn.model import MANIFEST

    if not console.wants_json:
        said = Counter[str]()
        for fault in report.faults:
            said[fault.kind] += 1
            warning = "warning: " if fault.is_warning else ""
            if said[fault.kind] <= _MOST_LINES:
                console.data(f"{_where(fault)}{warning}{fault.message}\n    fix: {fault.fix}")
        for kind, number in said.items():
            if number > _MOST_LINES:
                console.data(f"and {number - _MOST_LINES} more: {kind}; --json lists all")
    documents = sum(key != MANIFEST for key in report.checked)
    what = f"asked for {documents} of {report.documents} documents"
    if documents < len(report.checked):
        what += " and the manifest"
    if report.source:
        what += f", held against {report.source}"
    console.info(f"{report.url}: {what} ({report.seconds:.1f} s)")
    if report.error is not None:
        console.error(CheckFailed(report.error.message))  # what fixes it stands above
    else:
        console.info(f"{report.url}: everything is as it should be")


def _where(fault: Fault) -> str:
    if not fault.keys:
        return ""
    named = ", ".join(fault.keys[:_MOST_NAMED]) if len(fault.keys) <= _MOST_NAMED else fault.keys[0]
    more = len(fault.keys) - 1 if len(fault.keys) > _MOST_NAMED else 0
    return f"{named} and {more} more: " if more else f"{named}: "
