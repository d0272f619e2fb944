"""What Myop's API answers, without a socket: a target and a key in, a status and bytes out.

It knows what Myop documents: `GET /export` (the index) and `GET /consume?id=&env=` or
`&preview=true` (one document), for a Bearer key. Files are read anew each time, so that an edit
of the folder is a release. Nothing outside the folder is served, and no key is ever kept.
"""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from myop_cdn import names
from myop_cdn.errors import InputError
from myop_cdn.model import COMPONENTS, MANIFEST, PREVIEW, DocumentRef
from myop_cdn.moments import written

if TYPE_CHECKING:
    from pathlib import Path

KEY_LOOK = re.compile(r"myop_sk_[0-9A-Za-z_-]+")  # documented: myop_sk_<64 hex>
REHEARSAL_KEY = "myop_sk_" + "0123456789abcdef" * 4  # made up: opens a sandbox, nothing else


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, the exact bytes of a JSON body, and the document that was asked for, if any."""

    status: HTTPStatus
    body: bytes
    ref: DocumentRef | None = None

    @classmethod
    def error(cls, status: HTTPStatus, message: str, ref: DocumentRef | None = None) -> Answer:
        """A refusal as JSON: `{"error": message}`."""
        return cls(status, json.dumps({"error": message}).encode(), ref)


class Api:
    """The API of one folder. Has no state, so every thread may ask it.

    tree: the export folder; read only. api_key: the only key accepted; without it every key of
    the documented look is. Raises InputError where `tree` is not a folder.
    """

    def __init__(self, tree: Path, api_key: str | None = None) -> None:
        if not tree.is_dir():
            raise InputError(f"{tree} is not a folder", "give the folder of an export")
        self.tree = tree
        self._api_key = api_key

    def answer(self, target: str, authorization: str | None) -> Answer:
        """What the API says to `GET target` with that Authorization header."""
        if not self._knows(authorization):
            return Answer.error(HTTPStatus.UNAUTHORIZED, "missing or invalid API key")
        try:
            url = urlsplit(target)
            query = parse_qs(url.query, errors="strict")
        except ValueError:
            return Answer.error(HTTPStatus.BAD_REQUEST, "the request target can't be read")
        if url.path == "/export":
            return self._index()
        if url.path == "/consume":
            return self._document(query)
        return Answer.error(HTTPStatus.NOT_FOUND, "no such endpoint")

    def _knows(self, authorization: str | None) -> bool:
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        if self._api_key is None:
            return KEY_LOOK.fullmatch(key.strip()) is not None
        return hmac.compare_digest(key.strip().encode(), self._api_key.encode())

    def _index(self) -> Answer:
        try:
            body = (self.tree / MANIFEST).read_bytes()
        except OSError:
            body = json.dumps(index_of(self.tree), indent=2, ensure_ascii=False).encode()
        return Answer(HTTPStatus.OK, body)

    def _document(self, query: dict[str, list[str]]) -> Answer:
        component_id = query.get("id", [""])[0]
        environment = query.get("env", [""])[0]
        if query.get("preview", [""])[0] == "true":
            environment = PREVIEW
        if not component_id:
            return Answer.error(HTTPStatus.BAD_REQUEST, "id is missing")
        if not environment:
            return Answer.error(HTTPStatus.BAD_REQUEST, "env or preview=true is missing")
        ref = DocumentRef(component_id, environment)
        missing = Answer.error(HTTPStatus.NOT_FOUND, "no such component or variant", ref)
        if names.problem(component_id) or names.problem(environment):
            return missing
        try:
            return Answer(HTTPStatus.OK, (self.tree / ref.path).read_bytes(), ref)
        except OSError:
            return missing


def index_of(tree: Path) -> dict[str, Any]:
    """An index of the documents in `tree`, in the manifest's form, for a tree without one.

    Components and environments come sorted; names and the organization are the documents'
    own; `exportedAt` is the newest file's time, so that the same files give the same index.
    """
    components: list[dict[str, Any]] = []
    organization, newest = "", 0.0
    for folder in sorted((tree / COMPONENTS).glob("*/")):
        files = {path.stem: path for path in sorted(folder.glob("*.json"))}
        if not files or names.problem(folder.name):
            continue
        name = folder.name
        for path in files.values():
            newest = max(newest, path.stat().st_mtime)
            item = _item(path)
            name = str(item.get("name") or name)
            organization = organization or str(item.get("organizationId") or "")
        environments = [env for env in files if env != PREVIEW and not names.problem(env)]
        components.append({"id": folder.name, "name": name, "environments": environments})
    return {
        "version": 1,
        "exportedAt": written(newest),
        "organization": organization,
        "components": components,
    }


def _item(path: Path) -> dict[str, Any]:
    try:
        item = json.loads(path.read_bytes())["item"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}
    return item if isinstance(item, dict) else {}
