"""Why a signature fails."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.explain import MAX_PARSED_BYTES, explain, looks_reserialized
from myop_cdn.signature import sign, verify
from tests.samples import SECRET, release, webhook

KEY = SECRET.encode()
BODY = webhook(release("card", "Größe"), release("card", "qa"))
GOOD = sign(BODY, KEY)
LINES = b'{\n"event": "components.deployed"\n}\n'


def gitlab(body: bytes) -> bytes:
    return json.dumps({**json.loads(body), "id": 1, "ref": "main", "variables": {}}).encode()


@pytest.mark.parametrize(
    ("body", "header", "secret", "words"),
    [
        (BODY, GOOD.removeprefix("sha256="), KEY, "only the form"),
        (BODY, GOOD.upper(), KEY, "only the form"),
        (BODY, f" {GOOD}\n", KEY, "blanks or line ends around"),
        (BODY, f'"{GOOD}"', KEY, "quotes around"),
        (BODY, f"X-Myop-Signature: {GOOD}", KEY, "header's name"),
        (BODY + b"\n", GOOD, KEY, "a trailing newline was added"),
        (BODY + b"\r\n", GOOD, KEY, "a trailing CR and newline was added"),
        (BODY, sign(BODY + b"\n", KEY), KEY, "trailing newline is missing"),
        (b"\xef\xbb\xbf" + BODY, GOOD, KEY, "byte order mark"),
        (b"", GOOD, KEY, "body is empty"),
        (gitlab(BODY), GOOD, KEY, "GitLab"),
        (LINES.replace(b"\n", b"\r\n"), sign(LINES, KEY), KEY, "line ends were changed"),
        (LINES, sign(LINES.replace(b"\n", b"\r\n"), KEY), KEY, "line ends were changed"),
        (json.dumps(json.loads(BODY), indent=4).encode(), GOOD, KEY, "parsed and written again"),
        (json.dumps(json.loads(BODY)).encode(), GOOD, KEY, "parsed and written again"),
        (BODY, sign(BODY, KEY + b"\n"), KEY, "ends in a newline"),
        (BODY, GOOD, KEY + b" x", "holds a blank"),
        (BODY, GOOD, b"'" + KEY + b"'", "quotes around it"),
        (BODY, sign(BODY, b"another"), KEY, "nothing usual explains it"),
        (BODY, "nonsense", KEY, "nothing usual explains it"),
    ],
)
def test_the_usual_causes_are_found(body: bytes, header: str, secret: bytes, words: str) -> None:
    assert not verify(body, header, [secret]).valid
    findings = explain(body, header, [secret])
    assert any(words in finding for finding in findings), findings


def test_a_secret_with_a_blank_that_was_taken_for_two_is_found() -> None:
    findings = explain(BODY, sign(BODY, b"two words"), [b"two", b"words"])
    assert any("taken for several" in finding for finding in findings)


def test_only_a_webhook_with_gitlabs_keys_looks_reserialized() -> None:
    assert looks_reserialized(gitlab(BODY))
    assert not looks_reserialized(BODY)
    assert not looks_reserialized(b"[]")
    assert not looks_reserialized(b"no json")
    assert not looks_reserialized(gitlab(webhook()) + b" " * MAX_PARSED_BYTES)


def test_a_big_body_is_not_parsed_but_its_end_is_looked_at() -> None:
    big = b'{"x":"' + b"x" * MAX_PARSED_BYTES + b'"}'
    findings = explain(big + b"\n", sign(big, KEY), [KEY])
    assert findings == [
        "a trailing newline was added to the body (echo does; use printf or a file)"
    ]


def test_a_deeply_nested_body_takes_no_more_memory_than_a_flat_one() -> None:
    """Indented, 50 kB of this would be 50 MB, and writing it would take half a minute."""
    nested = b"[" * 900 + b"1," * 25_000 + b"1" + b"]" * 900
    tracemalloc.start()
    try:
        assert "nothing usual explains it" in explain(nested, GOOD, [KEY])[0]
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()


@given(
    st.binary(max_size=200) | st.just(BODY) | st.just(b"[" * 9000),
    st.text(st.characters(exclude_categories=())) | st.just(GOOD),
    st.lists(st.binary(min_size=1).filter(bytes.strip), min_size=1, max_size=3),
)
def test_there_is_always_a_finding_and_none_quotes_digest_or_secret(
    body: bytes, header: str, secrets: list[bytes]
) -> None:
    findings = explain(body, header, secrets)
    assert findings
    said = " ".join(findings)
    assert GOOD[7:23] not in said
    for secret in secrets:
        assert len(secret) < 8 or secret.decode("latin-1") not in said
