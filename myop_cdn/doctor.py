"""Whether all that a run needs is in order: each thing is looked at, whatever became of the others.

Nothing is changed for good: what is written at a destination to try it is removed again. No line
shows a secret or any part of one.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from myop_cdn import __version__, inputs
from myop_cdn.errors import (
    CheckFailed,
    InputError,
    MyopCdnError,
    PreconditionFailed,
    StorageError,
    Undelivered,
)
from myop_cdn.export import TRY_NPX
from myop_cdn.manifest import Manifest
from myop_cdn.model import MANIFEST
from myop_cdn.notify.policy import Notice
from myop_cdn.notify.sender import new_identity
from myop_cdn.report import with_error
from myop_cdn.retry import RetryPolicy
from myop_cdn.storage.base import JSON_TYPE, Body, Cors, Folder, Headers, Precondition
from myop_cdn.storage.store import Store
from myop_cdn.text import shown, shown_url
from myop_cdn.transport import Limits, Transport, TransportError, dates, parse_base_url
from myop_cdn.transport.certificates import AWS_VARIABLES, trusting_context
from myop_cdn.transport.endpoint import find_proxy, refuse_plain_http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from myop_cdn.deploy.target import Target
    from myop_cdn.inputs import Warn
    from myop_cdn.notify.sender import Channel
    from myop_cdn.transport import Endpoint, Response

State = Literal["ok", "note", "wrong"]
PROBES = ".myop-cdn/doctor-"
_STALE = timedelta(hours=1)  # a probe that old was left by a run that was killed
_MOST_SKEW = 60.0  # seconds; webhooks are checked against minutes, S3's signatures too
_KEY_FORM = re.compile(r"myop_sk_[0-9a-f]{64}")
_LIMITS = Limits(silence_seconds=15.0, total_seconds=30.0)
_POLICY = RetryPolicy(attempts=4, unreachable_attempts=1)
_PACKAGES = ("boto3", "google-auth", "azure-identity", "click", "rich")
_OPTIONAL = ("azure-identity",)
_CHECK_URL = "does MYOP_API_URL (--api-url) name Myop's API?"
_ASK = "'myop-cdn check BASE_URL' tells what browsers get"
_ONCE = (
    "copy it again from Dashboard > Rollout > Settings > Self-Hosting, where Myop shows it once "
    "when the webhook is added"
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What came of looking at one thing. name: which. text: what was seen. advice: what to do.

    state: "wrong" makes the exit code 1, a "note" does not.
    """

    name: str
    state: State
    text: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        """One entry of `checks` in the JSON report."""
        said = {"name": self.name, "state": self.state, "text": self.text}
        return {**said, "advice": self.advice} if self.advice else said


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All that was looked at, in order."""

    checks: tuple[Diagnosis, ...]

    @property
    def error(self) -> MyopCdnError | None:
        """What makes the exit code 1: something is wrong."""
        wrong = [one.name for one in self.checks if one.state == "wrong"]
        if not wrong:
            return None
        return CheckFailed(f"not in order: {', '.join(wrong)}", "each line says what to do")

    def to_json(self) -> dict[str, Any]:
        """The JSON report of `myop-cdn doctor --json`."""
        report = {"command": "doctor", "checks": [one.to_json() for one in self.checks]}
        return with_error(report, self.error)


def examined(name: str, work: Callable[[], Iterator[Diagnosis]]) -> Iterator[Diagnosis]:
    """What `work` finds; where it fails, that, so that nothing hides what comes after it."""
    try:
        yield from work()
    except MyopCdnError as error:
        yield Diagnosis(name, "wrong", error.message, error.hint)
    except Exception as error:
        # A defect, of a plug-in for one: the message could quote a secret.
        yield Diagnosis(name, "wrong", f"unexpected {type(error).__name__}", "run again with -vv")


def versions() -> Iterator[Diagnosis]:
    """This program's, Python's and the SDKs'."""
    from importlib.metadata import PackageNotFoundError, version

    found: list[str] = []
    lacks = False
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
            lacks = lacks or package not in _OPTIONAL
    here = f"myop-cdn {__version__}, Python {platform.python_version()}, {platform.system()}"
    text = f"{here}; {', '.join(found)}"
    if lacks:
        raise CheckFailed(text, "install it again: pipx reinstall myop-cdn")
    yield Diagnosis("versions", "ok", text)


