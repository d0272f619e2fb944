"""Carry a plan out: documents, then the manifest, then deletions. Any failure ends it there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from myop_cdn.deploy.pool import Hopeless, run_all
from myop_cdn.errors import MyopCdnError, PreconditionFailed
from myop_cdn.model import MANIFEST
from myop_cdn.report import FailedKey, Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myop_cdn.deploy.plan import Plan
    from myop_cdn.progress import Progress
    from myop_cdn.storage.base import Body, Headers, Precondition
    from myop_cdn.storage.store import Store


@dataclass(slots=True)
class Outcome:
    """What was done so far. versions: what each uploaded object has become.

    error: what ended the work as a whole. lost: somebody else changed the manifest meanwhile.
    """

    uploaded: list[Upload] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    failed: list[FailedKey] = field(default_factory=list)
    error: MyopCdnError | None = None
    lost: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing has gone wrong."""
        return not (self.failed or self.error or self.lost)


@dataclass(frozen=True, slots=True)
class Means:
    """What a plan is carried out with. body: the bytes of an object, read when needed."""

    store: Store
    headers: Headers
    body: Callable[[str], Body]
    expect_manifest: Precondition | None
    jobs: int
    progress: Progress


def apply(plan: Plan, means: Means) -> Outcome:
    """Do what the plan says, in its order. Raises nothing that `Outcome` has a place for."""
    outcome = Outcome()
    steps = len(plan.uploads) + (plan.manifest is not None)
    if steps:
        means.progress.start(f"uploading to {means.store.url}", steps)
    _upload_all(plan.uploads, means, outcome)
    if plan.manifest and outcome.is_whole:
        _upload_manifest(plan.manifest, means, outcome)
    if plan.deletes and outcome.is_whole:
        means.progress.start(f"deleting at {means.store.url}", len(plan.deletes))
        _delete_all(plan.deletes, means, outcome)
    return outcome


def _upload_all(uploads: Sequence[Upload], means: Means, outcome: Outcome) -> None:
    def put(upload: Upload) -> str:
        return means.store.put(upload.key, means.body(upload.key), means.headers)

    try:
        for done in run_all(put, uploads, means.jobs, "put"):
            means.progress.step()
            if done.error is None and done.result is not None:
                outcome.uploaded.append(done.item)
                outcome.versions[done.item.key] = done.result
            elif done.error is not None:
                outcome.failed.append(FailedKey(done.item.key, done.error.message))
    except Hopeless as end:
        outcome.error = end.cause


def _upload_manifest(upload: Upload, means: Means, outcome: Outcome) -> None:
    try:
        body = means.body(MANIFEST)
        version = means.store.put(MANIFEST, body, means.headers, precondition=means.expect_manifest)
        outcome.versions[MANIFEST] = version
        outcome.uploaded.append(upload)
    except PreconditionFailed:
        outcome.lost = True
    except MyopCdnError as error:
        outcome.failed.append(FailedKey(MANIFEST, error.message))
    means.progress.step()


def _delete_all(keys: Sequence[str], means: Means, outcome: Outcome) -> None:
    size = means.store.delete_batch
    batches = [keys[start : start + size] for start in range(0, len(keys), size)]
    try:
        for done in run_all(means.store.delete, batches, means.jobs, "delete"):
            failures = done.result or {}
            for key in done.item:
                means.progress.step()
                error = done.error or failures.get(key)
                if error is None:
                    outcome.deleted.append(key)
                else:
                    outcome.failed.append(FailedKey(key, error.message))
    except Hopeless as end:
        outcome.error = end.cause
