"""Payloads: bytes in, a `Delivery` out. No I/O.

Five forms are told apart by themselves, and all or nothing is taken: one bad release names its
place and refuses the whole. Sources: Myop's page on generic webhooks (the body), Myop's
GitHub page (`client_payload`), GitHub's event files, GitLab's `$TRIGGER_PAYLOAD`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from myop_cdn import names
from myop_cdn.errors import PayloadError
from myop_cdn.model import Delivery, Release, Scope
from myop_cdn.signature import parse_timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from myop_cdn.model import Form

T = TypeVar("T")
EVENT = "components.deployed"
MAX_BYTES = 16 * 1024 * 1024  # fifty thousand releases; a real batch of 385 took 90 KB
_GITLAB_KEYS = ("id", "ref", "variables")
_FIELDS = ("componentId", "environment", "variantId", "environmentId")  # in `Release`'s order
_FORMS_HINT = (
    "known forms: the webhook's body, GitHub's event file or dispatch body, GitLab's "
    "$TRIGGER_PAYLOAD file, the data object, an array of releases"
)


def parse(data: bytes) -> Delivery:
    """The delivery in `data`, whichever form it is in.

    A form whose releases are absent or empty asks for a full sync; a webhook of another event
    asks for nothing. Each release of a webhook was announced at the webhook's `timestamp`; see
    `Scope.without_announcements` for one that nobody signed. Raises PayloadError, naming the
    place, for everything else: empty input, a bare `[]` and an object of no known form are what
    a failed pipe delivers.
    """
    value = _decode(data)
    if isinstance(value, list):
        return Delivery("array", Scope("incremental", _bare(value)))
    if not isinstance(value, dict):
        raise PayloadError(f"the payload is {_kind(value)}, not an object", _FORMS_HINT)
    if "event" in value:
        return _webhook(value)
    if "client_payload" in value:
        return _dispatch(value)
    if "releases" in value or "fullSync" in value:
        return Delivery("data", _scope(value, ""))
    if _is_github_run(value):
        return Delivery("github", Scope("full"))
    if all(key in value for key in _GITLAB_KEYS):
        return Delivery("gitlab", Scope("full"))
    raise PayloadError("the payload is an object in no known form", _FORMS_HINT)


def parse_releases(data: bytes) -> tuple[Release, ...]:
    """The releases of a bare JSON array, as the official tool's `--releases` takes it.

    Raises PayloadError, naming the place, for anything else, an empty array too.
    """
    value = _decode(data)
    if not isinstance(value, list):
        raise PayloadError(
            f"the releases are {_kind(value)}, not an array",
            "give a whole payload with --payload",
        )
    return _bare(value)


def is_reserialized(data: bytes) -> bool:
    """Whether `data` is a webhook body as GitLab hands it on: parsed, with keys added, and
    written again, so that the signature can't match whatever the secret. Never raises.
    """
    try:
        value = _decode(data)
    except PayloadError:
        return False
    return isinstance(value, dict) and _has_gitlab_keys(value)


def signed_timestamp(data: bytes) -> str | None:
    """The webhook's `timestamp` as written, or None where there is none to be found."""
    try:
        value = _decode(data)
    except PayloadError:
        return None
    timestamp = value.get("timestamp") if isinstance(value, dict) else None
    return timestamp if isinstance(timestamp, str) else None


def _has_gitlab_keys(value: dict[str, Any]) -> bool:
    return sum(key in value for key in _GITLAB_KEYS) >= 2


