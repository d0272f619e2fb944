"""The Lambda function: built by its script, and called with events as Lambda hands them over.

No Lambda is to be had here. What stands in for its runtime is a Python with boto3 and nothing
else, as AWS's own has it.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.signature import sign
from tests.recipes.conftest import COMPLETE, EVERYTHING, ROOT, execute, tool
from tests.samples import SECRET, release, webhook

if TYPE_CHECKING:
    from pathlib import Path

    from tests.recipes.conftest import Init, Stand

# What is in Lambda's own Python besides the standard library.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")
CALL = """\
import json, sys
from handler import handler
sys.stdout = sys.stderr
answer = handler(json.load(sys.stdin), None)
sys.stdout = sys.__stdout__
print(json.dumps(answer))
"""


def event(body: bytes, signature: str, method: str = "POST") -> dict[str, Any]:
    """A request as a function URL hands it on (payload format 2.0)."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/webhooks/myop",
        "rawQueryString": "",
        "headers": {
            "content-type": "application/json",
            "x-myop-event": "components.deployed",
            "x-myop-signature": signature,
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "anonymous",
            "domainName": "abcdefgh.lambda-url.eu-central-1.on.aws",
            "http": {
                "method": method,
                "path": "/webhooks/myop",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
            },
            "stage": "$default",
        },
        "body": body.decode(),
        "isBase64Encoded": False,
    }


def delivery(age: timedelta = timedelta()) -> bytes:
    moment = (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return webhook(release("card", "qa"), timestamp=moment)


def signed(body: bytes, method: str = "POST") -> dict[str, Any]:
    return event(body, sign(body, SECRET.encode()), method)


@dataclass(frozen=True)
class Function:
    """The function, built."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, event: dict[str, Any]) -> tuple[int, Any]:
        """Its answer's status and content."""
        ran = execute(
            [sys.executable, "-S", "-c", CALL], self.folder, self.environment, json.dumps(event)
        )
        assert ran.code == 0, ran.text
        answer = json.loads(ran.text.splitlines()[-1])
        return answer["statusCode"], json.loads(answer["body"])


@pytest.fixture
def function(stand: Stand, init: Init, dependencies: Path, tmp_path: Path) -> Function:
    folder = init("lambda", tmp_path / "function")
    if COMPLETE:
        ran = execute([str(folder / "deploy.sh")], folder, stand.environment)
        assert ran.code == 0, ran.text
        assert int(ran.text.split()[-2]) < 8_000, "KiB: more than the package itself"
    else:
        (folder / "build").mkdir()
        (folder / "build" / "myop_cdn").symlink_to(ROOT / "myop_cdn")
        shutil.copy(folder / "handler.py", folder / "build")
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for name in RUNTIME:
        if (dependencies / name).exists():
            (runtime / name).symlink_to((dependencies / name).resolve())
    build = folder / "build"
    handler = (build / "handler.py").read_text("utf-8")
    (build / "handler.py").write_text(handler.replace("/tmp/", f"{tmp_path}/"))
    environment = {
        **stand.environment,
        "PYTHONPATH": f"{build}:{runtime}",
        "DESTINATION": stand.destination,
    }
    return Function(build, environment)


def test_a_release_is_published_within_the_request(function: Function, stand: Stand) -> None:
    status, answer = function(signed(delivery()))
    assert (status, answer["status"]) == (200, "accepted")
    assert stand.published() == {"components/card/qa.json", "components/card/preview.json"}


def test_a_body_in_base64_is_verified_as_it_was_sent(function: Function, stand: Stand) -> None:
    body = delivery()
    encoded = base64.b64encode(body).decode()
    status, _ = function({**signed(body), "body": encoded, "isBase64Encoded": True})
    assert status == 200
    assert "components/card/qa.json" in stand.published()


def test_the_schedule_publishes_everything(function: Function, stand: Stand) -> None:
    ran = execute([sys.executable, "-S", "-c", CALL], function.folder, function.environment, "{}")
    assert ran.code == 0, ran.text
    assert stand.published() == EVERYTHING


def test_what_is_not_right_is_refused_before_anything_is_done(
    function: Function, stand: Stand
) -> None:
    body, large = delivery(), b"x" * (1024 * 1024 + 1)
    other = signed(body)
    other["requestContext"]["http"]["path"] = "/"
    unsigned = signed(body)
    del unsigned["headers"]["x-myop-signature"]
    for refused, status in (
        (event(body, sign(body, b"another secret of theirs")), 401),
        (unsigned, 401),
        (signed(delivery(timedelta(hours=1))), 401),
        (signed(large), 413),
        (signed(body, method="GET"), 405),
        (other, 404),
        ({**signed(body), "body": "%%%", "isBase64Encoded": True}, 400),
        (signed(b'{"event": 5, "timestamp": "2026'), 400),
    ):
        assert function(refused)[0] == status, refused
    assert stand.published() == set()
    assert stand.sandbox.requests == []


def test_a_release_that_can_t_be_published_is_a_503_that_says_nothing_more(
    function: Function, stand: Stand
) -> None:
    body = webhook(
        release("gone", "qa"), timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    )
    status, content = function(signed(body))
    assert status == 503
    assert content == {"status": "rejected", "error": "the release could not be published"}


def test_cloudformation_takes_the_template(init: Init, tmp_path: Path) -> None:
    ran = execute(
        [tool("cfn-lint"), str(init("lambda", tmp_path) / "template.yaml")],
        tmp_path,
        {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert ran.code == 0, ran.text


def test_the_script_is_one_that_a_shell_parses(init: Init, tmp_path: Path) -> None:
    script = init("lambda", tmp_path) / "deploy.sh"
    shell = shutil.which("dash") or tool("sh")
    assert execute([shell, "-n", str(script)], tmp_path, {}).code == 0
