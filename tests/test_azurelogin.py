"""azure-identity's logins: kept, renewed, and told of in one line where they fail."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass

import pytest

from myop_cdn.azurelogin import AzureLogin
from myop_cdn.errors import CredentialsError, StorageUnreachable, how_to_install
from myop_cdn.storage.azure.account import Bearer
from tests.api_server import ApiServer, Reply

SCOPE = "https://storage.azure.com/.default"
# As azure-identity 1.27 says it.
CHAIN = """DefaultAzureCredential failed to retrieve a token from the included credentials.
Attempted credentials:
\tEnvironmentCredential: {}
To mitigate this issue, please refer to the troubleshooting guidelines here at https://aka.ms/x."""


@dataclass
class Token:
    token: str
    expires_on: int


class Identity:
    """Gives tokens that are good for an hour, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked = 0
        self.error = error

    def get_token(self, *scopes: str) -> Token:
        """A token that counts."""
        self.asked += 1
        if self.error:
            raise self.error
        return Token(f"token-{self.asked}", self.asked * 3600)


def test_a_token_is_kept_until_shortly_before_it_expires() -> None:
    identity, now = Identity(), [10.0]
    signer = Bearer(AzureLogin("az://container", SCOPE, identity, lambda: now[0]))
    for moment, token in ((10.0, 1), (3000.0, 1), (3400.0, 2), (3700.0, 2)):
        now[0] = moment
        target, headers = signer.sign("GET", "/c/k", {"comp": "list"}, {"A": "b"}, 0)
        assert target == "/c/k?comp=list"
        assert headers["Authorization"] == f"Bearer token-{token}"
        assert headers["A"] == "b"


def test_a_login_that_fails_is_told_without_its_settings() -> None:
    from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

    for error, kind in (
        (ValueError("hunter2 is not a tenant"), CredentialsError),  # as azure-identity does it
        (FileNotFoundError(2, "No such file", "cert.pem"), CredentialsError),
        (ClientAuthenticationError("hunter2"), CredentialsError),
        (ServiceRequestError("hunter2"), StorageUnreachable),
    ):
        with pytest.raises(kind) as caught:
            AzureLogin("az://container", SCOPE, Identity(error)).token()
        assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (
            "Authentication failed: AADSTS7000215: Invalid client secret provided: hunter2",
            "no Azure login was accepted: EnvironmentCredential failed (AADSTS7000215)",
        ),
        (
            "Authentication failed: HTTPSConnection(host='login.microsoftonline.com'): lost",
            "no Azure login was accepted: EnvironmentCredential failed (login.microsoftonline.com)",
        ),
        ("EnvironmentCredential authentication unavailable. hunter2", "no Azure login was found"),
    ],
)
def test_of_many_lines_it_is_told_which_login_failed_and_why(said: str, outcome: str) -> None:
    from azure.core.exceptions import ClientAuthenticationError

    identity = Identity(ClientAuthenticationError(CHAIN.format(said)))
    with pytest.raises(CredentialsError) as caught:
        AzureLogin("az://container", SCOPE, identity).token()
    assert caught.value.message == f"az://container: {outcome}"


def test_a_login_that_has_just_failed_is_not_tried_by_each_thread() -> None:
    from azure.core.exceptions import ClientAuthenticationError

    identity, now = Identity(ClientAuthenticationError("no")), [10.0]
    login = AzureLogin("az://container", SCOPE, identity, lambda: now[0])
    for moment, asked in ((10.0, 1), (15.0, 1), (21.0, 2)):
        now[0] = moment
        with pytest.raises(CredentialsError):
            login.token()
        assert identity.asked == asked


def test_azure_identity_s_own_chain_asks_for_a_token_and_says_nothing_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("azure.identity", reason="an extra: pip install azure-identity")
    answer = {"access_token": "t", "expires_on": "9999999999", "resource": "x"}
    with ApiServer({}) as server:
        server.script["/msi"] = [Reply(json.dumps(answer).encode())]
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi")
        monkeypatch.setenv("IDENTITY_HEADER", "h")
        assert AzureLogin("az://container", SCOPE).token() == "t"
    assert logging.getLogger("azure").handlers, "else Python would print what it logs"


def test_a_hint_names_the_environment_that_lacks_a_package(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert how_to_install("azure-identity") == f"{sys.executable} -m pip install azure-identity"
    assert how_to_install("psycopg[binary]").endswith(" -m pip install 'psycopg[binary]'")
    root = tmp_path_factory.mktemp("venvs") / "myop-cdn"
    root.mkdir()
    monkeypatch.setattr(sys, "prefix", str(root))
    (root / "uv-receipt.toml").touch()
    python = sys.executable
    assert how_to_install("x") == f"uv pip install --python {python} x"
    (root / "pipx_metadata.json").touch()
    assert how_to_install("x") == "pipx inject myop-cdn x"
