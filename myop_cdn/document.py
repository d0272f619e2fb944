"""One component document: what Myop's API answers for a component in an environment.

The form was read off real exports: `{"version", "item": {"name", "id", "organizationId",
"consume_variant": [{"id", "name", "loader"}]}}`, key order the server's, members not named
here kept as they are.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from myop_cdn import jsontext, names
from myop_cdn.errors import CutShort, DocumentError
from myop_cdn.model import Variant

if TYPE_CHECKING:
    from datetime import datetime

    from myop_cdn.model import DocumentRef

_LONG = 4000  # bytes
_OFFICIAL = b'{\n  "'
_MEMBER = re.compile(rb' *"(?!id"|name")[^"\\]*": "')  # and the beginning of its text


class Document(NamedTuple):
    """A document that was checked.

    body: the bytes of its file, as the official tool writes them. variants: those it holds, in
    the server's order. asked_at: see `ExportedDocument`.
    """

    ref: DocumentRef
    name: str
    variants: tuple[Variant, ...]
    body: bytes
    asked_at: datetime | None = None

    @classmethod
    def parse(cls, ref: DocumentRef, data: bytes, asked_at: datetime | None = None) -> Document:
        """The document in `data`, which must be of the component that `ref` names.

        Raises DocumentError, naming component and environment, for anything else; it is a
        CutShort where the bytes are empty or look like the beginning of a document.
        """
        value, name, variants = _checked(ref, data)
        try:
            body = jsontext.dumps(value)
        except ValueError as error:
            raise _unusable(ref, f"can't be written: {error}") from None
        return cls(ref, name, variants, body, asked_at)


def named(ref: DocumentRef, data: bytes) -> tuple[str, tuple[Variant, ...]]:
    """The component's name and the variants of the document in `data`: `Document.parse` for those
    who have its file already, at a tenth of the time. Raises DocumentError, as that does.
    """
    if len(data) >= _LONG:
        with suppress(DocumentError):
            value, name, variants = _checked(ref, _without_long(data))
            # What is missing may stand on a line with a long text, in a file of somebody's own.
            item = value["item"]
            if all({"id", "name"} <= one.keys() for one in (item, *item["consume_variant"])):
                return name, variants
    _, name, variants = _checked(ref, data)
    return name, variants


def _without_long(data: bytes) -> bytes:
    """The same JSON with "" in place of long texts, where each member has a line of its own, as
    the official tool writes it. Such a text is nearly all of a document, and takes a scanner
    twenty times as long as all the rest.
    """
    pieces, start, at = [], 0, 0
    while data.startswith(_OFFICIAL) and (end := data.find(b"\n", at)) >= 0:
        if end - at >= _LONG and (member := _MEMBER.match(data, at)):
            last = end - (2 if data[end - 1 : end] == b"," else 1)
            if data[last : last + 1] == b'"':
                pieces.append(data[start : member.end()])
                start = last
        at = end + 1
    return b"".join([*pieces, data[start:]])


def _checked(ref: DocumentRef, data: bytes) -> tuple[dict[str, Any], str, tuple[Variant, ...]]:
    value = _object(ref, data)
    item = value.get("item")
    if not isinstance(item, dict):
        raise _unusable(ref, 'holds no "item": it is not a component document')
    if item.get("id") != ref.component_id:
        other = item.get("id")
        whose = f"of {names.shown(other)}" if isinstance(other, str) else "without an id"
        raise _unusable(ref, f"is a document {whose}")
    variants = item.get("consume_variant")
    if not isinstance(variants, list) or not all(isinstance(one, dict) for one in variants):
        raise _unusable(ref, 'holds no list "consume_variant": it is not a component document')
    if not variants:
        # Myop answers 404 where there is no variant: this would take a good one away.
        raise _unusable(ref, 'holds no variant: its "consume_variant" is empty')
    name = item.get("name")
    held = tuple(_variant(one) for one in variants if isinstance(one.get("id"), str))
    return value, name if isinstance(name, str) else ref.component_id, held


def _object(ref: DocumentRef, data: bytes) -> dict[str, Any]:
    if not data.strip():
        raise CutShort(f"{describe(ref)}: the answer is empty")
    if data.lstrip()[:1] == b"<":
        raise _unusable(ref, "is HTML, not JSON", "does MYOP_API_URL name Myop's API?")
    try:
        value = jsontext.loads(data)
    except ValueError as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        whole = isinstance(error, (jsontext.TooDeep, jsontext.Foreign))
        if data.lstrip()[:1] == b"{" and not whole:
            raise CutShort(f"{describe(ref)}: the answer is cut short ({reason})") from None
        raise _unusable(ref, f"is not JSON ({reason})") from None
    if not isinstance(value, dict):
        raise _unusable(ref, "is JSON, but not a component document")
    return value


def _variant(item: dict[str, Any]) -> Variant:
    name = item.get("name")
    return Variant(item["id"], name if isinstance(name, str) else "")


def _unusable(ref: DocumentRef, what: str, hint: str = "") -> DocumentError:
    return DocumentError(f"{describe(ref)}: the answer {what}", hint)


def describe(ref: DocumentRef) -> str:
    """The document in words, for messages."""
    return f"component {names.shown(ref.component_id)} in {names.shown(ref.environment)}"
