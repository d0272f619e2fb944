"""gcp-storage-emulator with preconditions, pages, charsets, ACLs and threads.

As shipped it ignores preconditions (a copy's too) and predefined ACLs, lists everything in one
page, cuts "; charset=…" off, tells no generation with the content, serves one request at a time
and writes all its metadata to disk at every change.
"""

from __future__ import annotations

import base64
import email.message
import http.server
import json
import sys
import threading
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gcp_storage_emulator import storage
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects

if TYPE_CHECKING:
    from collections.abc import Callable

Handler = Any  # (request, response, storage, …) -> None
LOCK = threading.RLock()
ASKED = threading.local()  # of the request that is answered
PAGE = 1000
_FAILED = {
    "error": {
        "code": 412,
        "message": "Precondition Failed",
        "errors": [{"domain": "global", "reason": "conditionNotMet"}],
    }
}


def asked(request: Any, name: str) -> str | None:
    """A parameter of the query."""
    value: str | None = (request.query.get(name) or [None])[0]
    return value


def parameter(name: str, request: Any) -> str:
    """A part of the request's path."""
    value: str = request.params[name]
    return value


def is_blocked(request: Any, store: Any, name: str | None) -> bool:
    """Whether a generation precondition does not hold."""
    params = request.params
    bucket = params.get("dest_bucket_name", params["bucket_name"])
    current = found(store, bucket, name)
    have = {
        "ifGenerationMatch": str(current.get("generation", "0")),
        "ifMetagenerationMatch": str(current.get("metageneration")),
    }
    if "dest_object_id" in params:
        source = found(store, params["bucket_name"], params["object_id"])
        have["ifSourceGenerationMatch"] = str(source.get("generation", "0"))
    return any(asked(request, key) not in (None, value) for key, value in have.items())


def found(store: Any, bucket: str, name: str | None) -> dict[str, Any]:
    """The resource of an object, empty where there is none."""
    try:
        resource: dict[str, Any] = store.get_file_obj(bucket, name)
    except NotFound:
        return {}
    return resource


def guarded(handler: Handler, name_of: Callable[[Any], str | None]) -> Handler:
    """The handler, carried out alone and only where the preconditions hold."""

    def handle(request: Any, response: Any, store: Any, *rest: Any, **more: Any) -> Any:
        with LOCK:
            if is_blocked(request, store, name_of(request)):
                response.status = HTTPStatus.PRECONDITION_FAILED
                return response.json(_FAILED)
            acl = asked(request, "predefinedAcl") or asked(request, "destinationPredefinedAcl")
            ASKED.acl = [{"entity": "allUsers", "role": "READER"}] if acl == "publicRead" else []
            return handler(request, response, store, *rest, **more)

    return handle


def uploaded_name(request: Any) -> str | None:
    """The name of the object that an upload is for."""
    data = request.data if isinstance(request.data, dict) else {}
    return asked(request, "name") or (data.get("meta") or data).get("name")


def paged(handler: Handler) -> Handler:
    """The listing, cut into pages."""

    def handle(request: Any, response: Any, store: Any, *rest: Any, **more: Any) -> None:
        with LOCK:
            handler(request, response, store, *rest, **more)
        if response.status != HTTPStatus.OK:
            return
        whole = json.loads(response._content)
        size = min(int(asked(request, "maxResults") or PAGE), PAGE)
        token = asked(request, "pageToken")
        after = base64.urlsafe_b64decode(token).decode() if token else ""
        items = sorted(whole.get("items") or [], key=lambda item: item["name"])
        rows = [item for item in items if item["name"] > after]
        answer = {"kind": whole["kind"], "items": rows[:size], "prefixes": whole.get("prefixes")}
        if len(rows) > size:
            last = rows[size - 1]["name"]
            answer["nextPageToken"] = base64.urlsafe_b64encode(last.encode()).decode()
        response.json(answer)

    return handle


def with_content_type(make: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The object's resource, its content type as it was given."""

    def handle(*args: Any, **more: Any) -> dict[str, Any]:
        resource = make(*args, **more)
        metadata = more.get("metadata") or (args[5] if len(args) > 5 else None) or {}
        if metadata.get("contentType"):
            resource["contentType"] = metadata["contentType"]
        resource["acl"] = ASKED.acl
        return resource

    return handle


def with_generation(handler: Handler) -> Handler:
    """The download, telling what the service tells of the object in headers."""

    def handle(request: Any, response: Any, store: Any, *rest: Any, **more: Any) -> None:
        with LOCK:
            handler(request, response, store, *rest, **more)
            resource = found(store, request.params["bucket_name"], request.params["object_id"])
        if resource:
            response["X-Goog-Generation"] = resource["generation"]
            encoding = resource.get("contentEncoding")
            response["X-Goog-Stored-Content-Encoding"] = encoding or "identity"
            if resource.get("cacheControl"):
                response["Cache-Control"] = resource["cacheControl"]

    return handle


def with_charset(plain: Callable[[Any], str]) -> Callable[[Any], str]:
    """The content type of a part of an upload, with its charset."""

    def handle(self: Any) -> str:
        given: str = self["Content-Type"] or ""
        return given if given.lower().startswith(("application/json;", "text/")) else plain(self)

    return handle


class Threads(http.server.ThreadingHTTPServer):
    """A server that answers many at once."""

    request_queue_size = 256
    daemon_threads = True


def main(port: int) -> None:
    """Serve until killed."""
    storage.Storage._write_config_to_file = lambda self: None
    # Of a resumable upload the second request has no name; its first one was checked.
    resumed = "\0"
    objects.insert = guarded(
        objects.insert,
        lambda request: resumed if asked(request, "upload_id") else uploaded_name(request),
    )
    for name, target in (
        ("delete", "object_id"),
        ("patch", "object_id"),
        ("rewrite", "dest_object_id"),
    ):
        setattr(objects, name, guarded(getattr(objects, name), partial(parameter, target)))
    objects.download = with_generation(objects.download)
    objects.ls = paged(objects.ls)
    objects._make_object_resource = with_content_type(objects._make_object_resource)
    message: Any = email.message.Message
    message.get_content_type = with_charset(message.get_content_type)
    # Imported last, as it takes the handlers as it finds them.
    from gcp_storage_emulator import server

    http.server.HTTPServer = Threads  # type: ignore[misc]
    server.RequestHandler.protocol_version = "HTTP/1.1"
    server.RequestHandler.disable_nagle_algorithm = True
    server.Server("127.0.0.1", port, True).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
