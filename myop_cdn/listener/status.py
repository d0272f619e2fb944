"""What the listener is at, as JSON: for `/status`, `/readyz` and people. Moments are ISO 8601."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myop_cdn.moments import written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from myop_cdn.listener.queue.agenda import Retry
    from myop_cdn.listener.queue.base import (
        DeliveryView,
        LaneView,
        LiveDocument,
        NamedRelease,
        Overview,
        RunView,
    )
    from myop_cdn.listener.worker import Now

_LISTED = 1000  # documents in a list of those that are still to come


def iso(moment: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC, with milliseconds."""
    return None if moment is None else written(moment)


def delivery_json(delivery: DeliveryView) -> dict[str, Any]:
    """One delivery as a report shows it, without its body."""
    return {
        "id": delivery.id,
        "received": iso(delivery.received),
        "event": delivery.event,
        "scope": delivery.kind,
        "bytes": delivery.size,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "run": delivery.run,
        "error": delivery.error,
        "note": delivery.note,
        "finished": iso(delivery.finished),
        "peer": delivery.peer,
        "secret": delivery.secret,
        "releases": [_release_json(named) for named in delivery.releases],
        "lacking": [
            {"destination": lane, "error": error} for lane, error in delivery.lacking.items()
        ],
    }


def _release_json(named: NamedRelease) -> dict[str, Any]:
    release = named.release
    return {
        "componentId": release.component_id,
        "name": named.name or None,
        "environment": release.environment,
        "variantId": release.variant_id,
        "variantName": named.variant_name or None,
    }


def run_json(run: RunView) -> dict[str, Any]:
    """One run as a report shows it."""
    return {
        "run": run.run,
        "destination": run.lane,
        "scope": run.kind,
        "reason": run.reason,
        "started": iso(run.started),
        "ended": iso(run.ended),
        "state": run.state,
        "deliveries": run.deliveries,
        "uploaded": run.uploaded,
        "error": run.error,
    }


def running_json(now: Now) -> dict[str, Any] | None:
    """What a worker publishes; None where it does not."""
    if now.work is None:
        return None
    return {
        "scope": now.work.scope.kind,
        "reason": now.work.start.reason,
        "since": iso(now.since),
    }


def live_json(lane: str, document: LiveDocument) -> dict[str, Any]:
    """One document that is live, as it was published."""
    return {
        "componentId": document.ref.component_id,
        "name": document.name,
        "environment": document.ref.environment,
        "variantId": document.variant_id,
        "variantName": document.variant_name or None,
        "since": iso(document.since),
        "destination": lane,
    }


def summary(overview: Overview, now: float) -> dict[str, Any]:
    """The queue, what comes next, and what is wrong, in all and at each destination."""
    lanes = overview.lanes
    outages = [lane.agenda.outage for lane in lanes if lane.agenda.outage is not None]
    fulls = [lane.agenda.full.reason for lane in lanes if lane.agenda.full is not None]
    schedule = [lane.agenda.next_full for lane in lanes if lane.agenda.next_full is not None]
    age = None if overview.oldest is None else round(max(0.0, now - overview.oldest), 3)
    return {
        "queue": {
            "deliveries": overview.waiting,
            "oldestSeconds": age,
            "retries": _retries(overview, lambda _: True),
        },
        "behind": _retries(overview, lambda retry: retry.behind),
        "givenUp": _retries(overview, lambda retry: retry.given_up and not retry.behind),
        "nextAttempt": iso(min((outage.until for outage in outages), default=None)),
        "failedAttempts": max((outage.attempts for outage in outages), default=0),
        "fullSyncDue": fulls[0] if fulls else None,
        "nextFullSync": iso(min(schedule, default=None)),
        "lastSuccess": iso(last_success(overview)),
        "lastError": _last_error(overview),
        "destinations": [destination_json(lane) for lane in lanes],
    }


def _retries(overview: Overview, which: Callable[[Retry], bool]) -> list[dict[str, Any]]:
    found = [
        retry_json(lane, retry)
        for lane in overview.lanes
        for retry in lane.agenda.retries
        if which(retry)
    ]
    return found[:_LISTED]


def retry_json(lane: LaneView, retry: Retry) -> dict[str, Any]:
    """A document that is tried again."""
    return {
        "componentId": retry.ref.component_id,
        "environment": retry.ref.environment,
        "variantId": retry.release.variant_id,
        "attempts": retry.attempts,
        "since": iso(retry.since),
        "due": iso(retry.due),
        "error": retry.error,
        "givenUp": retry.given_up,
        "destination": lane.name,
    }


def destination_json(lane: LaneView) -> dict[str, Any]:
    """How it stands with one destination."""
    outage, full = lane.agenda.outage, lane.agenda.full
    return {
        "destination": lane.name,
        "state": "failing" if troubles(lane) else "ok",
        "pending": lane.pending,
        "documents": lane.documents,
        "failedAttempts": outage.attempts if outage else 0,
        "nextAttempt": iso(outage.until) if outage else None,
        "error": outage.error if outage else None,
        "fullSyncDue": full.reason if full else None,
        "fullSyncError": full.error if full else None,
        "behind": sum(retry.behind for retry in lane.agenda.retries),
        "givenUp": given_up(lane.agenda.retries),
        "lastSuccess": iso(lane.last_success),
    }


def given_up(retries: Iterable[Retry]) -> int:
    """How many documents are given up, and stay so until somebody looks, or they heal."""
    return sum(retry.given_up and not retry.behind for retry in retries)


def troubles(lane: LaneView) -> list[str]:
    """What is wrong at a destination and will not go away unseen, in words."""
    outage, full = lane.agenda.outage, lane.agenda.full
    found = []
    if outage is not None:
        found.append(f"{outage.attempts} runs failed in a row: {outage.error}")
    if full is not None and full.attempts:
        found.append(f"the full sync failed {full.attempts} times: {full.error}")
    if lost := given_up(lane.agenda.retries):
        found.append(f"releases that are given up: {lost}")
    if late := sum(retry.behind and retry.given_up for retry in lane.agenda.retries):
        found.append(f"documents that have been behind their release for long: {late}")
    return [f"{lane.name}: {words}" for words in found]


def last_success(overview: Overview) -> float | None:
    """When the destination that is furthest behind last had a run that did all it had to."""
    moments = [lane.last_success for lane in overview.lanes]
    return min((one for one in moments if one is not None), default=None) if all(moments) else None


def _last_error(overview: Overview) -> dict[str, Any] | None:
    """The newest of the errors that have not been mended since."""
    found: list[tuple[float, str, str]] = []
    for lane in overview.lanes:
        outage, full = lane.agenda.outage, lane.agenda.full
        if outage is not None:
            found.append((outage.at, outage.error, lane.name))
        if full is not None and full.failed is not None and full.error is not None:
            found.append((full.failed, full.error, lane.name))
        found += [
            (retry.since, f"{retry.ref.path}: {retry.error}", lane.name)
            for retry in lane.agenda.retries
        ]
    if not found:
        return None
    at, error, lane_name = max(found)
    return {"at": iso(at), "error": error, "destination": lane_name}
