"""What is wrong with one answer of a CDN. No I/O of its own: a second look is a function given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from myop_cdn import jsontext
from myop_cdn.check.expected import variant_in
from myop_cdn.check.fixes import Fixes
from myop_cdn.document import Document
from myop_cdn.errors import CutShort, DocumentError, InputError
from myop_cdn.manifest import Manifest
from myop_cdn.model import MANIFEST, DocumentRef
from myop_cdn.text import shown
from myop_cdn.transport import dates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from myop_cdn.check.browser import Visit
    from myop_cdn.check.expected import Expectation
    from myop_cdn.check.fixes import Site

CURABLE = frozenset(
    {"missing", "status", "unreachable", "truncated", "component", "stale", "manifest"}
)
"""Kinds of faults that may pass when a CDN has caught up."""
_LONG_AGE = 86400  # seconds; a release is not seen for that long


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one document. is_lost: it is not where it was looked for."""

    kind: str
    message: str
    fix: str
    is_warning: bool = False
    is_lost: bool = False


class Judge:
    """Holds answers against what is expected. now: this moment."""

    def __init__(self, site: Site, expectation: Expectation, now: Callable[[], datetime]) -> None:
        self._site = site
        self._expected = expectation
        self._now = now

    def findings(self, key: str, visit: Visit, past_cache: Callable[[], Visit]) -> list[Finding]:
        """What is wrong with the answer for `key`.

        past_cache: asks once more by a way that caches should not answer.
        """
        fixes = Fixes(self._site, visit.headers)
        found = list(_redirects(key, visit, fixes))
        whole = list(_transfer(key, visit, fixes))
        found += whole
        if visit.response is None or any(one.kind in ("missing", "status") for one in whole):
            return found
        if visit.content is not None:
            if key == MANIFEST:
                found += self._manifest(visit, visit.content, fixes, past_cache)
            else:
                found += self._document(key, visit, visit.content, fixes, past_cache)
        found += _content_type(visit, fixes)
        if key != MANIFEST:  # the SDK does not read it
            found += _cors(visit, self._site.origin, fixes)
        found += _caching(visit, fixes)
        return found

    def _document(
        self, key: str, visit: Visit, content: bytes, fixes: Fixes, past_cache: Callable[[], Visit]
    ) -> Iterator[Finding]:
        ref = DocumentRef.of(key)
        assert ref is not None  # only documents and the manifest are asked for
        try:
            Document.parse(ref, content)
        except CutShort as error:
            yield Finding("truncated", f"truncated: {_reason(error)}", fixes.truncated(key))
            return
        except DocumentError as error:
            other = _component_in(content)
            message = f"not a document: {_reason(error)}"
            if content.lstrip()[:1] == b"<":
                message = "an HTML page with status 200 in place of the document"
                yield Finding("missing", message, fixes.html(), is_lost=True)
                return
            if other is not None and other != ref.component_id:
                message = f"wrong component: the document of {shown(other)}"
            yield Finding("component", message, fixes.component(key))
            return
        assert visit.response is not None  # it has content
        if not self._expected.has_same(ref, visit.response.body, content):
            yield self._stale(ref, visit, content, fixes, past_cache())

    def _stale(
        self, ref: DocumentRef, visit: Visit, content: bytes, fixes: Fixes, again: Visit
    ) -> Finding:
        has, wanted = variant_in(ref, content), self._expected.variant(ref)
        source, since = self._expected.source, self._expected.since(ref)
        message = f"stale for {_lasting(self._now() - since)}" if since else "stale"
        if has != wanted:
            message += f": holds {shown(has)!r}, {source} has {shown(wanted)!r}"
        else:
            message += f": holds {shown(has)!r} with content other than {source}"
        message += _cached(visit) or _dated(visit)
        fresh = (
            again.response is not None
            and again.content is not None
            and self._expected.has_same(ref, again.response.body, again.content)
        )
        if fresh:
            message += "; past the cache the new one comes"
        is_cached = fresh or _age(visit) > 0
        return Finding("stale", message, fixes.stale(ref.path, is_cached=is_cached))

    def _manifest(
        self, visit: Visit, content: bytes, fixes: Fixes, past_cache: Callable[[], Visit]
    ) -> Iterator[Finding]:
        wanted = self._expected.manifest()
        try:
            there = Manifest.parse(content)
        except InputError as error:
            yield Finding("manifest", f"not a manifest: {error.message}", fixes.component(MANIFEST))
            return
        if wanted is None or there == wanted:
            return
        listed = set(there.all_refs())
        lacking = [ref for ref in wanted.all_refs() if ref not in listed]
        is_older = there.is_older_than(wanted)
        if not lacking and not is_older:
            return  # others publish here, too
        message = "old manifest: " if is_older else "another manifest: "
        message += f"exported {_said(there)}, {self._expected.source} has {_said(wanted)}"
        if lacking:
            message += f"; {len(lacking)} documents are not in it, {lacking[0].path} for one"
        message += _cached(visit)
        again = read_manifest(past_cache())
        is_cached = again == wanted or _age(visit) > 0
        fix = fixes.stale(MANIFEST, is_cached=is_cached)
        # A publish that has nothing else to name leaves the one that is there, whatever its date.
        exported = {ref.environment for ref in wanted.refs()}
        others = {ref for ref in there.refs() if ref.environment in exported}
        is_as_good = not lacking and others <= set(wanted.refs())
        yield Finding("manifest", message, fix, is_warning=is_as_good)


