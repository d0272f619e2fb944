"""`myop-cdn deliveries` and `send`: look into a listener's journal, and send a test delivery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from myop_cdn import names
from myop_cdn.cli.options import argument, command, group, option, option_group
from myop_cdn.cli.settings import JsonSettings, SecretSettings, StateSettings
from myop_cdn.errors import InputError, MyopCdnError
from myop_cdn.report import with_error
from myop_cdn.text import shown, shown_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from myop_cdn.cli.console import Console
    from myop_cdn.listener.queue.base import DeliveryView
    from myop_cdn.listener.queue.sql import Connection
    from myop_cdn.model import Release
    from myop_cdn.send import DeliveryResponse, Faults

_NAMED = 5  # releases in a line
_STATES = ("waiting", "retrying", "done", "failed", "ignored")


@option_group("Which")
class ListSettings:
    limit: int = option("How many, newest first.", "N", type=click.IntRange(1, 10_000), default=20)
    state: str | None = option("Only those in this state.", type=click.Choice(_STATES))
    journal: StateSettings = group(StateSettings)
    output: JsonSettings = group(JsonSettings)


@option_group("Output")
class ShowSettings:
    delivery_id: str = argument(metavar="ID")
    raw: bool = option("Only the body, byte for byte.")
    output: JsonSettings = group(JsonSettings)
    journal: StateSettings = group(StateSettings)


@option_group()
class DeliverySettings:
    delivery_id: str = argument(metavar="ID")
    journal: StateSettings = group(StateSettings)


@dataclass(frozen=True, slots=True)
class Answer:
    """A look that went well, for `--json`."""

    values: dict[str, Any]
    error: None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON report."""
        return self.values


@click.group()
def deliveries() -> None:
    """Look into a listener's journal, and have a delivery done again.

    Works beside a listener that is running.
    """


@command(ListSettings, "myop-cdn deliveries list --state retrying", name="list")
def list_(console: Console, settings: ListSettings) -> Answer:
    """List the newest deliveries and what became of them."""
    from myop_cdn.listener.queue.deliveries import listed
    from myop_cdn.listener.status import delivery_json, iso

    with _opened(settings.journal) as connection:
        found = listed(connection, settings.limit, settings.state)
    for delivery in () if console.wants_json else found:
        head = f"{delivery.id}  {iso(delivery.received)}  {delivery.state:8}  {delivery.kind:11}"
        words = [_what(delivery), delivery.note or "", _why(delivery)]
        console.data("  ".join([head, *filter(None, words)]))
    if not found:
        console.info("no deliveries")
    rows = [delivery_json(delivery) for delivery in found]
    return Answer({"command": "deliveries list", "deliveries": rows})


def _what(delivery: DeliveryView) -> str:
    """What it announced, by names where they are known."""
    shown = []
    for named in delivery.releases[:_NAMED]:
        release = named.release
        component, variant = named.name or release.component_id, named.variant_name
        parts = (component, release.environment, variant or release.variant_id)
        shown.append(" · ".join(filter(None, parts)))
    if more := len(delivery.releases) - len(shown):
        shown.append(f"and {more} more")
    return ", ".join(shown) or delivery.event or "-"


def _why(delivery: DeliveryView) -> str:
    """Why it is not done, and where, in case some destinations have it."""
    lacking = [lane for lane, error in delivery.lacking.items() if error is None]
    if delivery.error and lacking and len(delivery.lacking) > 1:
        return f"{delivery.error}; to come: {', '.join(lacking)}"
    return delivery.error or ""


@command(ShowSettings, "myop-cdn deliveries show 5f1c --raw > body.json")
def show(console: Console, settings: ShowSettings) -> Answer | None:
    """Show one delivery with its body."""
    from myop_cdn.listener.queue.deliveries import found
    from myop_cdn.listener.status import delivery_json, iso

    with _opened(settings.journal) as connection:
        delivery = found(connection, settings.delivery_id)
    if delivery is None:
        raise _unknown(settings.delivery_id)
    if settings.raw:
        console.raw(delivery.body)
        return None
    value: dict[str, Any] = {
        **delivery_json(delivery),
        "announced": iso(delivery.announced),
        "sha256": delivery.sha256.hex(),
        "headers": dict(delivery.headers),
    }
    text = delivery.body.decode("utf-8", "replace")
    if not console.wants_json:
        for name, cell in value.items():
            if name not in ("headers", "releases", "lacking"):
                console.data(f"{name + ':':12}{'-' if cell is None else cell}")
        console.data(f"{'releases:':12}{_what(delivery)}")
        for lane, error in delivery.lacking.items():
            console.data(f"{'lacking:':12}{lane}  {error or 'to come'}")
        for name, cell in delivery.headers.items():
            console.data(f"{name}: {cell}")
        console.data("", *text.split("\n"))
    return Answer({"command": "deliveries show", **value, "body": text})


@command(DeliverySettings, "myop-cdn deliveries retry 5f1c")
def retry(console: Console, settings: DeliverySettings) -> None:
    """Have a delivery done again; a listener that runs begins at once."""
    from myop_cdn.listener.queue import deliveries as queue

    _change(settings, queue.retry)
    console.info(f"{settings.delivery_id} will be retried")


@command(DeliverySettings, "myop-cdn deliveries forget 5f1c")
def forget(console: Console, settings: DeliverySettings) -> None:
    """Drop a delivery, done or not. Its hash stays, so that a replay is still known."""
    from myop_cdn.listener.queue import deliveries as queue

    _change(settings, queue.forget)
    console.info(f"{settings.delivery_id} was forgotten")


for _command in (list_, show, retry, forget):
    deliveries.add_command(_command)


