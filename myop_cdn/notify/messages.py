"""Notices in the forms that receivers take. Pure: values in, text and bytes out.

Texts of others are written so that no chat makes a mention, a link or markup of them: as plain
text where it has one, else escaped.

Sources: Slack, "Sending messages using incoming webhooks" and "Formatting text" (escape &, <, >);
Microsoft, "Create incoming webhooks with Workflows" (Adaptive Cards alone); Discord, "Execute
Webhook" (2,000 characters, `allowed_mentions`); the specification of Standard Webhooks.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from typing import TYPE_CHECKING, Any, Literal

from myop_cdn.errors import InputError
from myop_cdn.moments import written
from myop_cdn.text import line, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from myop_cdn.notify.policy import Notice, NoticeKind

Form = Literal["slack", "teams", "discord", "json"]
_HOSTS: tuple[tuple[Form, str], ...] = (
    ("slack", r"hooks\.slack(-gov)?\.com"),
    ("teams", r".+\.(webhook\.office\.com|logic\.azure\.(com|us)|api\.powerplatform\.(com|us))"),
    ("discord", r"((canary|ptb)\.)?discord(app)?\.com"),
)
# Of each kind its type, for programs, and the words for it.
_KINDS: dict[NoticeKind, tuple[str, str]] = {
    "failed": ("publish.failed", "publishing fails"),
    "refused": ("publish.refused", "publishing was refused for safety"),
    "given_up": (
        "release.given_up",
        "a release is given up; it is tried again now and then for a day",
    ),
    "drift": ("sync.drift", "a full sync found what no delivery had announced"),
    "recovered": ("publish.recovered", "publishing works again"),
    "test": ("test", "this is a test, and nothing is wrong"),
}
_DISCORD_MARKUP = re.compile(r"[\\`*_~|<>\[\]()#@:-]")
_DISCORD_MOST = 2000  # characters
_MOST = 1000  # characters of a message


def form_of(host: str) -> Form:
    """The form that the receiver at this host takes."""
    name = host.lower().rstrip(".")
    return next((form for form, hosts in _HOSTS if re.fullmatch(hosts, name)), "json")


def lines(notice: Notice) -> Iterator[str]:
    """The notice for people: a title, then details."""
    yield f"myop-cdn: {_KINDS[notice.kind][1]}"
    yield line(notice.subject, 300)
    if notice.message:
        yield line(notice.message, _MOST)
    if notice.hint:
        yield line(notice.hint, _MOST)
    if notice.failures > 1:
        yield f"{notice.failures} failures in a row since {_moment(notice.since)}"
    if notice.left_out:
        events = "event was" if notice.left_out == 1 else "events were"
        yield f"{notice.left_out} other {events} not reported since the last notice"


def body(form: Form, notice: Notice, link: str = "") -> bytes:
    """The body of the request that tells it. link: where the run can be looked at, "" for none."""
    return json.dumps(_BODIES[form](notice, link), ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )


def _slack(notice: Notice, link: str) -> dict[str, Any]:
    text = "\n".join([*lines(notice), link]).rstrip()
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, entity)
    return {"text": text, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}


def _teams(notice: Notice, link: str) -> dict[str, Any]:
    # Text runs are shown as they are; a TextBlock would take them for Markdown.
    blocks: list[dict[str, Any]] = [
        {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text}]}
        for text in lines(notice)
    ]
    blocks[0]["inlines"][0]["weight"] = "Bolder"
    if link:
        blocks.append({"type": "TextBlock", "text": f"[the run]({link})"})
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
    }
    kind = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": kind, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _discord(notice: Notice, link: str) -> dict[str, Any]:
    title, *rest = lines(notice)
    below = [_DISCORD_MARKUP.sub(r"\\\g<0>", one) for one in rest]
    text = "\n".join([f"**{title}**", *([f"<{link}>"] if link else []), *below])
    return {"content": text[:_DISCORD_MOST], "allowed_mentions": {"parse": []}}


def _plain(notice: Notice, link: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "subject": line(notice.subject, 300),
        "message": line(notice.message, _MOST),
        "hint": line(notice.hint, _MOST),
        "failures": notice.failures,
        "since": _moment(notice.since),
        "leftOut": notice.left_out,
    }
    if link:
        data["run"] = link
    return {"type": _KINDS[notice.kind][0], "timestamp": _moment(notice.at), "data": data}


_BODIES: dict[Form, Callable[[Notice, str], dict[str, Any]]] = {
    "slack": _slack,
    "teams": _teams,
    "discord": _discord,
    "json": _plain,
}


def facts(notice: Notice, link: str = "") -> dict[str, str]:
    """The notice as environment variables for a command."""
    found = {
        "EVENT": notice.kind,
        "SUBJECT": line(notice.subject, 300),
        "MESSAGE": line(notice.message, _MOST),
        "HINT": line(notice.hint, _MOST),
        "FAILURES": str(notice.failures),
        "SINCE": _moment(notice.since),
        "LEFT_OUT": str(notice.left_out),
        "TIME": _moment(notice.at),
        "RUN_URL": link,
    }
    return {f"MYOP_CDN_{name}": value for name, value in found.items()}


def _moment(seconds: float) -> str:
    return written(seconds, "seconds")


def signing_key(secret: str) -> bytes:
    """The key that a secret stands for: Standard Webhooks' `whsec_` and base64, or any text.

    Raises InputError, whose text does not show it.
    """
    encoded = secret.removeprefix("whsec_")
    if encoded == secret:
        return secret.encode("utf-8", "surrogateescape")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(
            "the notices' secret begins with whsec_, but the rest is not base64"
        ) from None


def signed_headers(
    data: bytes, identity: str, moment: int, keys: Sequence[bytes]
) -> dict[str, str]:
    """The headers of Standard Webhooks. identity: of the notice, the same when it is sent again.

    moment: of this attempt, in seconds since the epoch. Without a key there is no signature.
    """
    content = f"{identity}.{moment}.".encode() + data
    digests = (hmac.digest(key, content, "sha256") for key in keys)
    signatures = " ".join("v1," + base64.b64encode(one).decode() for one in digests)
    headers = {"webhook-id": identity, "webhook-timestamp": str(moment)}
    return {**headers, "webhook-signature": signatures} if signatures else headers


def run_link(variables: dict[str, str]) -> str:
    """Where the run that tells of itself can be looked at, as its CI system's variables say."""
    server, repository = variables.get("GITHUB_SERVER_URL"), variables.get("GITHUB_REPOSITORY")
    if server and repository and variables.get("GITHUB_RUN_ID"):
        link = f"{server}/{repository}/actions/runs/{variables['GITHUB_RUN_ID']}"
    else:
        names = ("CI_JOB_URL", "CIRCLE_BUILD_URL", "BUILD_URL")  # GitLab, CircleCI, Jenkins
        link = next((value for name in names if (value := variables.get(name))), "")
    is_plain = re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+/[\w./~%+-]*", link, re.ASCII)
    return shown(link, 500) if is_plain else ""
