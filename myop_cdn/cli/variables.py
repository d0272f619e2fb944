"""Environment variables that are meant for a command and name none of its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def unknown(command: click.Command, prefix: str, variables: Iterable[str]) -> Iterator[str]:
    """A warning for each of `variables` that begins with `prefix` and is of no option."""
    known = set(_known(command, prefix))
    for name in sorted(variables):
        if not name.startswith(prefix) or name in known:
            continue
        import difflib

        near = difflib.get_close_matches(name, known, 1, 0.0)
        yield f"{name} is of no option; is {near[0]} meant?" if near else f"{name} is of no option"


def _known(command: click.Command, prefix: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from _known(one, f"{prefix}{name.upper()}_")
    for option in command.params:
        if isinstance(option, click.Option) and option.name:
            yield prefix + option.name.upper()
