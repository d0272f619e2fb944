"""`myop-cdn send`: a signed test delivery for any receiver."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from myop_cdn.cli.options import JSON, SECRET_FILE
from myop_cdn.errors import ExitCode, InputError, MyopCdnError
from myop_cdn.text import shown_url

if TYPE_CHECKING:
    from myop_cdn.cli.console import Console
    from myop_cdn.model import Release
    from myop_cdn.send import Reply


@click.command()
@click.argument("url", metavar="URL")
@click.option(
    "--release",
    multiple=True,
    metavar="COMPONENT/ENVIRONMENT[=VARIANT]",
    help="Announce this release; repeat it for more. Without it a full sync is asked for.",
)
@click.option(
    "--payload", metavar="FILE|-", help="Send this body as it is, instead of one made up."
)
@SECRET_FILE
@click.option("--bad-signature", is_flag=True, help="Sign another body: a 401 is expected.")
@click.option("--stale", is_flag=True, help="Date it an hour back: a 401 is expected.")
@click.option("--duplicate", is_flag=True, help="Send it twice: two times 200, one release.")
@click.option("--oversized", is_flag=True, help="Pad it to over 2 MiB: a 413 is expected.")
@click.option("--chunked", is_flag=True, help="Send it in chunks, without a Content-Length.")
@JSON
@click.pass_context
def send(
    ctx: click.Context,
    /,
    url: str,
    release: tuple[str, ...],
    payload: str | None,
    secret_file: tuple[str, ...],
    duplicate: bool,
    json: bool,
    **faults: bool,
) -> None:
    """Send a signed test delivery, as the dashboard's "Sync Now" does, and time the answer.

    Ends with 0 if the answer is the right one: a 2xx within 10 seconds, or, for a delivery
    that is wrong on purpose, the refusal that it deserves.
    """
    from myop_cdn.cli.inputs import read_input, webhook_secrets
    from myop_cdn.payload import MAX_BYTES
    from myop_cdn.send import Faults, body_of, post

    console: Console = ctx.obj
    wrong = Faults(**faults)
    known: dict[str, Any] = {"command": "send", "url": shown_url(url)}
    try:
        secret = webhook_secrets(secret_file)[0]
        if payload is not None:
            if release or wrong.stale or wrong.oversized:
                raise InputError("--payload is sent as it is: no --release, --stale, --oversized")
            body = bytes(read_input(payload, MAX_BYTES, "payload"))
        else:
            body = body_of([_release(one) for one in release], wrong, datetime.now(UTC))
        replies = [post(url, body, secret, wrong) for _ in range(2 if duplicate else 1)]
    except MyopCdnError as error:
        if json:
            console.report_end(known, error)
        raise
    expected = _expected(wrong)
    good = all(_is_right(reply, expected) for reply in replies)
    if json:
        console.report({**known, "expected": expected, "replies": [_json(one) for one in replies]})
    for reply in replies:
        _say(console, reply, expected)
    ctx.exit(ExitCode.DONE if good else ExitCode.FAILED)


def _release(text: str) -> Release:
    from myop_cdn import names
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


def _expected(faults: Any) -> str:
    """The right answer: `2xx` or a status."""
    if faults.oversized:
        return "413"
    return "401" if faults.bad_signature or faults.stale else "2xx"


def _is_right(reply: Reply, expected: str) -> bool:
    if expected == "2xx":
        return reply.accepted
    return reply.in_time and str(reply.status) == expected


def _json(reply: Reply) -> dict[str, Any]:
    return {
        "status": reply.status,
        "body": reply.body,
        "seconds": round(reply.seconds, 3),
        "inTime": reply.in_time,
    }


def _say(console: Console, reply: Reply, expected: str) -> None:
    from myop_cdn.names import shown
    from myop_cdn.send import SENDER_WAITS

    share = f"{reply.seconds:.3f} s of the {SENDER_WAITS:.0f} s that Myop waits"
    line = f"{reply.status} {shown(reply.reason)} after {share}"
    if _is_right(reply, expected):
        console.info(line)
    else:
        console.warning(f"{line}; expected {expected}")
    if reply.body:
        console.info(f"  {shown(reply.body, 300)}")