def network(api_url: str) -> Iterator[Diagnosis]:
    """The proxy and the certificates that are in force. Raises InputError for a bad proxy."""
    endpoint, _ = _parsed(api_url)
    proxy = find_proxy(endpoint)
    way = f"through the proxy {proxy.netloc}" if proxy else "without a proxy"
    yield Diagnosis("proxy", "ok", f"{endpoint.netloc} is reached {way}")
    named = ", ".join(one for one in AWS_VARIABLES if os.environ.get(one))
    try:
        trusting_context(AWS_VARIABLES)
    except TransportError as error:
        problem = str(error).removeprefix("can't be asked: ")
        yield Diagnosis("certificates", "wrong", problem, error.hint)
    else:
        which = f"those of {named}" if named else "the system's"
        yield Diagnosis("certificates", "ok", f"{which} are trusted")


def signing_secret(files: Sequence[str]) -> Iterator[Diagnosis]:
    """Whether the signing secrets, of these files or the environment, look like Myop's."""
    warnings: list[str] = []
    given = inputs.signing_secrets(files, warnings.append)
    if given is None:
        advice = f"verify and serve need one: {inputs.SIGNING_SECRET.variable} or --secret-file"
        yield Diagnosis("secret", "note", "there is none", advice)
        return
    found, source = given
    several = f"{len(found)} secrets" if len(found) > 1 else "one secret"
    problems = [
        f"{f'secret {number}' if len(found) > 1 else 'it'} {problem}"
        for number, secret in enumerate(found)
        for problem in _unsound(secret)
    ]
    if len(set(found)) < len(found):
        problems.append("one is given twice")
    if problems:
        text = f"{several} from {source}: {'; '.join(problems)}"
        yield Diagnosis("secret", "wrong", text, _ONCE)
    elif len(found) > 1:
        text = f"{several} from {source}, separated by white space"
        yield Diagnosis("secret", "note", text, "keep two only while one is being replaced")
    else:
        yield Diagnosis("secret", "ok", f"one secret of {len(found[0])} bytes from {source}")
    yield from (_warned("secret", "wrong", one) for one in warnings)


def _unsound(secret: bytes) -> Iterator[str]:
    if len(secret) < inputs.SHORT_SECRET:
        yield f"has fewer than {inputs.SHORT_SECRET} bytes and can be guessed"
    if secret[:1] in (b'"', b"'") or secret[-1:] in (b'"', b"'"):
        yield "has quotes around it"
    if secret.startswith(b"myop_sk_"):
        yield "is an API key"
    if not all(33 <= byte <= 126 for byte in secret):
        yield "has characters that no secret has"


def _warned(name: str, state: State, warning: str) -> Diagnosis:
    text, _, advice = warning.partition(": ")
    return Diagnosis(name, state, text, advice)


def notices(channels_of: Callable[[Warn], Sequence[Channel]], *, test: bool) -> Iterator[Diagnosis]:
    """Who is told when publishing fails. test: send each a test."""
    now, warnings = time.time(), list[str]()
    channels = channels_of(warnings.append)
    yield from (_warned("notices", "note", one) for one in warnings)
    for channel in channels:
        if not test:
            text = f"{channel.name} receives failures"
            yield Diagnosis("notices", "note", text, "--test-notice sends a test")
            continue
        try:
            channel.send(Notice("test", "myop-cdn doctor", "", "", now), new_identity(), now)
        except Undelivered as error:
            text = f"{channel.name} did not receive a test: {error}"
            advice = "check the URL, the network and the receiver's log"
            yield Diagnosis("notices", "wrong", text, advice)
        else:
            yield Diagnosis("notices", "ok", f"{channel.name} received a test")


def keyed_api(url: str, key_file: str | None, *, allow_http: bool) -> Iterator[Diagnosis]:
    """Whether there is a key, and what `api` finds with or without it."""
    warnings: list[str] = []
    found = None
    try:
        found = inputs.api_key(key_file, warnings.append)
        if found is None:
            raise InputError("there is none", inputs.KEY_HINT)
    except InputError as error:
        yield Diagnosis("API key", "wrong", error.message, error.hint)
    yield from (_warned("API key", "wrong", one) for one in warnings)
    key, source = found or (None, "")
    yield from api(url, key, source, allow_http=allow_http)


