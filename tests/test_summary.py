"""A run for its readers: nothing in it can become more than text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.errors import MyopCdnError, PartlyDone, RefusedError
from myop_cdn.summary import (
    FORMATS,
    MAX_ANNOTATIONS,
    Item,
    Section,
    Summary,
    file_size,
    github_annotations,
    gitlab_section,
    junit,
    markdown,
)

NOW = datetime(2026, 3, 24, 10, 0, tzinfo=UTC)
KEY = "components/card/prod.json"
HOSTILE = st.text(
    alphabet=st.sampled_from("ab|`*<>&[]()#@:%\r\n\t\x1b\u202e\u2066\ud800\ufffe,=!~_\\\"' ")
    | st.characters()
)


def of_one(item: Item, **more: object) -> Summary:
    return Summary("publish", (Section("s3://bucket", "1 uploaded", (item,)),), **more)  # type: ignore[arg-type]


def cells(row: str) -> list[str]:
    """The cells of a Markdown table's row, as GitHub takes it apart."""
    return re.split(r"(?<!\\)(?:\\\\)*\|", row)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_name_breaks_out_of_a_markdown_cell(name: str, variant: str, note: str) -> None:
    text = markdown(of_one(Item(KEY, "failed", "failed", name, "", variant, 12, note)))
    assert text.replace("\n", "").isprintable()
    rows = [row for row in text.split("\n") if row.startswith("|")]
    assert len(rows) == 3
    assert [len(cells(row)) for row in rows] == [7, 7, 7]
    assert not re.search(r"(?<!\\)[<\[`@]", rows[2].replace("\\\\", ""))


@given(HOSTILE, HOSTILE)
def test_junit_s_xml_parses_and_holds_one_case_for_each_document(name: str, note: str) -> None:
    items = (
        Item(f"components/{name}/qa.json", "failed", "failed", name, note=note),
        Item(KEY, "unchanged", "unchanged"),
    )
    section = Section(f"s3://{name}", note, items, (note,), PartlyDone(note, name))
    root = ET.fromstring(junit(Summary("deploy", (section,), section.error), NOW))
    (suite,) = root
    cases = suite.findall("testcase")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    assert [len(case) for case in cases] == [1, 0]


def test_junit_has_what_ants_schema_demands_in_its_order() -> None:
    error = RefusedError("too many would go", "raise --max-delete")
    items = (
        Item(KEY, "skipped", "overtaken", note="a later one is there"),
        Item("manifest.json", "changed", "uploaded", size=10),
    )
    summary = Summary("publish", (Section("a", "x", items), Section("b", "y", error=error)), error)
    root = ET.fromstring(junit(summary, NOW))
    assert root.attrib == {}
    for number, suite in enumerate(root):
        assert set(suite.attrib) == {
            "package", "id", "name", "timestamp", "hostname", "tests", "failures", "errors",
            "skipped", "time",
        }  # fmt: skip
        assert suite.get("id") == str(number)
        tags = [one.tag for one in suite]
        count = len(tags) - 3
        assert tags == ["properties", *["testcase"] * count, "system-out", "system-err"]
        for case in suite.findall("testcase"):
            assert set(case.attrib) == {"name", "classname", "time"}
            assert len(case) <= 1
    refused = root.find("testsuite[2]/testcase/failure")
    assert refused is not None
    assert refused.attrib == {
        "type": "RefusedError",
        "message": "too many would go raise --max-delete",
    }
    assert root.findall("testsuite[1]/testcase/skipped")


def test_a_run_that_came_to_nothing_is_an_error_in_junit() -> None:
    summary = Summary("sync", (), MyopCdnError("no answer from Myop", "check the network"))
    (case,) = ET.fromstring(junit(summary, NOW)).iter("testcase")
    assert [one.tag for one in case] == ["error"]
    assert "no answer from Myop" in (case[0].get("message") or "")


