"""What a service's responses mean: one table for all services."""

from __future__ import annotations

import pytest

from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    CredentialsError,
    PreconditionFailed,
    StorageError,
    StorageUnavailable,
    StorageUnreachable,
)
from myop_cdn.storage.responses import Service, content, json_object, readable
from myop_cdn.transport import (
    ConnectTimeout,
    ProtocolError,
    ReadTimeout,
    Response,
    ResponseTooLarge,
    TransportError,
    UntrustedCertificate,
)

SERVICE = Service("bucket", "sign in", "ask for the role", "check the network", frozenset({"Who"}))
WHERE = "gs://bucket: components/a/qa.json"


@pytest.mark.parametrize(
    ("status", "code", "conditional", "kind"),
    [
        (401, "", False, CredentialsError),
        (403, "Who", False, CredentialsError),
        (403, "", False, AccessDenied),
        (404, "", True, PreconditionFailed),
        (409, "", True, PreconditionFailed),
        (412, "", False, PreconditionFailed),
        (404, "", False, StorageError),
        (409, "", False, StorageError),
        (408, "", False, StorageUnavailable),
        (429, "", True, StorageUnavailable),
        (503, "", True, StorageUnavailable),
        (302, "", False, StorageError),
    ],
)
def test_a_refusal_is_told_by_its_status(
    status: int, code: str, conditional: bool, kind: type[StorageError]
) -> None:
    response = Response(status, {}, b"")
    error = SERVICE.refusal(WHERE, response, code, conditional=conditional)
    assert type(error) is kind
    assert error.message.startswith(WHERE)


def test_a_missing_container_is_not_a_lost_race() -> None:
    response = Response(404, {}, b"")
    error = SERVICE.refusal(WHERE, response, conditional=True, about_container=True)
    assert type(error) is ContainerMissing
    assert "no such bucket" in error.message


def test_how_long_a_busy_service_asks_to_be_left_alone_is_kept() -> None:
    for header, seconds in (("7", 7.0), ("²", 0.0), ("-1", 0.0), ("soon", 0.0), ("", 0.0)):
        error = SERVICE.refusal(WHERE, Response(503, {"retry-after": header}, b""))
        assert error.retry_after == seconds


def test_a_service_s_words_are_harmless_and_show_no_secret() -> None:
    message = "no\r\n\x1b[2J https://user:SECRET@h/?sig=SECRET " + "x" * 5000
    error = SERVICE.refusal(WHERE, Response(400, {}, b""), "Co\x1bde", message)
    assert error.message.isprintable()
    assert "SECRET" not in error.message
    assert len(error.message) < 400


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectTimeout(), StorageUnreachable),
        (ReadTimeout(), StorageUnavailable),
        (ProtocolError("cut"), StorageUnavailable),
        (UntrustedCertificate("expired"), StorageError),
        (ResponseTooLarge(), StorageError),
    ],
)
def test_no_answer_is_told_with_host_and_port(
    error: TransportError, kind: type[StorageError]
) -> None:
    with pytest.raises(StorageError) as caught, SERVICE.answering(WHERE, "127.0.0.1:9", 10):
        raise error
    assert type(caught.value) is kind
    assert "127.0.0.1:9" in caught.value.message


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"[" * 100_000, b'{"a": [' + b"[]," * 10**6 + b"[]]}", b"\xff"]
)
def test_json_that_is_not_an_object_or_too_much_can_not_be_read(body: bytes) -> None:
    with pytest.raises(StorageError, match="can't be read"), readable(WHERE):
        json_object(Response(200, {}, body))


def test_content_of_more_than_the_limit_is_an_error() -> None:
    assert content(WHERE, Response(200, {}, b"xx"), 2) == b"xx"
    with pytest.raises(StorageError, match="more than the 1 bytes"):
        content(WHERE, Response(200, {}, b"xx"), 1)
