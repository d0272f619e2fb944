"""JSON as JavaScript writes it, without losing what JavaScript would lose.

The official tool writes each file as `JSON.stringify(answer, null, 2)`. Python's writer agrees
but for numbers and lone surrogates, and its numbers lose what JavaScript's do not and the
other way round. So numbers are kept as they were written and printed as JavaScript prints
them wherever that is the same value; where it is not (integers beyond 2**53, `-0`, `1e400`)
the digits of the source stay.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from json.encoder import encode_basestring
from math import isinf
from typing import Any, NoReturn

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


class TooDeep(ValueError):
    """Lists and objects nested deeper than Python's stack."""

    def __init__(self) -> None:
        super().__init__("nested too deeply")


class Number:
    """A number of a JSON text: prints as JavaScript would, or as it was written."""

    __slots__ = ("text",)

    def __init__(self, literal: str) -> None:
        self.text = _number(literal)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Number({self.text})"


def loads(data: bytes) -> Any:
    """The value of a JSON text in UTF-8, its numbers as `Number`.

    A byte order mark is passed over, as fetch's `json()` does. Raises ValueError when the
    bytes are not UTF-8 or not JSON (`NaN` and `Infinity` are not), TooDeep.
    """
    text = data.decode("utf-8-sig")
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise TooDeep from None


def dumps(value: Any) -> bytes:
    """`value` as `JSON.stringify(value, null, 2)` writes it, in UTF-8.

    Raises TooDeep.
    """
    pieces: list[str] = []
    try:
        _write(value, "\n", pieces.append)
    except RecursionError:
        raise TooDeep from None
    text = "".join(pieces)
    try:
        return text.encode()
    except UnicodeEncodeError:
        # JSON.stringify escapes halves of surrogate pairs (ECMA-262, QuoteJSONString).
        return _LONE_SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_decoder = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_refuse)


def _number(literal: str) -> str:
    """What JavaScript prints for `literal`, or `literal` where that would be another value."""
    if literal.isdigit() and len(literal) <= 15:
        return literal
    double = float(literal)
    if isinf(double):
        return literal
    printed = _javascript(double)
    try:
        same = Decimal(literal) == Decimal(printed)
    except ArithmeticError:  # an exponent beyond what Decimal holds
        return literal
    return printed if same and literal.startswith("-") == printed.startswith("-") else literal


def _javascript(number: float) -> str:
    """ECMAScript's Number::toString for a finite double."""
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    # repr gives the shortest digits that read back as the same double, as ECMAScript does.
    _, digits, exponent = Decimal(repr(abs(number))).normalize().as_tuple()
    figures = "".join(map(str, digits))
    assert isinstance(exponent, int)  # a finite Decimal's exponent is an int
    point = len(figures) + exponent
    if len(figures) <= point <= 21:
        return sign + figures + "0" * (point - len(figures))
    if 0 < point <= 21:
        return f"{sign}{figures[:point]}.{figures[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{figures}"
    fraction = f".{figures[1:]}" if len(figures) > 1 else ""
    return f"{sign}{figures[0]}{fraction}e{point - 1:+d}"


def _ordered(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """The members in the order of a JavaScript object: array indices first, by number."""
    if not any(_ARRAY_INDEX.fullmatch(key) for key in value):
        return list(value.items())
    indices = [key for key in value if _ARRAY_INDEX.fullmatch(key) and int(key) < 2**32 - 1]
    first = {key: value[key] for key in sorted(indices, key=int)}
    return list((first | value).items())


def _write(value: Any, newline: str, put: Any) -> None:
    if isinstance(value, str):
        put(encode_basestring(value))
    elif isinstance(value, Number):
        put(value.text)
    elif isinstance(value, dict):
        _write_dict(value, newline, put)
    elif isinstance(value, (list, tuple)):
        _write_list(value, newline, put)
    else:
        put(json.dumps(value))


def _write_dict(value: dict[str, Any], newline: str, put: Any) -> None:
    if not value:
        put("{}")
        return
    deeper = newline + "  "
    before = "{" + deeper
    for key, member in _ordered(value):
        put(before + encode_basestring(key) + ": ")
        _write(member, deeper, put)
        before = "," + deeper
    put(newline + "}")


def _write_list(value: list[Any] | tuple[Any, ...], newline: str, put: Any) -> None:
    if not value:
        put("[]")
        return
    deeper = newline + "  "
    before = "[" + deeper
    for member in value:
        put(before)
        _write(member, deeper, put)
        before = "," + deeper
    put(newline + "]")
