"""`myop-cdn status`, `history`, `diff` and `rollback`: what is live, what was, taking it back."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from shutil import get_terminal_size
from typing import TYPE_CHECKING

import click

from myop_cdn.cli.options import (
    MAX_DELETE,
    Destination,
    argument,
    command,
    group,
    option,
    option_group,
)
from myop_cdn.cli.settings import (
    ApiSettings,
    CdnSettings,
    JsonSettings,
    RunSettings,
    SelectionSettings,
    SiteSettings,
    WriteSettings,
    api_of,
    open_target,
    selection_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from myop_cdn.cli.console import Console
    from myop_cdn.deploy.history import DiffReport, HistoryReport, Selection
    from myop_cdn.deploy.log import Change, Commit
    from myop_cdn.deploy.rollback import RollbackReport
    from myop_cdn.model import DeleteLimit
    from myop_cdn.status import LiveDocument, LiveStatus

_LOOK_THROUGH = 1000  # commits, for those of a component
_MOST_LINES = 20  # of one commit


@option_group("Compare")
class StatusSettings:
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


@option_group("History")
class HistorySettings:
    destination: str = argument(type=Destination(), metavar="DESTINATION")
    limit: int = option(
        "Show at most this many commits, the newest; 0 reads the whole log.",
        "N",
        type=click.IntRange(min=0),
        default=100,
    )
    forget: bool = option("Delete for good what is kept of these documents' past.")
    which: SelectionSettings = group(SelectionSettings)
    site: SiteSettings = group(SiteSettings)
    output_json: JsonSettings = group(JsonSettings)


@option_group()
class DiffSettings:
    destination: str = argument(type=Destination(), metavar="DESTINATION")
    start: str | None = argument(metavar="[FROM]", required=False)
    end: str | None = argument(metavar="[TO]", required=False)
    site: SiteSettings = group(SiteSettings)
    output_json: JsonSettings = group(JsonSettings)


@option_group("Where to go back to")
class RollbackSettings:
    destination: str = argument(type=Destination(), metavar="DESTINATION")
    to: str | None = option(
        "A commit's number, or a time (2026-03-24T10:00:00Z): the last commit by then.",
        "COMMIT|TIME",
    )
    resume: bool = option("Stop holding back what an earlier rollback took away.")
    max_delete: DeleteLimit | None = option(
        "How many documents may be removed because they were not there then; more is "
        "refused.  [default: 25%, or one component's documents]",
        type=MAX_DELETE,
    )
    written: WriteSettings = group(WriteSettings)
    which: SelectionSettings = group(SelectionSettings)
    site: SiteSettings = group(SiteSettings)
    cdn: CdnSettings = group(CdnSettings)
    run: RunSettings = group(RunSettings)


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
        _say_status(console, report, selection)
    return report


@command(
    HistorySettings,
    "myop-cdn history s3://my-bucket/myop",
    "myop-cdn history s3://my-bucket/myop --component pricing-card --json",
)
def history(console: Console, settings: HistorySettings) -> HistoryReport:
    """List what was published at a destination, newest first.

    Each commit is shown with its number, when it was made and by which command, and with the
    variants that each document held before and after it.
    """
    from myop_cdn.deploy.history import forget, read_history

    selection = selection_of(settings.which)
    with closing(open_target(settings.destination, settings.site)) as target:
        if settings.forget:
            report = forget(target, selection, settings.site.jobs)
        else:
            limit = settings.limit
            read = max(_LOOK_THROUGH, 10 * limit) if limit else 0
            report = read_history(target, selection, settings.site.jobs, limit, read)
    warn(console, report.warnings)
    if not console.wants_json:
        for one in report.commits:
            console.data(*_commit_lines(one))
    if report.older:
        were = "commit was" if report.older == 1 else "commits were"
        console.info(f"{report.url}: {report.older} older {were} not read; --limit 0 reads all")
    if report.forgotten is not None:
        console.info(f"{report.url}: {report.forgotten} kept contents deleted")
    if report.held:
        console.info(
            f"{report.url}: held back since a rollback: {_listed(report.held, report.names)}"
        )
    return report


@command(
    DiffSettings,
    "myop-cdn diff s3://my-bucket/myop",
    "myop-cdn diff s3://my-bucket/myop 2026-03-24T10:00:00Z",
)
def diff(console: Console, settings: DiffSettings) -> DiffReport:
    """Show what changed at a destination between two commits.

    FROM and TO are commits' numbers or times (2026-03-24T10:00:00Z). Without TO it is the newest
    commit, without FROM the one before. The exit code is 0 whether or not they differ.
    """
    from myop_cdn.deploy.history import read_diff

    with closing(open_target(settings.destination, settings.site)) as target:
        report = read_diff(target, settings.start, settings.end, settings.site.jobs)
    warn(console, report.warnings)
    if not console.wants_json:
        for line in _change_lines(report.changes, None):
            console.data(line)
    number = len(report.changes)
    what = {0: "nothing differs", 1: "1 object differs"}.get(number, f"{number} objects differ")
    console.info(f"{report.url}: {what} from commit {report.start} to {report.end}")
    return report


@command(
    RollbackSettings,
    "myop-cdn rollback s3://my-bucket/myop --to 41 --component card --dry-run",
    "myop-cdn rollback s3://my-bucket/myop --to 2026-03-24T10:00:00Z",
    "myop-cdn rollback s3://my-bucket/myop --resume",
)
def rollback(console: Console, settings: RollbackSettings) -> RollbackReport:
    """Put documents back to what they were, without asking Myop.

    The service copies what it kept (see --history of publish). What is taken away is held back:
    a later run that brings the same content passes over it; a new release goes through, and
    --resume lets everything through again.

    A document whose past content is not kept any more is named, and the exit code is 4; where
    nothing can be put back, it is 3 and nothing is changed.
    """
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.rollback import check_request, resume, roll_back
    from myop_cdn.model import DeleteLimit

    check_request(settings.to, resumes=settings.resume)
    selection = selection_of(settings.which)
    options = DeployOptions(
        max_delete=settings.max_delete or DeleteLimit(),
        acl=settings.written.acl,
        storage_class=settings.written.storage_class,
        invalidate=settings.cdn.invalidate,
        wait=settings.cdn.wait,
        ledger=settings.site.ledger,
        jobs=settings.site.jobs,
        endpoint_url=settings.site.endpoint_url,
        dry_run=settings.run.dry_run,
    )
    from myop_cdn.deploy.target import open_targets

    with closing(open_targets([settings.destination], options)[0]) as target:
        if settings.to is None:
            report = resume(target, selection, options)
        else:
            report = roll_back(target, settings.to, selection, options)
    _say_rollback(console, report)
    return report


def warn(console: Console, warnings: tuple[str, ...]) -> None:
    """Say each warning."""
    for warning in warnings:
        console.warning(warning)


def _commit_lines(commit: Commit) -> list[str]:
    from myop_cdn.moments import written

    why = " ".join(one for one in (commit.cause.command, commit.cause.scope) if one)
    if commit.cause.delivery:
        why += f", delivery {commit.cause.delivery}"
    lines = _change_lines(commit.changes, _MOST_LINES)
    return [f"{commit.number}  {written(commit.at)}  {why}", *(f"    {one}" for one in lines)]


def _change_lines(changes: Mapping[str, Change], most: int | None) -> list[str]:
    """A line for each change: "Pricing Card (card) · production · Classic → Aurora"."""
    keys = sorted(changes)
    lines = [_change_line(key, changes[key]) for key in keys[:most]]
    if len(keys) > len(lines):
        lines.append(f"and {len(keys) - len(lines)} more; --json lists all")
    return lines


def _change_line(key: str, change: Change) -> str:
    from myop_cdn.model import DocumentRef
    from myop_cdn.report import spoken

    before, after, ref = change.before, change.after, DocumentRef.of(key)
    known = after or before
    name = known.name if known else ""
    called = f"{name} ({ref.component_id})" if name and ref else name
    if after is None:
        return f"{spoken(key, called, before.label if before else '')} · deleted"
    if before is None:
        return f"{spoken(key, called, after.label)} · new"
    if before.sha256 == after.sha256:
        return f"{spoken(key, called, after.label)} · headers"
    return spoken(key, called, before.label, after.label)


def _listed(keys: Sequence[str], names: Mapping[str, str]) -> str:
    """Documents on one line, as people call them."""
    more = f" and {len(keys) - _MOST_LINES} more" if len(keys) > _MOST_LINES else ""
    return ", ".join(names.get(key) or key for key in keys[:_MOST_LINES]) + more


def _say_rollback(console: Console, report: RollbackReport) -> None:
    from myop_cdn.cli.reports import say_deploy
    from myop_cdn.report import DeployReport

    one = report.destination
    if report.to is not None:
        say_deploy(console, DeployReport(report.dry_run, (one,)))
        if one.uploaded or one.deleted:
            verb = "would go" if report.dry_run else "went"
            console.info(f"{one.url}: {verb} back to commit {report.to}")
        elif one.failure is None and not one.overtaken:
            console.info(f"{one.url}: there was nothing to put back to commit {report.to}")
        return
    would = "would be " if report.dry_run else ""
    what = _listed(report.resumed, one.names)
    said = f"{would}held back no longer: {what}" if what else "unchanged: nothing was held back"
    console.info(f"{one.url}: {said}")


def _say_status(console: Console, report: LiveStatus, selection: Selection) -> None:
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
    from myop_cdn.moments import written

    ref = one.ref
    called = f"{one.name} ({ref.component_id})" if one.name else ref.component_id
    since = [f"since {written(one.since)}"] if one.since else []
    return " · ".join([called, ref.environment, _variant(one), *since, *_states(one)])


def _variant(one: LiveDocument) -> str:
    if one.state == "missing":
        return "-"
    return (one.variant.name or one.variant.id) if one.variant else "?"


def _states(one: LiveDocument) -> list[str]:
    told = {"current": "current", "gone": "no longer in Myop", "unknown": "no answer from Myop"}
    state = told.get(one.state, "")
    if one.is_behind:
        called = (one.myop.name or one.myop.id) if one.myop else ""
        state = f"{one.state}: Myop has {'other content' if one.myop == one.variant else called}"
    held = "held back since a rollback" if one.held else ""
    return [words for words in (state, held) if words]


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
            state = shown("; ".join(_states(one)), width)
            if cell_len(line) + 2 + cell_len(state) <= width:
                yield f"{line}  {state}".rstrip()
            else:
                yield line.rstrip()
                yield _cut(f"  {'':{environments}}  ↳ {state}", width)


def _cut(text: str, cells: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= cells else set_cell_size(text, max(0, cells - 1)) + "…"