def api(
    url: str,
    key: str | None,
    source: str,
    *,
    allow_http: bool = False,
    now: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Diagnosis]:
    """Whether Myop's API answers and takes the key, and whether the clocks agree.

    key: None where there is none: then the API is only reached. source: where the key is from.
    """
    endpoint, path = _parsed(url)
    headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
    if key is not None:
        refuse_plain_http(endpoint, "the API key", allowed=allow_http)
        headers["Authorization"] = f"Bearer {key}"
    transport = Transport(endpoint, _LIMITS)
    started = clock()
    try:
        response = transport.request("GET", f"{path}/export", headers)
    except TransportError as error:
        hint = error.hint or "check MYOP_API_URL, the network and the proxy"
        yield Diagnosis("API", "wrong", f"{endpoint.netloc} {error.phrase}", hint)
        if key is not None:
            yield Diagnosis("API key", "note", f"from {source}; not tried", "fix the API first")
        return
    finally:
        transport.close()
    took, received = clock() - started, now()
    yield _reached(endpoint.netloc, response, took)
    if key is not None:
        yield _key(endpoint.netloc, response, key, source)
    date = dates.read(response.headers.get("date"))
    if date is not None:
        yield _clock(received - date.timestamp(), endpoint.netloc)


def _parsed(url: str) -> tuple[Endpoint, str]:
    try:
        return parse_base_url(url.strip())
    except ValueError as error:
        raise InputError(
            f"{shown_url(url)!r} is not the URL of an API: {error}",
            "MYOP_API_URL or --api-url: https://cloud.myop.dev, for one",
        ) from None


def _reached(host: str, response: Response, took: float) -> Diagnosis:
    text = f"{host} answered {response.status} in {took:.1f} s"
    if response.status in (200, 401, 403):
        return Diagnosis("API", "ok", text)
    advice = "try again later" if response.status >= 500 else _CHECK_URL
    if 300 <= response.status < 400:
        text += f": a redirect to {shown_url(response.headers.get('location', ''))}"
        advice = "set MYOP_API_URL to it"
    return Diagnosis("API", "wrong", text, advice)


def _key(host: str, response: Response, key: str, source: str) -> Diagnosis:
    status, text = response.status, f"from {source}; "
    if status in (401, 403):
        text += f"{host} rejected it ({status})"
        if not _KEY_FORM.fullmatch(key):
            text += "; it does not look like myop_sk_ and 64 hex digits"
        advice = "make a new one in Dashboard > Rollout > Settings > Self-Hosting"
        return Diagnosis("API key", "wrong", text, advice)
    if status != 200:
        return Diagnosis("API key", "note", f"{text}not tried", "fix the API first")
    body = b""
    try:
        body = response.decoded(_LIMITS.body_bytes).body
        index = Manifest.parse(body)
    except (InputError, TransportError):
        if not body.lstrip().startswith((b"{", b"[")):
            text += f"not tried: {host} answered with something other than JSON"
            return Diagnosis("API key", "wrong", text, _CHECK_URL)
        text += "accepted, but the index is not in the documented form"
        return Diagnosis("API key", "note", text, TRY_NPX)
    text += f"accepted: {len(index.entries)} components"
    text += f" of organization {shown(index.organization)}" if index.organization else ""
    return Diagnosis("API key", "ok", text)


def _clock(skew: float, host: str) -> Diagnosis:
    """skew: seconds that this machine's clock is ahead."""
    if abs(skew) <= 2:
        return Diagnosis("clock", "ok", f"as {host}'s")
    text = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} {host}'s"
    if abs(skew) <= _MOST_SKEW:
        return Diagnosis("clock", "ok", text)
    advice = "set the clock (NTP): signatures of webhooks and of S3 depend on it"
    return Diagnosis("clock", "wrong", text, advice)


