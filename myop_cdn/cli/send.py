"""`myop-cdn send`: a signed test delivery for any receiver."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from myop_cdn import names
from myop_cdn.cli.options import argument, command, group, option, option_group
from myop_cdn.cli.settings import JsonSettings, SecretSettings
from myop_cdn.errors import InputError, MyopCdnError
from myop_cdn.text import shown, shown_url

if TYPE_CHECKING:
    from myop_cdn.cli.console import Console
    from myop_cdn.model import Release
    from myop_cdn.send import DeliveryResponse, Faults


@option_group("Faults, to see the refusal")
class FaultSettings:
    """What is wrong with the delivery on purpose."""

    bad_signature: bool = option("Sign a different body: a 401 is expected.")
    stale: bool = option("Date it an hour ago: a 401 is expected.")
    oversized: bool = option("Pad it to over 2 MiB: a 413 is expected.")
    duplicate: bool = option("Send it twice: 200 both times, one release.")
    chunked: bool = option("Send it in chunks, without a Content-Length.")


@option_group("What to send")
class SendSettings:
    """All that `send` takes."""

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
            "replies": [_json(one) for one in self.replies],
        }
        return report if self.error is None else {**report, "error": self.error.to_json()}


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
    faults = Faults(
        bad_signature=wrong.bad_signature,
        stale=wrong.stale,
        oversized=wrong.oversized,
        chunked=wrong.chunked,
    )
    console.known["url"] = shown_url(settings.url)
    secret = webhook_secrets(settings.secrets.secret_file, console.warn_once)[0]
    if settings.payload is not None:
        if settings.release or wrong.stale or wrong.oversized:
            raise InputError("--payload is sent as it is: no --release, --stale, --oversized")
        body = bytes(read_input(settings.payload, MAX_BYTES, "payload"))
    else:
        releases = [_release(one) for one in settings.release]
        body = body_of(releases, faults, now=datetime.now(UTC))
    times = 2 if wrong.duplicate else 1
    replies = tuple(
        post(settings.url, body, secret, faults, allow_http=settings.allow_http)
        for _ in range(times)
    )
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


def _json(reply: DeliveryResponse) -> dict[str, Any]:
    return {
        "status": reply.status,
        "body": reply.body,
        "seconds": round(reply.seconds, 3),
        "inTime": reply.in_time,
    }


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
