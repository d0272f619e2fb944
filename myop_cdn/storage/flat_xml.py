"""The few XML documents of S3 and Azure that are read here: a listing's page, and an error.

Whoever sends them is not trusted: nesting, elements and items are limited to what such documents
have, so that time and memory stay in proportion to the bytes, which the caller limits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import unquote
from xml.parsers import expat

_MAX_DEPTH = 16  # of elements in elements; the services have six
_MAX_FIELDS = 500  # of a document or an item, by name
_MAX_ITEMS = 20_000  # Azure lists 5,000 at once


@dataclass(slots=True)
class Flat:
    """The texts of an XML document, by element's name.

    fields: of elements outside of the repeated one. items: of each repeated one, by their path
    in it ("Owner/ID").
    """

    fields: dict[str, str] = field(default_factory=dict)
    items: list[dict[str, str]] = field(default_factory=list)


def flat(data: bytes, repeated: str = "") -> Flat:
    """Read a small document.

    repeated: the name of the element that stands many times. Raises ValueError for what is not
    XML, is beyond the limits above, or declares a document type: those can define entities that
    grow without bounds.
    """
    found = Flat()
    here = found.fields
    text: list[str] = []
    path: list[str] = []  # within an item
    is_encoded = False
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal here, is_encoded, depth
        depth += 1
        if depth > _MAX_DEPTH or len(here) > _MAX_FIELDS or len(found.items) > _MAX_ITEMS:
            raise ValueError("more elements than such a document has")
        text.clear()
        # Azure's way to write names that XML can't hold.
        is_encoded = attributes.get("Encoded") == "true"
        if here is not found.fields:
            path.append(name)
        elif name == repeated:
            here = {}
            found.items.append(here)

    def end(name: str) -> None:
        nonlocal here, is_encoded, depth
        depth -= 1
        if here is not found.fields and not path:
            here = found.fields
        else:
            value = "".join(text)
            here["/".join(path) or name] = unquote(value) if is_encoded else value
            if path:
                path.pop()
        text.clear()
        is_encoded = False

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"not XML: {error}") from None
    return found


def _refuse(*_: object) -> NoReturn:
    raise ValueError("a document type, which no answer of the services has")
