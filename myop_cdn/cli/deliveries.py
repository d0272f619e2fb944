"""`myop-cdn deliveries`: look into a listener's journal, and have a delivery done again."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import click

from myop_cdn.cli.options import argument, command, group, option
from myop_cdn.cli.serve import StateSettings
from myop_cdn.cli.settings import JsonSettings
from myop_cdn.errors import InputError, ListenerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from myop_cdn.cli.console import Console

_DAMAGED = "is it damaged? serve sets such a file aside when it starts, and begins a new one"
_STATES = ("waiting", "retrying", "done", "failed", "ignored")


@dataclass(frozen=True, slots=True)
class ListSettings:
    """All that `deliveries list` takes."""

    TITLE: ClassVar[str] = "Which"
    limit: int = option(
        type=click.IntRange(1, 10_000), default=20, metavar="N", help="How many, newest first."
    )
    state: str | None = option(type=click.Choice(_STATES), help="Only those in this state.")
    journal: StateSettings = group(StateSettings)
    output: JsonSettings = group(JsonSettings)


@dataclass(frozen=True, slots=True)
class ShowSettings:
    """All that `deliveries show` takes."""

    TITLE: ClassVar[str] = "Output"
    delivery_id: str = argument(metavar="ID")
    raw: bool = option(is_flag=True, help="Only the body, byte for byte.")
    output: JsonSettings = group(JsonSettings)
    journal: StateSettings = group(StateSettings)


@dataclass(frozen=True, slots=True)
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
    from myop_cdn.listener.status import delivery_json

    with _reading(settings.journal.state_dir) as connection:
        rows = [delivery_json(row) for row in listed(connection, settings.limit, settings.state)]
    for row in () if console.wants_json else rows:
        what = row["event"] or "-"
        line = f"{row['id']}  {row['received']}  {row['state']:8}  {row['scope']:11}  {what}"
        console.data(f"{line}  {row['error']}" if row["error"] else line)
    if not rows:
        console.info("no deliveries")
    return Answer({"command": "deliveries list", "deliveries": rows})


@command(ShowSettings, "myop-cdn deliveries show 5f1c --raw > body.json")
def show(console: Console, settings: ShowSettings) -> Answer | None:
    """Show one delivery with its body."""
    from myop_cdn.listener.queue.deliveries import found
    from myop_cdn.listener.status import delivery_json, iso

    with _reading(settings.journal.state_dir) as connection:
        row = found(connection, settings.delivery_id)
    if row is None:
        raise _unknown(settings.delivery_id)
    body = bytes(row["body"])
    if settings.raw:
        console.raw(body)
        return None
    value: dict[str, Any] = {
        **delivery_json({**row, "size": len(body)}),
        "announced": iso(row["announced"]),
        "sha256": bytes(row["sha256"]).hex(),
        "headers": row["headers"],
    }
    text = body.decode("utf-8", "replace")
    if not console.wants_json:
        for name, cell in value.items():
            if name != "headers":
                console.data(f"{name + ':':12}{'-' if cell is None else cell}")
        for name, cell in value["headers"].items():
            console.data(f"{name}: {cell}")
        console.data(f"\n{text}")
    return Answer({"command": "deliveries show", **value, "body": text})


@command(DeliverySettings, "myop-cdn deliveries retry 5f1c")
def retry(console: Console, settings: DeliverySettings) -> None:
    """Have a delivery done again; a listener that runs begins at once."""
    from myop_cdn.listener.queue.deliveries import retry as again

    with _writing(settings.journal.state_dir) as connection:
        if not again(connection, settings.delivery_id):
            raise _unknown(settings.delivery_id)
    console.info(f"{settings.delivery_id} waits again")


@command(DeliverySettings, "myop-cdn deliveries forget 5f1c")
def forget(console: Console, settings: DeliverySettings) -> None:
    """Drop a delivery, done or not. Its hash stays, so that a replay is still known."""
    from myop_cdn.listener.queue.deliveries import forget as drop

    with _writing(settings.journal.state_dir) as connection:
        if not drop(connection, settings.delivery_id):
            raise _unknown(settings.delivery_id)
    console.info(f"{settings.delivery_id} is forgotten")


for _command in (list_, show, retry, forget):
    deliveries.add_command(_command)


def _unknown(delivery_id: str) -> InputError:
    from myop_cdn.names import shown

    return InputError(
        f"there is no delivery {shown(delivery_id)!r}", "see 'myop-cdn deliveries list'"
    )


@contextmanager
def _reading(state_dir: Path) -> Iterator[sqlite3.Connection]:
    """One look into the journal."""
    from myop_cdn.listener.queue.journal import FILE, reading

    try:
        with reading(state_dir / FILE) as connection:
            yield connection
    except ListenerError as error:
        raise ListenerError(error.message, error.hint or _DAMAGED) from None


@contextmanager
def _writing(state_dir: Path) -> Iterator[sqlite3.Connection]:
    """A transaction on the journal, beside a listener that may be running."""
    from myop_cdn.listener.queue.journal import FILE, open_journal

    path = state_dir / FILE
    if not path.exists():
        raise ListenerError(
            f"there is no journal in {state_dir}", "give the --state-dir that serve was given"
        )
    try:
        connection = open_journal(path)
    except sqlite3.Error as error:
        raise ListenerError(f"can't open the journal {path}: {error}", _DAMAGED) from None
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise ListenerError(f"can't write the journal {path}: {error}") from None
    finally:
        connection.close()
