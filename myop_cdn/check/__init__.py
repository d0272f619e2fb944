"""What a CDN answers, held against what it should: asked as a browser of another origin asks.

    expectation (a folder, a destination, the CDN's own manifest) → requests → faults → report

Nothing is changed anywhere. What comes back is limited in bytes, time and redirects.
"""

from __future__ import annotations

import random
import secrets
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from myop_cdn.check.browser import Browser, Visit
from myop_cdn.check.expected import Expectation, Exported, LiveObjects, OwnManifest, TreeFiles
from myop_cdn.check.faults import CURABLE, Finding, Judge, read_manifest
from myop_cdn.check.fixes import Fixes, Site
from myop_cdn.deploy.history import Selection
from myop_cdn.errors import InputError
from myop_cdn.model import COMPONENTS, MANIFEST, DocumentRef
from myop_cdn.progress import Silent
from myop_cdn.report import CheckReport, Fault
from myop_cdn.text import shown_url
from myop_cdn.transport import NameUnresolved, parse_base_url
from myop_cdn.transport.endpoint import is_this_machine
from myop_cdn.workers import each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from myop_cdn.progress import Progress
    from myop_cdn.transport import Endpoint

__all__ = [
    "DEFAULT_ORIGIN",
    "CheckOptions",
    "Expectation",
    "Exported",
    "LiveObjects",
    "TreeFiles",
    "check",
    "parse",
]

DEFAULT_ORIGIN = "https://app.example.com"
_ANOTHER_ORIGIN = "https://another.example.org"
_USUAL_FOLDERS = ("myop", "myop-static", "static", "public", "cdn", "assets", "dist", "site")
_MOST_SILENT = 8  # requests without any answer, one after the other
_MOST_BASES = 48  # addresses that are tried to find the right base URL
_MOST_LOST = 3  # documents that are looked for at other base URLs while others are in place
_LONGEST_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How to check.

    origin: the page's that asks. sample: how many documents, taken at random; None for all.
    selection: which documents are meant. wait: for how long to ask again where the CDN does not
    show the new documents yet. jobs: requests at once. sleep, clock: wait for, and count, seconds.
    now: this moment. chance: picks the sample.
    """

    origin: str = DEFAULT_ORIGIN
    sample: int | None = None
    wait: timedelta = timedelta(0)
    jobs: int = 16
    selection: Selection = field(default_factory=Selection)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: random.Random = field(default_factory=random.Random)


def check(
    base_url: str,
    expectation: Expectation | None = None,
    options: CheckOptions | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Ask for the documents below `base_url`, as `enableSelfHosted(base_url)` would.

    expectation: what they should be; None: what the CDN's own manifest lists, whatever that is.
    What is wrong is in the report. Raises InputError for a base URL that is not one, and what
    reading the expectation raises.
    """
    endpoint, path = parse(base_url)
    options = options or CheckOptions()
    if "*" in options.origin:
        raise InputError(
            "no page has the origin *", "--origin: your application's, https://app.example.com"
        )
    with closing(Browser(endpoint, options.origin)) as browser:
        return _Check(browser, path, expectation, options, progress or Silent()).run()


def parse(base_url: str) -> tuple[Endpoint, str]:
    """The CDN's host, and the path before the documents' own. Raises InputError."""
    try:
        return parse_base_url(base_url.strip())
    except ValueError as error:
        raise InputError(
            f"{shown_url(base_url)!r} is not a base URL: {error}",
            "write what enableSelfHosted() is given: https://cdn.example.com/myop",
        ) from None