def read_manifest(visit: Visit) -> Manifest | None:
    """The manifest that was answered, None where that is not one."""
    if visit.response is None or visit.response.status != 200 or visit.content is None:
        return None
    try:
        return Manifest.parse(visit.content)
    except InputError:
        return None


def _redirects(key: str, visit: Visit, fixes: Fixes) -> Iterator[Finding]:
    if visit.hops:
        way = ", then ".join(f"{one.status} to {one.url}" for one in visit.hops)
        ends = f"; that answers {visit.summary}" if not visit.hops[-1].url.endswith(key) else ""
        base = visit.hops[-1].url.removesuffix(f"/{key}")
        # The key is not in the message where it is at the end: the same for all documents.
        message = f"redirect: {way.replace(key, '…')}{ends}"
        fix = fixes.redirect(base if base != visit.hops[-1].url else None)
        yield Finding("redirect", message, fix)


def _transfer(key: str, visit: Visit, fixes: Fixes) -> Iterator[Finding]:
    """What keeps the content from coming whole."""
    response = visit.response
    if response is None:
        if visit.is_cut:
            message = "truncated: the connection ended before the whole body had come"
            yield Finding("truncated", message, fixes.truncated(key))
        else:
            yield Finding("unreachable", visit.error, fixes.unreachable())
        return
    status = response.status
    if status in (401, 403, 404, 410):
        said = f"{visit.summary}: not there"
        if status in (401, 403):
            said = f"{visit.summary}: refused, or not there (S3 says so of both)"
        yield Finding("missing", said + _cached(visit), fixes.missing(key, status), is_lost=True)
        return
    if status != 200:
        yield Finding("status", f"{visit.summary} in place of the document", fixes.status(status))
        return
    unknown = [one for one in visit.encodings if one not in ("gzip", "x-gzip")]
    packed = len(visit.encodings)
    message = ""
    if unknown:
        message = f"Content-Encoding {shown(unknown[0])!r}, which was not asked for"
    elif visit.is_cut:
        cut = "truncated: packed with gzip, and cut short or damaged"
        yield Finding("truncated", cut, fixes.truncated(key))
    elif visit.layers > 1 or packed > 1:
        message = f"gzip twice: packed {max(visit.layers, packed)} times, Content-Encoding "
        message += f"{', '.join(visit.encodings) or 'not set'}"
    elif visit.layers and not packed:
        message = "packed with gzip, but without Content-Encoding: gzip"
    elif packed and not visit.layers and response.body:
        message = "Content-Encoding: gzip, but the body is not packed"
    if message:
        yield Finding("encoding", message, fixes.encoding())


