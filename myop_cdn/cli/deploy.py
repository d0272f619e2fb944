"""`myop-cdn deploy`: upload a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from myop_cdn.cli.deploying import deploy_options
from myop_cdn.cli.options import DRY_RUN, JOBS_OPTION, JSON, MAX_DELETE_OPTION, with_options
from myop_cdn.errors import RefusedError

if TYPE_CHECKING:
    from myop_cdn.cli.console import Console
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.model import DeleteLimit
    from myop_cdn.report import DeployReport, DestinationReport

__all__ = ["deploy", "deploy_options", "show", "show_plan"]


@click.command()
@click.argument("destinations", nargs=-1, required=True, metavar="DESTINATION...")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    default="./myop-static",
    show_default=True,
    metavar="DIR",
    help="The folder to upload.",
)
@deploy_options
@with_options(MAX_DELETE_OPTION, JOBS_OPTION, DRY_RUN, JSON)
@click.pass_obj
def deploy(
    console: Console,
    /,
    destinations: tuple[str, ...],
    source: Path,
    deploying: DeployOptions,
    max_delete: DeleteLimit | None,
    jobs: int,
    dry_run: bool,
    json: bool,
) -> int:
    """Upload a folder to S3, GCS, Azure or a folder.

    A DESTINATION is s3://bucket[/prefix], gs://bucket[/prefix], az://container[/prefix],
    https://ACCOUNT.blob.core.windows.net/container[/prefix] or file:///folder. Contents are
    compared by hash, so what is there already is not uploaded again.
    """
    from myop_cdn.deploy import deploy as run
    from myop_cdn.tree import Tree

    options = replace(deploying, jobs=jobs, dry_run=dry_run)
    if max_delete is not None:
        options = replace(options, max_delete=max_delete)
    with console.progress() as progress:
        report = run(Tree(source), destinations, options, progress)
    show(console, report)
    if json:
        console.report(report.to_json())
    elif options.dry_run:
        show_plan(console, report)
    return int(report.exit_code)


def show(console: Console, report: DeployReport) -> None:
    """Say on stderr, destination by destination, what was done and what went wrong."""
    for one in report.destinations:
        for warning in one.warnings:
            console.warning(f"{one.url}: {warning}")
        for failure in one.failed:
            console.warning(f"{one.url}: {failure.key} failed: {failure.error}")
        if one.refused is not None:
            hint = one.refusal.hint if one.refusal else ""
            why = one.refusal.message if one.refusal else one.refused
            console.error(RefusedError(f"{one.url}: refused: {why}", hint))
        elif one.error is not None:
            console.error(one.error)
        if one.refused is None:
            console.info(_summary(one, report.dry_run))


def show_plan(console: Console, report: DeployReport) -> None:
    """Print what a dry run would have done: a line for each object, as data."""
    for one in report.destinations:
        for upload in one.uploaded:
            console.data(f"upload {one.url}/{upload.key} ({upload.reason})")
        for key in one.deleted:
            console.data(f"delete {one.url}/{key}")


def _summary(one: DestinationReport, dry_run: bool) -> str:
    would = "would be " if dry_run else ""
    parts = []
    if one.uploaded:
        parts.append(f"{len(one.uploaded)} {would}uploaded")
    if one.deleted:
        parts.append(f"{len(one.deleted)} {would}deleted")
    if one.failed:
        parts.append(f"{len(one.failed)} failed")
    if not parts and one.error is not None:
        return f"{one.url}: nothing was changed"
    parts.append(f"{one.unchanged} unchanged" if parts else "unchanged")
    return f"{one.url}: {', '.join(parts)} ({one.seconds:.1f} s)"
