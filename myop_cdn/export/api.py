"""Myop's documented API: `GET /export` for the index, `GET /consume` for each document."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from myop_cdn import jsontext
from myop_cdn.document import Document, describe
from myop_cdn.errors import CutShort, DocumentError, IndexFormError, InputError
from myop_cdn.export import TRY_NPX
from myop_cdn.export.client import Client, asked_at
from myop_cdn.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from myop_cdn.model import DocumentRef, Scope
    from myop_cdn.progress import Progress
    from myop_cdn.transport import Response

DEFAULT_URL = "https://cloud.myop.dev"
_CHECK_URL = f"check MYOP_API_URL (--api-url): Myop's own is {DEFAULT_URL}; "


class ApiExporter:
    """Exports from Myop's API.

    url, key, key_source, allow_http, proxied, wait: as for `Client`.
    """

    def __init__(
        self,
        url: str,
        key: str,
        key_source: str,
        *,
        allow_http: bool = False,
        proxied: bool = True,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._make = partial(
            Client, url, key, key_source, allow_http=allow_http, proxied=proxied, wait=wait
        )

    @contextmanager
    def open(self, scope: Scope, progress: Progress) -> Iterator[ApiExport]:  # noqa: ARG002
        """Connections for one run, closed at its end."""
        client = self._make(progress)
        try:
            yield ApiExport(client)
        finally:
            client.close()


class ApiExport:
    """One run's requests."""

    name = "api"
    asks_again = True

    def __init__(self, client: Client) -> None:
        self._client = client

    def index(self) -> Manifest:
        """Myop's index, as it answers `GET /export`.

        The form of that answer is in no document; taken is the form of `manifest.json`, "an
        index of all exported components", with `environments` for each component.
        """
        return self._client.get("/export", {}, "the index", self._read_index)

    def document(self, ref: DocumentRef) -> Document:
        """What `GET /consume` answers: `&env=` for an environment, `&preview=true`."""
        fields = {"id": ref.component_id}
        fields |= {"preview": "true"} if ref.is_preview else {"env": ref.environment}
        return self._client.get(
            "/consume", fields, describe(ref), lambda response: self._read_document(ref, response)
        )

    def _read_index(self, response: Response) -> Manifest:
        if response.status != 200:
            said = f"{response.status} ({self._client.excerpt(response.body)})"
            raise _no_index(f"{self._client.url}/export answered {said}", _CHECK_URL)
        try:
            index = Manifest.parse(response.body)
        except InputError as error:
            if _ends(response.body):
                raise _no_index(error.message) from None
            if response.body.lstrip()[:1] in (b"", b"{"):
                raise CutShort("the index: the answer is empty or cut short") from None
            raise _no_index(f"{self._client.url}/export: {error.message}", _CHECK_URL) from None
        if not index.complete:
            raise _no_index("it names components without their environments")
        return index

    def _read_document(self, ref: DocumentRef, response: Response) -> Document:
        if response.status == 404:
            raise DocumentError(f"{describe(ref)}: Myop has no such component or variant (404)")
        if response.status != 200:
            said = self._client.excerpt(response.body)
            raise DocumentError(f"{describe(ref)}: Myop answered {response.status} ({said})")
        return Document.parse(ref, response.body, asked_at(response))


def _ends(body: bytes) -> bool:
    try:
        jsontext.loads(body)
    except ValueError as error:
        return isinstance(error, (jsontext.TooDeep, jsontext.Foreign))
    return True


def _no_index(reason: str, hint: str = "") -> IndexFormError:
    message = f"the API's index is not in the documented form: {reason}"
    return IndexFormError(message, hint + TRY_NPX)
