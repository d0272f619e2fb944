"""What the commands do, for programs in Python: typed, and as stable as the commands are.

Nothing here prints, reads an argument or ends the process. Every failure is an error of
`myop_cdn.errors`, or is in the report that is returned.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from myop_cdn import inputs, payload, signature
from myop_cdn.check import DEFAULT_ORIGIN, CheckOptions, LiveObjects, TreeFiles
from myop_cdn.check import check as _check
from myop_cdn.deploy import deploy as _deploy
from myop_cdn.deploy.history import Selection
from myop_cdn.deploy.options import DeployOptions
from myop_cdn.deploy.target import open_targets
from myop_cdn.errors import InputError, MyopCdnError, SignatureInvalid
from myop_cdn.errors import PayloadError as PayloadError  # for those who import the package
from myop_cdn.export.api import ApiExporter
from myop_cdn.export.client import check_url
from myop_cdn.model import Delivery, Scope
from myop_cdn.model import Release as Release
from myop_cdn.publish import publish as _publish
from myop_cdn.status import LiveStatus, compare, read_status
from myop_cdn.sync import SyncOptions
from myop_cdn.sync import sync as _sync
from myop_cdn.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myop_cdn.check import Expectation
    from myop_cdn.report import CheckReport, DeployReport, PublishReport, SyncReport

EVERYTHING = Scope("full")
DEFAULT_URL = "https://cloud.myop.dev"
_KEPT_SECONDS = 60.0
# Secrets of a cloud, and when they were read.
_kept: dict[str, tuple[float, tuple[bytes, ...]]] = {}


def verify(
    body: bytes,
    header: str | bytes | None,
    secrets: str | Sequence[str] | None = None,
    *,
    max_age: timedelta | None = None,
) -> None:
    """Return if `header`, the value of X-Myop-Signature, is the signature of `body`.

    body: the raw bytes, exactly as they came. secrets: the signing secret, or several while one
    is being replaced; None: those of MYOP_WEBHOOK_SECRET, white space between them, or of the file
    in its place (MYOP_WEBHOOK_SECRET_FILE; see `help secrets`). max_age: how far the signed
    timestamp may lie in the past or the future; None: any distance. Raises SignatureInvalid, and
    InputError where there is no secret; MyopCdnError where it can't be read.
    """
    if secrets is None:
        keys = _own_secrets()
    else:
        words = secrets.split() if isinstance(secrets, str) else secrets
        keys = tuple(word.encode() for word in words)
    verdict = signature.verify(body, header, keys)
    if not verdict.valid:
        raise SignatureInvalid(f"the signature is not valid: {verdict.reason}")
    if max_age is not None:
        timestamp = payload.signed_timestamp(body)
        wrong = signature.check_age(timestamp, max_age, datetime.now(UTC))
        if wrong is not None:
            raise SignatureInvalid(wrong)


def parse_payload(body: bytes) -> Delivery:
    """What a payload asks for, in any of the forms that `--payload` takes.

    Its `scope` is for `sync` and `publish`. Where no signature vouches for it, hand on
    `scope.without_announcements()`. Raises PayloadError, naming the place.
    """
    return payload.parse(body)


def sync(
    output: str | Path,
    scope: Scope = EVERYTHING,
    *,
    environments: Sequence[str] = (),
    api_key: str | None = None,
    api_url: str | None = None,
) -> SyncReport:
    """Export what `scope` asks for into the folder `output`.

    environments: these alone, `preview` being one of the names. api_key, api_url: as
    MYOP_API_KEY (or the file in its place) and MYOP_API_URL say where they are
    None. Raises what `myop_cdn.sync.sync` raises.
    """
    exporter = _exporter(api_key, api_url)
    return _sync(scope, exporter, Tree(Path(output)), _sync_options(environments))


def deploy(
    source: str | Path, *destinations: str, options: DeployOptions | None = None
) -> DeployReport:
    """Bring every destination up to the folder `source`. Raises InputError, TreeError."""
    return _deploy(Tree(Path(source)), destinations, options or DeployOptions())


def publish(
    *destinations: str,
    scope: Scope = EVERYTHING,
    output: str | Path = "myop-static",
    environments: Sequence[str] = (),
    options: DeployOptions | None = None,
    api_key: str | None = None,
    api_url: str | None = None,
) -> PublishReport:
    """Export what `scope` asks for and bring every destination up to it.

    output: the folder that holds the exported files. The rest as for `sync` and `deploy`. The
    report's `error` is None where all went well.
    """
    return _publish(
        scope,
        lambda: _exporter(api_key, api_url),
        Tree(Path(output)),
        destinations,
        _sync_options(environments),
        options or DeployOptions(),
    )


def status(
    destination: str,
    *,
    against_myop: bool = False,
    components: Sequence[str] = (),
    environments: Sequence[str] = (),
    options: DeployOptions | None = None,
    api_key: str | None = None,
    api_url: str | None = None,
) -> LiveStatus:
    """What is live at a destination, and with `against_myop` what Myop has beside it.

    components, environments: these alone. options: as the destination was deployed to with.
    Raises InputError, StorageError and, where Myop is asked, ExportError.
    """
    options = options or DeployOptions()
    selection = Selection(frozenset(components), frozenset(environments))
    exporter = _exporter(api_key, api_url) if against_myop else None
    with closing(open_targets([destination], options)[0]) as target:
        found = read_status(target, selection, options.jobs)
        if exporter is None:
            return found
        return compare(found, target, exporter, selection, options.jobs)


def check(
    base_url: str,
    *,
    tree: str | Path | None = None,
    destination: str | None = None,
    origin: str = DEFAULT_ORIGIN,
    sample: int | None = None,
    wait: timedelta = timedelta(0),
    options: DeployOptions | None = None,
) -> CheckReport:
    """Ask a CDN for the documents as a browser would; the report has what is wrong.

    tree, destination: what should be there; with neither, what the CDN's own manifest lists.
    origin: of the page that asks. sample: how many documents, None for all. wait: for how long to
    ask again. options: as the destination was deployed to with. Raises InputError, TreeError,
    StorageError.
    """
    options = options or DeployOptions()
    if tree is not None and destination is not None:
        raise InputError("tree and destination both say what should be there: give one")
    with ExitStack() as stack:
        expected: Expectation | None = TreeFiles(Tree(Path(tree))) if tree is not None else None
        if destination is not None:
            target = stack.enter_context(closing(open_targets([destination], options)[0]))
            expected = LiveObjects(target, Selection(), options.jobs)
        how = CheckOptions(origin=origin, sample=sample, wait=wait, jobs=options.jobs)
        return _check(base_url, expected, how)


def _sync_options(environments: Sequence[str]) -> SyncOptions:
    return SyncOptions(environments=frozenset(environments))


def _exporter(api_key: str | None, api_url: str | None) -> ApiExporter:
    found = inputs.api_key(None, _ignore) if api_key is None else (api_key, "api_key")
    key, source = found or ("", "")
    if not key or not all(33 <= ord(character) <= 126 for character in key):
        raise InputError("there is no API key, or none that could be sent", inputs.KEY_HINT)
    url = check_url(api_url or os.environ.get("MYOP_API_URL") or DEFAULT_URL)
    return ApiExporter(url, key, source)


def _own_secrets() -> tuple[bytes, ...]:
    """The signing secrets that the environment tells of. One that a cloud keeps is asked for once
    a minute, not for every request that somebody makes up; if that fails the old one is good.
    """
    file = inputs.SIGNING_SECRET.file()
    if file is None or not inputs.is_kept(file):
        return inputs.webhook_secrets((), _ignore)
    now, before = time.monotonic(), _kept.get(file)
    if before is not None and now - before[0] < _KEPT_SECONDS:
        return before[1]
    try:
        _kept[file] = now, inputs.webhook_secrets((), _ignore)
    except MyopCdnError:
        if before is None:
            raise
        _kept[file] = now, before[1]
    return _kept[file][1]


def _ignore(warning: str) -> None:
    """A program has no console to be warned at."""
