"""What comes from outside reaches a terminal, a log or a CI job only as harmless text."""

from __future__ import annotations

import json
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.text import json_text, line, shown, shown_origin, shown_url, without_credentials

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=200)
WORDS = st.text(string.ascii_letters + string.digits + "+=._~-", min_size=8, max_size=30)
MEANS_SOMETHING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(ANYTHING)
def test_shown_text_is_one_short_line_of_visible_signs(text: str) -> None:
    value = shown(text)
    assert len(value) <= 80
    assert value.isprintable()
    assert not any(unicodedata.category(sign) in MEANS_SOMETHING for sign in value)
    value.encode()
    assert shown(value) == value


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\x9b31mb", r"a\x9b31mb"),
        ("a\u202etxt.exe", r"a\u202etxt.exe"),
        ("a\u2066b\u2069", r"a\u2066b\u2069"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("a\ud800", r"a\ud800"),
        ("a\U000e0041", r"a\U000e0041"),
        ("a\u3164b", r"a\u3164b"),
        ("a\r\nb\0", r"a\r\nb\x00"),
        ("Größe 日本 ❤️", "Größe 日本 ❤️"),
        ("Größe\n", r"Größe\n"),
    ],
)
def test_only_what_can_not_be_seen_is_escaped(text: str, escaped: str) -> None:
    assert shown(text) == escaped
    assert line(text) == escaped


@given(ANYTHING, st.sampled_from(["##[", "##vso[", "##teamcity[", "::", "::error::", "\x1b[0K"]))
def test_no_line_is_a_command_of_a_ci_system(text: str, command: str) -> None:
    for value in (line(command + text), line(text + command), line(f" \t{command}{text}")):
        assert not value.lstrip().startswith("::")
        assert not any(one in value for one in ("##[", "##vso[", "##teamcity["))
        assert value.isprintable()
        assert line(value) == value


def test_a_command_of_a_ci_system_can_still_be_read() -> None:
    assert line("::error file=a::b") == r"\x3a:error file=a::b"
    assert line("name ##[set-env name=a]b") == r"name #\x23[set-env name=a]b"
    assert line("##vso[task.setvariable variable=a]b") == r"#\x23vso[task.setvariable variable=a]b"
    assert line("\x1b[0Ksection_start:1:a\r\x1b[0K") == r"\x1b[0Ksection_start:1:a\r\x1b[0K"


def test_a_long_line_is_cut() -> None:
    assert len(line("x" * 100_000)) == 4000


@given(st.recursive(ANYTHING, lambda inner: st.lists(inner) | st.dictionaries(ANYTHING, inner)))
def test_json_keeps_its_values_and_holds_nothing_to_act_upon(value: object) -> None:
    for ascii_only in (True, False):
        text = json_text(json.dumps([value, "##["], indent=2, ensure_ascii=ascii_only))
        assert json.loads(text) == json.loads(json.dumps([value, "##["]))
        assert "##" not in text
        assert text.replace("\n", "").isprintable()
        text.encode()


SECRET = "wJalrXUtnFEMI/K7MDENG+bPx"


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@host/path",
        f" https://user:{SECRET}@host/path",
        f"\thttps://user:{SECRET}@host",
        f"HTTPS://user:{SECRET}@host",
        f"S3://KEY:{SECRET}@bucket",
        f"s3://KEY:{SECRET}@bucket/prefix",
        f"s3://KEY:{SECRET}",
        f"file://user:{SECRET}@host/x",
        f"ftp://user:{SECRET}@host/x",
        f"user:{SECRET}@host",
        f"user:{SECRET}@host:80/path",
        SECRET.replace("/", "") + "@host",
        "https://{}@host".format(SECRET.replace("/", "")),
        f"https:/user:{SECRET}@host",
        f"https//user:{SECRET}@host",
        f"https:\\\\user:{SECRET}@host",
        f"https://user:{SECRET}@host:99999999/x",
        f"https://host:{SECRET}/x",
        f"https://[::1]:{SECRET}/x",
        f"https://[user:{SECRET}@host",
        f"https://user:a#b?c@{SECRET}@host",
        f"https://user:{SECRET}%40@host",
        f"\0https://user:{SECRET}@host",
        f"https://account.blob.core.windows.net/c?sv=2024&sig={SECRET}",
        f"https://account.blob.core.windows.net/c?{SECRET}",
        f"https://account.blob.core.windows.net/c&sig={SECRET}",
        f"https://bucket.s3.amazonaws.com/k?X-Amz-Signature={SECRET}&X-Amz-Credential=A/b",
        f"https://host/#access_token={SECRET}",
        f"AccountName=a;AccountKey={SECRET}==;EndpointSuffix=core.windows.net",
        f"SharedAccessSignature=sv=1&sig={SECRET}",
    ],
)
def test_no_credentials_of_a_url_are_shown(url: str) -> None:
    for value in (shown_url(url), shown_origin(url)):
        assert not any(SECRET[at : at + 8] in value for at in range(len(SECRET) - 8))
        assert "***" in value or value in url


@given(user=WORDS, password=WORDS, host=st.sampled_from(["h", "h.example", "[::1]", "h:80"]))
def test_whatever_the_password_is_it_is_not_shown(user: str, password: str, host: str) -> None:
    for start in ("https://", "s3://", "", "file://", "x://"):
        assert password not in shown_url(f"{start}{user}:{password}@{host}/p")
        said = without_credentials(f"can't reach '{start or 'a://'}{user}:{password}@{host}/p': no")
        assert password not in said
        assert said.endswith("/p': no")


@given(ANYTHING)
def test_any_text_can_be_shown_as_a_url(text: str) -> None:
    for value in (shown_url(text), shown_origin(text)):
        assert value.isprintable()
        assert len(value) <= 200


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/prefix",
        "s3://bucket/a@b",
        "file:///srv/@scope/c#1",
        "https://account.blob.core.windows.net/container/prefix",
        "http://127.0.0.1:9000/bucket",
        "https://[2001:db8::1]:8443/path",
        "localhost:8080/path",
        "./components@2",
        "C:\\folder",
        "memory://a",
    ],
)
def test_a_url_without_credentials_is_shown_as_it_is(url: str) -> None:
    assert shown_url(url) == url


def test_what_follows_a_url_is_still_read() -> None:
    assert line("file:///srv/token=abc: 3 uploaded") == "file:///srv/token=***: 3 uploaded"
    assert line("s3://b/p?token=a:b: no") == "s3://b/p?token=***: no"


def test_the_secret_path_of_a_web_hook_is_left_out() -> None:
    url = "https://hooks.example.com:8443/services/T0/B0/secret?x#y"
    assert shown_origin(url) == "https://hooks.example.com:8443"