def _content_type(visit: Visit, fixes: Fixes) -> Iterator[Finding]:
    value = visit.headers.get("content-type")
    media = (value or "").partition(";")[0].strip().lower()
    if media == "application/json" or media.endswith("+json"):
        return
    message = f"Content-Type {shown(value)!r}, not application/json" if value else "no Content-Type"
    yield Finding("type", message, fixes.content_type())


def _cors(visit: Visit, origin: str, fixes: Fixes) -> Iterator[Finding]:
    value = visit.headers.get("access-control-allow-origin")
    if value in ("*", origin):
        if value == origin and "origin" not in visit.headers.get("vary", "").lower():
            message = (
                "Access-Control-Allow-Origin names one origin, without Vary: Origin: a cache may "
                "hand it to a page of another"
            )
            yield Finding("vary", message, fixes.vary(), is_warning=True)
        return
    if value is None:
        message = f"no CORS: Access-Control-Allow-Origin is missing for {origin}"
        if _age(visit):
            message += " (a cache may hold it from a request without Origin)"
    elif "," in value:
        message = f"Access-Control-Allow-Origin has two values ({shown(value)}): browsers refuse it"
    else:
        message = f"no CORS for {origin}: Access-Control-Allow-Origin is {shown(value)!r}"
    yield Finding("cors", message, fixes.cors())


def _caching(visit: Visit, fixes: Fixes) -> Iterator[Finding]:
    value = visit.headers.get("cache-control", "").lower()
    if not value:
        message = "no Cache-Control: browsers guess for how long they keep it"
        yield Finding("cache-control", message, fixes.cache_control(), is_warning=True)
        return
    longest = _seconds(value, "max-age")
    if longest is not None and longest >= _LONG_AGE and "no-cache" not in value:
        days = longest // _LONG_AGE
        message = f"Cache-Control {shown(value)!r}: browsers show a release up to {days} d later"
        yield Finding("cache-control", message, fixes.cache_control(), is_warning=True)


def _cached(visit: Visit) -> str:
    """How long the answer has been in a cache, and how long it may stay, in words."""
    age = _age(visit)
    if not age:
        return ""
    value = visit.headers.get("cache-control", "").lower()
    longest = _seconds(value, "s-maxage")
    longest = _seconds(value, "max-age") if longest is None else longest
    stays = f" of at most {longest} s" if longest else ""
    return f"; cached for {age} s{stays}"


def _dated(visit: Visit) -> str:
    """When the answer was made, as it says itself."""
    at = dates.read(visit.headers.get("last-modified"))
    return f"; last modified {at:%Y-%m-%d %H:%M} UTC" if at else ""


def _age(visit: Visit) -> int:
    text = visit.headers.get("age", "").strip()
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else 0


def _seconds(value: str, name: str) -> int | None:
    for part in value.split(","):
        key, _, text = part.strip().partition("=")
        text = text.strip('" ')
        if key == name and text.isdecimal() and text.isascii() and len(text) < 11:
            return int(text)
    return None


def _component_in(content: bytes) -> str | None:
    """The component that JSON says it is of."""
    try:
        value = jsontext.loads(content)
    except ValueError:
        return None
    item = value.get("item") if isinstance(value, dict) else None
    found = item.get("id") if isinstance(item, dict) else None
    return found if isinstance(found, str) else None


def _reason(error: DocumentError) -> str:
    """Without the document's name, which stands before it."""
    return error.message.partition(": ")[2] or error.message


def _said(manifest: Manifest) -> str:
    return shown(manifest.exported_at or "at an unknown time", 40)


def _lasting(span: timedelta) -> str:
    """A duration in words, in the largest unit that fits."""
    seconds = max(0, int(span.total_seconds()))
    for name, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"
