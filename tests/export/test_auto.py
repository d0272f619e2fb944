"""The API where its index can be read, else the official tool."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from myop_cdn.document import Document
from myop_cdn.errors import ExportError, IndexFormError, InputError, KeyRejected, MyopCdnError
from myop_cdn.export import TRY_NPX, AutoExporter
from myop_cdn.manifest import Manifest
from myop_cdn.model import DocumentRef, Scope
from myop_cdn.progress import Progress, Silent
from tests.samples import document, index

if TYPE_CHECKING:
    from collections.abc import Iterator

REF = DocumentRef("card", "qa")


class Kept:
    """An exporter of one document that was made before, or of one error."""

    asks_again = False

    def __init__(self, name: str, error: MyopCdnError | None = None) -> None:
        self.name = name
        self.closed = False
        self._error = error

    @contextmanager
    def open(self, scope: Scope, progress: Progress) -> Iterator[Kept]:
        yield self
        self.closed = True

    def index(self) -> Manifest:
        if self._error is not None:
            raise self._error
        return Manifest.parse(index({self.name: []}))

    def document(self, ref: DocumentRef) -> Document:
        return Document.parse(ref, document("card", self.name))


def test_the_second_is_not_even_made_while_the_first_answers() -> None:
    def never() -> Kept:
        raise AssertionError

    with AutoExporter(Kept("api"), never).open(Scope("full"), Silent()) as export:
        assert export.index().entries[0].id == "api"
        assert b"api" in export.document(REF).body
        assert (export.name, export.asks_again) == ("api", False)


def test_an_index_of_another_form_brings_in_the_second_for_all_that_follows() -> None:
    second = Kept("npx")
    first = Kept("api", IndexFormError("odd"))
    with AutoExporter(first, lambda: second).open(Scope("full"), Silent()) as export:
        assert export.index().entries[0].id == "npx"
        assert b"npx" in export.document(REF).body
        assert export.name == "npx"
    assert first.closed
    assert second.closed


def test_without_a_second_the_error_tells_of_both() -> None:
    def missing() -> Kept:
        raise InputError("the npx exporter needs npx", "install Node.js")

    odd = IndexFormError("the index is odd", f"check the URL; {TRY_NPX}")
    first = Kept("api", odd)
    with (
        AutoExporter(first, missing).open(Scope("full"), Silent()) as export,
        pytest.raises(IndexFormError, match=r"the index is odd.*needs npx") as caught,
    ):
        export.index()
    assert caught.value.hint == "check the URL; install Node.js"


@pytest.mark.parametrize("error", [KeyRejected("no"), ExportError("no")])
def test_other_trouble_of_the_first_is_not_the_seconds_business(error: ExportError) -> None:
    with (
        AutoExporter(Kept("api", error), lambda: Kept("npx")).open(
            Scope("full"), Silent()
        ) as export,
        pytest.raises(type(error)),
    ):
        export.index()
