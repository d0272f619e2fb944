"""One destination's deploy, from the ledger to the report.

Two deploys may run at once. Each reads the ledger, then lists; whatever it writes, it commits
the ledger last, and only if that is still the one it read. Who finds it changed has lost, reads
and lists again and goes on until its own tree is there and committed. So the last one to commit
has seen, and put right, everything that the others wrote: the end is one whole tree. No lock is
held, so a crash leaves nothing to clear: the next deploy sees what is there and repairs it.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from myop_cdn.deploy.apply import Means, Outcome, apply
from myop_cdn.deploy.encoding import content_encoding
from myop_cdn.deploy.facts import fingerprint
from myop_cdn.deploy.gate import check_limit, may_delete
from myop_cdn.deploy.invalidating import Invalidations, invalidate
from myop_cdn.deploy.manifest_step import (
    NextManifest,
    merged_manifest,
    older_than_there,
    own_manifest,
)
from myop_cdn.deploy.plan import Plan, make_plan
from myop_cdn.deploy.recall import drifted, next_ledger, recall
from myop_cdn.deploy.survey import decide
from myop_cdn.errors import MyopCdnError, RefusedError, StorageError
from myop_cdn.model import MANIFEST
from myop_cdn.report import DestinationReport, FailedKey, Upload
from myop_cdn.storage.base import Headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from myop_cdn.deploy.book import Page
    from myop_cdn.deploy.facts import Seen
    from myop_cdn.deploy.ledger import Ledger
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.source import Source, Wanted
    from myop_cdn.deploy.target import Look, Target
    from myop_cdn.progress import Progress
    from myop_cdn.storage.base import Body

ATTEMPTS = 40  # each one lost means that somebody else got a whole tree through
LONGEST_PAUSE_SECONDS = 2.0
CORS = "CORS"
CONDITIONS_IGNORED = (
    "the service ignores conditional writes, so it can't keep two deploys at once apart; "
    "run one at a time"
)


def deploy_to(
    target: Target,
    source: Source,
    options: DeployOptions,
    progress: Progress,
    first_look: Callable[[], Look] | None = None,
) -> DestinationReport:
    """Bring one destination up to the source. Whatever goes wrong there is in the report.

    first_look: gives the result of a `target.look()` that was begun before, once; None for
    none.
    """
    began = time.monotonic()
    work = Destination(target, source, options, progress, first_look)
    report = work.run()
    return replace(report, seconds=time.monotonic() - began)


class Destination:
    """The steps of one deploy at one destination, with what they share."""

    def __init__(
        self,
        target: Target,
        source: Source,
        options: DeployOptions,
        progress: Progress,
        first_look: Callable[[], Look] | None,
    ) -> None:
        self.look = target.look
        self.first_look = first_look or target.look
        self.store = target.store
        self.book = target.book
        self.cdns = target.cdns
        self.source = source
        self.options = options
        self.progress = progress
        self.headers = Headers(
            cache_control=options.cache_control,
            content_encoding=content_encoding(options.encoding),
        )
        self.fingerprint = fingerprint(self.headers) if self.store.keeps_headers else None
        # Over all attempts:
        self.uploaded: dict[str, Upload] = {}
        self.deleted: set[str] = set()
        self.paths: set[str] = set()
        self.warnings: list[str] = []
        self.lasting = [FailedKey(key, why) for key, why in source.broken.items()]
        # Of the last attempt:
        self.failed: list[FailedKey] = []
        self.unchanged = 0
        self.error: MyopCdnError | None = None

    def run(self) -> DestinationReport:
        """Attempt until the ledger is committed, or nothing had to be."""
        try:
            delete, note = may_delete(self.source, self.options)
            delete = delete and not self.source.broken
            self._warn(note)
            for attempt in range(ATTEMPTS):
                if attempt:
                    self._pause(attempt)
                if self._attempt(delete=delete, first=attempt == 0):
                    break
            else:
                raise StorageError(
                    f"{self.store.url}: others kept deploying there, {ATTEMPTS} times over",
                    "deploy again when they have finished",
                )
        except RefusedError as error:
            if not self._has_written:
                return DestinationReport.refusing(self.store.url, error, tuple(self.warnings))
            self.error = StorageError(error.message, error.hint)
        except MyopCdnError as error:
            self.error = error
        return self._report()

    @property
    def _has_written(self) -> bool:
        return bool(self.uploaded or self.deleted)

    def _pause(self, attempt: int) -> None:
        longest = min(LONGEST_PAUSE_SECONDS, 0.05 * 2.0**attempt)
        time.sleep(longest * random.random())  # noqa: S311 - spreads retries, keeps no secret

    def _attempt(self, *, delete: bool, first: bool) -> bool:
        """Plan, act, commit; False where somebody else committed meanwhile."""
        page, seen = self._recall(first=first)
        manifest = self._manifest(seen)
        wanted = self._wanted(manifest)
        means = self._means(manifest)
        decide(self.store, wanted, seen, self.fingerprint, means.body, self.options.jobs)
        plan = make_plan(wanted, seen, self.fingerprint, delete=delete)
        check_limit(plan, seen, self.options)
        self.failed = []
        if manifest.problem:
            self.failed.append(FailedKey(MANIFEST, manifest.problem))
        if first:
            self._before(plan, seen, page)
        outcome = apply(plan, means)
        self._note(plan, manifest, outcome)
        if outcome.lost:
            return False
        told = self._invalidate(page, seen, wanted, outcome)
        ledger = next_ledger(
            page.ledger, seen, wanted, outcome.versions, outcome.deleted, self.fingerprint
        )
        if not self._commit(replace(ledger, pending=told.pending), page):
            return False
        if self.options.wait:
            told.wait()
        self.failed.extend(told.failed)
        return True

    def _recall(self, *, first: bool) -> tuple[Page, dict[str, Seen]]:
        """The ledger, and what is there. The listing itself is let go of."""
        page, listed = self.first_look() if first else self.look()
        return page, recall(listed, page.ledger)

    def _manifest(self, seen: dict[str, Seen]) -> NextManifest:
        if self.source.broken:
            return NextManifest()
        if self.source.manifest is not None:
            return own_manifest(self.source, seen)
        return merged_manifest(self.source, self.store) if MANIFEST in seen else NextManifest()

    def _wanted(self, manifest: NextManifest) -> dict[str, Wanted]:
        wanted = dict(self.source.documents)
        if manifest.wanted:
            wanted[MANIFEST] = manifest.wanted
        return wanted

    def _before(self, plan: Plan, seen: Mapping[str, Seen], page: Page) -> None:
        """What is done once, after the plan was let through."""
        self._warn(page.warning)
        if plan.manifest and MANIFEST in seen and self.source.manifest:
            self._warn(older_than_there(self.source, self.store))
        if not self.options.cors_origins:
            return
        try:
            changed = self.store.allow_origins(self.options.cors_origins)
            self._warn(self._cors_note() if changed else None)
        except MyopCdnError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.lasting.append(FailedKey(CORS, error.message + hint))

    def _cors_note(self) -> str:
        origins = " ".join(self.options.cors_origins)
        added = "would be added" if self.options.dry_run else "was added"
        return f"{CORS}: a rule for {origins} {added}"

    def _means(self, manifest: NextManifest) -> Means:
        def body(key: str) -> Body:
            if key == MANIFEST and manifest.body is not None:
                return manifest.body
            return self.source.body(self.source.documents[key])

        return Means(
            self.store, self.headers, body, manifest.precondition, self.options.jobs, self.progress
        )

    def _note(self, plan: Plan, manifest: NextManifest, outcome: Outcome) -> None:
        planned = {upload.key for upload in (*plan.uploads, plan.manifest) if upload}
        self.unchanged = plan.unchanged - len(self.uploaded.keys() - planned)
        for upload in outcome.uploaded:
            self.uploaded.setdefault(upload.key, upload)
        self.deleted.update(outcome.deleted)
        self.failed.extend(outcome.failed)
        self.error = outcome.error
        for warning in manifest.warnings:
            self._warn(warning)

    def _invalidate(
        self, page: Page, seen: Mapping[str, Seen], wanted: Mapping[str, Wanted], outcome: Outcome
    ) -> Invalidations:
        keys = {*self.uploaded, *self.deleted}
        if self.cdns:
            keys |= drifted(page.ledger, seen, wanted)
        pending = page.ledger.pending if page.ledger else {}
        hold = bool(self.source.broken) or not outcome.is_whole
        told = invalidate(self.cdns, keys, pending, self.store.url, hold=hold)
        self.paths.update(told.paths)
        return told

    def _commit(self, ledger: Ledger, page: Page) -> bool:
        # What was written has to be committed even where the ledger says the same as before:
        # whoever listed in between has to be told that it is out of date.
        if not self._has_written and (ledger == page.ledger or self.error is not None):
            return True
        try:
            if page.version is None:  # asked once: the answer stays in the ledger
                ledger = replace(ledger, ignores_conditions=self._conditions_are_ignored(ledger))
            if ledger.ignores_conditions:
                self._warn(CONDITIONS_IGNORED)
            return self.book.commit(ledger, page) or self.error is not None
        except MyopCdnError as error:
            if self.error is None:
                self.failed.append(FailedKey(self.book.key, error.message))
            return True

    def _conditions_are_ignored(self, ledger: Ledger) -> bool:
        if self.book.store is not self.store:
            return self.book.conditions_are_ignored(None)
        some = next((entry.version for entry in ledger.objects.values()), None)
        return some is not None and self.book.conditions_are_ignored(some)

    def _warn(self, warning: str | None) -> None:
        if warning and warning not in self.warnings:
            self.warnings.append(warning)

    def _report(self) -> DestinationReport:
        uploaded = tuple(self.uploaded[key] for key in sorted(self.uploaded))
        return DestinationReport(
            self.store.url,
            uploaded=uploaded,
            unchanged=self.unchanged,
            deleted=tuple(sorted(self.deleted - self.uploaded.keys())),
            failed=tuple(sorted((*self.lasting, *self.failed), key=lambda one: one.key)),
            invalidated=tuple(sorted(self.paths)),
            warnings=tuple(self.warnings),
            error=self.error,
        )
