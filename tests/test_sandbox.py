"""The sandbox: Myop's API from a folder, over real sockets."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.errors import InputError, ListenerError
from myop_cdn.model import DocumentRef
from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCUMENT = '{\n  "version": "0.2.10",\n  "item": {"name": "Größe 🎉", "organizationId": "org-1"}\n}'
MANIFEST = '{"version": 1,  "components": []}'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree without a manifest."""
    root = tmp_path / "tree"
    for component_id, environment in (("b-2", "qa"), ("a-1", "production"), ("a-1", "preview")):
        path = root / DocumentRef(component_id, environment).path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DOCUMENT, "utf-8")
    return root


@contextmanager
def connected(sandbox: Sandbox) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=20)
    try:
        yield connection
    finally:
        connection.close()


def get(
    sandbox: Sandbox, target: str, authorization: str | None = f"Bearer {REHEARSAL_KEY}"
) -> tuple[int, bytes]:
    with connected(sandbox) as connection:
        headers = {} if authorization is None else {"Authorization": authorization}
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == "application/json"
        return answer.status, answer.read()


def test_a_document_is_served_byte_for_byte(tree: Path) -> None:
    with Sandbox(tree) as sandbox:
        status, body = get(sandbox, "/consume?id=a-1&env=production")
    assert (status, body) == (200, DOCUMENT.encode())


def test_preview_is_the_preview_document(tree: Path) -> None:
    (tree / "components/a-1/preview.json").write_text('{"latest": true}')
    with Sandbox(tree) as sandbox:
        assert get(sandbox, "/consume?id=a-1&preview=true") == (200, b'{"latest": true}')


def test_an_edit_shows_at_the_next_request(tree: Path) -> None:
    with Sandbox(tree) as sandbox:
        get(sandbox, "/consume?id=b-2&env=qa")
        (tree / "components/b-2/qa.json").write_text('{"new": 1}')
        assert get(sandbox, "/consume?id=b-2&env=qa") == (200, b'{"new": 1}')


def test_the_trees_own_manifest_is_the_index(tree: Path) -> None:
    (tree / "manifest.json").write_text(MANIFEST)
    with Sandbox(tree) as sandbox:
        assert get(sandbox, "/export") == (200, MANIFEST.encode())


def test_a_tree_without_manifest_gets_an_index_of_its_files(tree: Path) -> None:
    (tree / "components/b-2/broken.json").write_text("no JSON")
    with Sandbox(tree) as sandbox:
        status, body = get(sandbox, "/export")
    index = json.loads(body)
    assert status == 200
    assert index.pop("exportedAt").endswith("Z")
    assert index == {
        "version": 1,
        "organization": "org-1",
        "components": [
            {"id": "a-1", "name": "Größe 🎉", "environments": ["production"]},
            {"id": "b-2", "name": "Größe 🎉", "environments": ["broken", "qa"]},
        ],
    }


def test_an_empty_folder_has_an_empty_index(tmp_path: Path) -> None:
    with Sandbox(tmp_path) as sandbox:
        assert json.loads(get(sandbox, "/export")[1])["components"] == []


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/consume", 400),
        ("/consume?env=qa", 400),
        ("/consume?id=a-1", 400),
        ("/consume?id=%FF&env=qa", 400),
        ("/consume?id=a-1&env=staging", 404),
        ("/consume?id=unknown&preview=true", 404),
        ("/consume?id=..&env=manifest", 404),
        ("/consume?id=a-1&env=..%2F..%2F..%2Fsecret", 404),
        ("/consume?id=a-1%00&env=qa", 404),
        ("/components/a-1/production.json", 404),
        ("/../secret.json", 404),
    ],
)
def test_what_is_not_there_is_refused_in_json(tree: Path, target: str, status: int) -> None:
    (tree.parent / "secret.json").write_text("{}")
    (tree / "manifest.json").write_text(MANIFEST)
    with Sandbox(tree) as sandbox:
        answered, body = get(sandbox, target)
    assert answered == status
    assert set(json.loads(body)) == {"error"}


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer other_0123", "Basic myop_sk_1", "Bearer myop_sk_", "myop_sk_1"],
)
def test_a_request_without_a_key_of_the_right_look_gets_401(
    tree: Path, authorization: str | None
) -> None:
    with Sandbox(tree) as sandbox:
        assert get(sandbox, "/export", authorization)[0] == 401
        assert get(sandbox, "/consume?id=a-1&env=production", authorization)[0] == 401


def test_a_configured_key_is_the_only_one(tree: Path) -> None:
    with Sandbox(tree, api_key="myop_sk_mine") as sandbox:
        assert get(sandbox, "/export", "Bearer myop_sk_mine")[0] == 200
        assert get(sandbox, "/export", f"Bearer {REHEARSAL_KEY}")[0] == 401
        assert get(sandbox, "/export", "Bearer myop_sk_m\xfcne")[0] == 401