def _change(settings: DeliverySettings, change: Callable[[Connection, str], bool]) -> None:
    with _opened(settings.journal, writing=True) as connection:
        if not change(connection, settings.delivery_id):
            raise _unknown(settings.delivery_id)


def _opened(state: StateSettings, *, writing: bool = False) -> AbstractContextManager[Connection]:
    """A connection to the journal, for one look or for one transaction."""
    from myop_cdn.listener.queue import journal

    if (database := state.postgres()) is None:
        file = state.state_dir / journal.FILE
        return journal.writing(file) if writing else journal.reading(file)
    from myop_cdn.listener.queue.postgres import queue

    return queue.writing(database) if writing else queue.reading(database)


def _unknown(delivery_id: str) -> InputError:
    return InputError(
        f"there is no delivery {shown(delivery_id)!r}", "see 'myop-cdn deliveries list'"
    )


@option_group("Faults, to see the refusal")
class FaultSettings:
    bad_signature: bool = option("Sign a different body: a 401 is expected.")
    stale: bool = option("Date it an hour ago: a 401 is expected.")
    oversized: bool = option("Pad it to over 2 MiB: a 413 is expected.")
    duplicate: bool = option("Send it twice: 200 both times, one release.")
    chunked: bool = option("Send it in chunks, without a Content-Length.")


@option_group("What to send")
class SendSettings:
    url: str = argument(metavar="URL")
    release: tuple[str, ...] = option(
        "Announce this release; repeat it for more. Without VARIANT it is whatever Myop has; "
        "without a release a full sync is asked for.",
        "COMPONENT/ENVIRONMENT[=VARIANT]",
    )
    payload: str | None = option("Send this body as it is, instead of one made up.", "FILE|-")
    allow_http: bool = option("Allow plain http:// to a host that is not this machine.")
    secrets: SecretSettings = group(SecretSettings)
    faults: FaultSettings = group(FaultSettings)
    output: JsonSettings = group(JsonSettings)


@dataclass(frozen=True, slots=True)
class SendReport:
    """What the receiver answered, and what it should have."""

    url: str
    expected: str
    replies: tuple[DeliveryResponse, ...]

    @property
    def error(self) -> MyopCdnError | None:
        """An answer that is not the right one, or None."""
        wrong = next((one for one in self.replies if not _is_right(one, self.expected)), None)
        if wrong is None:
            return None
        when = "" if wrong.in_time else ", too late"
        return MyopCdnError(f"the receiver answered {wrong.status}{when}; expected {self.expected}")

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn send --json`."""
        report: dict[str, Any] = {
            "command": "send",
            "url": self.url,
            "expected": self.expected,
            "replies": [
                {
                    "status": one.status,
                    "body": one.body,
                    "seconds": round(one.seconds, 3),
                    "inTime": one.in_time,
                }
                for one in self.replies
            ],
        }
        return with_error(report, self.error)


@command(
    SendSettings,
    "myop-cdn send http://127.0.0.1:3000/webhooks/myop --release card/production",
)
def send(console: Console, settings: SendSettings) -> SendReport:
    """Send a signed test delivery, as the dashboard's "Sync Now" does, and time the answer.

    Ends with 0 if the answer is the right one: a 2xx within 10 seconds, or, for a delivery
    that is wrong on purpose, the refusal that it deserves.
    """
    from myop_cdn.inputs import read_input, webhook_secrets
    from myop_cdn.payload import MAX_BYTES
    from myop_cdn.send import Faults, body_of, post

    wrong = settings.faults
    faults = Faults(wrong.bad_signature, wrong.stale, wrong.oversized, wrong.chunked)
    console.known["url"] = shown_url(settings.url)
    secret = webhook_secrets(settings.secrets.secret_file, console.warn_once)[0]
    if settings.payload is not None:
        if settings.release or wrong.stale or wrong.oversized:
            raise InputError("--payload is sent as it is: no --release, --stale, --oversized")
        body = bytes(read_input(settings.payload, MAX_BYTES, "payload"))
    else:
        releases = [_release(one) for one in settings.release]
        body = body_of(releases, faults, now=datetime.now(UTC))
    once = partial(post, settings.url, body, secret, faults, allow_http=settings.allow_http)
    replies = tuple(once() for _ in range(2 if wrong.duplicate else 1))
    report = SendReport(shown_url(settings.url), _expected(faults), replies)
    for reply in replies:
        _say(console, reply, report.expected)
    return report


def _release(text: str) -> Release:
    from myop_cdn.model import Release

    where, _, variant = text.partition("=")
    component, slash, environment = where.partition("/")
    if not slash:
        raise InputError(
            f"--release {names.shown(text)!r} is not of the form COMPONENT/ENVIRONMENT[=VARIANT]"
        )
    for name in (component, environment):
        if trouble := names.problem(name):
            raise InputError(f"--release {names.shown(text)!r}: {names.shown(name)!r} {trouble}")
    return Release(component, environment, variant or None)


def _expected(faults: Faults) -> str:
    """The right answer: `2xx` or a status."""
    if faults.oversized:
        return "413"
    return "401" if faults.bad_signature or faults.stale else "2xx"


def _is_right(reply: DeliveryResponse, expected: str) -> bool:
    if expected == "2xx":
        return reply.accepted
    return reply.in_time and str(reply.status) == expected


def _say(console: Console, reply: DeliveryResponse, expected: str) -> None:
    from myop_cdn.send import SENDER_WAITS

    share = f"{reply.seconds:.3f} s of the {SENDER_WAITS:.0f} s that Myop waits"
    line = f"{reply.status} {shown(reply.reason)} after {share}"
    if _is_right(reply, expected):
        console.info(line)
    else:
        console.warning(f"{line}; expected {expected}")
    if reply.body:
        console.info(f"  {shown(reply.body, 300)}")
