"""What the journal's statements need of a connection, whichever engine keeps the journal.

Statements are written once, in what SQLite and PostgreSQL have in common: `?` or `:name` for
values (one kind in a statement), Python's bool for truth values, `ON CONFLICT` for what may be
there already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class Rows(Protocol):
    """What a statement found."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:
        """The next row, None where there is none."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one by one."""


class Connection(Protocol):
    """A connection within a transaction of its user's."""

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ..., /) -> Rows:
        """Run one statement."""

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run one statement for each of `rows`."""


def upsert(table: str, keys: tuple[str, ...], values: tuple[str, ...]) -> str:
    """A statement that puts a row where its keys say, in place of the one that is there."""
    columns = (*keys, *values)
    changed = ", ".join(f"{name} = excluded.{name}" for name in values)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"
    )
