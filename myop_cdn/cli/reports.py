"""Reports in words, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myop_cdn.cli.console import Console
    from myop_cdn.report import DeployReport, DestinationReport, SyncReport, Upload


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
    what = ", ".join(_counts(report))
    verb = "would sync" if dry_run else "synced"
    if not report.changed and not report.failed:
        what = f"unchanged ({report.unchanged} files)"
    took = f"{report.seconds:.1f} s"
    return f"{verb} {report.output} ({report.scope}, {report.exporter}): {what}, {took}"


def _counts(report: SyncReport) -> Iterator[str]:
    yield f"{len(report.added)} added"
    yield f"{len(report.updated)} updated"
    yield f"{len(report.removed)} removed"
    yield f"{report.unchanged} unchanged"
    if report.failed:
        yield f"{len(report.failed)} failed"


def say_deploy(console: Console, report: DeployReport) -> None:
    """A deploy's report, destination by destination: what went wrong, and what was done.

    The plan of a dry run goes to stdout, a line for each object, unless --json has it.
    """
    for one in report.destinations:
        for warning in one.warnings:
            console.warning(f"{one.url}: {warning}")
        for failure in one.failed:
            console.warning(f"{one.url}: {failure.key} failed: {failure.error}")
        for passed in one.overtaken:
            console.info(f"{one.url}: {passed.key} was overtaken: {passed.reason}")
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
                console.data(f"upload {one.url}/{upload.key} ({upload.reason}){_change(upload)}")
            for key in one.deleted:
                console.data(f"delete {one.url}/{key}")


def _change(upload: Upload) -> str:
    """Which component changes from which variant to which, as far as is known."""
    if not upload.name:
        return ""
    ends = " → ".join(one for one in (upload.before, upload.after) if one)
    return f"  {upload.name}" + (f" · {ends}" if ends else "")


def _destination_line(one: DestinationReport, dry_run: bool) -> str:
    would = "would be " if dry_run else ""
    parts = []
    if one.uploaded:
        parts.append(f"{len(one.uploaded)} {would}uploaded")
    if one.deleted:
        parts.append(f"{len(one.deleted)} {would}deleted")
    if one.failed:
        parts.append(f"{len(one.failed)} failed")
    if one.overtaken:
        parts.append(f"{len(one.overtaken)} overtaken")
    if not parts and one.error is not None:
        return f"{one.url}: nothing was changed"
    parts.append(f"{one.unchanged} unchanged" if parts else "unchanged")
    return f"{one.url}: {', '.join(parts)} ({one.seconds:.1f} s)"
