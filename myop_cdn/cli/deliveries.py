"""`myop-cdn deliveries`: look into a listener's journal, and have a delivery done again."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from myop_cdn.cli.listening import STATE_DIR
from myop_cdn.cli.options import JSON
from myop_cdn.errors import InputError, ListenerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from myop_cdn.cli.console import Console

_DAMAGED = "is it damaged? serve sets such a file aside when it starts, and begins a new one"
_STATES = ("waiting", "retrying", "done", "failed", "ignored")


@click.group()
def deliveries() -> None:
    """Look into a listener's journal, and have a delivery done again.

    Works beside a listener that is running.
    """


@deliveries.command(name="list")
@STATE_DIR
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    metavar="N",
    help="How many, newest first.",
)
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state.")
@JSON
@click.pass_obj
def list_(console: Console, state_dir: Path, limit: int, state: str | None, json: bool) -> None:
    """List the newest deliveries and what became of them."""
    from myop_cdn.listener.queue.deliveries import listed
    from myop_cdn.listener.status import delivery_json

    with _reading(state_dir) as connection:
        rows = [delivery_json(row) for row in listed(connection, limit, state)]
    if json:
        console.report({"command": "deliveries list", "deliveries": rows})
        return
    for row in rows:
        what = row["event"] or "-"
        line = f"{row['id']}  {row['received']}  {row['state']:8}  {row['scope']:11}  {what}"
        console.data(f"{line}  {row['error']}" if row["error"] else line)
    if not rows:
        console.info("no deliveries")


@deliveries.command()
@click.argument("delivery_id", metavar="ID")
@STATE_DIR
@click.option("--raw", is_flag=True, help="Only the body, byte for byte.")
@JSON
@click.pass_obj
def show(console: Console, delivery_id: str, state_dir: Path, raw: bool, json: bool) -> None:
    """Show one delivery with its body."""
    from myop_cdn.listener.queue.deliveries import found
    from myop_cdn.listener.status import delivery_json, iso

    with _reading(state_dir) as connection:
        row = found(connection, delivery_id)
    if row is None:
        raise _unknown(delivery_id)
    body = bytes(row["body"])
    if raw:
        sys.stdout.buffer.write(body)
        return
    value: dict[str, Any] = {
        **delivery_json({**row, "size": len(body)}),
        "announced": iso(row["announced"]),
        "sha256": bytes(row["sha256"]).hex(),
        "headers": row["headers"],
    }
    text = body.decode("utf-8", "replace")
    if json:
        console.report({"command": "deliveries show", **value, "body": text})
        return
    for name, cell in value.items():
        if name != "headers":
            console.data(f"{name + ':':12}{'-' if cell is None else cell}")
    for name, cell in value["headers"].items():
        console.data(f"{name}: {cell}")
    console.data(f"\n{text}")


@deliveries.command()
@click.argument("delivery_id", metavar="ID")
@STATE_DIR
@click.pass_obj
def retry(console: Console, delivery_id: str, state_dir: Path) -> None:
    """Have a delivery done again; a listener that runs begins at once."""
    from myop_cdn.listener.queue.deliveries import retry as again

    with _writing(state_dir) as connection:
        if not again(connection, delivery_id):
            raise _unknown(delivery_id)
    console.info(f"{delivery_id} waits again")


@deliveries.command()
@click.argument("delivery_id", metavar="ID")
@STATE_DIR
@click.pass_obj
def forget(console: Console, delivery_id: str, state_dir: Path) -> None:
    """Drop a delivery, done or not. Its hash stays, so that a replay is still known."""
    from myop_cdn.listener.queue.deliveries import forget as drop

    with _writing(state_dir) as connection:
        if not drop(connection, delivery_id):
            raise _unknown(delivery_id)
    console.info(f"{delivery_id} is forgotten")


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
