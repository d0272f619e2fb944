"""From a command's settings to whoever is told when it fails."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from myop_cdn.errors import ExitCode, Interrupted, MyopCdnError, unexpected
from myop_cdn.inputs import SHORT_SECRET, secret_words
from myop_cdn.notify.messages import run_link, signing_key
from myop_cdn.notify.policy import Event, Policy
from myop_cdn.notify.sender import Command, Notifier, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from myop_cdn.cli.console import Console
    from myop_cdn.cli.settings import NoticeSettings
    from myop_cdn.notify.policy import EventKind
    from myop_cdn.notify.sender import Channel

URL_VARIABLE = "MYOP_CDN_NOTIFY"
URL_CREDENTIAL = "notify-url"
SECRET_VARIABLE = "MYOP_CDN_NOTIFY_SECRET"  # noqa: S105 - the variable's name
SECRET_CREDENTIAL = "notify-secret"  # noqa: S105 - the file's name
# How long a run that failed waits at its end: for receivers, and for a command, which has a time
# limit of its own.
_LAST_WORD_SECONDS = 12.0
_COMMAND_SECONDS = 35.0


def channels_of(settings: NoticeSettings, console: Console, *, allow_http: bool) -> list[Channel]:
    """Who is told. Raises InputError for URLs, secrets and commands that can't be."""
    urls: Sequence[str] = settings.notify
    warn = console.warn_once
    if not urls:
        found = secret_words(URL_VARIABLE, URL_CREDENTIAL, "notices' URL", warn)
        urls = [os.fsdecode(one) for one in found[0]] if found else ()
    link = run_link(dict(os.environ))
    keys: list[bytes] = []
    if urls:
        found = secret_words(
            SECRET_VARIABLE, SECRET_CREDENTIAL, "notices' secret", console.warn_once
        )
        keys = [signing_key(os.fsdecode(one)) for one in found[0]] if found else []
        if any(len(key) < SHORT_SECRET for key in keys):
            warn(f"the notices' secret is shorter than {SHORT_SECRET} bytes")
    receivers = [Receiver.at(url, keys, link, allow_http=allow_http) for url in urls]
    unsigned = [one.name for one in receivers if one.form == "json"] if not keys else []
    if unsigned:
        warn(
            f"notices to {', '.join(unsigned)} are not signed: set {SECRET_VARIABLE}, so that "
            "whoever gets them can tell them from others"
        )
    channels: list[Channel] = list(receivers)
    if settings.on_failure is not None:
        channels.append(Command.parse(settings.on_failure, link))
    return channels


@contextmanager
def told_of(
    subject: str, channels: Sequence[Channel], console: Console
) -> Iterator[Callable[[MyopCdnError | None], None]]:
    """A run of which `channels` are told when it fails: by an error that leaves the block, or by
    the one that the yielded function is called with. At the end they get a bounded time.

    subject: what is published, in words.
    """
    notifier = Notifier(channels, Policy(after=1, every=0.0), console.warning)

    def tell(error: MyopCdnError | None) -> None:
        if error is not None and not isinstance(error, Interrupted):
            kind: EventKind = "refused" if error.exit_code == ExitCode.REFUSED else "failed"
            notifier.tell(Event(kind, subject, error.message, error.hint, time.time()))

    try:
        yield tell
    except Exception as error:
        tell(error if isinstance(error, MyopCdnError) else unexpected(error))
        raise
    finally:
        has_command = any(isinstance(one, Command) for one in channels)
        notifier.close(_COMMAND_SECONDS if has_command else _LAST_WORD_SECONDS)
