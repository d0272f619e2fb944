"""The publisher that `serve` is given: sync, then deploy, with the command's own options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from myop_cdn.errors import InputError

if TYPE_CHECKING:
    from myop_cdn.cli.options import ExportSettings
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.model import Scope
    from myop_cdn.report import PublishReport


@dataclass(frozen=True, slots=True)
class CommandPublisher:
    """Everything is opened anew for each run, so that a key that was changed is seen."""

    export: ExportSettings
    deploying: DeployOptions
    destinations: tuple[str, ...]

    def check(self) -> None:
        """Raise InputError for options that no run could work with. Makes no request."""
        from myop_cdn.cli.exporting import exporter_of, sync_options_of
        from myop_cdn.deploy import check_destinations

        sync_options_of(self.export)
        exporter_of(self.export)
        if self.export.output.exists() and not self.export.output.is_dir():
            raise InputError(f"--output {self.export.output} is no folder")
        if self.destinations:
            check_destinations(self.destinations, self._deploy_options(), self.export.output)

    def __call__(self, scope: Scope) -> PublishReport:
        """Export what `scope` names and bring the destinations up to the tree."""
        from myop_cdn.cli.exporting import exporter_of, sync_options_of
        from myop_cdn.publish import publish
        from myop_cdn.tree import Tree

        return publish(
            scope,
            lambda: exporter_of(self.export),
            Tree(self.export.output),
            self.destinations,
            sync_options_of(self.export),
            self._deploy_options(),
        )

    def _deploy_options(self) -> DeployOptions:
        options = replace(self.deploying, jobs=self.export.jobs)
        if self.export.max_delete is not None:
            options = replace(options, max_delete=self.export.max_delete)
        return options
