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
from codecs import BOM_UTF8
from json.encoder import encode_basestring
from math import isinf
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LONG = 1000  # characters
MAX_WRITTEN_BYTES = 256 * 1024 * 1024
_RARE_CONTROLS = tuple(code for code in range(32) if code not in b"\t\n\r")
_ESCAPES = (
    (b"\\", rb"\\"),
    (b'"', rb"\""),
    (b"\n", rb"\n"),
    (b"\t", rb"\t"),
    (b"\r", rb"\r"),
)  # the backslash first: the others bring some
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


class TooDeep(ValueError):
    """Lists and objects nested deeper than Python's stack."""

    def __init__(self) -> None:
        super().__init__("nested too deeply")


class TooLong(ValueError):
    """A value that takes more bytes to write than are allowed: deep nesting is indented, so a
    small text may become a thousand times its size.
    """

    def __init__(self) -> None:
        super().__init__("nested too deeply for its size")


class Foreign(ValueError):
    """A value that other languages write and JSON lacks: `NaN`, `Infinity`. Its text is that."""


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
    bytes are not UTF-8 or not JSON; it is a Foreign for `NaN` and `Infinity`, or a TooDeep.
    """
    text = data.removeprefix(BOM_UTF8).decode()  # Python's utf-8-sig takes three times as long
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise TooDeep from None


def dumps(value: Any, limit: int = MAX_WRITTEN_BYTES) -> bytes:
    """`value` as `JSON.stringify(value, null, 2)` writes it, in UTF-8.

    Raises TooDeep, TooLong (more than `limit` bytes).
    """
    pieces: list[bytes] = []
    left = limit

    def put(piece: bytes) -> None:
        nonlocal left
        left -= len(piece)
        if left < 0:
            raise TooLong
        pieces.append(piece)

    try:
        _write(value, b"\n", put)
    except RecursionError:
        raise TooDeep from None
    return b"".join(pieces)


def _refuse(constant: str) -> NoReturn:
    raise Foreign(constant)


_decoder = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_refuse)


def _number(literal: str) -> str:
    """What JavaScript prints for `literal`, or `literal` where that would be another value."""
    if literal.isdigit() and len(literal) <= 15:
        return literal
    from decimal import Decimal  # no document seen so far has such a number

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
    from decimal import Decimal

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


def _string(text: str) -> bytes:
    """`text` as JSON.stringify quotes it (ECMA-262, QuoteJSONString)."""
    try:
        if len(text) < _LONG:
            return encode_basestring(text).encode()
        data = text.encode()
    except UnicodeEncodeError:  # halves of surrogate pairs are escaped
        quoted = encode_basestring(text)
        return _LONE_SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", quoted).encode()
    if any(code in data for code in _RARE_CONTROLS):
        return encode_basestring(text).encode()
    # A document is one long string of HTML: replacing bytes takes half the time of the
    # library's look at each character.
    for plain, escaped in _ESCAPES:
        data = data.replace(plain, escaped)
    return b'"%b"' % data


def _write(value: Any, newline: bytes, put: Callable[[bytes], None]) -> None:
    if isinstance(value, str):
        put(_string(value))
    elif isinstance(value, Number):
        put(value.text.encode())
    elif isinstance(value, dict):
        _write_dict(value, newline, put)
    elif isinstance(value, (list, tuple)):
        _write_list(value, newline, put)
    else:
        put(json.dumps(value).encode())


def _write_dict(value: dict[str, Any], newline: bytes, put: Callable[[bytes], None]) -> None:
    if not value:
        put(b"{}")
        return
    deeper = newline + b"  "
    before = b"{" + deeper
    for key, member in _ordered(value):
        put(before + _string(key) + b": ")
        _write(member, deeper, put)
        before = b"," + deeper
    put(newline + b"}")


def _write_list(
    value: list[Any] | tuple[Any, ...], newline: bytes, put: Callable[[bytes], None]
) -> None:
    if not value:
        put(b"[]")
        return
    deeper = newline + b"  "
    before = b"[" + deeper
    for member in value:
        put(before)
        _write(member, deeper, put)
        before = b"," + deeper
    put(newline + b"]")
