"""Click parameter types, so that the core never parses a command line's strings."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from myop_cdn.model import DeleteLimit

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A number with `s`, `m`, `h` or `d`; `0` means off."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """The duration; a usage error for anything else."""
        if isinstance(value, timedelta):
            return value
        text = str(value).strip()
        if text == "0":
            return timedelta(0)
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd])", text)
        if match is None:
            self.fail(f"{text!r} is no duration: write 30s, 5m, 24h or 7d; 0 is off", param, ctx)
        try:
            return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
        except OverflowError:
            self.fail(f"{text!r} is too long", param, ctx)


class MaxDelete(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A number of objects, or a percentage of them."""

    name = "n|n%"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> DeleteLimit:
        """The limit; a usage error for anything else."""
        # Imported here because `verify` reads this module and must start fast.
        from myop_cdn.model import DeleteLimit

        if isinstance(value, DeleteLimit):
            return value
        text = str(value).strip()
        if re.fullmatch(r"[0-9]{1,9}", text):
            return DeleteLimit(count=int(text))
        match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%", text)
        if match is None or float(match[1]) > 100:
            self.fail(f"{text!r} is neither a number nor a percentage up to 100%", param, ctx)
        return DeleteLimit(percent=float(match[1]))


class SignatureOption(click.Option):
    """An option whose environment variable counts when it is empty, too: a job that hands on a
    header which was missing has asked for a check, and must not get none.
    """

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable's value, or None where it is not set."""
        value = super().resolve_envvar_value(ctx)
        if value is None and ctx.auto_envvar_prefix and self.name:
            return os.environ.get(f"{ctx.auto_envvar_prefix}_{self.name.upper()}")
        return value


DURATION = Duration()
MAX_DELETE = MaxDelete()
JOBS = click.IntRange(1, 256)
