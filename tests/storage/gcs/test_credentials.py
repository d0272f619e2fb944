"""Where Google Cloud Storage is asked, and as whom: Google's own credentials, renewed by it."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from myop_cdn.errors import CredentialsError, InputError, StorageUnavailable, StorageUnreachable
from myop_cdn.storage import open_backend
from myop_cdn.storage.gcs.credentials import Authorization, find_endpoint
from myop_cdn.transport import Endpoint
from tests.servers.process import free_port
from tests.servers.proxy import Answer, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of Google in the environment, and nobody logged in."""
    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "CLOUDSDK_", "STORAGE_EMULATOR")) or "proxy" in name.lower():
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def tokens() -> Iterator[tuple[str, list[str]]]:
    """A sign-in service: its URL, and the tokens that it has given."""
    given: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            given.append(f"token-{len(given)}")
            answer = {"access_token": given[-1], "expires_in": 3600, "token_type": "Bearer"}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/token", given
        server.shutdown()
        thread.join()


def key_file(folder: Path, token_uri: str, **more: Any) -> str:
    """A service account's key, made for this test."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    facts = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": "robot@p.iam.gserviceaccount.com",
        "token_uri": token_uri,
        **more,
    }
    file = folder / "key.json"
    file.write_text(json.dumps(facts))
    return str(file)


def test_a_key_file_gives_a_token_that_is_kept_and_renewed_when_refused(
    tmp_path: Path, tokens: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, given = tokens
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key_file(tmp_path, url))
    authorization = Authorization("gs://bucket")
    assert given == []
    for _ in range(3):
        first = authorization.headers()
        assert first["authorization"] == "Bearer token-0"
    for _ in range(3):  # threads whose requests were refused together have it renewed once
        assert authorization.headers(first)["authorization"] == "Bearer token-1"
    assert given == ["token-0", "token-1"]
    authorization.close()


def test_a_project_that_pays_is_named(
    tmp_path: Path, tokens: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key_file(tmp_path, tokens[0]))
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "payer")
    assert Authorization("gs://bucket").headers()["x-goog-user-project"] == "payer"


def test_tokens_are_asked_for_by_way_of_the_environment_s_proxy(
    tmp_path: Path, tokens: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key_file(tmp_path, tokens[0]))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StorageUnreachable, match="sign-in"):
        Authorization("gs://bucket").headers()
    assert tokens[1] == []


def test_a_sign_in_service_that_is_busy_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy("http://127.0.0.1:1") as service:
        service.meddle = lambda _: Answer(503, b"{}", "application/json")
        file = key_file(tmp_path, f"{service.url}/token")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
        monkeypatch.setattr("time.sleep", lambda _: None)  # google-auth's own pauses
        with pytest.raises(StorageUnavailable):
            Authorization("gs://bucket").headers()


def test_credentials_of_another_universe_are_refused(
    tmp_path: Path, tokens: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = key_file(tmp_path, tokens[0], universe_domain="example.goog")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
    with pytest.raises(CredentialsError, match=r"universe example\.goog is not supported"):
        open_backend("gs://bucket").list(None)


@pytest.mark.parametrize(
    ("name", "value", "endpoint", "path"),
    [
        ("STORAGE_EMULATOR_HOST", "http://[::1]:4443/", Endpoint("http", "::1", 4443), ""),
        ("STORAGE_EMULATOR_HOST", "localhost:4443", Endpoint("http", "localhost", 4443), ""),
        ("STORAGE_EMULATOR_HOST", "http://h:1/gcs", Endpoint("http", "h", 1), "/gcs"),
        ("API_ENDPOINT_OVERRIDE", "https://x.example", Endpoint("https", "x.example", 443), ""),
        ("NOTHING", "", Endpoint("https", "storage.googleapis.com", 443), ""),
    ],
)
def test_where_the_service_is(
    name: str, value: str, endpoint: Endpoint, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert find_endpoint("gs://b") == (endpoint, path, name == "STORAGE_EMULATOR_HOST")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORAGE_EMULATOR_HOST", "http://user:SECRET@host"),
        ("STORAGE_EMULATOR_HOST", "http://host:port"),
        ("API_ENDPOINT_OVERRIDE", "https://storage.example?key=SECRET"),
        ("GOOGLE_API_USE_CLIENT_CERTIFICATE", "true"),
        ("GOOGLE_API_USE_MTLS_ENDPOINT", "always"),
        ("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "example.goog"),
        ("HTTPS_PROXY", "socks5://127.0.0.1:1"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as caught:
        open_backend("gs://bucket")
    shown = caught.value.message + caught.value.hint
    assert name in shown or value in shown
    assert "SECRET" not in shown


@pytest.mark.parametrize("text", ["[]", "{}", "nonsense", '{"type": "service_account"}', "1"])
def test_a_file_that_holds_no_credentials_is_told(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key.json").write_text(text)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(CredentialsError, match=r"/key\.json, holds none of a form"):
        open_backend("gs://bucket").list(None)
    (tmp_path / "key.json").unlink()
    with pytest.raises(CredentialsError, match=r"/key\.json, is not there"):
        open_backend("gs://bucket").list(None)
