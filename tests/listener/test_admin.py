"""What an operator sees."""

from __future__ import annotations

import select
import socket
import sqlite3
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from myop_cdn.errors import KeyRejected, RefusedError
from myop_cdn.listener.admin.handler import Admin, is_public
from myop_cdn.listener.http.sockets import Address, listen
from myop_cdn.listener.metrics import Metrics
from myop_cdn.listener.queue import agenda
from myop_cdn.listener.queue.base import Overview
from tests.listener.rig import PATIENCE, Rig, Wire, failing, until, webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from myop_cdn.listener.admin.desk import Desk, Task
    from myop_cdn.model import Scope
    from myop_cdn.report import PublishReport


class Operator:
    """Asks the admin address."""

    def __init__(self, rig: Rig, desk: Desk | None = None) -> None:
        self.rig = rig
        found = listen(Address("127.0.0.1", 0))
        self.address = found[0].getsockname()
        self.admin = Admin(rig.listener, found, rig.log, desk=desk)
        self.admin.start()

    def get(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        url = f"http://{self.address[0]}:{self.address[1]}{path}"
        asked = urllib.request.Request(url, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, path: str) -> Any:
        import json

        return json.loads(self.get(path)[1])

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels."""
        text = self.get("/metrics")[1].decode()
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = [f"{name}={value}" for name, value in sorted(sample.labels.items())]
                found[",".join([sample.name, *labels])] = sample.value
        return found


@pytest.fixture
def operator(make_rig: Callable[..., Rig]) -> Iterator[Operator]:
    made = Operator(make_rig().start())
    yield made
    made.admin.stop()


class Stuck:
    """A desk whose destination does not answer until it is let go."""

    def __init__(self) -> None:
        self.free = threading.Event()

    def __call__(self, task: Task) -> bytes:
        assert self.free.wait(PATIENCE)
        return b"{}"


def test_a_destination_that_does_not_answer_takes_nothing_else_away(
    make_rig: Callable[..., Rig],
) -> None:
    """However many ask for it, and leave or stay."""
    desk = Stuck()
    operator = Operator(make_rig().start(), desk)
    asked = "/page/history?component=card&destination=" + quote("s3://b")
    head = f"GET {asked} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    try:
        with ExitStack() as stack:
            for _ in range(70):
                wire = stack.enter_context(socket.create_connection(operator.address))
                wire.sendall(head)
            assert until(lambda: operator.get(asked)[0] == 503)
            assert operator.get("/healthz")[0] == 200
    finally:
        desk.free.set()
        operator.admin.stop()


def test_health_is_200_while_the_loop_and_the_worker_turn(operator: Operator) -> None:
    assert operator.get("/healthz")[0] == 200
    assert operator.get("/healthz", "HEAD") == (200, b"")


def test_ready_is_503_when_the_journal_can_t_be_written(operator: Operator) -> None:
    assert operator.get("/readyz")[0] == 200
    other = sqlite3.connect(operator.rig.journal, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    status, body = operator.get("/readyz")
    other.execute("ROLLBACK")
    other.close()
    assert status == 503
    assert b"journal" in body
    assert operator.get("/readyz")[0] == 200


def test_health_does_not_wait_for_a_journal_that_ready_waits_for(operator: Operator) -> None:
    other = sqlite3.connect(operator.rig.journal, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with Wire(socket.create_connection(operator.address, timeout=PATIENCE)) as wire:
        wire.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert [operator.get(path)[0] for path in ("/healthz", "/metrics", "/healthz")] == [200] * 3
        assert select.select([wire.sock], [], [], 0)[0] == []  # it waits still
        answer = wire.reply()
    other.execute("ROLLBACK")
    other.close()
    assert answer is not None
    assert answer.status == 503


def test_all_who_ask_while_a_probe_is_under_way_are_told_by_the_next_one(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or those who ask again and again would take up the address while a journal is slow."""
    queue, entered, gate = operator.rig.listener.queue, threading.Event(), threading.Event()
    probe, probes = queue.probe, list[float]()

    def slow(seconds: float) -> None:
        probes.append(seconds)
        entered.set()
        assert gate.wait(PATIENCE)
        probe(seconds)

    monkeypatch.setattr(queue, "probe", slow)
    with ExitStack() as stack:
        wires = []
        for number in range(6):
            sock = socket.create_connection(operator.address, timeout=PATIENCE)
            wires.append(stack.enter_context(Wire(sock)))
            wires[-1].send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert number or entered.wait(PATIENCE)
        until(lambda: len(operator.admin._asking) == 5)
        gate.set()
        replies = [wire.reply() for wire in wires]
    assert [reply.status for reply in replies if reply] == [200] * 6
    assert len(probes) == 2


def test_ready_tells_the_age_of_the_last_success(operator: Operator) -> None:
    assert operator.json("/readyz")["lastSuccessSeconds"] is None
    operator.rig.post(webhook("a/prod"))
    until(lambda: operator.json("/readyz")["lastSuccessSeconds"] is not None)


def test_what_is_wrong_at_a_destination_shows_in_ready_and_in_gauges_until_it_heals(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "FIRST", 0.02)
    rig = operator.rig

    def wrong(scope: Scope) -> PublishReport:
        if scope.kind == "full":
            raise RefusedError("too much would be removed")
        if scope.releases[0].component_id == "lost":
            return failing("lost/prod")(scope)
        raise KeyRejected("the API key was rejected")

    rig.publisher.answers = [wrong] * 500
    rig.post(webhook("lost/prod"))
    until(lambda: operator.metrics()["myop_cdn_given_up"] == 1)
    rig.post(webhook(full=True))
    until(lambda: operator.metrics()["myop_cdn_failed_full_syncs"] >= 1)
    rig.post(webhook("a/prod"))
    until(lambda: operator.metrics()["myop_cdn_failed_attempts"] >= 1)
    assert operator.get("/readyz")[0] == 200
    ready = operator.json("/readyz")
    assert ready["status"] == "degraded"
    for words in (
        "runs failed in a row: the API key was rejected",
        "the full sync failed",
        "releases that are given up: 1",
    ):
        assert any(words in one for one in ready["troubles"]), ready
    assert operator.metrics()["myop_cdn_destination_ok,destination=s3://b"] == 0
    found = operator.json("/status")
    assert found["givenUp"][0]["componentId"] == "lost"
    assert found["lastError"]["error"]
    rig.publisher.answers.clear()
    rig.post(webhook("lost/prod", full=True))
    until(lambda: operator.json("/readyz")["status"] == "ok")
    assert operator.metrics()["myop_cdn_destination_ok,destination=s3://b"] == 1


def test_a_journal_that_was_set_aside_shows_in_ready_and_in_a_gauge(operator: Operator) -> None:
    for part in operator.rig.journal.parent.glob("*.sqlite3*"):
        part.unlink()
    operator.rig.post(webhook("a/prod"))
    ready = operator.json("/readyz")
    assert (ready["status"], "a new one was begun" in ready["troubles"][0]) == ("degraded", True)
    assert operator.metrics()["myop_cdn_journal_replaced"] == 1


def test_health_is_503_when_the_worker_has_ended(operator: Operator) -> None:
    (worker,) = operator.rig.listener.workers
    worker.stop()
    assert worker.join(PATIENCE)
    assert operator.get("/healthz")[0] == 503


def test_metrics_count_what_came_in_and_what_became_of_it(operator: Operator) -> None:
    body = webhook("a/prod")
    rig = operator.rig
    rig.post(body)
    rig.post(body)
    rig.post(body, secret=b"wrong")
    until(lambda: operator.metrics()["myop_cdn_last_success_timestamp_seconds"])
    found = operator.metrics()
    assert found["myop_cdn_received_total,fate=accepted"] == 1
    assert found["myop_cdn_received_total,fate=duplicate"] == 1
    reason = "the signature does not match the body"
    assert found[f"myop_cdn_rejected_total,reason={reason},status=401"] == 1
    assert found["myop_cdn_secret_matched_total,index=0"] == 2
    assert found["myop_cdn_queue_depth"] == 0
    assert found["myop_cdn_journal_writable"] == 1
    assert found["myop_cdn_run_seconds_count"] == 1
    assert found["myop_cdn_last_success_timestamp_seconds"] > 1e9


def test_metrics_are_told_of_a_journal_that_has_nothing_yet() -> None:
    text = Metrics().page(Overview(0, None, ()), 1.0, {"running": 0.0}).decode()
    assert "\nmyop_cdn_failed_attempts 0.0\n" in text
    assert "\nmyop_cdn_last_success_timestamp_seconds 0.0\n" in text


def test_metrics_have_no_endless_labels(operator: Operator) -> None:
    """What a client chooses never becomes a label."""
    for number in range(80):
        if number != 64:
            head = b"POST /webhooks/myop HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
            operator.rig.say(head + b"X-Myop-Signature: sha256=" + b"a" * number + b"\r\n\r\n")
    assert len([name for name in operator.metrics() if "rejected_total" in name]) < 5


def test_status_tells_the_last_deliveries_the_queue_and_what_is_live(operator: Operator) -> None:
    rig = operator.rig
    rig.publisher.answers = [failing("bad/prod")]
    name = rig.post(webhook("a/prod=one", "bad/prod")).json["delivery"]
    found = until(lambda: (now := operator.json("/status"))["queue"]["retries"] and now)
    assert found["deliveries"][0]["id"] == name
    assert found["deliveries"][0]["state"] == "retrying"
    assert found["queue"]["deliveries"] == 1
    assert found["queue"]["retries"][0]["componentId"] == "bad"
    assert found["lastError"]["error"]
    assert found["live"][0]["componentId"] == "a"
    assert found["live"][0]["variantId"] == "one"
    assert found["live"][0]["since"].endswith("Z")


def test_status_tells_what_is_being_published(operator: Operator) -> None:
    operator.rig.publisher.gate.clear()
    operator.rig.post(webhook("a/prod"))
    running = until(lambda: operator.json("/status")["running"])
    assert running["scope"] == "incremental"
    assert running["deliveries"] == 1


def test_other_paths_and_methods_are_refused(operator: Operator) -> None:
    assert operator.get("/statuses")[0] == 404
    assert operator.get("/status", "DELETE")[0] == 405


def test_the_admin_address_takes_no_deliveries(operator: Operator) -> None:
    with socket.create_connection(operator.address, timeout=PATIENCE) as sock:
        sock.sendall(
            b"POST /webhooks/myop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9000", 200),
        ("a.localhost", 200),
        ("127.0.0.1:9000", 200),
        ("[::1]:9000", 200),
        ("10.1.2.3", 200),
        ("metrics.internal:9000", 200),
        ("rebound.example", 421),
        ("rebound.example:9000", 421),
        ("localhost.example", 421),
        ("127.0.0.1.example", 421),
        ("", 421),
    ],
)
def test_a_name_that_anybody_could_point_here_is_not_answered(
    rig: Rig, host: str, status: int
) -> None:
    found = listen(Address("127.0.0.1", 0))
    address = found[0].getsockname()
    admin = Admin(rig.listener, found, rig.log, names=("Metrics.internal",))
    admin.start()
    with Wire(socket.create_connection(address, timeout=PATIENCE)) as wire:
        answer = wire.send(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).reply()
    admin.stop()
    assert answer is not None
    assert answer.status == status


@pytest.mark.parametrize(
    ("host", "public"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True), ("::", True)]
)
def test_a_public_admin_address_is_told_from_a_private_one(host: str, public: bool) -> None:
    for sock in listen(Address(host, 0)):
        assert is_public(sock) is public
        sock.close()
