"""Reports in words, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myop_cdn.cli.console import Console
    from myop_cdn.report import SyncReport


def say_sync(console: Console, report: SyncReport, *, dry_run: bool, json: bool) -> None:
    """A sync's report: the changes of a dry run on stdout, the rest on stderr.

    json: stdout is kept for the one JSON object.
    """
    for warning in report.warnings:
        console.warning(warning)
    for failed in report.failed:
        console.warning(f"failed: {failed.error}")
    if dry_run and not json:
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
    return f"{verb} {report.output} ({report.scope}, {report.exporter}): {what}, {_took(report)}"


def _counts(report: SyncReport) -> Iterator[str]:
    yield f"{len(report.added)} added"
    yield f"{len(report.updated)} updated"
    yield f"{len(report.removed)} removed"
    yield f"{report.unchanged} unchanged"
    if report.failed:
        yield f"{len(report.failed)} failed"


def _took(report: SyncReport) -> str:
    return f"{report.seconds:.1f} s"