@given(HOSTILE, HOSTILE, HOSTILE)
def test_nothing_from_outside_gives_github_another_command(name: str, note: str, hint: str) -> None:
    section = Section(
        f"s3://{name}",
        "x",
        (Item(f"components/{name}/qa.json", "failed", "failed", note=note),),
        (note,),
        MyopCdnError(note, hint),
    )
    lines = list(github_annotations(Summary("publish", (section,), section.error)))
    for one in lines:
        assert re.fullmatch(r"::(error|warning) title=myop-cdn publish::[^\r\n]*", one)
        assert "##[" not in one  # what older runners look for anywhere in a line
        assert "%" not in re.sub("%(25|0A|0D)", "", one)
    assert lines[0].startswith("::error ")


def test_more_annotations_than_github_shows_are_counted() -> None:
    items = tuple(Item(f"components/c{n}/qa.json", "failed", "failed") for n in range(30))
    lines = list(github_annotations(Summary("sync", (Section("out", "x", items),))))
    assert len(lines) == MAX_ANNOTATIONS
    assert lines[-1].endswith("and 21 more")


@given(HOSTILE, HOSTILE)
def test_a_gitlab_section_begins_and_ends_once(name: str, note: str) -> None:
    section = Section(name, note, (Item(KEY, "changed", "uploaded", name, "", note, 5),))
    text = gitlab_section(section, "myop_cdn_publish_0", NOW)
    assert text.count("\x1b[0Ksection_start:") == text.count("\x1b[0Ksection_end:") == 1
    assert text.startswith("\x1b[0Ksection_start:1774346400:myop_cdn_publish_0[collapsed=true]\r")
    assert text.endswith("\x1b[0Ksection_end:1774346400:myop_cdn_publish_0\r\x1b[0K")
    assert text.count("\x1b") == 4
    assert text.count("\n") == 2


def test_a_table_names_component_environment_variants_and_size() -> None:
    text = markdown(of_one(Item(KEY, "changed", "uploaded", "The card", "Old", "New", 12_345)))
    assert "| uploaded | The card | prod | Old → New | 12.3 KB |" in text
    assert "**Done**" in text


@pytest.mark.parametrize(
    "link", ["https://e.example", "HTTP://e.example", "www.e.example", "ftp://e"]
)
def test_no_name_becomes_a_link(link: str) -> None:
    text = markdown(of_one(Item(KEY, "changed", "uploaded", link)))
    assert link not in text
    assert link in text.replace("\\", "")
    assert "s3://bucket" in text


def test_a_long_table_is_cut_and_what_failed_stands_first() -> None:
    items = [Item(f"components/c{n}/qa.json", "changed", "uploaded") for n in range(9)]
    items.append(Item(KEY, "failed", "failed", note="no"))
    summary = Summary("publish", (Section("s3://b", "x", tuple(items)),), MyopCdnError("no", "do"))
    lines = markdown(summary, rows=3).splitlines()
    rows = [one for one in lines if one.startswith("| ")]
    assert len(rows) == 4
    assert rows[1].startswith("| failed: no |")
    assert "… and 7 more." in lines


def test_what_stayed_as_it_was_is_not_listed() -> None:
    summary = of_one(Item(KEY, "unchanged", "unchanged"))
    assert "|" not in markdown(summary)
    assert "Unchanged" in markdown(summary)
    assert "Dry run" in markdown(of_one(Item(KEY, "changed", "uploaded"), dry_run=True))


@pytest.mark.parametrize("ending", list(FORMATS))
def test_every_format_ends_with_a_line_break_and_acts_upon_no_terminal(ending: str) -> None:
    summary = of_one(Item(KEY, "failed", "failed", "\x1b[31m\u202e", note="\r::error::x"))
    text = FORMATS[ending](summary, {"name": "\x1b[31m\u202e"}, NOW)
    assert text.endswith("\n")
    assert all(one.isprintable() for one in text.splitlines())
    if ending == ".json":
        assert json.loads(text)["name"] == "\x1b[31m\u202e"


def test_sizes_are_read_by_people() -> None:
    assert [file_size(one) for one in (None, 0, 999, 1500, 2_500_000)] == [
        "", "0 B", "999 B", "1.5 KB", "2.5 MB",
    ]  # fmt: skip
