"""`myop-cdn check` and `doctor`: whether a CDN answers as it should, and whether all that a run
needs is in order.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

import click

from myop_cdn.cli.options import ORIGIN, Destination, argument, command, group, option, option_group
from myop_cdn.cli.settings import (
    ApiSettings,
    JsonSettings,
    NoticeSettings,
    ReportSettings,
    SecretSettings,
    SelectionSettings,
    SiteSettings,
    channels_of,
    open_target,
    selection_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import Path

    from myop_cdn.check import Expectation
    from myop_cdn.cli.console import Console
    from myop_cdn.doctor import Diagnosis, DoctorReport
    from myop_cdn.report import CheckReport, Fault

_MOST_NAMED = 3  # documents that a line names
_MOST_LINES = 20  # of one kind of fault


@option_group("What should be there")
class ExpectationSettings:
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
                console.data(f"{_where(fault)}{warning}{fault.message}", f"    fix: {fault.fix}")
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
    keys = fault.keys
    if not keys:
        return ""
    return f"{keys[0]} and {len(keys) - 1} more: " if keys[_MOST_NAMED:] else f"{', '.join(keys)}: "


@option_group("Pages")
class DoctorSettings:
    destination: str | None = argument(type=Destination(), metavar="[DESTINATION]", required=False)
    origin: str | None = option(
        "The origin of the page that reads the documents: your application's.", "URL", type=ORIGIN
    )
    api: ApiSettings = group(ApiSettings)
    secrets: SecretSettings = group(SecretSettings)
    site: SiteSettings = group(SiteSettings)
    notices: NoticeSettings = group(NoticeSettings)
    test_notice: bool = option(
        "Send a test to all that --notify and --on-failure name.", title="Notices"
    )
    output_json: JsonSettings = group(JsonSettings)


@command(
    DoctorSettings,
    "myop-cdn doctor",
    "myop-cdn doctor s3://my-bucket/myop --origin https://app.example.com",
)
def doctor(console: Console, settings: DoctorSettings) -> DoctorReport:
    """Look at all that a run needs: a line each, ok or what to do.

    The API key and the API, the signing secret, the destination (read, written by a probe object
    below .myop-cdn/ that is removed again, conditional writes, CORS), the clock, versions, proxy
    and certificates. The exit code is 1 where something is wrong. No secret is shown.
    """
    from myop_cdn.doctor import DoctorReport

    checks = []
    for one in _checks(settings):
        checks.append(one)
        if not console.wants_json:
            label = {"ok": "ok", "note": "note", "wrong": "WRONG"}[one.state]
            text = f"{one.text} → {one.advice}" if one.advice else one.text
            console.data(f"{label:6}{one.name}: {text}")
    report = DoctorReport(tuple(checks))
    if report.error is not None:
        console.error(report.error)
    return report


def _checks(settings: DoctorSettings) -> Iterator[Diagnosis]:
    from myop_cdn import doctor

    api, url, allow_http = settings.api, settings.destination, settings.api.allow_http
    examined = doctor.examined
    yield from examined("versions", doctor.versions)
    yield from examined("proxy", lambda: doctor.network(api.api_url))
    with_key = partial(doctor.keyed_api, api.api_url, api.api_key_file, allow_http=allow_http)
    yield from examined("API key", with_key)
    yield from examined("secret", lambda: doctor.signing_secret(settings.secrets.secret_file))
    if url is not None:

        def look() -> Iterator[Diagnosis]:
            with closing(open_target(url, settings.site)) as target:
                yield from doctor.destination(target, settings.origin)

        yield from examined("destination", look)
    if settings.notices.wanted:
        channels = partial(channels_of, settings.notices, allow_http=allow_http)
        test = settings.test_notice
        yield from examined("notices", lambda: doctor.notices(channels, test=test))