def destination(
    target: Target,
    origin: str | None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[Diagnosis]:
    """Whether a destination can be read and written, keeps conditions, and lets pages read.

    origin: the page's; None where it is not known.
    """
    store = Store(target.store.backend, _POLICY)
    yield from examined("reading", lambda: _reading(store))
    yield from examined("writing", lambda: _writing(store, now))
    if target.log.store is not target.store:
        log = Store(target.log.store.backend, _POLICY)
        for one in examined("log", lambda: _writing(log, now)):
            yield replace(one, name=f"log: {one.name}")
    yield from examined("CORS", lambda: _cors(store, origin))


def _reading(store: Store) -> Iterator[Diagnosis]:
    found = store.list(limit=1)
    is_read = bool(found) and store.get(MANIFEST) is not None
    text = f"{store.url} can be listed" + (" and read" if is_read else "")
    yield Diagnosis("reading", "ok", text if found else f"{text}; nothing is there yet")


def _writing(store: Store, now: Callable[[], datetime]) -> Iterator[Diagnosis]:
    """A probe: written if absent, replaced on conditions, removed."""
    key = f"{PROBES}{secrets.token_hex(8)}.json"
    found: list[Diagnosis] = []
    try:
        found += examined("writing", lambda: _probe(store, key, now))
    finally:
        # After a failure, too: the answer may have been lost, and the probe be there.
        removed = _removed(store, key)
    yield from found
    if any(one.name == "writing" and one.state == "ok" for one in found):
        yield removed


def _probe(store: Store, key: str, now: Callable[[], datetime]) -> Iterator[Diagnosis]:
    began = now()
    # What runs that were killed have left.
    left = [one for one in store.list(PROBES) if one.modified and began - one.modified > _STALE]
    if left:
        store.delete([one.key for one in left[: store.delete_batch]])
    version = _put(store, key, b"{}", None)
    yield Diagnosis("writing", "ok", f"{store.url} can be written")
    info = store.head(key)
    yield from examined("conditions", lambda: _conditions(store, key, version))
    if info is not None and info.modified is not None and not isinstance(store.backend, Folder):
        yield _clock((began - info.modified).total_seconds(), store.url)


def _removed(store: Store, key: str) -> Diagnosis:
    try:
        for error in store.delete([key]).values():
            raise error
        if store.head(key) is not None:
            raise StorageError(f"{store.url}: {key} is there after it was deleted")
    except StorageError as error:
        advice = f"allow deleting, which --delete needs; then remove {key}"
        return Diagnosis("deleting", "wrong", error.message, advice)
    return Diagnosis("deleting", "ok", "the probe was removed again")


def _put(store: Store, key: str, data: bytes, version: str | None) -> str:
    """Write the probe if it is of this version, None: if it is absent."""
    headers = Headers(JSON_TYPE, "no-store")
    return store.put(key, Body.of(data), headers, precondition=Precondition(version))


def _conditions(store: Store, key: str, version: str) -> Iterator[Diagnosis]:
    """Whether the service keeps create-if-absent and replace-if-unchanged."""

    def is_refused(data: bytes, version: str | None) -> bool:
        try:
            _put(store, key, data, version)
        except PreconditionFailed:
            return True
        return False

    ignored = ""
    if not is_refused(b"[1]", None):
        ignored = "create if absent (If-None-Match)"
    else:
        _put(store, key, b"[2]", version)  # a condition that holds is carried out
        if not is_refused(b"[3]", version):
            ignored = "replace if unchanged (If-Match)"
    if ignored:
        advice = "let only one publish run at a time there: nothing else keeps two apart"
        raise CheckFailed(f"{store.url} ignores {ignored}", advice)
    yield Diagnosis("conditions", "ok", "conditional writes are kept")


def _cors(store: Store, origin: str | None) -> Iterator[Diagnosis]:
    backend = store.backend
    if not isinstance(backend, Cors) or isinstance(backend, Folder):
        yield Diagnosis("CORS", "note", f"{store.url} has no CORS rules", _ASK)
        return
    asked = origin or "https://app.example.com"
    text = f"{store.url} has no rule that lets pages of {asked} read"
    if not backend.lacks_origins([asked]):
        yield Diagnosis("CORS", "ok", f"{store.url} lets pages of {asked} read")
    elif origin is None:
        yield Diagnosis("CORS", "note", text, f"name your page's with --origin; {_ASK}")
    else:
        advice = f"publish with --cors-origin {origin}, unless the CDN sends CORS headers itself"
        raise CheckFailed(text, advice)
