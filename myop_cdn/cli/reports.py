"""Reports: in words for people, and where `--report` and the CI system want them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from myop_cdn import files
from myop_cdn.errors import MyopCdnError, RefusedError
from myop_cdn.summary import FORMATS, Summary, github_annotations, gitlab_section, markdown
from myop_cdn.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from myop_cdn.cli.console import Console
    from myop_cdn.deploy import DeployOptions
    from myop_cdn.report import DeployReport, DestinationReport, SyncReport

PAGE_ENDING = ".html"
_STEP_SUMMARY_BYTES = 1_000_000  # GitHub takes 1 MiB of a step


def deliver(
    console: Console, summary: Summary, value: Mapping[str, Any], now: datetime | None = None
) -> MyopCdnError | None:
    """Write the report to the files of `--report`, and show it as the CI system does.

    value: the report of `--json`. A file that can't be written does not hide how the run ended:
    the error is said here, and returned.
    """
    now = now or datetime.now(UTC)
    paths, console.report_files = console.report_files or (), None
    _show_in_ci(console, summary, now)
    problem = None
    for path in paths:
        try:
            if path.suffix.lower() == PAGE_ENDING:
                from myop_cdn import page
                from myop_cdn.page.snapshot import of_run

                # With the documents, where the command knows of a way to them.
                read = console.report_data
                facts = read(summary, now) if read else of_run(summary, {}, {}, now)
                data = page.as_file(facts)
            else:
                text = FORMATS[path.suffix.lower()](summary, value, now)
                data = text.encode("utf-8", "backslashreplace")
            _write(path, data, "report")
        except MyopCdnError as failure:
            console.error(failure)
            problem = problem or failure
    return problem


def deliver_failure(console: Console, error: MyopCdnError) -> None:
    """The same for a run that came to nothing."""
    command = str(console.known.get("command") or "")
    value = {**console.known, "error": error.to_json()}
    deliver(console, Summary(command, (), error), value)


def offer_documents(
    console: Console, destinations: Sequence[str], options: DeployOptions, report: DeployReport
) -> None:
    """Let a report that is a page show what was deployed, read back from the destinations."""
    if not any(path.suffix.lower() == PAGE_ENDING for path in console.report_files or ()):
        return

    def data(summary: Summary, now: datetime) -> Mapping[str, object]:
        from myop_cdn.deploy.target import open_targets
        from myop_cdn.page.snapshot import of_run

        with ExitStack() as stack:
            targets = {}
            for target in open_targets(destinations, replace(options, dry_run=True)):
                stack.callback(target.close)
                targets[target.store.url] = target
            commits = {one.url: one.commit for one in report.destinations if one.commit}
            return of_run(summary, targets, commits, now)

    console.report_data = data


def write_page(path: Path, data: Mapping[str, object]) -> None:
    """Write a page with its data. Raises MyopCdnError where that can't be done."""
    from myop_cdn import page

    _write(path, page.as_file(data), "page")


