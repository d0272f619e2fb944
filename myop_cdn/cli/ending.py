"""How a one-shot command ends when it is told to: SIGTERM and SIGHUP as Ctrl-C."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = ("SIGTERM", "SIGHUP")


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP raise KeyboardInterrupt, once: what cleans up is let finish.

    A signal that somebody ignores (nohup) or handles stays as it is, as do all of them outside
    of the main thread, where Python takes no handlers.
    """
    # What `signal` is made of, and loaded at every start: `signal` itself makes enumerations of
    # it, which `verify`, a filter, would pay for.
    room: Any = import_module("_signal")
    numbers = [getattr(room, name) for name in _NAMES if hasattr(room, name)]
    mine = [number for number in numbers if room.getsignal(number) == room.SIG_DFL]

    def interrupt(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - Python's signature
        for one in mine:
            room.signal(one, room.SIG_IGN)
        raise KeyboardInterrupt

    try:
        for number in mine:
            room.signal(number, interrupt)
    except ValueError:
        mine = []
    try:
        yield
    finally:
        for number in mine:
            room.signal(number, room.SIG_DFL)
