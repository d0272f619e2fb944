"""What may be a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn import names
from myop_cdn.model import DocumentRef, is_layout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is empty"),
        (" \t", "is blank"),
        (".myop-cdn", "keeps for files of its own"),
        (".myop-cdn.tmp", "keeps for files of its own"),
        (".Myop-CDN-x", "keeps for files of its own"),
        (".", "not a name"),
        ("..", "not a name"),
        ("a/b", "a slash"),
        ("a\\b", "a backslash"),
        ("a\0", "a NUL"),
        ("a\nb", "a control character"),
        ("a\x7f", "a control character"),
        ("a\x85", "a control character"),
        ("a\u2028b", "a control character"),
        ("a\ud800", "surrogate"),
        ("é" * 101, "202 bytes"),
        (None, "not a string"),
        (7, "not a string"),
        (["a"], "not a string"),
    ],
)
def test_what_is_no_name_is_said_in_words(name: object, words: str) -> None:
    assert words in (names.problem(name) or "")


@pytest.mark.parametrize(
    "name",
    ["production", "EP", "Größe", "日本", "it's", "$(rm -rf)", "a b", "...", ".myop", "é" * 100],
)
def test_names_that_users_give_are_taken(name: str) -> None:
    assert names.problem(name) is None


@given(st.text())
def test_a_name_that_is_taken_is_one_path_segment_and_comes_back_from_its_path(name: str) -> None:
    if names.problem(name) is None:
        ref = DocumentRef("a", name)
        assert DocumentRef.of(ref.path) == ref
        assert ref.path.count("/") == 2


@given(st.text(max_size=300))
def test_a_shown_name_is_one_short_printable_line(name: str) -> None:
    shown = names.shown(name)
    assert len(shown) <= 80
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("path", "is_ours"),
    [
        ("manifest.json", True),
        ("components/a/qa.json", True),
        ("components/a/qa.json.gz", False),
        ("components/a/.json", False),
        ("components/a/b/qa.json", False),
        ("components/../qa.json", False),
        ("components//qa.json", False),
        ("components/a", False),
        ("index.html", False),
        ("sub/manifest.json", False),
    ],
)
def test_only_the_static_format_is_the_layout(path: str, is_ours: bool) -> None:
    assert is_layout(path) is is_ours