class _Check:
    """One check: what was asked, and what was found so far."""

    def __init__(
        self,
        browser: Browser,
        path: str,
        expectation: Expectation | None,
        options: CheckOptions,
        progress: Progress,
    ) -> None:
        self._browser = browser
        self._path = path
        self._expectation = expectation
        self._options = options
        self._progress = progress
        self._started = options.clock()
        self._right_base: str | None = None
        destination = expectation.destination if expectation else ""
        self._site = Site(browser.endpoint, path, options.origin, destination)

    @property
    def _base_url(self) -> str:
        return self._browser.endpoint.url + self._path

    def run(self) -> CheckReport:
        expectation = self._expectation or self._own_manifest()
        if expectation is None:
            return self._report("", [], 0, [self._no_manifest()])
        wanted = [ref for ref in expectation.refs() if self._options.selection.has(ref.path)]
        refs = self._sample(wanted)
        judge = Judge(self._site, expectation, self._options.now)
        keys = [ref.path for ref in refs]
        if self._options.selection.is_everything and expectation.manifest() is not None:
            keys.append(MANIFEST)
        self._progress.start("asking the CDN", len(keys))
        found = self._ask(keys, judge)
        if not self._are_all_elsewhere(found) and not _is_nowhere(found):
            found = self._wait(found, judge)  # of no use otherwise
        if any(one.kind == "vary" for ones in found.values() for one in ones):
            found = self._without_vary(found)
        if isinstance(expectation, OwnManifest):
            found = _lenient(found)
        faults = [*self._mixed_content(), *self._with_base(list(self._grouped(found)), found)]
        return self._report(expectation.source, keys, len(wanted), faults)

    def _report(
        self, source: str, checked: Sequence[str], documents: int, faults: Sequence[Fault]
    ) -> CheckReport:
        return CheckReport(
            self._base_url,
            self._options.origin,
            source,
            tuple(checked),
            documents,
            tuple(faults),
            self._right_base,
            self._options.clock() - self._started,
        )

    def _sample(self, refs: Sequence[DocumentRef]) -> Sequence[DocumentRef]:
        most = self._options.sample
        if most is None or most >= len(refs):
            return refs
        return sorted(self._options.chance.sample(list(refs), most))

    # Asking

    def _ask(self, keys: Sequence[str], judge: Judge) -> dict[str, list[Finding]]:
        """What is wrong with each of these, by key; an empty list where nothing is.

        Where nothing answers any more, the rest is not asked for: each would take its time.
        """
        silent: list[Visit] = []  # in a row, across threads

        def look(key: str) -> list[Finding]:
            if len(silent) < _MOST_SILENT:
                visit = self._visit(self._path, key)
                if visit.response is None:
                    silent.append(visit)
                elif len(silent) < _MOST_SILENT:
                    silent.clear()
            else:
                visit = silent[-1]
            return judge.findings(key, visit, lambda: self._visit(self._path, key, past_cache=True))

        found: dict[str, list[Finding]] = {}
        with closing(
            each(look, keys, self._options.jobs, "check", lambda error: bool(error))
        ) as ended:
            for done in ended:
                self._progress.step()
                if done.error is not None:
                    raise done.error
                found[done.item] = done.result or []
        return {key: found[key] for key in keys}

    def _visit(self, path: str, key: str, *, past_cache: bool = False) -> Visit:
        # A name that nobody has asked for before is in no cache that minds the query.
        query = f"?myop-cdn-check={secrets.token_hex(8)}" if past_cache else ""
        return self._browser.get(f"{path}/{_quoted(key)}{query}", past_cache=past_cache)

    def _wait(self, found: dict[str, list[Finding]], judge: Judge) -> dict[str, list[Finding]]:
        """What is wrong after asking again, for as long as that may help."""
        end = self._options.clock() + self._options.wait.total_seconds()
        pause = 1.0
        while True:
            again = [key for key, ones in found.items() if any(one.kind in CURABLE for one in ones)]
            left = end - self._options.clock()
            if not again or left <= 0:
                return found
            self._progress.note(
                f"not yet as they should be: {len(again)} of {len(found)}; asking again for "
                f"{left:.0f} s"
            )
            self._options.sleep(min(pause, left))
            self._progress.start("asking the CDN again", len(again))
            pause = min(pause * 2, _LONGEST_PAUSE)
            found |= self._ask(again, judge)

    def _without_vary(self, found: dict[str, list[Finding]]) -> dict[str, list[Finding]]:
        """Without the warnings of a missing Vary, where every origin gets the same header."""
        key = next(key for key, ones in found.items() if any(one.kind == "vary" for one in ones))
        target = f"{self._path}/{_quoted(key)}"
        other = self._browser.get(target, past_cache=True, origin=_ANOTHER_ORIGIN)
        if other.headers.get("access-control-allow-origin") != self._options.origin:
            return found
        return {key: [one for one in ones if one.kind != "vary"] for key, ones in found.items()}

    # The base URL

    def _own_manifest(self) -> Expectation | None:
        """What the CDN's own manifest lists; None where it has none."""
        listed = read_manifest(self._visit(self._path, MANIFEST))
        if listed is not None:
            return OwnManifest(listed)
        base = self._find_base([MANIFEST])
        if base is not None:
            self._right_base = self._browser.endpoint.url + base
        return None

    def _no_manifest(self) -> Fault:
        if self._right_base is not None:
            return self._wrong_base(self._right_base, (MANIFEST,), is_all=True)
        visit = self._visit(self._path, MANIFEST)
        return Fault(
            "manifest",
            (MANIFEST,),
            f"no manifest there ({visit.summary}), so it is not known which documents to ask for",
            "name what should be there: --tree ./myop-static, or --destination s3://bucket/prefix",
        )

    def _are_all_elsewhere(self, found: Mapping[str, Sequence[Finding]]) -> bool:
        """Whether no document is in its place, and there is another base URL where they are."""
        lost = _lost(found)
        if not lost or len(lost) < sum(key != MANIFEST for key in found):
            return False
        bases = (self._find_base([key]) for key in lost[:_MOST_LOST])
        base = next((one for one in bases if one is not None), None)
        if base is not None:
            self._right_base = self._browser.endpoint.url + base
        return base is not None

    def _with_base(
        self, faults: list[Fault], found: Mapping[str, Sequence[Finding]]
    ) -> list[Fault]:
        """The faults, those of documents that lie elsewhere told as what they are."""
        lost = _lost(found)
        if self._right_base is not None:
            others = [one for one in faults if one.kind != "missing"]
            return [self._wrong_base(self._right_base, tuple(lost), is_all=True), *others]
        for key in lost[:_MOST_LOST]:
            base = self._find_base([key])
            if base is not None:
                there = self._those(partial(self._is_there, base), lost)
                wrong = self._wrong_base(self._browser.endpoint.url + base, there, is_all=False)
                rest = []
                for one in faults:
                    gone = there if one.kind == "missing" else ()
                    rest.append(replace(one, keys=tuple(k for k in one.keys if k not in gone)))
                return [wrong, *(one for one in rest if one.keys)]
        return faults

    def _wrong_base(self, right: str, keys: tuple[str, ...], *, is_all: bool) -> Fault:
        nested = any(one.endswith(f"/{COMPONENTS}") for one in (right, self._path))
        return Fault(
            "base-url",
            keys,
            f"wrong prefix: not below {self._base_url}, but below {right}"
            + (f" ({COMPONENTS}/{COMPONENTS})" if nested else ""),
            Fixes(self._site, {}).elsewhere(right, is_all=is_all),
        )

    def _find_base(self, keys: Sequence[str]) -> str | None:
        """The path of another base below which these are, the likeliest first."""
        bases = list(self._bases())[:_MOST_BASES]
        hits = self._those(lambda base: all(self._is_there(base, key) for key in keys), bases)
        return hits[0] if hits else None

    def _those(self, test: Callable[[str], bool], items: Sequence[str]) -> tuple[str, ...]:
        """The items that pass, in their order; tried many at once."""
        ended = each(test, items, self._options.jobs, "check", lambda error: bool(error))
        passed = {done.item for done in ended if done.result}
        return tuple(one for one in items if one in passed)

    def _is_there(self, base: str, key: str) -> bool:
        visit = self._visit(base, key)
        if key == MANIFEST:
            return read_manifest(visit) is not None
        ref = DocumentRef.of(key)
        return ref is not None and visit.holds(ref)

    def _bases(self) -> Iterator[str]:
        """Other paths that the documents may lie below."""
        seen = {self._path}
        parents = [self._path]
        while parents[-1]:
            parents.append(parents[-1].rpartition("/")[0])
        folders = [COMPONENTS, *self._site.folders, *_USUAL_FOLDERS]
        below = [f"{self._path}/{folder}" for folder in folders]
        deeper = [f"{one}/{COMPONENTS}" for one in below[1:]]
        besides = [f"{one}/{folder}" for one in parents[1:] for folder in folders]
        for base in (below[0], *parents[1:], *below[1:], *deeper, *besides):
            if base not in seen:
                seen.add(base)
                yield base

    # The report

    def _mixed_content(self) -> Iterator[Fault]:
        endpoint, origin = self._browser.endpoint, self._options.origin
        is_plain = endpoint.scheme == "http" and origin.startswith("https:")
        if is_plain and not is_this_machine(endpoint.host):
            message = f"pages of {origin} may not load from plain http:// (mixed content)"
            fix = f"use https:{self._base_url.partition(':')[2]} as the base URL"
            yield Fault("mixed-content", (), message, fix)

    def _grouped(self, found: Mapping[str, Sequence[Finding]]) -> Iterator[Fault]:
        """The same fault of many documents, once."""
        groups: dict[tuple[str, str, bool], list[tuple[str, str]]] = {}
        for key, ones in found.items():
            for one in ones:
                about = (one.kind, one.message, one.is_warning)
                groups.setdefault(about, []).append((key, one.fix))
        for (kind, message, is_warning), members in groups.items():
            first, fix = members[0]
            fix = fix if len(members) == 1 else fix.replace(first, "*")
            yield Fault(kind, tuple(key for key, _ in members), message, fix, is_warning)


def _is_nowhere(found: Mapping[str, Sequence[Finding]]) -> bool:
    """Whether the CDN's name has no address, for any of the requests."""
    return all(
        any(one.message.endswith(NameUnresolved.phrase) for one in ones) for ones in found.values()
    )


def _lost(found: Mapping[str, Sequence[Finding]]) -> list[str]:
    """The documents that are not where they were looked for."""
    return [
        key for key, ones in found.items() if key != MANIFEST and any(one.is_lost for one in ones)
    ]


def _lenient(found: Mapping[str, Sequence[Finding]]) -> dict[str, list[Finding]]:
    """With previews that are missing as warnings: a manifest implies them, and an export of some
    environments leaves them out.
    """

    def lenient(key: str, one: Finding) -> Finding:
        ref = DocumentRef.of(key)
        is_implied = ref is not None and ref.is_preview and one.is_lost
        return replace(one, is_warning=True, is_lost=False) if is_implied else one

    return {key: [lenient(key, one) for one in ones] for key, ones in found.items()}


def _quoted(key: str) -> str:
    return quote(key, safe="/")
