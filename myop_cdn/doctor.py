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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from myop_cdn import __version__
from myop_cdn.errors import CheckFailed, InputError, MyopCdnError, PreconditionFailed, StorageError
from myop_cdn.export import TRY_NPX
from myop_cdn.manifest import Manifest
from myop_cdn.model import MANIFEST
from myop_cdn.names import shown
from myop_cdn.report import with_error
from myop_cdn.retry import RetryPolicy
from myop_cdn.storage.base import JSON_TYPE, Body, Cors, Folder, Headers, Precondition
from myop_cdn.storage.store import Store
from myop_cdn.text import shown_url
from myop_cdn.transport import Limits, Transport, TransportError, dates, parse_base_url
from myop_cdn.transport.certificates import AWS_VARIABLES, trusting_context
from myop_cdn.transport.endpoint import find_proxy, refuse_plain_http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from myop_cdn.deploy.target import Target
    from myop_cdn.transport import Endpoint, Response

State = Literal["ok", "note", "wrong"]
PROBES = ".myop-cdn/doctor-"
_STALE = timedelta(hours=1)  # a probe that old was left by a run that was killed
_MOST_SKEW = 60.0  # seconds; webhooks are checked against minutes, S3's signatures too
_LEAST_SECRET = 16  # bytes
_KEY_FORM = re.compile(r"myop_sk_[0-9a-f]{64}")
_LIMITS = Limits(silence_seconds=15.0, total_seconds=30.0)
_POLICY = RetryPolicy(attempts=4, unreachable_attempts=1)
_PACKAGES = ("boto3", "google-auth", "azure-identity", "click", "rich")
_OPTIONAL = ("azure-identity",)
_CHECK_URL = "does MYOP_API_URL (--api-url) name Myop's API?"


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
    missing: list[str] = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            (found if package in _OPTIONAL else missing).append(f"{package} not installed")
    here = f"myop-cdn {__version__}, Python {platform.python_version()}, {platform.system()}"
    text = f"{here}; {', '.join((*found, *missing))}"
    if missing:
        yield Diagnosis("versions", "wrong", text, "install it again: pipx reinstall myop-cdn")
    else:
        yield Diagnosis("versions", "ok", text)


def network(api_url: str) -> Iterator[Diagnosis]:
    """The proxy and the certificates that are in force. Raises InputError for a bad proxy."""
    endpoint, _ = _parsed(api_url)
    proxy = find_proxy(endpoint)
    way = f"through the proxy {proxy.netloc}" if proxy else "without a proxy"
    yield Diagnosis("proxy", "ok", f"{endpoint.netloc} is reached {way}")
    named = [one for one in AWS_VARIABLES if os.environ.get(one)]
    try:
        trusting_context(AWS_VARIABLES)
    except TransportError as error:
        yield Diagnosis(
            "certificates", "wrong", str(error).removeprefix("can't be asked: "), error.hint
        )
        return
    which = f"those of {', '.join(named)}" if named else "the system's"
    yield Diagnosis("certificates", "ok", f"{which} are trusted")


def signing_secrets(found: Sequence[bytes], source: str) -> Iterator[Diagnosis]:
    """Whether the signing secrets look like what Myop gave. source: where they are from."""
    several = f"{len(found)} secrets" if len(found) > 1 else "one secret"
    problems = []
    for number, secret in enumerate(found):
        which = f"secret {number}" if len(found) > 1 else "it"
        if len(secret) < _LEAST_SECRET:
            problems.append(f"{which} has fewer than {_LEAST_SECRET} bytes and can be guessed")
        if secret[:1] in (b'"', b"'") or secret[-1:] in (b'"', b"'"):
            problems.append(f"{which} has quotes around it")
        if secret.startswith(b"myop_sk_"):
            problems.append(f"{which} is an API key")
        if not all(33 <= byte <= 126 for byte in secret):
            problems.append(f"{which} has characters that no secret has")
    if len(set(found)) < len(found):
        problems.append("one is given twice")
    if problems:
        yield Diagnosis(
            "secret",
            "wrong",
            f"{several} from {source}: {'; '.join(problems)}",
            "copy it again from Dashboard > Rollout > Settings > Self-Hosting, where Myop shows it "
            "once when the webhook is added",
        )
    elif len(found) > 1:
        text = f"{several} from {source}, separated by white space"
        yield Diagnosis("secret", "note", text, "keep two only while one is being replaced")
    else:
        yield Diagnosis("secret", "ok", f"one secret of {len(found[0])} bytes from {source}")


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
    if 300 <= response.status < 400:
        where = shown_url(response.headers.get("location", ""))
        return Diagnosis("API", "wrong", f"{text}: a redirect to {where}", "set MYOP_API_URL to it")
    if response.status >= 500:
        return Diagnosis("API", "wrong", text, "try again later")
    if response.status in (200, 401, 403):
        return Diagnosis("API", "ok", text)
    return Diagnosis("API", "wrong", text, _CHECK_URL)