def _decode(data: bytes) -> Any:
    if len(data) > MAX_BYTES:
        raise PayloadError(
            f"the payload has {len(data) / 1e6:.1f} MB; {MAX_BYTES / 1e6:.1f} MB is the most"
        )
    if not data.strip():
        raise PayloadError("the payload is empty", "did the step before this one fail?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PayloadError(f"the payload is not UTF-8 (byte {error.start})") from None
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise PayloadError(f"the payload is not JSON: {error.msg.lower()} at {where}") from None
    except RecursionError:
        raise PayloadError("the payload is nested too deeply") from None
    except ValueError:
        # Python turns no integer of more than 4300 digits into a number.
        raise PayloadError("the payload holds a number that is too long") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        # Two readers could take two different ones of them.
        left = list(reversed(value))  # each key once, in the order in which they were first met
        twice = next(key for key, _ in pairs if not left or left.pop() != key)
        raise PayloadError(f"the key {names.shown(twice)!r} appears twice in one object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise PayloadError(f"the payload is not JSON: it holds {name}")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)


def _webhook(value: dict[str, Any]) -> Delivery:
    event = _checked(value["event"], str, "event", "a name")
    if event == "":
        raise PayloadError("event is empty")
    form: Form = "gitlab" if _has_gitlab_keys(value) else "webhook"
    timestamp = _text(value, "timestamp")
    scope = Scope("none")
    if event == EVENT:
        data = _checked(value.get("data", {}), dict, "data", "an object")
        scope = _scope(data, "data.", parse_timestamp(timestamp) if timestamp else None)
    return Delivery(form, scope, event, timestamp, _text(value, "organizationId"))


def _dispatch(value: dict[str, Any]) -> Delivery:
    inside = value["client_payload"]
    if inside is None:  # GitHub's way to say that none was sent
        inside = {}
    inside = _checked(inside, dict, "client_payload", "an object")
    return Delivery("github", _scope(inside, "client_payload."))


def _is_github_run(value: dict[str, Any]) -> bool:
    """GitHub's event file of a scheduled or a manual run: it names the schedule in cron's five
    fields, or the workflow's file with its inputs.
    """
    schedule, workflow = value.get("schedule"), value.get("workflow")
    if isinstance(schedule, str) and len(schedule.split()) == 5:
        return True
    is_file = isinstance(workflow, str) and workflow.endswith((".yml", ".yaml"))
    return is_file and ("inputs" in value or "ref" in value)


def _text(value: dict[str, Any], key: str) -> str | None:
    text = value.get(key)
    return None if text is None else _checked(text, str, key, "a string")


def _scope(data: dict[str, Any], place: str, announced_at: datetime | None = None) -> Scope:
    full = _checked(data.get("fullSync", False), bool, f"{place}fullSync", "true or false")
    items = _checked(data.get("releases", []), list, f"{place}releases", "an array")
    releases = _releases(items, f"{place}releases", announced_at)
    return Scope("full" if full or not releases else "incremental", releases)


def _bare(items: list[Any]) -> tuple[Release, ...]:
    if not items:
        raise PayloadError("the array of releases is empty", "for a full sync give no payload")
    return _releases(items, "")


def _releases(
    items: list[Any], place: str, announced_at: datetime | None = None
) -> tuple[Release, ...]:
    releases = [
        _release(item, f"{place}[{position}]", announced_at) for position, item in enumerate(items)
    ]
    return Scope.merge([Scope("incremental", tuple(releases))]).releases


def _release(item: Any, place: str, announced_at: datetime | None) -> Release:
    item = _checked(item, dict, place, "an object")
    for key in _FIELDS:
        if key not in item and key in ("componentId", "environment"):
            raise PayloadError(f"{place}.{key} is missing")
        if key in item and (problem := names.problem(item[key])):
            raise PayloadError(f"{place}.{key} {problem}")
    component_id, environment, variant_id, environment_id = map(item.get, _FIELDS)
    return Release(component_id, environment, variant_id, environment_id, announced_at)


def _checked(value: Any, kind: type[T], place: str, what: str) -> T:
    if not isinstance(value, kind):
        raise PayloadError(f"{place} is {_kind(value)}, not {what}")
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a string"}
    return kinds.get(type(value), "an array" if isinstance(value, list) else "an object")
