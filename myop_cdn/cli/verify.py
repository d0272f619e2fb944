"""`myop-cdn verify`: a filter that lets only signed bodies through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.cli.options import SecretFile, argument, command, option, option_group
from myop_cdn.errors import InputError, MyopCdnError, SignatureInvalid, SignatureUncheckable
from myop_cdn.inputs import read_input, webhook_secrets

if TYPE_CHECKING:
    from datetime import timedelta

    from myop_cdn.cli.console import Console
    from myop_cdn.signature import Verdict

MAX_BODY = 256 * 1024 * 1024
GITLAB_HINT = (
    "GitLab passes on what it parsed, not what was sent; check the signature before GitLab "
    "(myop-cdn serve), or go without and let sync ask Myop's API"
)


@option_group()
class VerifySettings:
    file: str = argument(default="-", metavar="[FILE|-]")
    signature: str | None = option("The X-Myop-Signature header's value.", "SIG", even_empty=True)
    secret_file: tuple[str, ...] = option(
        "File with the signing secret, or with several while one is being replaced, or the "
        "URL of one that a cloud keeps (aws-sm://NAME, gcp-sm://PROJECT/NAME, az-kv://VAULT/NAME); "
        "repeat it for more. Without it MYOP_WEBHOOK_SECRET is taken.",
        "FILE",
        type=SecretFile(),
    )
    max_age: timedelta = option(
        "How far the signed timestamp may lie in the past or the future; 0 is off.", default="0"
    )
    explain: bool = option("Say why a signature fails.")


@command(
    VerifySettings,
    'myop-cdn verify body.json --signature "$SIGNATURE" --explain',
    'cat body.json | myop-cdn verify --signature "$SIGNATURE" \\\n    | myop-cdn sync --payload -',
)
def verify(console: Console, settings: VerifySettings) -> None:
    """Check the signature of a webhook's body, read from FILE or stdin.

    The raw bytes go to stdout unchanged when they are signed; nothing does when they are not,
    and the exit code is 1. The exit code is 5 for a body that GitLab has written again.
    """
    from myop_cdn import signature as room

    if settings.signature is None:
        raise InputError("no signature", "give --signature the X-Myop-Signature header's value")
    secrets = webhook_secrets(settings.secret_file, console.warn_once)
    body = read_input(settings.file, MAX_BODY, "body")
    verdict = room.verify(memoryview(body), settings.signature, secrets)
    if not verdict.valid:
        raise _failure(console, body, settings.signature, secrets, verdict, settings.explain)
    if settings.max_age:
        _check_age(body, settings.max_age)
    console.raw(body)
    console.info(f"valid: signed with secret {verdict.index}")


def _failure(
    console: Console,
    body: bytes | bytearray,
    signature: str,
    secrets: tuple[bytes, ...],
    verdict: Verdict,
    explain: bool,
) -> MyopCdnError:
    from myop_cdn import explain as room

    if explain:
        for finding in room.explain(body, signature, secrets):
            console.warning(finding)
    # What is not a signature is not valid, whatever became of the body.
    if verdict.mismatch and room.looks_reserialized(body):
        return SignatureUncheckable(
            "the signature can't be checked: this body was written again by GitLab", GITLAB_HINT
        )
    hint = "" if explain else "--explain looks for the cause"
    return SignatureInvalid(f"not valid: {verdict.reason}", hint)


def _check_age(body: bytes | bytearray, max_age: timedelta) -> None:
    from datetime import UTC, datetime

    from myop_cdn import payload
    from myop_cdn.signature import check_age

    if len(body) > payload.MAX_BYTES:
        raise InputError(
            f"the body has {len(body) / 1e6:.1f} MB; --max-age reads the timestamp of a payload, "
            f"and none has more than {payload.MAX_BYTES / 1e6:.1f} MB"
        )
    timestamp = payload.signed_timestamp(bytes(body))
    if trouble := check_age(timestamp, max_age, datetime.now(UTC)):
        raise SignatureInvalid(f"not valid: signed, but {trouble}")
