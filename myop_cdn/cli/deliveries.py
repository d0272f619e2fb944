"""`myop-cdn deliveries`: look into a listener's journal, and have a delivery done again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from myop_cdn.cli.options import argument, command, group, option, option_group
from myop_cdn.cli.serve import StateSettings
from myop_cdn.cli.settings import JsonSettings
from myop_cdn.errors import InputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from myop_cdn.cli.console import Console
    from myop_cdn.listener.queue.base import DeliveryView
    from myop_cdn.listener.queue.sql import Connection

_NAMED = 5  # releases in a line
_STATES = ("waiting", "retrying", "done", "failed", "ignored")


@option_group("Which")
class ListSettings:
    """All that `deliveries list` takes."""

    limit: int = option("How many, newest first.", "N", type=click.IntRange(1, 10_000), default=20)
    state: str | None = option("Only those in this state.", type=click.Choice(_STATES))
    journal: StateSettings = group(StateSettings)
    output: JsonSettings = group(JsonSettings)


@option_group("Output")
class ShowSettings:
    """All that `deliveries show` takes."""

    delivery_id: str = argument(metavar="ID")
    raw: bool = option("Only the body, byte for byte.")
    output: JsonSettings = group(JsonSettings)
    journal: StateSettings = group(StateSettings)


@option_group()
class DeliverySettings:
    """Which delivery, of which listener."""

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

    with _reading(settings.journal) as connection:
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
    shown = [
        " · ".join(
            part
            for part in (
                named.name or named.release.component_id,
                named.release.environment,
                named.variant_name or named.release.variant_id or "",
            )
            if part
        )
        for named in delivery.releases[:_NAMED]
    ]
    more = len(delivery.releases) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])]) or delivery.event or "-"


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

    with _reading(settings.journal) as connection:
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
        console.data(f"\n{text}")
    return Answer({"command": "deliveries show", **value, "body": text})


@command(DeliverySettings, "myop-cdn deliveries retry 5f1c")
def retry(console: Console, settings: DeliverySettings) -> None:
    """Have a delivery done again; a listener that runs begins at once."""
    from myop_cdn.listener.queue.deliveries import retry as again

    with _writing(settings.journal) as connection:
        if not again(connection, settings.delivery_id):
            raise _unknown(settings.delivery_id)
    console.info(f"{settings.delivery_id} will be retried")


@command(DeliverySettings, "myop-cdn deliveries forget 5f1c")
def forget(console: Console, settings: DeliverySettings) -> None:
    """Drop a delivery, done or not. Its hash stays, so that a replay is still known."""
    from myop_cdn.listener.queue.deliveries import forget as drop

    with _writing(settings.journal) as connection:
        if not drop(connection, settings.delivery_id):
            raise _unknown(settings.delivery_id)
    console.info(f"{settings.delivery_id} was forgotten")


for _command in (list_, show, retry, forget):
    deliveries.add_command(_command)


def _reading(state: StateSettings) -> AbstractContextManager[Connection]:
    """A connection to the journal for one look."""
    from myop_cdn.listener.queue import journal

    if (database := state.postgres()) is None:
        return journal.reading(state.state_dir / journal.FILE)
    from myop_cdn.listener.queue.postgres import queue

    return queue.reading(database)


def _writing(state: StateSettings) -> AbstractContextManager[Connection]:
    """A transaction on the journal."""
    from myop_cdn.listener.queue import journal

    if (database := state.postgres()) is None:
        return journal.writing(state.state_dir / journal.FILE)
    from myop_cdn.listener.queue.postgres import queue

    return queue.writing(database)


def _unknown(delivery_id: str) -> InputError:
    from myop_cdn.names import shown

    return InputError(
        f"there is no delivery {shown(delivery_id)!r}", "see 'myop-cdn deliveries list'"
    )
