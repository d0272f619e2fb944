"""One destination's deploy, from the listing to the report."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from myop_cdn.deploy.apply import Means, Outcome, apply
from myop_cdn.deploy.encoding import content_encoding
from myop_cdn.deploy.facts import fingerprint
from myop_cdn.deploy.gate import check_limit, may_delete
from myop_cdn.deploy.manifest_step import (
    NextManifest,
    merged_manifest,
    older_than_there,
    own_manifest,
)
from myop_cdn.deploy.plan import Plan, make_plan
from myop_cdn.deploy.survey import ask, layout_of
from myop_cdn.errors import MyopCdnError, RefusedError
from myop_cdn.model import MANIFEST, DestinationReport, FailedKey
from myop_cdn.storage.base import Headers

if TYPE_CHECKING:
    from myop_cdn.deploy.facts import Seen
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.source import Source
    from myop_cdn.progress import Progress
    from myop_cdn.storage.base import Body
    from myop_cdn.storage.store import Store


def deploy_to(
    store: Store, source: Source, options: DeployOptions, progress: Progress
) -> DestinationReport:
    """Bring one destination up to the source. Whatever goes wrong there is in the report."""
    began = time.monotonic()
    work = Destination(store, source, options, progress)
    try:
        report = work.run()
    except RefusedError as error:
        report = DestinationReport(store.url, refused=_in_one_line(error))
    except MyopCdnError as error:
        report = DestinationReport(store.url, error=error)
    return replace(report, seconds=time.monotonic() - began)


def _in_one_line(error: RefusedError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


class Destination:
    """The steps of one deploy at one destination, with what they share."""

    def __init__(
        self, store: Store, source: Source, options: DeployOptions, progress: Progress
    ) -> None:
        self.store = store
        self.source = source
        self.options = options
        self.progress = progress
        self.headers = Headers(
            cache_control=options.cache_control,
            content_encoding=content_encoding(options.encoding),
        )
        self.fingerprint = fingerprint(self.headers) if store.keeps_headers else None
        self.warnings: list[str] = []

    def run(self) -> DestinationReport:
        """Plan, then act. Raises RefusedError before anything was changed, StorageError."""
        delete, note = may_delete(self.source, self.options)
        if note:
            self.warnings.append(note)
        seen = layout_of(self.store.list())
        manifest = self._manifest(seen)
        plan = self._plan(seen, manifest, delete=delete)
        check_limit(plan, len(seen), self.options)
        if plan.manifest and MANIFEST in seen and self.source.manifest:
            self._warn(older_than_there(self.source, self.store))
        outcome = apply(plan, self._means(manifest))
        return self._report(plan, manifest, outcome)

    def _manifest(self, seen: dict[str, Seen]) -> NextManifest:
        if self.source.manifest is not None:
            manifest = own_manifest(self.source, seen)
        elif MANIFEST in seen:
            manifest = merged_manifest(self.source, self.store)
        else:
            manifest = NextManifest()
        self.warnings.extend(manifest.warnings)
        return manifest

    def _plan(self, seen: dict[str, Seen], manifest: NextManifest, *, delete: bool) -> Plan:
        wanted = dict(self.source.documents)
        if manifest.wanted:
            wanted[MANIFEST] = manifest.wanted
        ask(self.store, wanted, seen, self.fingerprint, self.options.jobs)
        return make_plan(wanted, seen, self.fingerprint, delete=delete)

    def _means(self, manifest: NextManifest) -> Means:
        def body(key: str) -> Body:
            if key == MANIFEST and manifest.body is not None:
                return manifest.body
            return self.source.body(self.source.documents[key])

        return Means(
            self.store, self.headers, body, manifest.expect, self.options.jobs, self.progress
        )

    def _report(self, plan: Plan, manifest: NextManifest, outcome: Outcome) -> DestinationReport:
        failed = list(outcome.failed)
        if manifest.problem:
            failed.append(FailedKey(MANIFEST, manifest.problem))
        return DestinationReport(
            self.store.url,
            uploaded=tuple(sorted(outcome.uploaded, key=lambda upload: upload.key)),
            unchanged=plan.unchanged,
            deleted=tuple(sorted(outcome.deleted)),
            failed=tuple(sorted(failed, key=lambda one: one.key)),
            warnings=tuple(self.warnings),
            error=outcome.error,
        )

    def _warn(self, warning: str | None) -> None:
        if warning:
            self.warnings.append(warning)
