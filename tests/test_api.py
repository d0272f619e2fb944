"""The functions for programs, and the programs that `help python` shows."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

import myop_cdn
from myop_cdn import api, secretstore
from myop_cdn.errors import SecretError
from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from myop_cdn.signature import sign
from tests.samples import SECRET, full_tree, read, release, webhook, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COMPONENTS = {"card": ["qa", "production"]}


@pytest.fixture
def cdn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands for the CDN, with Myop and its key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYOP_API_KEY", REHEARSAL_KEY)
    monkeypatch.setenv("MYOP_WEBHOOK_SECRET", SECRET)
    with Sandbox(write(tmp_path / "api", full_tree(COMPONENTS))) as sandbox:
        monkeypatch.setenv("MYOP_API_URL", sandbox.url)
        yield tmp_path / "cdn"


def published(cdn: Path) -> set[str]:
    return (
        {path for path in read(cdn) if not path.startswith(".myop-cdn/")} if cdn.exists() else set()
    )


def program(name: str, cdn: Path) -> dict[str, Any]:
    """The names of a program of the chapter, run with this folder as its destination."""
    text = (files("myop_cdn") / "docs" / "python.md").read_text("utf-8")
    [code] = re.findall(rf"```python\n# {name}\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {"__name__": "program"}
    exec(code.replace("s3://my-bucket/myop", cdn.as_uri()), names)
    return names


def delivery(age: timedelta = timedelta()) -> bytes:
    moment = (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return webhook(release("card", "qa"), timestamp=moment)


RELEASED = {"components/card/qa.json", "components/card/preview.json"}


def test_sync_and_deploy_are_publish_in_two_steps(cdn: Path, tmp_path: Path) -> None:
    assert myop_cdn.sync(tmp_path / "tree").error is None
    assert myop_cdn.deploy(tmp_path / "tree", cdn.as_uri()).error is None
    assert published(cdn) == set(full_tree(COMPONENTS))
    report = myop_cdn.publish(cdn.as_uri(), output=tmp_path / "tree")
    assert report.error is None
    assert report.to_json()["sync"]["scope"] == "full"


def test_verify_takes_the_secret_s_signature_alone() -> None:
    body = delivery()
    myop_cdn.verify(body, sign(body, b"the first"), ["the second", "the first"])
    myop_cdn.verify(body, sign(body, b"second"), "first second", max_age=timedelta(minutes=5))
    old = delivery(timedelta(hours=1))
    for wrong, header, secret in (
        (body, sign(body, b"another"), "first"),
        (body, None, "first"),
        (old, sign(old, b"first"), "first"),
    ):
        with pytest.raises(myop_cdn.SignatureInvalid):
            myop_cdn.verify(wrong, header, secret, max_age=timedelta(minutes=5))
    with pytest.raises(myop_cdn.InputError):
        myop_cdn.verify(body, sign(body, b"x"))


def test_secrets_may_be_in_the_files_that_the_environment_names(
    cdn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("MYOP_API_KEY", "MYOP_WEBHOOK_SECRET"):
        monkeypatch.delenv(variable)
        monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / variable))
    (tmp_path / "MYOP_API_KEY").write_text(REHEARSAL_KEY + "\n")
    (tmp_path / "MYOP_WEBHOOK_SECRET").write_text(SECRET + "\n")
    body = delivery()
    myop_cdn.verify(body, sign(body, SECRET.encode()))
    assert myop_cdn.publish(cdn.as_uri(), output=tmp_path / "tree").error is None


def test_a_secret_that_a_cloud_keeps_is_asked_for_now_and_then_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[bytes | SecretError] = [b"first", b"second", SecretError("no answer")]
    asked: list[str] = []

    def read(url: str) -> bytes:
        asked.append(url)
        answer = answers.pop(0)
        if isinstance(answer, SecretError):
            raise answer
        return answer

    monkeypatch.setattr(secretstore, "read", read)
    monkeypatch.setenv("MYOP_WEBHOOK_SECRET_FILE", "aws-sm://asked-for-now-and-then")
    body = delivery()
    for _ in range(5):
        myop_cdn.verify(body, sign(body, b"first"))
    assert len(asked) == 1
    monkeypatch.setattr(api, "_KEPT_SECONDS", -1.0)
    myop_cdn.verify(body, sign(body, b"second"))
    myop_cdn.verify(body, sign(body, b"second"))  # which could not be asked for
    assert answers == []


def test_without_a_key_nothing_is_asked(cdn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MYOP_API_KEY")
    with pytest.raises(myop_cdn.InputError, match="no API key"):
        myop_cdn.publish(cdn.as_uri())


def test_the_flask_view_publishes_what_is_signed(cdn: Path) -> None:
    pytest.importorskip("flask")
    client = program("flask", cdn)["app"].test_client()

    def post(body: bytes, signature: str) -> int:
        headers = {"X-Myop-Signature": signature, "Content-Type": "application/json"}
        status: int = client.post("/webhooks/myop", data=body, headers=headers).status_code
        return status

    _is_a_receiver(post, cdn)


def test_the_asgi_application_publishes_what_is_signed(cdn: Path) -> None:
    app = program("asgi", cdn)["app"]

    def post(body: bytes, signature: str) -> int:
        half = len(body) // 2
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": body[:half], "more_body": True},
            {"type": "http.request", "body": body[half:]},
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/webhooks/myop"}
        scope |= {"headers": [(b"x-myop-signature", signature.encode())]}
        asyncio.run(app(scope, receive, send))
        status: int = sent[0]["status"]
        return status

    _is_a_receiver(post, cdn)


def _is_a_receiver(post: Callable[[bytes, str], int], cdn: Path) -> None:
    body, secret = delivery(), SECRET.encode()
    assert post(body, sign(body, b"another secret of theirs")) == 401
    assert post(b"{}", sign(b"{}", secret)) in (400, 401)  # it holds no timestamp either
    large = b"x" * (1024 * 1024 + 1)
    assert post(large, sign(large, secret)) == 413
    assert published(cdn) == set()
    assert post(body, sign(body, secret)) == 200
    assert published(cdn) == RELEASED


def test_importing_the_package_loads_nothing_and_its_names_are_functions() -> None:
    probe = """
import sys
before = set(sys.modules)
import myop_cdn
assert set(sys.modules) - before <= {"myop_cdn", "__future__"}, set(sys.modules) - before
import myop_cdn.deploy, myop_cdn.publish, myop_cdn.sync
from myop_cdn import *
assert all(map(callable, (deploy, publish, sync, verify, parse_payload)))
assert myop_cdn.publish is publish
assert not {"click", "rich", "boto3", "google", "azure"} & set(sys.modules)
assert not hasattr(myop_cdn, "nothing")
"""
    subprocess.run([sys.executable, "-c", probe], check=True, timeout=60)


def test_status_and_check_are_what_the_commands_do(cdn: Path, tmp_path: Path) -> None:
    myop_cdn.publish(cdn.as_uri(), output=tmp_path / "tree")
    status = myop_cdn.status(cdn.as_uri(), against_myop=True, environments=["qa"])
    assert [(one.ref.environment, one.state) for one in status.documents] == [("qa", "current")]
    with pytest.raises(myop_cdn.InputError):
        myop_cdn.check("http://127.0.0.1:9", tree=tmp_path / "tree", destination=cdn.as_uri())
    report = myop_cdn.check("http://127.0.0.1:9", destination=cdn.as_uri())
    assert {one.kind for one in report.faults} == {"unreachable"}
