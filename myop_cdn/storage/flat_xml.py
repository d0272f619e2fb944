"""The few XML documents of S3 that are read here: a listing's page, and an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat


@dataclass(slots=True)
class Flat:
    """The texts of an XML document, by element's name.

    fields: of elements outside of the repeated one. items: of each repeated one.
    """

    fields: dict[str, str] = field(default_factory=dict)
    items: list[dict[str, str]] = field(default_factory=list)


def flat(data: bytes, repeated: str = "") -> Flat:
    """Read a document two or three levels deep; deeper ones are flattened.

    repeated: the name of the element that stands many times. Raises ValueError for what is no
    XML, or declares a document type: those can define entities that grow without bounds.
    """
    found = Flat()
    here = found.fields
    text: list[str] = []

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal here
        text.clear()
        if name == repeated:
            here = {}
            found.items.append(here)

    def end(name: str) -> None:
        nonlocal here
        if name == repeated:
            here = found.fields
        else:
            here[name] = "".join(text)
        text.clear()

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"no XML: {error}") from None
    return found


def _refuse(*_: object) -> NoReturn:
    raise ValueError("a document type, which no answer of S3 has")
