"""Myop's webhooks as an AWS Lambda function with a function URL, published within the request.

`handler = function(…)` takes what Lambda hands over: requests (payload format 2.0, AWS's manual,
"Invoking Lambda function URLs"), and for a full sync whatever else IAM lets somebody invoke the
function with, such as a schedule. It needs the standard library and what the destination needs.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from myop_cdn.api import publish
from myop_cdn.inputs import webhook_secrets
from myop_cdn.listener.delivery import DeliveryChecks, Rules
from myop_cdn.listener.hosted import PublishingStore, publishing_receiver, request_of
from myop_cdn.listener.http.response import Response
from myop_cdn.model import Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from myop_cdn.deploy import DeployOptions
    from myop_cdn.progress import Progress
    from myop_cdn.report import PublishReport


def function(
    destination: str, *, output: str, options: DeployOptions | None = None
) -> Callable[[dict[str, Any], object], dict[str, Any]]:
    """A handler for Lambda. output: a folder that may be lost at any time.

    The key and the signing secret come from the environment, as for every command. The checks of a
    request, their order and their limits are those of `serve`; 200 says that the release is
    published, 503 that it is not and the function's log says why. The handler raises MyopCdnError
    where the full sync of a schedule failed. Raises InputError where there is no secret.
    """
    log = _Log()

    def run(
        scope: Scope,
        progress: Progress | None = None,  # noqa: ARG001 - Publisher
        deliveries: tuple[str, ...] = (),  # noqa: ARG001 - Publisher
    ) -> PublishReport:
        report = publish(destination, scope=scope, output=output, options=options)
        print(json.dumps(report.to_json()))
        return report

    checks = DeliveryChecks(Rules(), webhook_secrets((), log.warning))
    store = PublishingStore((run,), log)
    receiver = publishing_receiver(checks, store, log)

    def handler(event: dict[str, Any], _context: object = None) -> dict[str, Any]:
        request = event.get("requestContext", {}).get("http")
        if request is None:
            report = run(Scope("full"))
            if report.error is not None:
                raise report.error
            return report.to_json()
        headers = event.get("headers", {}).items()
        fields = ((name, str(value).encode("latin-1", "replace")) for name, value in headers)
        given = request_of(request["method"], request["path"], fields)
        peer = f"{request.get('sourceIp') or 'unknown'}:0"
        try:
            return _answer(receiver.respond(given, peer, lambda most: _body(event)[:most]))
        except (binascii.Error, UnicodeError):
            return _answer(Response.error(400, "the body can't be decoded"))

    return handler


def _body(event: dict[str, Any]) -> bytes:
    """The raw body, byte for byte as it was signed."""
    body: str = event.get("body") or ""
    if event.get("isBase64Encoded"):
        return base64.b64decode(body, validate=True)
    return body.encode("utf-8")


def _answer(response: Response) -> dict[str, Any]:
    headers = {"Content-Type": response.content_type, **dict(response.headers)}
    return {"statusCode": response.status, "headers": headers, "body": response.body.decode()}


class _Log:
    """Lines of JSON, as CloudWatch reads them."""

    def debug(self, message: str, **fields: object) -> None:
        """Not kept."""

    def info(self, message: str, **fields: object) -> None:
        """A line."""
        print(json.dumps({"level": "info", "message": message, **fields}, default=str))

    def warning(self, message: str, **fields: object) -> None:
        """A line."""
        print(json.dumps({"level": "warning", "message": message, **fields}, default=str))
