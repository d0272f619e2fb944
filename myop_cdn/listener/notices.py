"""What a run gives occasion to tell somebody. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.notify.policy import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myop_cdn.listener.queue.base import Changes
    from myop_cdn.listener.queue.outcome import Outcome, Work
    from myop_cdn.model import DocumentRef

_NAMED = 3  # documents that a message names


def events(
    lane: str,
    work: Work,
    ended: Outcome,
    changes: Changes,
    lost: frozenset[DocumentRef],
    now: float,
) -> Iterator[Event]:
    """What happened in `lane`. lost: the documents given up before the run; see `still_lost`.

    A run that got nothing through says neither that the lane fails nor that it works: what it
    tried is tried again by itself, and told when it is given up.
    """
    if ended.whole:
        yield Event("refused" if ended.refused else "failed", lane, ended.error or "", at=now)
    elif ended.state == "done" or ended.published:
        yield Event("succeeded", lane, at=now)
    subject = f"{lane}: releases"
    left = still_lost(lost, changes)
    if new := sorted(left - lost):
        errors = {retry.ref: retry.error for retry in changes.retries}
        yield Event("given_up", subject, _named(new) + f": {errors[new[0]]}", at=now)
    elif lost and not left:
        yield Event("succeeded", subject, "what was given up is published", at=now)
    if work.start.reason == "schedule" and not ended.whole:
        announced = {release.ref for release in work.scope.releases}
        # Previews change without a delivery.
        if drift := sorted(ref for ref in ended.changed - announced if not ref.is_preview):
            yield Event("drift", lane, _named(drift), "is the webhook still there?", now)


def still_lost(lost: frozenset[DocumentRef], changes: Changes) -> frozenset[DocumentRef]:
    """The documents that are given up after the run."""
    tried = {retry.ref for retry in changes.retries}
    given_up = {retry.ref for retry in changes.retries if retry.given_up}
    return (lost - tried - set(changes.resolved)) | given_up


def _named(refs: list[DocumentRef]) -> str:
    more = f" and {len(refs) - _NAMED} more" if len(refs) > _NAMED else ""
    return ", ".join(ref.path for ref in refs[:_NAMED]) + more
