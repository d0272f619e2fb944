"""Which certificates are trusted: one rule for all services."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import certifi
import pytest

from myop_cdn.transport import CertificatesUnreadable
from myop_cdn.transport.certificates import AWS_VARIABLES, VARIABLES, trusting_context

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of certificates in the environment."""
    for name in AWS_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def count(context: ssl.SSLContext) -> int:
    """How many certificates the context has in memory: those of files, not of folders."""
    return context.cert_store_stats()["x509_ca"]


def test_without_a_say_the_system_s_are_trusted() -> None:
    context = trusting_context()
    assert count(context) == count(ssl.create_default_context())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_system_without_any_has_those_of_a_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = ssl.DefaultVerifyPaths("", str(tmp_path), "", "", "", "")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    expected = ssl.create_default_context(cafile=certifi.where())
    assert count(trusting_context()) == count(expected) > 0


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable_counts_for_everybody_and_alone(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path))
    context = trusting_context()
    assert count(context) == 0
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_the_certificates_of_all_variables_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert count(trusting_context()) > 0


def test_aws_s_own_variable_is_for_aws_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path))
    assert count(trusting_context()) > 0
    assert count(trusting_context(AWS_VARIABLES)) == 0


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_without_certificates_is_named_with_its_variable(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bundle.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(CertificatesUnreadable) as caught:
        trusting_context()
    assert "bundle.pem (SSL_CERT_FILE) can't be read: " in caught.value.phrase
    assert "None" not in caught.value.phrase
    assert not caught.value.temporary
