"""Which certificates the lean requests trust."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import certifi
import pytest

from myop_cdn.errors import StorageError
from myop_cdn.storage.certificates import context, context_of_requests

if TYPE_CHECKING:
    from pathlib import Path


def test_what_the_sdks_trust_is_trusted_unless_others_are_named() -> None:
    assert context(None).cert_store_stats() == context(certifi.where()).cert_store_stats()
    assert context(None).verify_mode is ssl.CERT_REQUIRED
    assert context(None).check_hostname


def test_a_folder_of_certificates_is_taken_as_one(tmp_path: Path) -> None:
    assert context(str(tmp_path)).cert_store_stats()["x509_ca"] == 0


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_without_certificates_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "bundle.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StorageError, match=r"bundle\.pem can't be read: \S") as caught:
        context(str(file))
    assert "REQUESTS_CA_BUNDLE" in caught.value.hint
    assert "None" not in caught.value.message


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_variables_of_requests_count(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert context_of_requests().cert_store_stats()["x509_ca"] > 0
    monkeypatch.setenv(variable, str(tmp_path))
    assert context_of_requests().cert_store_stats()["x509_ca"] == 0
