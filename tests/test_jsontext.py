"""JSON as JavaScript writes it."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from myop_cdn import jsontext

if TYPE_CHECKING:
    from collections.abc import Callable

NODE = shutil.which("node")
STRINGIFY = """
let text = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', part => text += part);
process.stdin.on('end', () => {
  const written = JSON.parse(text).map(one => JSON.stringify(JSON.parse(one), null, 2));
  process.stdout.write(JSON.stringify(written));
});
"""


def rewritten(text: str) -> str:
    return jsontext.dumps(jsontext.loads(text.encode())).decode()


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("1.0", "1"),
        ("1.50", "1.5"),
        ("-2.0", "-2"),
        ("1E2", "100"),
        ("1e21", "1e+21"),
        ("1e20", "100000000000000000000"),
        ("123e-20", "1.23e-18"),
        ("0.000001", "0.000001"),
        ("0.0000001", "1e-7"),
        ("5e-324", "5e-324"),
        ("9007199254740992", "9007199254740992"),
        ("0e5", "0"),
        ("0.1", "0.1"),
        ('"\\ud83c\\udf89"', '"🎉"'),
        ('"\\ud800"', '"\\ud800"'),
        ('"\\uDFFF x"', '"\\udfff x"'),
        ('"\\u2028\\u2029"', '"\u2028\u2029"'),
        ('"\\u007f\\u0001\\b\\/"', '"\x7f\\u0001\\b/"'),
        ("[]", "[]"),
        ("{}", "{}"),
        ('[[],{"a":[]}]', '[\n  [],\n  {\n    "a": []\n  }\n]'),
        ('{"b":1,"2":1,"a":1,"1":1}', '{\n  "1": 1,\n  "2": 1,\n  "b": 1,\n  "a": 1\n}'),
        (
            '{"x":1,"4294967295":1,"4294967294":1,"01":1}',
            '{\n  "4294967294": 1,\n  "x": 1,\n  "4294967295": 1,\n  "01": 1\n}',
        ),
        ('{"a":1,"b":2,"a":3}', '{\n  "a": 3,\n  "b": 2\n}'),
        ('{"__proto__":1}', '{\n  "__proto__": 1\n}'),
        ("[true,false,null]", "[\n  true,\n  false,\n  null\n]"),
        ("\ufeff1", "1"),
    ],
)
def test_the_bytes_are_those_of_json_stringify(source: str, written: str) -> None:
    assert rewritten(source) == written


@pytest.mark.parametrize(
    "literal",
    [
        "-0",
        "-0.0",
        "9007199254740993",
        "123456789012345678901234567890",
        "1e400",
        "-1e400",
        "1e-400",
        "0.1000000000000000055511151231257827",
        "1e-99999999999999999999999",
        "9" * 5000,
    ],
)
def test_a_number_that_javascript_would_change_stays_as_it_was_written(literal: str) -> None:
    assert rewritten(literal) == literal


@pytest.mark.parametrize(
    "data",
    [b"", b"NaN", b"[Infinity]", b"-Infinity", b"{'a':1}", b"[1,]", b"\xff", b"01", b'"\n"', b"{"],
)
def test_what_is_no_json_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its words are Python's
        jsontext.loads(data)


@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_what_is_nested_too_deeply_is_told_from_what_is_no_json(brackets: tuple[str, str]) -> None:
    opened, closed = brackets
    text = opened * 100_000 + "1" + closed * 100_000
    with pytest.raises(jsontext.TooDeep):
        jsontext.loads(text.encode())


def test_a_value_that_can_be_read_but_not_written_is_too_deep() -> None:
    value: Any = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(jsontext.TooDeep):
        jsontext.dumps(value)


def test_numbers_are_equal_when_they_print_the_same() -> None:
    one = jsontext.Number("1.0")
    assert one == jsontext.Number("1")
    assert len({one, jsontext.Number("1e0")}) == 1
    assert repr(one) == "Number(1)"
    assert one != 1


json_texts = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: str(x) != "-0.0")
    | st.text(st.characters(exclude_categories=())),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.integers(0, 2**33).map(str), inner, max_size=5)
    ),
    max_leaves=12,
)


def test_every_ascii_character_is_escaped_alike_in_long_and_short_texts() -> None:
    for sign in map(chr, range(0x80)):
        quoted = json.dumps(sign, ensure_ascii=False).encode()
        assert jsontext.dumps(sign) == quoted
        assert jsontext.dumps("x" * 9000 + sign) == b'"' + b"x" * 9000 + quoted[1:]


def test_half_a_pair_in_a_long_text_is_escaped() -> None:
    assert jsontext.dumps("x" * 100_000 + '"\ud83c') == b'"' + b"x" * 100_000 + b'\\"\\ud83c"'


@given(json_texts)
def test_what_is_written_reads_back_as_the_same_value(value: Any) -> None:
    source = json.dumps(value)
    assert json.loads(rewritten(source), parse_int=float) == json.loads(source, parse_int=float)


@pytest.mark.skipif(NODE is None, reason="node is not on the PATH")
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(json_texts, min_size=20, max_size=40))
@example([{"10": 1, "9": [1e21, 1e-7, 0.1, 1e300]}, "\ud83c", "\udf89\ud83c", 4.35, 2**53])
def test_node_writes_the_same_bytes(values: list[Any]) -> None:
    """Whatever JavaScript can hold without loss comes out as the official tool's own engine
    writes it.
    """
    texts = [json.dumps(value) for value in values]
    assert NODE is not None
    done = subprocess.run(
        [NODE, "-e", STRINGIFY], input=json.dumps(texts).encode(), capture_output=True, check=True
    )
    assert [rewritten(text) for text in texts] == json.loads(done.stdout)


@given(st.text('\\"\n\t\r\b\f\0\x1f\x7fü☃😀/u\ud800\u2028', min_size=1, max_size=6))
def test_a_long_string_is_quoted_as_a_short_one(pattern: str) -> None:
    short, times = jsontext.dumps(pattern), 2000
    # Halves that meet make a whole character, in one string as in the other.
    assume("\ud800" not in pattern)
    assert jsontext.dumps(pattern * times) == b'"' + short[1:-1] * times + b'"'


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_does_not_grow_beyond_the_limit_when_it_is_indented(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    value = jsontext.loads(opening * 300 + b"[" + b"1," * 1000 + b"1]" + closing * 300)
    with pytest.raises(jsontext.TooLong):
        jsontext.dumps(value, 100_000)
    assert len(jsontext.dumps(value)) > 600_000


@pytest.mark.parametrize(
    "make",
    [
        lambda size: "1" * size,
        lambda size: "1." + "0" * size + "1",
        lambda size: "0." + "0" * size + "1",
        lambda size: "1e" + "9" * size,
        lambda size: "1e-" + "9" * size,
    ],
)
def test_a_long_number_is_written_no_longer_than_it_was(make: Callable[[int], str]) -> None:
    for size in (10, 1000, 100_000):
        literal = make(size)
        assert len(rewritten(literal)) <= max(len(literal), 25)
