"""Secrets that a cloud's service keeps: AWS's by moto, Google's and Azure's by stand-ins."""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from myop_cdn import secretstore
from myop_cdn.errors import CredentialsError, InputError, MyopCdnError, SecretError
from myop_cdn.retry import RetryPolicy
from tests.servers.s3 import aws, moto_endpoint  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run

VALUE = "0123456789abcdef-größer"


# AWS


@pytest.fixture
def manager(aws: None, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: F811
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto_endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    return boto3.client("secretsmanager", "eu-west-1", endpoint_url=moto_endpoint)


def test_a_secret_of_aws_is_read_by_name_arn_and_member(manager: Any, run: Run) -> None:
    made = manager.create_secret(Name="myop/webhook", SecretString=VALUE)
    members = json.dumps({"key": VALUE, "number": 1})
    manager.create_secret(Name="several", SecretString=members)
    manager.create_secret(Name="binary", SecretBinary=VALUE.encode())
    for url in ("aws-sm://myop/webhook", f"aws-sm://{made['ARN']}", "AWS-SM://several#key"):
        assert secretstore.read(url).decode() == VALUE
    assert secretstore.read("aws-sm://binary").decode() == VALUE
    for url in ("aws-sm://several#other", "aws-sm://several#number", "aws-sm://binary#key"):
        with pytest.raises(SecretError) as raised:
            secretstore.read(url)
        assert VALUE not in f"{raised.value.message} {raised.value.hint}"
    words = ("verify", "--signature", "sha256=" + "0" * 64, "--secret-file", "aws-sm://several#key")
    ended = run(*words, stdin=b"{}")
    assert (ended.code, "not valid" in ended.err) == (1, True)


def test_a_rotated_secret_of_aws_is_read_anew(manager: Any) -> None:
    manager.create_secret(Name="rotated", SecretString="old")
    assert secretstore.read("aws-sm://rotated") == b"old"
    manager.put_secret_value(SecretId="rotated", SecretString="new")
    assert secretstore.read("aws-sm://rotated") == b"new"


def test_what_aws_does_not_give_is_told_in_one_line(
    manager: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run("sync", "--api-key-file", "aws-sm://missing", "--json")
    assert ended.code == 1
    assert (
        "aws-sm://missing: AWS Secrets Manager refused it (ResourceNotFoundException)"
        in (ended.json["error"]["message"])
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9")
    monkeypatch.setattr(secretstore, "_POLICY", RetryPolicy(attempts=1))
    with pytest.raises(MyopCdnError, match="can't be reached"):
        secretstore.read("aws-sm://x")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SecretError, match="no AWS region"):
        secretstore.read("aws-sm://x")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(CredentialsError, match="no AWS credentials"):
        secretstore.read("aws-sm://arn:aws:secretsmanager:eu-west-1:123456789012:secret:x")


# Google and Azure


class Service:
    """A stand-in: answers by path, and gives tokens to whoever asks."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.authorizations: list[str | None] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._send(200, {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})

            def do_GET(self) -> None:
                service.authorizations.append(self.headers["Authorization"])
                answers = service.answers.get(self.path, [(404, {})])
                self._send(*(answers.pop(0) if len(answers) > 1 else answers[0]))

            def _send(self, status: int, value: Any) -> None:
                body = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setattr(secretstore, "_POLICY", RetryPolicy(attempts=3, first_pause=0.0))
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture(scope="module")
def private_key() -> str:
    """Of a service account, made for these tests."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key.decode()


@pytest.fixture
def google(
    service: Service, private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Service:
    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "CLOUDSDK_")):
            monkeypatch.delenv(name)
    facts = {
        "type": "service_account",
        "private_key": private_key,
        "client_email": "robot@p.iam.gserviceaccount.com",
        "token_uri": f"{service.url}/token",
    }
    (tmp_path / "key.json").write_text(json.dumps(facts))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", service.url)
    return service


def test_a_secret_of_google_is_read_with_or_without_a_version(google: Service) -> None:
    answer = {"payload": {"data": base64.b64encode(VALUE.encode()).decode()}}
    path = "/v1/projects/p/secrets/webhook/versions"
    google.answers[f"{path}/latest:access"] = [(503, {}), (200, answer)]
    google.answers[f"{path}/7:access"] = [(200, answer)]
    for url in ("gcp-sm://p/webhook", "gcp-sm://p/webhook/7"):
        assert secretstore.read(url).decode() == VALUE
    assert set(google.authorizations) == {"Bearer t"}


@pytest.mark.parametrize(
    ("status", "value", "message"),
    [
        (403, {}, "is not allowed"),
        (404, {}, "no such secret"),
        (500, {}, "answered 500"),
        (200, {}, "holds no secret"),
        (200, [], "holds no secret"),
        (200, {"payload": {"data": "not base64!"}}, "holds no secret"),
        (200, b"no json", "holds no secret"),
        (200, b" " * 2**19, "longer answer"),
    ],
)
def test_what_google_does_not_give_is_told(
    google: Service, status: int, value: Any, message: str
) -> None:
    google.answers["/v1/projects/p/secrets/w/versions/latest:access"] = [(status, value)]
    with pytest.raises(SecretError, match=message):
        secretstore.read("gcp-sm://p/w")


@pytest.fixture
def azure(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Key Vault, and as much of azure-identity as is used: it is not installed for tests."""
    identity = ModuleType("azure.identity")
    asked: list[str] = []

    class Login:
        def __init__(self, **options: bool) -> None: ...

        def get_token(self, *scopes: str) -> Any:
            asked.extend(scopes)
            return SimpleNamespace(token="t", expires_on=0)

    identity.DefaultAzureCredential = Login  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azure.identity", identity)
    monkeypatch.setattr(secretstore, "_VAULT", service.url + "/{}")
    service.scopes = asked  # type: ignore[attr-defined]
    return service


def test_a_secret_of_azure_is_read_with_the_token_of_its_cloud(azure: Service) -> None:
    base = "/mine.vault.azure.net/secrets/webhook"
    azure.answers[f"{base}?api-version=7.4"] = [(200, {"value": VALUE})]
    azure.answers[f"{base}/0af3?api-version=7.4"] = [(200, {"value": json.dumps({"k": VALUE})})]
    azure.answers["/mine.vault.azure.cn/secrets/w?api-version=7.4"] = [(200, {"value": VALUE})]
    for url in (
        "az-kv://mine/webhook",
        "az-kv://mine/webhook/0af3#k",
        "az-kv://mine.vault.azure.cn/w",
    ):
        assert secretstore.read(url).decode() == VALUE
    scopes = set(azure.scopes)  # type: ignore[attr-defined]
    assert scopes == {"https://vault.azure.net/.default", "https://vault.azure.cn/.default"}
    with pytest.raises(SecretError, match="no such secret"):
        secretstore.read("az-kv://mine/other")


def test_a_login_s_token_goes_to_azure_s_hosts_alone(azure: Service) -> None:
    for host in ("evil.example", "vault.azure.net.evil.example", "a.evilvault.azure.net.x"):
        with pytest.raises(InputError, match="not one of Azure's"):
            secretstore.read(f"az-kv://{host}/w")
    assert azure.authorizations == []


def test_without_azure_identity_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(CredentialsError, match="azure-identity is not installed") as raised:
        secretstore.read("az-kv://mine/webhook")
    assert raised.value.hint == f"{sys.executable} -m pip install azure-identity"


# URLs


@pytest.mark.parametrize(
    "url",
    ["aws-sm://", "aws-sm://x y", "aws-sm://x#", "gcp-sm://p", "gcp-sm://p/n/v/x", "gcp-sm://p/../n",
     "az-kv://v", "az-kv://v/n/../x", "az-kv://u:p@v/n"],
)  # fmt: skip
def test_a_url_that_is_not_of_the_form_is_bad_usage(run: Run, url: str) -> None:
    ended = run("verify", "--signature", "sha256=00", "--secret-file", url, stdin=b"{}")
    assert ended.code == 2
    assert "is not the URL of a secret" in ended.err


def test_what_only_looks_like_a_url_is_a_file_s_name(run: Run) -> None:
    assert not secretstore.is_url("aws-sm:/x")
    assert not secretstore.is_url("https://x")
    ended = run("verify", "--signature", "sha256=00", "--secret-file", "https://x", stdin=b"{}")
    assert "can't read the signing secret file https://x" in ended.err


@pytest.mark.parametrize(
    ("value", "files"),
    [
        ("a b:c", ["a b", "c"]),
        ("aws-sm://arn:aws:x gcp-sm://p/n", ["aws-sm://arn:aws:x", "gcp-sm://p/n"]),
    ],
)
def test_a_variable_may_hold_several(value: str, files: list[str]) -> None:
    from myop_cdn.cli.options import SecretFile

    assert SecretFile().split_envvar_value(value) == files