def _key(host: str, response: Response, key: str, source: str) -> Diagnosis:
    looks = "" if _KEY_FORM.fullmatch(key) else "; it does not look like myop_sk_ and 64 hex digits"
    if response.status in (401, 403):
        return Diagnosis(
            "API key",
            "wrong",
            f"from {source}; {host} rejected it ({response.status}){looks}",
            "make a new one in Dashboard > Rollout > Settings > Self-Hosting",
        )
    if response.status != 200:
        return Diagnosis("API key", "note", f"from {source}; not tried", "fix the API first")
    body = b""
    try:
        body = response.decoded(_LIMITS.body_bytes).body
        index = Manifest.parse(body)
    except (InputError, TransportError):
        if not body.lstrip().startswith((b"{", b"[")):
            text = f"from {source}; not tried: {host} answered with something other than JSON"
            return Diagnosis("API key", "wrong", text, _CHECK_URL)
        return Diagnosis(
            "API key",
            "note",
            f"from {source}; accepted, but the index is not in the documented form",
            TRY_NPX,
        )
    whose = f" of organization {shown(index.organization)}" if index.organization else ""
    text = f"from {source}; accepted: {len(index.entries)} components{whose}"
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
            yield Diagnosis(f"log: {one.name}", one.state, one.text, one.advice)
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
    _clear(store, began)
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


def _clear(store: Store, now: datetime) -> None:
    """Remove what runs that were killed have left."""
    old = [
        one.key
        for one in store.list(PROBES)
        if one.modified is not None and now - one.modified > _STALE
    ]
    if old:
        store.delete(old[: store.delete_batch])


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

    ignored = []
    if not is_refused(b"[1]", None):
        ignored.append("create if absent (If-None-Match)")
    else:
        _put(store, key, b"[2]", version)  # a condition that holds is carried out
        if not is_refused(b"[3]", version):
            ignored.append("replace if unchanged (If-Match)")
    if ignored:
        yield Diagnosis(
            "conditions",
            "wrong",
            f"{store.url} ignores {' and '.join(ignored)}",
            "let only one publish run at a time there: nothing else keeps two apart",
        )
    else:
        yield Diagnosis("conditions", "ok", "conditional writes are kept")


def _cors(store: Store, origin: str | None) -> Iterator[Diagnosis]:
    backend = store.backend
    if not isinstance(backend, Cors) or isinstance(backend, Folder):
        yield Diagnosis("CORS", "note", f"{store.url} has no CORS rules", _ASK)
        return
    asked = origin or "https://app.example.com"
    if not backend.lacks_origins([asked]):
        yield Diagnosis("CORS", "ok", f"{store.url} lets pages of {asked} read")
        return
    text = f"{store.url} has no rule that lets pages of {asked} read"
    if origin is None:
        yield Diagnosis("CORS", "note", text, f"name your page's with --origin; {_ASK}")
    else:
        advice = f"publish with --cors-origin {origin}, unless the CDN sends CORS headers itself"
        yield Diagnosis("CORS", "wrong", text, advice)


_ASK = "'myop-cdn check BASE_URL' tells what browsers get"
