"""`publish --notify` and `--on-failure`: somebody is told, and nobody is held up."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from myop_cdn.notify import sender
from myop_cdn.retry import RetryPolicy
from tests.api_server import ApiServer
from tests.chaos.stand import Stand
from tests.listener.rig import until
from tests.notify.receiver import NoticeReceiver
from tests.samples import KEY, full_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjUPD8ILPZI"


@pytest.fixture
def receiver() -> Iterator[NoticeReceiver]:
    with NoticeReceiver() as running:
        yield running


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(full_tree({"card": ["qa"]})) as running:
        yield running


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ApiServer) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYOP_API_KEY", KEY)
    monkeypatch.setenv("MYOP_API_URL", server.url)
    (tmp_path / "file").write_text("no folder")
    return tmp_path


def test_a_publish_that_fails_is_told_and_one_that_does_not_is_not(
    run: Run, here: Path, receiver: NoticeReceiver
) -> None:
    env = {"MYOP_CDN_NOTIFY_SECRET": SECRET}
    words = ("--notify", receiver.url)
    assert run("publish", f"file://{here}/cdn", *words, env=env).code == 0
    assert receiver.all() == []
    ended = run("publish", f"file://{here}/file/x", *words, "--json", env=env)
    assert ended.code == ended.json["error"]["exitCode"] != 0
    (got,) = receiver.all()
    assert got.json["type"] == "publish.failed"
    assert got.json["data"]["subject"] == f"file://{here}/file/x"
    assert got.json["data"]["message"] == ended.json["error"]["message"]
    assert got.headers["webhook-signature"].startswith("v1,")
    assert "secret-path" not in ended.err
    run("publish", f"file://{here}/file/x", *words, "--dry-run", env=env)
    assert receiver.all() == []


def test_a_refusal_and_what_ends_before_it_begins_are_told(
    run: Run, here: Path, receiver: NoticeReceiver, server: ApiServer
) -> None:
    words = ("publish", f"file://{here}/cdn", "--notify", receiver.url)
    run(*words)
    server.files = full_tree({})
    assert run(*words).code == 3
    assert [one.json["type"] for one in receiver.all()] == ["publish.refused"]
    ended = run(*words, "--payload", "missing.json")
    assert ended.code == 2
    assert [one.json["type"] for one in receiver.all()] == ["publish.failed"]
    assert "are not signed: set MYOP_CDN_NOTIFY_SECRET" in ended.err


def test_a_run_that_ends_by_a_defect_is_told_without_its_words(
    run: Run, here: Path, receiver: NoticeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish(*_: object) -> None:
        raise RuntimeError("with a secret")

    monkeypatch.setattr(import_module("myop_cdn.publish"), "publish", publish)
    assert run("publish", f"file://{here}/cdn", "--notify", receiver.url).code == 1
    (got,) = receiver.all()
    assert got.json["type"] == "publish.failed"
    assert got.json["data"]["message"].startswith("unexpected RuntimeError")
    assert "secret" not in str(got.json["data"])


def test_a_receiver_that_is_down_changes_nothing_of_how_the_run_ends(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_RETRY", RetryPolicy(attempts=3, first_pause=0.0))
    words = ("--notify", "http://127.0.0.1:9/secret-path")
    assert run("publish", f"file://{here}/cdn", *words).code == 0
    ended = run("publish", "nonsense", *words, "--json")
    assert (ended.code, ended.json["error"]["exitCode"]) == (2, 2)
    assert "a notice did not get to http://127.0.0.1:9/…" in ended.err
    assert "secret-path" not in ended.err


@pytest.mark.parametrize("how", ["variable", "file", "credential"])
def test_the_url_may_be_kept_out_of_the_command_line(
    run: Run, here: Path, receiver: NoticeReceiver, how: str
) -> None:
    (here / "notify-url").write_text(receiver.url + "\n")
    (here / "notify-url").chmod(0o600)
    env = {
        "variable": {"MYOP_CDN_NOTIFY": receiver.url},
        "file": {"MYOP_CDN_NOTIFY_FILE": str(here / "notify-url")},
        "credential": {"CREDENTIALS_DIRECTORY": str(here)},
    }[how]
    ended = run("publish", "nonsense", env=env)
    assert ended.code == 2
    assert len(receiver.all()) == 1
    assert "variable of" not in ended.err


def test_a_url_that_is_not_one_is_bad_usage_before_anything_is_done(
    run: Run, here: Path, server: ApiServer
) -> None:
    for url in ("nonsense", "http://alerts.example.com/secret-path"):
        ended = run("publish", f"file://{here}/cdn", "--notify", url)
        assert ended.code == 2
        assert "secret-path" not in ended.err
    assert run("publish", f"file://{here}/cdn", "--on-failure", "no-such-program").code == 2
    assert server.asked == []


def test_a_command_gets_the_facts_and_no_secret(run: Run, here: Path) -> None:
    script = here / "tell"
    script.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "json.dump([sys.argv[1:], dict(os.environ)], open('told.json', 'w'))\nprint('noise')\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    env = {"MYOP_CDN_NOTIFY_SECRET": SECRET, "AWS_SECRET_ACCESS_KEY": "x", "TZ": "UTC"}
    words = ("--on-failure", f"{script} 'a b' $HOME", "--json")
    assert run("publish", f"file://{here}/cdn", *words, env=env).code == 0
    assert not (here / "told.json").exists()
    ended = run("publish", f"file://{here}/file/x", *words, env=env)
    arguments, given = json.loads((here / "told.json").read_text("utf-8"))
    assert arguments == ["a b", "$HOME"]
    assert given["MYOP_CDN_EVENT"] == "failed"
    assert given["MYOP_CDN_MESSAGE"] == ended.json["error"]["message"]
    assert given["MYOP_CDN_SUBJECT"] == f"file://{here}/file/x"
    facts = {name for name in given if name.startswith("MYOP")}
    assert facts == {
        "MYOP_CDN_EVENT", "MYOP_CDN_SUBJECT", "MYOP_CDN_MESSAGE", "MYOP_CDN_HINT", "MYOP_CDN_TIME",
        "MYOP_CDN_FAILURES", "MYOP_CDN_SINCE", "MYOP_CDN_LEFT_OUT", "MYOP_CDN_RUN_URL",
    }  # fmt: skip
    assert "AWS_SECRET_ACCESS_KEY" not in given
    assert given["PATH"] == os.environ["PATH"]
    assert "noise" not in ended.err


def test_a_serve_that_fails_is_told_once_and_then_that_it_works(
    tmp_path: Path, receiver: NoticeReceiver
) -> None:
    with NoticeReceiver() as slow, Stand(tmp_path / "stand", components=2) as stand:
        slow.hold.clear()
        stand.cdn.write_text("no folder")
        stand.start(
            MYOP_CDN_NOTIFY=f"{slow.url} http://127.0.0.1:9/down {receiver.url}",
            MYOP_CDN_NOTIFY_SECRET=SECRET,
        )
        until(lambda: stand.log.read_text().count("publishing failed") >= 3)
        status, _ = stand.post(stand.release(1))  # nobody waits for the receivers
        assert status == 200
        assert [one.json["type"] for one in receiver.all()] == ["publish.failed"]
        assert stand.terminate() == 0  # whoever mends it may restart it
        stand.cdn.unlink()
        stand.start(MYOP_CDN_NOTIFY=receiver.url, MYOP_CDN_NOTIFY_SECRET=SECRET)
        until(lambda: stand.published() == stand.current)
        recovered = receiver.got.get(timeout=20)
        assert recovered.json["type"] == "publish.recovered"
        assert recovered.json["data"]["failures"] >= 3
        assert recovered.json["data"]["subject"] == stand.cdn.as_uri()
        assert recovered.headers["webhook-signature"].startswith("v1,")
        assert stand.terminate() == 0
        text = stand.log.read_text()
        assert "secret-path" not in text
        assert "a notice did not get to http://127.0.0.1:9/…" in text
    assert receiver.all() == []


def test_a_serve_tells_a_new_receiver_once_its_url_was_replaced(
    tmp_path: Path, receiver: NoticeReceiver
) -> None:
    file = tmp_path / "url"
    file.write_text("http://127.0.0.1:9/old")
    file.chmod(0o600)
    with Stand(tmp_path / "stand", components=1) as stand:
        stand.start(MYOP_CDN_NOTIFY_FILE=str(file))
        until(lambda: stand.published() == stand.current)
        file.write_text(receiver.url)
        until(lambda: "read the secrets again" in stand.log.read_text())
        shutil.rmtree(stand.cdn)
        stand.cdn.write_text("no folder")
        stand.post(stand.release(0))
        assert receiver.got.get(timeout=30).json["type"] == "publish.failed"
