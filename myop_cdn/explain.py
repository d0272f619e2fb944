"""Why a signature fails, in words that a tired person can act upon. No I/O.

Nothing here makes a signature valid: each finding is about what was probably done to the
body, the header or the secret on their way. No finding holds a digest or a secret.
"""

from __future__ import annotations

import hmac
import json
import re
from typing import TYPE_CHECKING, Any

from myop_cdn import jsontext, payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_PARSED_BYTES = 1 << 20  # of a body that nobody vouches for, no more than this is parsed
MAX_WRITTEN = 4 * MAX_PARSED_BYTES  # of it when it is indented
_DIGITS = re.compile(rb"[0-9a-fA-F]{64}")


def explain(body: bytes | bytearray, header: str, secrets: Sequence[bytes]) -> list[str]:
    """What was found to be wrong, most telling first; never empty.

    body, header and secrets are those that `signature.verify` found not valid.
    """
    if _matches(body, header, secrets):
        return [*_header(header), "the digits are right: only the form of the signature is wrong"]
    findings = [*_header(header), *_body(body, header, secrets), *_secret(body, header, secrets)]
    if not findings:
        findings.append(
            "nothing usual explains it: either the secret is not the one that Myop shows for "
            "this webhook, or the body is not the one that was signed"
        )
    return findings


def looks_reserialized(body: bytes | bytearray) -> bool:
    """Whether the body carries the keys that GitLab adds when it writes the body again."""
    return len(body) <= MAX_PARSED_BYTES and payload.is_reserialized(bytes(body))


def _claimed(header: str) -> bytes | None:
    match = _DIGITS.search("".join(header.split()).encode("utf-8", "replace"))
    return match[0].lower() if match else None


def _matches(body: Any, header: str, secrets: Sequence[bytes]) -> bool:
    claimed = _claimed(header)
    if claimed is None:
        return False
    return any(
        hmac.compare_digest(hmac.digest(secret, body, "sha256").hex().encode(), claimed)
        for secret in secrets
    )


def _header(header: str) -> Iterator[str]:
    if header.strip() != header:
        yield "the signature has blanks or line ends around it"
    if "x-myop-signature" in header.lower():
        yield "the signature still has its header's name before it; give the value alone"
    if header[:1] in "'\"" and header:
        yield "the signature still has its quotes around it"


def _body(body: bytes | bytearray, header: str, secrets: Sequence[bytes]) -> Iterator[str]:
    if not body:
        yield "the body is empty: did the step before this one fail?"
    view = memoryview(body)
    for end, words in ((b"\n", "a trailing newline"), (b"\r\n", "a trailing CR and newline")):
        if body.endswith(end) and _matches(view[: -len(end)], header, secrets):
            yield f"{words} was added to the body (echo does; use printf or a file)"
    if body.startswith(b"\xef\xbb\xbf") and _matches(view[3:], header, secrets):
        yield "a byte order mark was put before the body"
    if len(body) > MAX_PARSED_BYTES:
        return
    if _matches(bytes(body) + b"\n", header, secrets):
        yield "the body's trailing newline is missing ($(…) in a shell drops it)"
    if looks_reserialized(body):
        yield (
            "GitLab has written the body again and added keys: inside its job no signature can "
            "be checked"
        )
    elif _line_ends(bytes(body), header, secrets):
        yield "the body's line ends were changed on the way"
    elif _rewritten(bytes(body), header, secrets):
        yield "the body was parsed and written again on the way: pass on the raw bytes"


def _line_ends(body: bytes, header: str, secrets: Sequence[bytes]) -> bool:
    unix = body.replace(b"\r\n", b"\n")
    others = (unix, unix.replace(b"\n", b"\r\n"))
    return any(_matches(other, header, secrets) for other in others if other != body)


def _rewritten(body: bytes, header: str, secrets: Sequence[bytes]) -> bool:
    """Whether the body would match in one of the usual ways to write the same JSON."""
    return any(_matches(written, header, secrets) for written in _written_again(body))


def _written_again(body: bytes) -> Iterator[bytes]:
    """The body's JSON in the usual forms, each in time and size linear in the body's: one that
    nesting makes long when it is indented is left out.
    """
    try:
        value = json.loads(body)
        for separators, ascii in (((",", ":"), False), ((",", ":"), True), ((", ", ": "), False)):
            text = json.dumps(value, ensure_ascii=ascii, separators=separators)
            yield text.encode("utf-8", "surrogatepass")
        yield jsontext.dumps(jsontext.loads(body), MAX_WRITTEN)
    except (ValueError, RecursionError):
        return


def _secret(body: bytes | bytearray, header: str, secrets: Sequence[bytes]) -> Iterator[str]:
    for index, secret in enumerate(secrets):
        if any(byte in b" \t\r\n\v\f" for byte in secret):
            yield f"secret {index} holds a blank; Myop's secrets hold none"
        if secret[:1] in (b"'", b'"') and secret[:1] == secret[-1:]:
            yield f"secret {index} still has its quotes around it"
        if _matches(body, header, [secret + b"\n"]):
            yield f"the sender's secret ends in a newline that secret {index} here does not have"
    if len(secrets) > 1 and _matches(body, header, [b" ".join(secrets)]):
        yield "the secret holds a blank and was taken for several: use --secret-file"
