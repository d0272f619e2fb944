"""The API where it answers in the documented form, else the official tool if there is one."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from myop_cdn.errors import ExportError, IndexFormError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from myop_cdn.document import Document
    from myop_cdn.export import Export, Exporter
    from myop_cdn.manifest import Manifest
    from myop_cdn.model import DocumentRef, Scope


class AutoExporter:
    """Tries `first`; `second` is made and used when the first one's index has another form."""

    def __init__(self, first: Exporter, second: Callable[[], Exporter]) -> None:
        self._first = first
        self._second = second

    @contextmanager
    def open(self, scope: Scope) -> Iterator[AutoExport]:
        """Both for one run, the second one only when it is needed."""
        with ExitStack() as stack:
            first = stack.enter_context(self._first.open(scope))
            yield AutoExport(first, lambda: stack.enter_context(self._second().open(scope)))


class AutoExport:
    """One run's source: the first exporter's until its index can't be read."""

    def __init__(self, first: Export, second: Callable[[], Export]) -> None:
        self._export = first
        self._second = second

    @property
    def name(self) -> str:
        """Which exporter answers."""
        return self._export.name

    @property
    def asks_again(self) -> bool:
        """As the exporter that answers."""
        return self._export.asks_again

    def index(self) -> Manifest:
        """The first exporter's index, or the second's. Raises IndexFormError, with what befell
        both, where the first one's has another form and the second one fails.
        """
        try:
            return self._export.index()
        except IndexFormError as error:
            try:
                self._export = self._second()
                return self._export.index()
            except (ExportError, InputError) as second:
                raise IndexFormError(
                    f"{error.message}; and {second.message}", second.hint
                ) from None

    def document(self, ref: DocumentRef) -> Document:
        """As the exporter that answers."""
        return self._export.document(ref)
