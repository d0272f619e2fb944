"""Which account and which credential, from the environment and the URL."""

from __future__ import annotations

import pytest

from myop_cdn.errors import CredentialsError
from myop_cdn.storage.azure.account import SharedAccess, SharedKey, find_account

MINE = "https://mine.blob.core.windows.net"
TEXT = "DefaultEndpointsProtocol=https;AccountName=mine;AccountKey=a2V5==;EndpointSuffix=x.net"


@pytest.fixture(autouse=True)
def _no_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONNECTION_STRING", "ACCOUNT", "KEY", "SAS_TOKEN"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)


@pytest.mark.parametrize(
    ("variables", "given", "endpoint", "credential"),
    [
        ({"CONNECTION_STRING": TEXT}, None, "https://mine.blob.x.net", "key"),
        (
            {"CONNECTION_STRING": "BlobEndpoint=http://h/mine;SharedAccessSignature=?sv=1&sig=2"},
            None,
            "http://h/mine",
            "?sv=1&sig=2",
        ),
        ({"ACCOUNT": "mine", "KEY": "a2V5"}, None, MINE, "key"),
        ({"ACCOUNT": "mine", "SAS_TOKEN": "?sv=1"}, None, MINE, "?sv=1"),
        ({"SAS_TOKEN": "sv=1"}, MINE, MINE, "?sv=1"),
        ({"SAS_TOKEN": "?sv=1\n"}, MINE, MINE, "?sv=1"),
        ({"ACCOUNT": "mine", "KEY": " a2V5\n"}, None, MINE, "key"),
        ({"CONNECTION_STRING": TEXT}, MINE, MINE, "key"),
        (
            {"CONNECTION_STRING": TEXT.replace("mine", "other"), "SAS_TOKEN": "sv=1"},
            MINE,
            MINE,
            "?sv=1",
        ),
    ],
)
def test_the_first_that_is_given_counts(
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    given: str | None,
    endpoint: str,
    credential: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"AZURE_STORAGE_{name}", value)
    found = find_account("az://container", given)
    assert found.endpoint.url + found.path == endpoint
    if credential == "key":
        assert isinstance(found.signer, SharedKey)
        assert found.signer._account == "mine"
    else:
        assert isinstance(found.signer, SharedAccess)
        assert found.signer.source_query == credential
    assert "a2V5" not in repr(found)


def test_no_account_says_what_to_set() -> None:
    with pytest.raises(CredentialsError) as caught:
        find_account("az://container", None)
    assert "AZURE_STORAGE_ACCOUNT" in caught.value.hint


@pytest.mark.parametrize(
    "endpoint",
    [
        "mine.blob.core.windows.net",
        "https://mine.example?sv=SECRET",
        "https://user:SECRET@mine.example",
        "https://mine.example/with blank",
        "ftp://mine.example",
        "https://mine.example:SECRET",
    ],
)
def test_an_endpoint_that_is_not_one_is_told(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"BlobEndpoint={endpoint};SharedAccessSignature=sv=1"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    with pytest.raises(CredentialsError, match="blob endpoint") as caught:
        find_account("az://container", None)
    assert "SECRET" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"), [("KEY", "SECRET!"), ("SAS_TOKEN", "sv=1 SECRET"), ("SAS_TOKEN", "SECRET ü")]
)
def test_a_credential_that_can_not_be_one_is_told_without_it(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "mine")
    monkeypatch.setenv(f"AZURE_STORAGE_{name}", value)
    with pytest.raises(CredentialsError) as caught:
        find_account("az://container", None)
    assert "SECRET" not in caught.value.message + caught.value.hint
