"""Notices in the forms of their receivers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.errors import InputError
from myop_cdn.notify.messages import body, facts, form_of, run_link, signed_headers, signing_key
from myop_cdn.notify.policy import Notice

AT = 1774346400.0  # 2026-03-24T10:00:00Z
NOTICE = Notice("failed", "s3://bucket", "no such bucket", "make it", AT, 3, AT, 2)
LINK = "https://github.com/acme/site/actions/runs/1"
HOSTILE = st.text(alphabet=st.sampled_from("<>!@&*_`[]()|\n\r\x1b\u202eab#:-~") | st.characters())


@pytest.mark.parametrize(
    ("host", "form"),
    [
        ("hooks.slack.com", "slack"),
        ("HOOKS.SLACK.COM.", "slack"),
        ("hooks.slack-gov.com", "slack"),
        ("acme.webhook.office.com", "teams"),
        ("prod-12.westeurope.logic.azure.com", "teams"),
        ("abc.12.environment.api.powerplatform.com", "teams"),
        ("discord.com", "discord"),
        ("ptb.discord.com", "discord"),
        ("discordapp.com", "discord"),
        ("hooks.slack.com.evil.example", "json"),
        ("nothooks.slack.com", "json"),
        ("evildiscord.com", "json"),
        ("127.0.0.1", "json"),
    ],
)
def test_the_form_is_that_of_the_host(host: str, form: str) -> None:
    assert form_of(host) == form


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_chat_makes_a_mention_link_or_markup_of_what_others_wrote(
    subject: str, message: str, hint: str
) -> None:
    notice = Notice("failed", subject, message, hint, AT, 2, AT)
    slack = json.loads(body("slack", notice))
    assert slack["mrkdwn"] is False
    assert "<" not in slack["text"]
    assert ">" not in slack["text"]
    discord = json.loads(body("discord", notice))
    assert discord["allowed_mentions"] == {"parse": []}
    assert len(discord["content"]) <= 2000
    below = discord["content"].partition("\n")[2]
    assert not re.search(r"(?<!\\)[<>@`\[]", below.replace("\\\\", ""))
    card = json.loads(body("teams", notice))["attachments"][0]["content"]
    assert {one["type"] for one in card["body"]} == {"RichTextBlock"}
    for form in ("slack", "teams", "discord", "json"):
        for text in strings(json.loads(body(form, notice))):
            assert all(line.isprintable() for line in text.split("\n"))


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []


def test_a_notice_says_what_where_since_when_and_what_was_left_out() -> None:
    text = json.loads(body("slack", NOTICE, LINK))["text"]
    assert text.splitlines() == [
        "myop-cdn: publishing fails",
        "s3://bucket",
        "no such bucket",
        "make it",
        "3 failures in a row since 2026-03-24T10:00:00Z",
        "2 other events were not reported since the last notice",
        LINK,
    ]
    assert json.loads(body("json", NOTICE, LINK)) == {
        "type": "publish.failed",
        "timestamp": "2026-03-24T10:00:00Z",
        "data": {
            "subject": "s3://bucket",
            "message": "no such bucket",
            "hint": "make it",
            "failures": 3,
            "since": "2026-03-24T10:00:00Z",
            "leftOut": 2,
            "run": LINK,
        },
    }
    assert LINK in json.loads(body("discord", NOTICE, LINK))["content"]
    assert LINK in strings(json.loads(body("teams", NOTICE, LINK)))[-1]


def test_credentials_in_an_error_are_not_told() -> None:
    notice = Notice("failed", "s3://b", "no answer from https://me:pw@host/?sig=abc", "", AT)
    for form in ("slack", "teams", "discord", "json"):
        assert b"pw" not in body(form, notice)
    assert "pw" not in "".join(facts(notice).values())


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's own libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    data = b'{"test": 2432232314}'
    headers = signed_headers(
        data, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, [signing_key(secret)]
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_a_secret_is_replaced_both_sign() -> None:
    keys = [signing_key("whsec_" + base64.b64encode(b"k" * 32).decode()), signing_key("plain")]
    assert keys == [b"k" * 32, b"plain"]
    both = signed_headers(b"{}", "msg_1", 1, keys)["webhook-signature"].split()
    for key, one in zip(keys, both, strict=True):
        digest = hmac.new(key, b"msg_1.1.{}", hashlib.sha256).digest()
        assert one == "v1," + base64.b64encode(digest).decode()
    assert "webhook-signature" not in signed_headers(b"{}", "msg_1", 1, [])


def test_a_secret_that_is_not_base64_is_refused_without_being_shown() -> None:
    with pytest.raises(InputError) as raised:
        signing_key("whsec_not base64!")
    assert "not base64!" not in raised.value.message


def test_a_run_is_linked_where_its_ci_system_says_so() -> None:
    github = {
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "acme/site",
        "GITHUB_RUN_ID": "1",
    }
    assert run_link(github) == LINK
    assert run_link({"CI_JOB_URL": "https://gitlab.com/a/b/-/jobs/7"}).endswith("/jobs/7")
    assert run_link({"BUILD_URL": "http://jenkins:8080/job/a%20b/3/"}).endswith("/3/")
    for url in ("javascript:alert(1)", "https://me:pw@host/x", "https://h/x)[y](z", ""):
        assert run_link({"BUILD_URL": url}) == ""