def _write(path: Path, data: bytes, what: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.written(path, data, sync=False) as temporary:
            Path(temporary).replace(path)
    except (OSError, ValueError) as error:  # the latter for a name with a NUL
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise MyopCdnError(f"can't write the {what} {shown(path)}: {why}") from None


def _show_in_ci(console: Console, summary: Summary, now: datetime) -> None:
    speaks = console.log_format == "text"  # lines of JSON are for another reader
    if os.environ.get("GITHUB_ACTIONS") == "true":
        _add_to_step_summary(console, summary)
        if speaks:
            for command in github_annotations(summary):
                console.commands(command)
    if os.environ.get("GITLAB_CI") == "true" and speaks and console.verbosity >= 0:
        for number, section in enumerate(summary.sections):
            if not any(section.notable):
                continue  # there is nothing to unfold
            console.commands(gitlab_section(section, f"myop_cdn_{summary.command}_{number}", now))


def _add_to_step_summary(console: Console, summary: Summary) -> None:
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not file:
        return
    text = markdown(summary)
    for rows in (50, 5, 0):
        if len(text.encode()) > _STEP_SUMMARY_BYTES:
            text = markdown(summary, rows=rows)
    try:
        with Path(file).open("a", encoding="utf-8") as out:  # other commands add theirs
            out.write(f"{text}\n")
    except OSError as error:
        console.warning(f"can't add to the step's summary {shown(file)}: {error.strerror}")


def say_sync(console: Console, report: SyncReport, *, dry_run: bool) -> None:
    """A sync's report: the changes of a dry run on stdout, the rest on stderr.

    With --json stdout is kept for the one JSON object.
    """
    for warning in report.warnings:
        console.warning(warning)
    for failed in report.failed:
        console.warning(f"failed: {failed.error}")
    if dry_run and not console.wants_json:
        for sign, paths in (("+", report.added), ("~", report.updated), ("-", report.removed)):
            for path in paths:
                console.data(f"{sign} {path}")
    console.info(_sync_line(report, dry_run))


def _sync_line(report: SyncReport, dry_run: bool) -> str:
    if report.scope == "none":
        return "unchanged: there was nothing to sync"
    verb = "would sync" if dry_run else "synced"
    counts = [f"{len(report.added)} added", f"{len(report.updated)} updated"]
    counts += [f"{len(report.removed)} removed", f"{report.unchanged} unchanged"]
    if report.failed:
        counts.append(f"{len(report.failed)} failed")
    elif not report.changed:
        counts = [f"unchanged ({report.unchanged} files)"]
    took = f"{report.seconds:.1f} s"
    how = f"({report.scope}, {report.exporter})"
    return f"{verb} {report.output} {how}: {', '.join(counts)}, {took}"


def say_deploy(console: Console, report: DeployReport) -> None:
    """A deploy's report, destination by destination: what went wrong, and what was done.

    The plan of a dry run goes to stdout, a line for each object, unless --json has it.
    """
    for one in report.destinations:
        for warning in one.warnings:
            console.warning(f"{one.url}: {warning}")
        for note in one.notes:
            console.info(f"{one.url}: {note}")
        for failure in one.failed:
            console.warning(f"{one.url}: {one.called(failure.key)} failed: {failure.error}")
        for passed in one.overtaken:
            console.info(f"{one.url}: {one.called(passed.key)} was overtaken: {passed.reason}")
        if one.refused is not None:
            hint = one.refusal.hint if one.refusal else ""
            why = one.refusal.message if one.refusal else one.refused
            console.error(RefusedError(f"{one.url}: refused: {why}", hint))
        elif one.error is not None:
            console.error(one.error)
        if one.refused is None:
            console.info(_destination_line(one, report.dry_run))
        if report.dry_run and not console.wants_json:
            for upload in one.uploaded:
                known = f"  {upload}" if upload.name else ""
                console.data(f"upload {one.url}/{upload.key} ({upload.reason}){known}")
            for key in one.deleted:
                known = f"  {one.names[key]}" if key in one.names else ""
                console.data(f"delete {one.url}/{key}{known}")


def _destination_line(one: DestinationReport, dry_run: bool) -> str:
    would = "would be " if dry_run else ""
    counts = (
        (one.uploaded, f"{would}uploaded"),
        (one.deleted, f"{would}deleted"),
        (one.failed, "failed"),
        (one.overtaken, "overtaken"),
    )
    parts = [f"{len(objects)} {what}" for objects, what in counts if objects]
    if not parts and one.error is not None:
        return f"{one.url}: nothing was changed"
    parts.append(f"{one.unchanged} unchanged" if parts else "unchanged")
    return f"{one.url}: {', '.join(parts)} ({one.seconds:.1f} s)"


def say_plan(console: Console, file: Path | None, report: DeployReport) -> None:
    """Where the plan was written, if it was."""
    if file is not None and report.exit_code in (0, 4):
        console.info(f"the plan was written to {file}; --apply carries it out")
