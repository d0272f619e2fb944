"""Whether all that a run needs is in order, and that looking leaves nothing behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy.options import DeployOptions
from myop_cdn.deploy.target import open_targets
from myop_cdn.doctor import PROBES, Diagnosis, api, destination
from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from myop_cdn.storage.base import Body, Headers
from tests.api_server import ApiServer, Reply
from tests.deploy.test_look_alikes import rclone  # noqa: F401 - a fixture, like those below
from tests.notify.receiver import NoticeReceiver
from tests.samples import KEY, SECRET, full_tree, write
from tests.servers.proxy import Answer
from tests.servers.s3 import aws, bucket, moto_endpoint, proxy  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.conftest import Ended, Run
    from tests.servers.proxy import Proxy, Seen
    from tests.servers.s3 import Bucket

_serial = count()
LONG = SECRET + "0123456789"
DENIED = Answer(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")


@pytest.fixture
def myop(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(write(tmp_path / "myop", full_tree({"card": ["qa"]}))) as sandbox:
        yield sandbox


@pytest.fixture
def url() -> str:
    """An empty destination."""
    return f"memory://doctor-{next(_serial)}/site"


def states(found: Iterable[Diagnosis]) -> dict[str, str]:
    return {one.name: one.state for one in found}


def shown(ended: Ended) -> dict[str, str]:
    return {one["name"]: one["state"] for one in ended.json["checks"]}


def looked(url: str, endpoint: str | None = None, origin: str | None = None) -> list[Diagnosis]:
    target = open_targets([url], DeployOptions(endpoint_url=endpoint))[0]
    found = list(destination(target, origin))
    assert not [one.key for one in target.store.list(PROBES)]
    return found


def test_all_in_order_ends_with_0(run: Run, myop: Sandbox, url: str) -> None:
    env = {"MYOP_API_URL": myop.url, "MYOP_API_KEY": REHEARSAL_KEY, "MYOP_WEBHOOK_SECRET": LONG}
    ended = run("doctor", url, env=env)
    assert ended.code == 0
    lines = ended.out.decode().splitlines()
    assert all(line.startswith(("ok ", "note ")) for line in lines)
    names = [line[6:].partition(":")[0] for line in lines]
    assert names == [
        *("versions", "proxy", "certificates", "API", "API key", "clock", "secret"),
        *("reading", "writing", "conditions", "clock", "deleting", "CORS"),
    ]
    assert LONG not in ended.out.decode() + ended.err
    assert REHEARSAL_KEY not in ended.out.decode() + ended.err


def test_one_failure_hides_no_other(run: Run, tmp_path: Path) -> None:
    env = {
        "MYOP_API_URL": "http://127.0.0.1:9",
        "MYOP_API_KEY": REHEARSAL_KEY,
        "MYOP_WEBHOOK_SECRET": "short",
        "SSL_CERT_FILE": str(tmp_path / "missing.pem"),
        "HTTP_PROXY": "",
    }
    (tmp_path / "file").write_bytes(b"")
    ended = run("doctor", f"file://{tmp_path}/file", "--json", env=env)
    assert ended.code == ended.json["error"]["exitCode"] == 1
    found = shown(ended)
    wrong = {name for name, state in found.items() if state == "wrong"}
    assert wrong == {"certificates", "API", "secret", "reading", "writing"}
    assert found["versions"] == "ok"
    advice = {one["name"]: one.get("advice", "") for one in ended.json["checks"]}
    assert all(advice[name] for name in ("certificates", "API", "secret"))


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("short", "fewer than 16 bytes"),
        (f'"{LONG}"', "quotes"),
        (REHEARSAL_KEY, "is an API key"),
        (f"{LONG} {LONG}", "given twice"),
        (f"{LONG} ä0123456789abcdefg", "secret 1 has characters"),
        (" ", "blank"),
    ],
)
def test_a_secret_that_is_not_sound_is_said_and_not_shown(
    run: Run, myop: Sandbox, secret: str, words: str
) -> None:
    env = {"MYOP_API_URL": myop.url, "MYOP_WEBHOOK_SECRET": secret}
    ended = run("doctor", "--json", env=env)
    (found,) = [one for one in ended.json["checks"] if one["name"] == "secret"]
    assert (found["state"], words in found["text"]) == ("wrong", True)
    assert ended.err.count("shorter than") == 0
    assert not secret.strip() or secret not in ended.out.decode() + ended.err


def test_a_file_that_others_can_read_is_wrong(run: Run, myop: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(LONG)
    (tmp_path / "secret").chmod(0o644)
    words = ("doctor", "--secret-file", tmp_path / "secret", "--json")
    ended = run(*words, env={"MYOP_API_URL": myop.url})
    found = [one for one in ended.json["checks"] if one["name"] == "secret"]
    assert [one["state"] for one in found] == ["ok", "wrong"]
    assert "chmod 600" in found[1]["advice"]


def test_a_key_that_is_rejected_is_told_from_an_api_that_is_down(run: Run, myop: Sandbox) -> None:
    env = {"MYOP_API_URL": myop.url, "MYOP_API_KEY": "another-key"}
    found = run("doctor", "--json", env=env).json["checks"]
    assert {one["name"]: one["state"] for one in found if "API" in one["name"]} == {
        "API": "ok",
        "API key": "wrong",
    }
    assert "does not look like" in next(one["text"] for one in found if one["name"] == "API key")


@pytest.mark.parametrize("body", [b"<html>", b"welcome", b""])
def test_a_page_that_is_not_myop_s_api_is_not_taken_for_it(body: bytes) -> None:
    with ApiServer({}) as server:
        server.script["manifest.json"] = [Reply(body)]
        (found,) = [one for one in api(server.url, KEY, "a test") if one.name == "API key"]
    assert (found.state, "MYOP_API_URL" in found.advice) == ("wrong", True)
    assert "accepted" not in found.text


@pytest.mark.parametrize(("skew", "state"), [(0, "ok"), (-30, "ok"), (400, "wrong")])
def test_the_clock_is_held_against_myop_s(myop: Sandbox, skew: int, state: str) -> None:
    def now() -> float:
        return datetime.now(UTC).timestamp() + skew

    assert states(api(myop.url, REHEARSAL_KEY, "a test", now=now))["clock"] == state


def test_a_key_never_goes_to_another_machine_unencrypted(run: Run) -> None:
    env = {"MYOP_API_URL": "http://192.0.2.1", "MYOP_API_KEY": REHEARSAL_KEY}
    ended = run("doctor", "--json", env=env)
    assert shown(ended)["API key"] == "wrong"
    assert "--allow-http" in ended.out.decode()


def test_s3_is_tried_and_left_as_it_was(bucket: Bucket) -> None:  # noqa: F811
    bucket.put("manifest.json", b"{}")
    found = looked(bucket.url, bucket.endpoint, "https://app.example.com")
    assert states(found) == {
        "reading": "ok",
        "writing": "ok",
        "conditions": "ok",
        "clock": "ok",
        "deleting": "ok",
        "CORS": "wrong",
    }
    assert list(bucket.objects()) == ["manifest.json"]


def test_a_service_that_ignores_conditions_is_wrong(rclone: str) -> None:  # noqa: F811
    found = looked("s3://bucket/site", rclone)
    (one,) = [one for one in found if one.name == "conditions"]
    assert (one.state, "If-None-Match" in one.text) == ("wrong", True)


@pytest.mark.parametrize(
    ("method", "wrong"),
    [("PUT", {"writing"}), ("POST", {"deleting"}), ("GET", {"reading", "CORS"})],
)
def test_what_is_denied_is_named_and_the_rest_is_looked_at(
    bucket: Bucket,  # noqa: F811
    proxy: Proxy,  # noqa: F811
    method: str,
    wrong: set[str],
) -> None:
    methods = ("POST", "DELETE") if method == "POST" else (method,)

    def meddle(seen: Seen) -> Answer | None:
        is_listing_of_probes = "doctor" in seen.query
        return DENIED if seen.method in methods and not is_listing_of_probes else None

    proxy.meddle = meddle
    target = open_targets([bucket.url], DeployOptions(endpoint_url=proxy.url))[0]
    found = list(destination(target, None))
    assert {one.name for one in found if one.state == "wrong"} == wrong
    assert {"reading", "writing", "CORS"} <= set(states(found))


def test_an_interrupted_look_leaves_no_probe(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = open_targets([url], DeployOptions())[0]
    backend = target.store.backend
    with monkeypatch.context() as patch:

        def head(key: str) -> None:
            patch.undo()
            raise KeyboardInterrupt

        patch.setattr(backend, "head", head)
        with pytest.raises(KeyboardInterrupt):
            list(destination(target, None))
    assert target.store.list() == []


def test_what_a_killed_run_left_is_removed_by_the_next(url: str) -> None:
    target = open_targets([url], DeployOptions())[0]
    for name in ("one", "two"):
        target.store.put(f"{PROBES}{name}.json", Body.of(b"{}"), Headers())
    found = list(destination(target, None))
    assert len(target.store.list(PROBES)) == 2  # another run's, perhaps
    found = list(destination(target, None, lambda: datetime.now(UTC) + timedelta(hours=2)))
    assert states(found)["deleting"] == "ok"
    assert target.store.list(PROBES) == []


def test_a_log_elsewhere_is_tried_too(url: str, run: Run, myop: Sandbox) -> None:
    env = {"MYOP_API_URL": myop.url, "MYOP_API_KEY": REHEARSAL_KEY}
    ended = run("doctor", url, "--ledger", "memory://doctor-log", "--json", env=env)
    assert ended.code == 0
    assert shown(ended)["log: writing"] == "ok"


def test_a_test_notice_is_sent_where_that_is_asked_for(run: Run, myop: Sandbox) -> None:
    with NoticeReceiver() as receiver:
        env = {"MYOP_API_URL": myop.url, "MYOP_API_KEY": REHEARSAL_KEY}
        env |= {"MYOP_CDN_NOTIFY": f"{receiver.url} http://127.0.0.1:9/secret-path"}

        def told(*words: str) -> list[str]:
            ended = run("doctor", "--json", *words, env=env)
            assert "secret-path" not in ended.err + ended.out.decode()
            return [one["state"] for one in ended.json["checks"] if one["name"] == "notices"]

        assert told() == ["note"] * 3  # unsigned, and two that would be told
        assert receiver.all() == []
        assert told("--test-notice") == ["note", "ok", "wrong"]
        assert [one.json["type"] for one in receiver.all()] == ["test"]
