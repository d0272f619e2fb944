"""Where documents come from: the protocol that every exporter keeps, and the choice of one."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from myop_cdn.errors import ExportError, IndexFormError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from myop_cdn.document import Document
    from myop_cdn.manifest import Manifest
    from myop_cdn.model import DocumentRef, Scope
    from myop_cdn.progress import Progress

TRY_NPX = "--exporter npx exports with Myop's own command-line tool"  # ends hints about an index


class Export(Protocol):
    """One run's source of documents. Its methods may be called from several threads."""

    @property
    def name(self) -> str:
        """Which exporter answers: `api` or `npx`."""

    @property
    def asks_again(self) -> bool:
        """Whether asking for the same document again may give a newer one."""

    def index(self) -> Manifest:
        """Everything Myop has, each entry with its environments.

        Raises KeyRejected, Unreachable, IndexFormError, ExportError.
        """

    def document(self, ref: DocumentRef) -> Document:
        """The document of one component in one environment, checked.

        Raises DocumentError or Unreachable where this one can't be had (others may), and
        KeyRejected or ExportError where none can.
        """


class Exporter(Protocol):
    """Opens an `Export` for one run."""

    def open(self, scope: Scope, progress: Progress) -> AbstractContextManager[Export]:
        """Get ready for what `scope` needs; leave nothing behind afterwards.

        progress: told what takes long. Raises ExportError. A scope of kind `none` is never opened.
        """


class AutoExporter:
    """Tries `first`; `second` is made and used where the first one's index has another form.

    second: raises InputError or ExportError where there is none.
    """

    def __init__(self, first: Exporter, second: Callable[[], Exporter]) -> None:
        self._first = first
        self._second = second

    @contextmanager
    def open(self, scope: Scope, progress: Progress) -> Iterator[AutoExport]:
        """Both for one run, the second one only when it is needed."""
        with ExitStack() as stack:
            first = stack.enter_context(self._first.open(scope, progress))
            yield AutoExport(
                first, lambda: stack.enter_context(self._second().open(scope, progress))
            )


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
                hint = error.hint.removesuffix(TRY_NPX) + second.hint  # npx was tried
                raise IndexFormError(f"{error.message}; and {second.message}", hint) from None

    def document(self, ref: DocumentRef) -> Document:
        """As the exporter that answers."""
        return self._export.document(ref)