def test_other_methods_are_refused(tree: Path) -> None:
    with Sandbox(tree) as sandbox:
        for method in ("POST", "DELETE", "HEAD"):
            with connected(sandbox) as connection:
                connection.request(method, "/export", body=b"x")
                answer = connection.getresponse()
                assert (answer.status, answer.headers["Allow"]) == (405, "GET")
        assert [one.method for one in sandbox.requests] == ["POST", "DELETE", "HEAD"]


def test_bytes_that_are_no_http_get_400_in_json(tree: Path) -> None:
    with Sandbox(tree) as sandbox:
        host, port = sandbox.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as raw:
            raw.sendall(b"hello there, sandbox! 1\r\n\r\n")
            with raw.makefile("rb") as stream:
                answer = stream.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"error": ' in answer


def test_one_connection_serves_many_requests(tree: Path) -> None:
    with Sandbox(tree) as sandbox, connected(sandbox) as connection:
        ends = set()
        for _ in range(3):
            headers = {"Authorization": f"Bearer {REHEARSAL_KEY}"}
            connection.request("GET", "/consume?id=a-1&env=production", headers=headers)
            assert connection.getresponse().read() == DOCUMENT.encode()
            ends.add(connection.sock.getsockname())
        assert len(ends) == 1


def test_requests_tell_what_was_asked_and_never_the_key(tree: Path) -> None:
    seen: list[Any] = []
    with Sandbox(tree, on_request=seen.append) as sandbox:
        get(sandbox, "/export")
        get(sandbox, "/consume?id=a-1&preview=true")
        get(sandbox, "/consume?id=a-1&env=qa")
        asked = sandbox.requests
        assert [(one.status, one.ref) for one in asked] == [
            (200, None),
            (200, DocumentRef("a-1", "preview")),
            (404, DocumentRef("a-1", "qa")),
        ]
        assert seen == asked
        assert REHEARSAL_KEY not in repr(asked)
        sandbox.forget()
        assert sandbox.requests == []


def outcome(sandbox: Sandbox, target: str) -> str:
    try:
        with connected(sandbox) as connection:
            headers = {"Authorization": f"Bearer {REHEARSAL_KEY}"}
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            answer.read()
    except http.client.IncompleteRead:
        return "cut"
    except (http.client.RemoteDisconnected, ConnectionError):
        return "closed"
    return f"{answer.status} {answer.headers.get('Retry-After', '')}".strip()


def test_faults_are_503_with_and_without_retry_after_cut_bodies_and_closed_connections(
    tree: Path,
) -> None:
    target = "/consume?id=a-1&env=production"
    with Sandbox(tree, fail_rate=0.5) as sandbox:
        counts = Counter(outcome(sandbox, target) for _ in range(200))
    assert set(counts) == {"200", "503", "503 0", "cut", "closed"}
    assert 60 <= counts["200"] <= 140


def test_the_same_seed_meets_the_same_faults_in_any_order(tree: Path) -> None:
    targets = [f"/consume?id=a-1&env={name}" for name in ("production", "preview", "qa")] * 8

    def run(order: list[str], seed: int) -> list[tuple[str, str | None]]:
        with Sandbox(tree, fail_rate=0.4, seed=seed) as sandbox:
            threads = [threading.Thread(target=outcome, args=(sandbox, one)) for one in order]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return sorted((one.target, one.fault or "") for one in sandbox.requests)

    assert run(targets, 7) == run(targets[::-1], 7)
    assert run(targets, 7) != run(targets, 8)


def test_every_request_fails_at_a_rate_of_one(tree: Path) -> None:
    with Sandbox(tree, fail_rate=1) as sandbox:
        assert "200" not in {outcome(sandbox, "/export") for _ in range(20)}


def test_many_clients_at_once_are_all_served(tree: Path) -> None:
    with Sandbox(tree, latency=timedelta(milliseconds=50)) as sandbox:
        results: list[str] = []

        def ask() -> None:
            results.append(outcome(sandbox, "/consume?id=a-1&env=production"))

        threads = [threading.Thread(target=ask) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == ["200"] * 100


def test_closing_cuts_requests_that_wait(tree: Path) -> None:
    with Sandbox(tree, latency=timedelta(hours=1)) as sandbox, connected(sandbox) as connection:
        connection.request("GET", "/export")
        sandbox.close()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            connection.getresponse()


def test_a_closed_sandbox_frees_its_port(tree: Path) -> None:
    with Sandbox(tree) as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        get(sandbox, "/export")
    with Sandbox(tree, port) as again:
        assert get(again, "/export")[0] == 200


def test_a_taken_port_is_named(tree: Path) -> None:
    with Sandbox(tree) as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        with pytest.raises(ListenerError, match=f"127.0.0.1:{port}"):
            Sandbox(tree, port)


def test_a_tree_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        Sandbox(tmp_path / "missing")
