"""Myop's webhook as an AWS Lambda function with a function URL, and a full sync once a day.

template.yaml beside this file describes the function, deploy.sh builds and deploys it. A release
is published within the request that announces it: Myop waits ten seconds for the answer, while
Lambda goes on to the end in any case. A release that failed is brought by the daily full sync.
"""

import base64
import binascii
import json
import os
from datetime import timedelta
from typing import Any

from myop_cdn import (
    DeployOptions,
    MyopCdnError,
    PayloadError,
    Scope,
    SignatureInvalid,
    parse_payload,
    publish,
    verify,
)
from myop_cdn.report import PublishReport

PATH = "/webhooks/myop"
MAX_BODY = 1024 * 1024
MAX_AGE = timedelta(minutes=5)
OUTPUT = "/tmp/myop-static"  # noqa: S108 - the only folder that Lambda lets a function write to


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer a request to the function URL, or carry out the schedule's full sync."""
    request = event.get("requestContext", {}).get("http")
    if request is None:
        # Not from the URL, so from somebody whom IAM lets invoke the function: the schedule.
        report = run(Scope("full"))
        if report.error is not None:
            raise report.error
        return report.to_json()
    if request["path"] != PATH:
        return answer(404, error="not found")
    if request["method"] != "POST":
        return answer(405, error="method not allowed") | {"headers": {"Allow": "POST"}}
    try:
        body = body_of(event)
    except (binascii.Error, UnicodeError):
        return answer(400, error="the body can't be decoded")
    if len(body) > MAX_BODY:
        return answer(413, error="the body is too large")
    try:
        # Function URLs hand headers on in lower case. Nothing is parsed before it is verified.
        verify(body, event.get("headers", {}).get("x-myop-signature"), max_age=MAX_AGE)
        report = run(parse_payload(body).scope)
    except SignatureInvalid as error:
        return answer(401, error=str(error))
    except PayloadError as error:
        return answer(400, error=str(error))
    except MyopCdnError as error:
        return failed(error)
    return answer(200, status="published") if report.error is None else failed(report.error)


def body_of(event: dict[str, Any]) -> bytes:
    """The raw body, byte for byte as it was signed."""
    body: str = event.get("body") or ""
    if event.get("isBase64Encoded"):
        return base64.b64decode(body, validate=True)
    return body.encode("utf-8")


def run(scope: Scope) -> PublishReport:
    """Publish; what it did is a line in the function's log."""
    options = DeployOptions(delete=True)
    report = publish(os.environ["DESTINATION"], scope=scope, output=OUTPUT, options=options)
    print(json.dumps(report.to_json()))
    return report


def failed(error: MyopCdnError) -> dict[str, Any]:
    """Why, for the function's log; the sender is told no more than that."""
    print(json.dumps({"error": str(error)}))
    return answer(500, error="publishing failed; the function's log says why")


def answer(status: int, /, **content: str) -> dict[str, Any]:
    """A function URL's answer."""
    headers = {"Content-Type": "application/json"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(content)}
