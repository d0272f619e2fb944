"""The note that a sync leaves in the folder for a deploy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn import exportnote
from myop_cdn.exportnote import ExportNote, NotedDocument
from myop_cdn.model import DocumentRef, ExportedDocument, Release, Variant
from myop_cdn.tree import DryRunTree, Tree

if TYPE_CHECKING:
    from pathlib import Path

REF = DocumentRef("card", "qa")
MOMENT = datetime(2026, 3, 24, 13, 37, 0, 250_000, UTC)
text = st.text(max_size=8)
moments = st.none() | st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(timezone(timedelta(hours=1)))
)
noted = st.builds(
    NotedDocument,
    text,
    moments,
    text,
    st.lists(st.builds(Variant, text, text), max_size=3).map(tuple),
    st.none() | text,
    moments,
)


def exported(variant: str = "v-1", release: Release | None = None) -> ExportedDocument:
    return ExportedDocument(REF, "ab" * 32, MOMENT, "The card", (Variant(variant, "M"),), release)


@given(st.dictionaries(st.sampled_from(["components/a/qa.json", "components/b/x.json"]), noted))
def test_what_is_written_is_read_again(documents: dict[str, NotedDocument]) -> None:
    note = ExportNote(documents)
    assert ExportNote.parse(note.dump()) == note


@given(st.binary(max_size=64) | st.just(ExportNote().updated([exported()]).dump()), st.data())
def test_what_is_damaged_counts_as_absent(data: bytes, draw: st.DataObject) -> None:
    cut = draw.draw(st.integers(0, max(0, len(data) - 1)))
    assert ExportNote.parse(data[:cut]) == ExportNote()


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"version":2,"documents":{}}',
        b'{"version":1,"documents":[]}',
        b'{"version":1,"documents":{"components/a/qa.json":[]}}',
        b'{"version":1,"documents":{"components/a/qa.json":{"sha256":1}}}',
        b'{"version":1,"documents":{"../a":{"sha256":"","component":"","variants":[]}}}',
    ],
)
def test_what_is_not_of_the_form_counts_as_absent(data: bytes) -> None:
    assert ExportNote.parse(data) == ExportNote()


def test_an_entry_counts_only_for_the_bytes_that_it_was_made_of() -> None:
    note = ExportNote().updated([exported()])
    assert note.of(REF.path, "ab" * 32) is not None
    assert note.of(REF.path, "cd" * 32) is None
    assert note.of("components/card/prod.json", "ab" * 32) is None


def test_an_announcement_stays_while_the_document_holds_it() -> None:
    release = Release("card", "qa", "v-1", None, MOMENT)
    note = ExportNote().updated([exported("v-1", release)])
    again = note.updated([exported("v-1")]).documents[REF.path]
    assert (again.announced_variant, again.announced_at) == ("v-1", MOMENT)
    other = note.updated([exported("v-2")]).documents[REF.path]
    assert (other.announced_variant, other.announced_at) == (None, None)


def test_an_announcement_that_is_not_held_is_kept_as_such() -> None:
    release = Release("card", "qa", "v-2", None, MOMENT)
    noted = ExportNote().updated([exported("v-1", release)]).documents[REF.path]
    assert noted.announced_variant == "v-2"
    assert not noted.holds_announced


def test_what_is_gone_from_the_folder_is_forgotten() -> None:
    note = ExportNote().updated([exported()])
    assert note.updated([], keep=set()) == ExportNote()
    assert note.updated([]) == note


@pytest.mark.parametrize("kind", ["link", "folder", "large"])
def test_what_stands_in_its_place_is_not_read(tmp_path: Path, kind: str) -> None:
    tree = Tree(tmp_path / "out")
    exportnote.write(tree, ExportNote().updated([exported()]))
    place = tree.root / exportnote.PATH
    if kind == "large":
        with place.open("ab") as file:
            file.truncate(exportnote.MAX_BYTES + 1)
    else:
        place.rename(tmp_path / "other")
        place.symlink_to(tmp_path / "other") if kind == "link" else place.mkdir()
    assert exportnote.read(tree) == ExportNote()


def test_it_is_neither_a_document_nor_a_stray_file(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    exportnote.write(tree, ExportNote())
    assert (tree.refs(), tree.stray()) == ([], [])


def test_a_dry_run_reads_it_and_writes_none(tmp_path: Path) -> None:
    note = ExportNote().updated([exported()])
    exportnote.write(Tree(tmp_path), note)
    with DryRunTree.of(tmp_path) as tree:
        assert exportnote.read(tree) == note
        exportnote.write(tree, ExportNote())
        assert exportnote.read(tree) == ExportNote()
    assert exportnote.read(Tree(tmp_path)) == note
