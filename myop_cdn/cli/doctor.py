"""`myop-cdn doctor`: whether all that a run needs is in order."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from myop_cdn import inputs
from myop_cdn.cli.console import SILENT, Console
from myop_cdn.cli.options import ORIGIN, Destination, argument, command, group, option, option_group
from myop_cdn.cli.settings import (
    ApiSettings,
    JsonSettings,
    NoticeSettings,
    SecretSettings,
    SiteSettings,
    channels_of,
    open_target,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myop_cdn.doctor import Diagnosis, DoctorReport, State


@option_group("Notices")
class NoticeTest:
    """Whether somebody is told now."""

    test_notice: bool = option("Send a test to all that --notify and --on-failure name.")


@option_group("Pages")
class DoctorSettings:
    """All that `doctor` takes."""

    destination: str | None = argument(type=Destination(), metavar="[DESTINATION]", required=False)
    origin: str | None = option(
        "The origin of the page that reads the documents: your application's.", "URL", type=ORIGIN
    )
    api: ApiSettings = group(ApiSettings)
    secrets: SecretSettings = group(SecretSettings)
    site: SiteSettings = group(SiteSettings)
    notices: NoticeSettings = group(NoticeSettings)
    notice_test: NoticeTest = group(NoticeTest)
    output_json: JsonSettings = group(JsonSettings)


@command(
    DoctorSettings,
    "myop-cdn doctor",
    "myop-cdn doctor s3://my-bucket/myop --origin https://app.example.com",
)
def doctor(console: Console, settings: DoctorSettings) -> DoctorReport:
    """Look at all that a run needs: a line each, ok or what to do.

    The API key and the API, the signing secret, the destination (read, written by a probe object
    below .myop-cdn/ that is removed again, conditional writes, CORS), the clock, versions, proxy
    and certificates. The exit code is 1 where something is wrong. No secret is shown.
    """
    from myop_cdn.doctor import DoctorReport

    checks = []
    for one in _checks(settings):
        checks.append(one)
        if not console.wants_json:
            label = {"ok": "ok", "note": "note", "wrong": "WRONG"}[one.state]
            text = f"{one.text} → {one.advice}" if one.advice else one.text
            console.data(f"{label:6}{one.name}: {text}")
    report = DoctorReport(tuple(checks))
    if report.error is not None:
        console.error(report.error)
    return report


class _Collected(Console):
    """Keeps warnings for the lines that they belong to."""

    def __init__(self) -> None:
        super().__init__(SILENT)
        self.found: list[str] = []

    def warn_once(self, message: str) -> None:
        """Keep it."""
        self.found.append(message)


def _checks(settings: DoctorSettings) -> Iterator[Diagnosis]:
    from myop_cdn.doctor import destination, examined, network, versions

    yield from examined("versions", versions)
    yield from examined("proxy", lambda: network(settings.api.api_url))
    yield from examined("API key", lambda: _api(settings.api))
    yield from examined("secret", lambda: _secret(settings.secrets))
    url = settings.destination
    if url is not None:

        def look() -> Iterator[Diagnosis]:
            with closing(open_target(url, settings.site)) as target:
                yield from destination(target, settings.origin)

        yield from examined("destination", look)
    if settings.notices.wanted:
        yield from examined("notices", lambda: _notices(settings))


def _api(settings: ApiSettings) -> Iterator[Diagnosis]:
    from myop_cdn.doctor import Diagnosis, api
    from myop_cdn.errors import InputError

    collected = _Collected()
    key, source = None, ""
    try:
        found = inputs.api_key(settings.api_key_file, collected.warn_once)
    except InputError as error:
        yield Diagnosis("API key", "wrong", error.message, error.hint)
    else:
        if found is None:
            yield Diagnosis("API key", "wrong", "there is none", inputs.KEY_HINT)
        else:
            key, source = found
    yield from (_warned("API key", "wrong", one) for one in collected.found)
    yield from api(settings.api_url, key, source, allow_http=settings.allow_http)


def _secret(settings: SecretSettings) -> Iterator[Diagnosis]:
    from myop_cdn.doctor import Diagnosis, signing_secrets

    collected = _Collected()
    there = inputs.signing_secrets(settings.secret_file, collected.warn_once)
    if there is None:
        advice = f"verify and serve need one: {inputs.SIGNING_SECRET.variable} or --secret-file"
        yield Diagnosis("secret", "note", "there is none", advice)
        return
    yield from signing_secrets(*there)
    yield from (_warned("secret", "wrong", one) for one in collected.found)


def _notices(settings: DoctorSettings) -> Iterator[Diagnosis]:
    from myop_cdn.doctor import Diagnosis
    from myop_cdn.errors import Undelivered
    from myop_cdn.notify.policy import Notice
    from myop_cdn.notify.sender import new_identity

    collected, now = _Collected(), time.time()
    channels = channels_of(settings.notices, collected, allow_http=settings.api.allow_http)
    yield from (_warned("notices", "note", one) for one in collected.found)
    for channel in channels:
        if not settings.notice_test.test_notice:
            advice = "--test-notice sends a test"
            yield Diagnosis("notices", "note", f"{channel.name} receives failures", advice)
            continue
        try:
            channel.send(Notice("test", "myop-cdn doctor", "", "", now), new_identity(), now)
        except Undelivered as error:
            advice = "check the URL, the network and the receiver's log"
            yield Diagnosis(
                "notices", "wrong", f"{channel.name} did not receive a test: {error}", advice
            )
        else:
            yield Diagnosis("notices", "ok", f"{channel.name} received a test")


def _warned(name: str, state: State, warning: str) -> Diagnosis:
    from myop_cdn.doctor import Diagnosis

    text, _, advice = warning.partition(": ")
    return Diagnosis(name, state, text, advice)
