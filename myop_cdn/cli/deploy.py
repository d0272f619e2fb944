"""`myop-cdn deploy`: upload a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from myop_cdn.cli.options import Destination, argument, command, group, option
from myop_cdn.cli.settings import (
    DeploySettings,
    LimitSettings,
    PlanSettings,
    RunSettings,
    check_plan,
    deploy_options,
)

if TYPE_CHECKING:
    from myop_cdn.cli.console import Console
    from myop_cdn.report import DeployReport


@dataclass(frozen=True, slots=True)
class DeployCommandSettings:
    """All that `deploy` takes."""

    TITLE: ClassVar[str] = "What to upload"
    destinations: tuple[str, ...] = argument(
        nargs=-1, required=True, type=Destination(), metavar="DESTINATION..."
    )
    source: Path = option(
        type=click.Path(path_type=Path),
        default="./myop-static",
        metavar="DIR",
        help="The folder to upload.",
    )
    force: bool = option(
        is_flag=True,
        help="Upload documents even where the destination holds what was exported later.",
    )
    plan: PlanSettings = group(PlanSettings)
    deploy: DeploySettings = group(DeploySettings)
    limits: LimitSettings = group(LimitSettings)
    run: RunSettings = group(RunSettings)


@command(
    DeployCommandSettings,
    "myop-cdn deploy s3://my-bucket/myop --dry-run",
    "myop-cdn deploy s3://my-bucket/myop file:///srv/cdn --delete",
    "myop-cdn deploy s3://my-bucket/myop --plan-out release.plan",
    "myop-cdn deploy s3://my-bucket/myop --apply release.plan",
)
def deploy(console: Console, settings: DeployCommandSettings) -> DeployReport:
    """Upload a folder to S3, GCS, Azure or a folder.

    A DESTINATION is s3://bucket[/prefix], gs://bucket[/prefix], az://container[/prefix],
    https://ACCOUNT.blob.core.windows.net/container[/prefix] or file:///folder. Contents are
    compared by hash, so what is there already is not uploaded again.
    """
    from myop_cdn.cli.reports import offer_documents, say_deploy, say_plan
    from myop_cdn.deploy import apply
    from myop_cdn.deploy import deploy as run
    from myop_cdn.tree import Tree

    plan = settings.plan
    check_plan(plan, "force")
    options = deploy_options(
        settings.deploy,
        settings.limits,
        dry_run=settings.run.dry_run,
        force=settings.force,
        plan_out=plan.plan_out,
    )
    with console.progress() as progress:
        if plan.apply is not None:
            report = apply(plan.apply, settings.destinations, options, progress)
        else:
            report = run(Tree(settings.source), settings.destinations, options, progress)
    say_deploy(console, report)
    say_plan(console, plan.plan_out, report)
    offer_documents(console, settings.destinations, options, report)
    return report
