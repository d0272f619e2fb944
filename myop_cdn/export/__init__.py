"""Where documents come from: the protocol that every exporter keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from myop_cdn.document import Document
    from myop_cdn.manifest import Manifest
    from myop_cdn.model import DocumentRef, Scope


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

    def open(self, scope: Scope) -> AbstractContextManager[Export]:
        """Get ready for what `scope` needs; leave nothing behind afterwards.

        Raises ExportError. A scope of kind `none` is never opened.
        """
