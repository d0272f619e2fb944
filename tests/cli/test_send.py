"""`myop-cdn send` against a real listener."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.listener.certificate import make as make_certificate
from tests.listener.rig import SECRET, Rig, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    rig.start()
    yield rig
    rig.stop()


@pytest.fixture
def url(receiver: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    file.chmod(0o600)
    monkeypatch.setenv("MYOP_CDN_SEND_SECRET_FILE", str(file))
    host, port = receiver.address
    return f"http://{host}:{port}/webhooks/myop"


def test_without_anything_it_asks_for_a_full_sync(run: Run, url: str, receiver: Rig) -> None:
    ended = run("send", url)
    assert ended.code == 0
    assert "200 OK" in ended.err
    assert "of the 10 s" in ended.err
    until(lambda: receiver.publisher.kinds == ["full"])


def test_releases_are_announced(run: Run, url: str, receiver: Rig) -> None:
    assert run("send", url, "--release", "a/prod=v9", "--release", "b/qa").code == 0
    until(lambda: receiver.publisher.scopes)
    found = receiver.publisher.scopes[0].releases
    assert [(one.component_id, one.environment, one.variant_id) for one in found] == [
        ("a", "prod", "v9"),
        ("b", "qa", None),
    ]


@pytest.mark.parametrize(
    ("flag", "status"), [("--bad-signature", 401), ("--stale", 401), ("--oversized", 413)]
)
def test_what_is_wrong_on_purpose_is_expected_to_be_refused(
    run: Run, url: str, receiver: Rig, flag: str, status: int
) -> None:
    ended = run("send", url, flag, "--json")
    assert ended.code == 0
    assert ended.json["expected"] == str(status)
    assert [reply["status"] for reply in ended.json["replies"]] == [status]
    assert receiver.publisher.scopes == []


def test_chunks_are_taken(run: Run, url: str) -> None:
    assert run("send", url, "--chunked").code == 0


def test_a_duplicate_is_answered_twice_and_worked_once(run: Run, url: str, receiver: Rig) -> None:
    ended = run("send", url, "--duplicate", "--json")
    assert ended.code == 0
    replies = [json.loads(reply["body"]) for reply in ended.json["replies"]]
    assert [reply["status"] for reply in replies] == ["accepted", "duplicate"]
    until(lambda: receiver.publisher.kinds == ["full"])


def test_a_body_of_one_s_own_is_sent_as_it_is(run: Run, url: str, receiver: Rig) -> None:
    body = b'{"event": "components.archived",  "data": {}}'
    assert run("send", url, "--payload", "-", stdin=body).code == 0
    until(lambda: "ignored" in receiver.log.text())


def test_a_refusal_that_was_not_expected_is_a_failure(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run("send", url.replace("/webhooks", "/other"))
    assert ended.code == 1
    assert "expected 2xx" in ended.err
    monkeypatch.delenv("MYOP_CDN_SEND_SECRET_FILE")
    monkeypatch.setenv("MYOP_WEBHOOK_SECRET", "wrong")
    assert run("send", url).code == 1


def test_a_release_without_an_environment_is_told_the_form(run: Run, url: str) -> None:
    ended = run("send", url, "--release", "card")
    assert (ended.code, "form COMPONENT/ENVIRONMENT" in ended.err) == (2, True)


def test_a_certificate_that_is_not_trusted_is_told_in_words(
    run: Run, url: str, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                context.wrap_socket(connection, server_side=True)

        threading.Thread(target=answer, daemon=True).start()
        ended = run("send", f"https://127.0.0.1:{server.getsockname()[1]}/")
    error, hint = ended.err.splitlines()
    assert (ended.code, "has a certificate that can't be verified" in error) == (1, True)
    assert "_ssl.c" not in error
    assert "SSL_CERT_FILE" in hint


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["ftp://a/b"],
        ["http://"],
        ["http://a:x/"],
        ["http://a/ b"],
        ["URL", "--release", "a"],
        ["URL", "--release", "../prod"],
        ["URL", "--payload", "-", "--stale"],
    ],
)
def test_what_can_t_be_sent_is_bad_usage(run: Run, url: str, words: list[str]) -> None:
    ended = run("send", *[url if word == "URL" else word for word in words], stdin=b"{}")
    assert ended.code == 2


def test_a_dead_port_is_named_with_what_to_do(run: Run, url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = run("send", f"http://127.0.0.1:{port}/webhooks/myop")
    assert ended.code == 1
    error, hint = ended.err.splitlines()
    assert f"no answer from 127.0.0.1:{port}: it can't be reached" in error
    assert "listen" in hint


def test_https_to_a_port_that_speaks_plain_http_is_told_as_that(run: Run, url: str) -> None:
    ended = run("send", url.replace("http:", "https:"))
    assert ended.code == 1
    assert "does not speak HTTPS" in ended.err
    assert "certificate" not in ended.err


@pytest.mark.parametrize("url", ["http://user:pw@127.0.0.1/x", " http://u:pw@h:x/", "u:pw@h"])
def test_credentials_in_the_url_are_never_shown(run: Run, receiver: Rig, url: str) -> None:
    ended = run("send", url, "--json", env={"MYOP_WEBHOOK_SECRET": SECRET.decode()})
    assert ended.code == 2
    assert b"pw" not in ended.out
    assert "pw" not in ended.err


def test_a_delivery_does_not_go_over_plain_http_to_another_machine(run: Run, url: str) -> None:
    ended = run("send", "http://receiver.invalid/webhooks/myop")
    assert (ended.code, "--allow-http" in ended.err) == (2, True)
    ended = run("send", "http://receiver.invalid/webhooks/myop", "--allow-http")
    assert (ended.code, "name that can't be resolved" in ended.err) == (1, True)


def test_nobody_there_is_a_failure_in_json_too(run: Run, url: str, receiver: Rig) -> None:
    with receiver.wire():
        receiver.stop()
    ended = run("send", url, "--json")
    assert ended.code == 1
    port = url.rsplit(":", 1)[1].partition("/")[0]
    assert f"no answer from 127.0.0.1:{port}" in ended.json["error"]["message"]
    assert "check that the receiver runs" in ended.json["error"]["hint"]
    receiver.start()


def test_an_answer_that_is_no_http_is_a_failure(run: Run, url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"what?\r\n\r\n")
            connection.close()

        threading.Thread(target=answer).start()
        ended = run("send", f"http://127.0.0.1:{server.getsockname()[1]}/")
    assert ended.code == 1
    assert "no answer" in ended.err
