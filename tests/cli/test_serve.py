"""`myop-cdn serve` as a process."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.stand import Stand, free_port
from tests.listener import certificate
from tests.listener.rig import Wire, signature, until, webhook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run

LONG = "long/" * 50  # longer than what is shown of a URL


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with Stand(tmp_path, components=3) as made:
        yield made


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "myop_cdn", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_full_sync_at_the_start_and_then_each_release(stand: Stand) -> None:
    stand.start()
    until(lambda: stand.published() == stand.current)
    status, answer = stand.post(stand.release(1))
    assert (status, answer["status"]) == (200, "accepted")
    until(lambda: stand.published() == stand.current)
    assert stand.terminate() == 0
    assert (stand.cdn / "manifest.json").exists()
    history = command("history", stand.cdn.as_uri(), "--json").stdout
    newest = json.loads(history)["commits"][0]["cause"]
    assert (newest["command"], newest["delivery"]) == ("serve", answer["delivery"])


def test_an_environment_that_nobody_has_is_warned_of_and_holds_nothing_up(stand: Stand) -> None:
    stand.start("--environment", "produktion", "--environment", "production")
    until(lambda: len(stand.published()) == 3)
    until(lambda: "no component has an environment produktion" in stand.log.read_text())
    assert "publishing failed" not in stand.log.read_text()


def test_an_index_that_flaps_takes_nothing_away_within_the_hour(tmp_path: Path) -> None:
    with Stand(tmp_path, components=5) as stand:
        stand.start("--delete", "--full-sync-every", "0.2s")
        until(lambda: len(stand.published()) == 5)
        for named in (4, 5, 4, 5, 4):
            stand.index(named)
            before = stand.log.read_text().count("state=done")
            until(lambda before=before: stand.log.read_text().count("state=done") > before + 1)
            assert len(stand.published()) == 5
            manifest = json.loads((stand.cdn / "manifest.json").read_text())
            assert len(manifest["components"]) == named
        assert "failed" not in stand.log.read_text()


def test_an_answer_does_not_wait_for_the_publishing(tmp_path: Path) -> None:
    with Stand(tmp_path, components=3, latency=1.0) as stand:
        stand.start("--no-sync-at-start")
        answers = [stand.post(stand.release(number)) for number in range(3)]
        assert [status for status, _ in answers] == [200] * 3
        assert stand.published() == {}
        until(lambda: stand.published() == stand.current)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(stand: Stand, number: int) -> None:
    stand.start()
    assert stand.terminate(number) == 0


def test_a_run_that_outlasts_the_grace_is_left_for_the_next_start(tmp_path: Path) -> None:
    with Stand(tmp_path, components=3, latency=4.0) as stand:
        stand.start("--no-sync-at-start", "--grace", "0.1s")
        status, answer = stand.post(stand.release(1))
        assert status == 200
        until(lambda: stand.api.requests or "publishing" in stand.log.read_text())
        assert stand.terminate() == 0
        assert stand.states() == {answer["delivery"]: "waiting"}
        stand.start("--no-sync-at-start")
        until(lambda: stand.states() == {answer["delivery"]: "done"})


def test_a_second_signal_ends_it_at_once_and_loses_nothing(tmp_path: Path) -> None:
    with Stand(tmp_path, components=3, latency=30.0) as stand:
        process = stand.start("--no-sync-at-start", "--grace", "60s")
        status, answer = stand.post(stand.release(1))
        assert status == 200
        until(lambda: "publishing" in stand.log.read_text())
        process.send_signal(signal.SIGTERM)
        until(lambda: refuses(stand.port))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
        assert stand.states() == {answer["delivery"]: "waiting"}


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_publishing_process_ends_with_a_killed_listener(tmp_path: Path) -> None:
    with Stand(tmp_path, components=3, latency=30.0) as stand:
        stand.start("--no-sync-at-start")
        stand.post(stand.release(1))
        until(lambda: stand.api.requests or "publishing" in stand.log.read_text())
        stand.kill()
        stand.start("--no-sync-at-start")  # it can only have the folder if nobody else has it


@pytest.mark.parametrize("emptied", [False, True])
def test_one_listener_for_each_state_folder(stand: Stand, emptied: bool) -> None:
    """Also where somebody has cleared the folder under the one that runs."""
    stand.start("--no-sync-at-start")
    if emptied:
        for file in stand.state.iterdir():
            file.unlink()
    words = ["serve", "--port", "0", "--state-dir", str(stand.state)]
    ended = command(*words, MYOP_API_KEY="k", MYOP_WEBHOOK_SECRET="s")
    assert ended.returncode == 1
    assert "is listening with the state folder" in ended.stderr
    assert "hint: stop it first" in ended.stderr


@pytest.mark.parametrize(
    ("words", "environment", "code", "said"),
    [
        ([], {"MYOP_API_KEY": "k"}, 2, "no signing secret"),
        ([], {"MYOP_API_KEY": "k", "MYOP_WEBHOOK_SECRET": "  "}, 2, "blank"),
        ([], {"MYOP_WEBHOOK_SECRET": "s"}, 2, "no API key"),
        (["--deploy", "s3:/typo"], {}, 2, "is not a destination"),
        (["--output", "/dev/null"], {}, 2, "is not a folder"),
        (["--output", "/nowhere/a", "--deploy", "file:///nowhere/a/b"], {}, 2, "file:///nowhere/a"),
        (["--deploy", "file:///a", "--deploy", "file:///a/"], {}, 2, "is named twice"),
        (["--deploy", f"file:///{LONG}a", "--deploy", f"file:///{LONG}b"], {}, 2, "both shown as"),
        (["--path", "x"], {}, 2, "--path"),
        (["--max-body", "much"], {}, 2, "is not a size"),
        (["--admin", "1"], {}, 2, "HOST:PORT"),
        (["--grace", "1 week"], {}, 2, "duration"),
        (["--tls-key", __file__], {}, 2, "--tls-cert"),
        (["--tls-cert", __file__], {}, 2, "is not there in PEM form"),
        (["--state-dir", "/dev/null/x"], {}, 1, "state folder"),
        (["--host", "no-such-host.invalid"], {}, 1, "can't listen"),
    ],
)
def test_what_can_t_work_is_refused_at_the_start(
    run: Run, tmp_path: Path, words: list[str], environment: dict[str, str], code: int, said: str
) -> None:
    usual = {} if environment else {"MYOP_API_KEY": "k", "MYOP_WEBHOOK_SECRET": "s"}
    ended = run("serve", "--port", "0", "--state-dir", tmp_path, *words, env=environment or usual)
    assert ended.code == code, ended.err
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ["serve", "--port", port, "--state-dir", str(tmp_path)]
        ended = command(*words, MYOP_API_KEY="k", MYOP_WEBHOOK_SECRET="s")
    assert ended.returncode == 1
    assert port in ended.stderr


def test_secrets_are_read_again_on_sighup(stand: Stand, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(stand.secret + b"\n")
    process = stand.start("--no-sync-at-start", "--secret-file", str(file))
    assert stand.post(stand.release(0))[0] == 200
    file.write_bytes(b"renewed\n")
    process.send_signal(signal.SIGHUP)
    until(lambda: "read the secrets again" in stand.log.read_text())
    assert stand.post(stand.release(0))[0] == 401
    file.write_bytes(b" \n")
    process.send_signal(signal.SIGHUP)
    until(lambda: "were not read again" in stand.log.read_text())
    assert stand.post(stand.release(0))[0] == 401
    assert process.poll() is None


def test_a_secret_is_rotated_by_its_file_alone(stand: Stand, tmp_path: Path) -> None:
    """The procedure as documented: both secrets in the file, then only the new one."""
    file = tmp_path / "secret"
    file.write_bytes(stand.secret + b"\n")
    given: dict[str, Any] = {"MYOP_WEBHOOK_SECRET": "", "MYOP_WEBHOOK_SECRET_FILE": str(file)}
    stand.start("--no-sync-at-start", **given)
    file.write_bytes(stand.secret + b"\nrenewed\n")
    until(lambda: "secrets=2" in stand.log.read_text())
    body = stand.release(0)
    assert stand.post(body)[0] == 200
    assert stand.post(body, **{"X-Myop-Signature": signature(body, b"renewed")})[0] == 200
    file.write_bytes(b"renewed\n")
    until(lambda: "secrets=1" in stand.log.read_text())
    assert stand.post(stand.release(1))[0] == 401


def test_sighup_says_that_the_environment_can_t_be_read_again(stand: Stand) -> None:
    process = stand.start("--no-sync-at-start")
    process.send_signal(signal.SIGHUP)
    until(lambda: "only a restart changes" in stand.log.read_text())
    assert stand.post(stand.release(0))[0] == 200


def test_a_unix_socket_is_listened_on_and_taken_away(stand: Stand, tmp_path: Path) -> None:
    path = tmp_path / "s"
    stand.start("--no-sync-at-start", "--unix", str(path))
    assert stat.S_ISSOCK(path.stat().st_mode)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        reply = Wire(sock).send(stand.request(stand.release(1))).reply()
    assert reply is not None
    assert reply.status == 200
    assert stand.terminate() == 0
    assert not path.exists()


def test_sockets_of_systemd_are_used(stand: Stand, tmp_path: Path) -> None:
    """As sd_listen_fds(3) has it: descriptor 3, and the process named in LISTEN_PID."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        script = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = "
            "str(os.getpid()); os.environ['LISTEN_FDS'] = '1'; "
            "os.execv(sys.executable, [sys.executable, '-m', 'myop_cdn', *sys.argv[2:]])"
        )
        words = ["serve", "--state-dir", str(stand.state), "--output", str(tmp_path / "o")]
        given = {"MYOP_API_KEY": "k", "MYOP_WEBHOOK_SECRET": "s", "MYOP_API_URL": stand.api.url}
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(opened.fileno()), *words],
            pass_fds=(opened.fileno(),),
            env={**os.environ, **given},
            stderr=subprocess.DEVNULL,
        )
        try:
            sock = socket.create_connection(opened.getsockname(), timeout=20)
            reply = Wire(sock).send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").reply()
            sock.close()
        finally:
            child.terminate()
            assert child.wait(30) == 0
    assert reply is not None
    assert reply.status == 404


def test_https_is_spoken_with_a_certificate(stand: Stand, tmp_path: Path) -> None:
    import ssl

    cert, key = certificate.make(tmp_path)
    stand.start("--no-sync-at-start", "--tls-cert", str(cert), "--tls-key", str(key), wait=False)
    until(lambda: "listening on https://" in stand.log.read_text())
    trust = ssl.create_default_context(cafile=cert)
    with (
        socket.create_connection(("127.0.0.1", stand.port), timeout=20) as plain,
        trust.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        reply = Wire(sock).send(stand.request(stand.release(1))).reply()
    assert reply is not None
    assert reply.status == 200


def test_the_admin_address_is_only_there_when_asked_for(stand: Stand) -> None:
    port = free_port()
    stand.start("--admin", f"127.0.0.1:{port}")
    until(lambda: stand.published() == stand.current)
    assert get(port, "/healthz")["status"] == "ok"
    assert get(port, "/status")["runs"][0]["scope"] == "full"
    modules = get(port, "/readyz")
    assert modules["problems"] == []


def get(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    try:
        return json.loads(answer.read())
    finally:
        connection.close()


def test_log_lines_are_json_and_carry_the_delivery_s_id(stand: Stand) -> None:
    stand.start("--no-sync-at-start", MYOP_CDN_LOG_FORMAT="json")
    _, answer = stand.post(stand.release(1))
    until(lambda: "published" in stand.log.read_text())
    lines = [json.loads(line) for line in stand.log.read_text().splitlines()]
    name = answer["delivery"]
    named = [
        (line["message"], f"{line.get('delivery')} {line.get('deliveries')}") for line in lines
    ]
    told = [message for message, ids in named if name in ids]
    assert told == ["accepted", "publishing", "published"]


def test_the_journal_can_be_looked_into_and_worked_again(stand: Stand) -> None:
    stand.start("--no-sync-at-start")
    body = stand.release(1)
    name = stand.post(body)[1]["delivery"]
    until(lambda: stand.states() == {name: "done"})
    state = ["--state-dir", str(stand.state)]
    shown = command("deliveries", "list", "--json", *state)
    assert [one["id"] for one in json.loads(shown.stdout)["deliveries"]] == [name]
    assert name in command("deliveries", "list", *state).stdout
    assert command("deliveries", "show", name, "--raw", *state).stdout.encode() == body
    assert json.loads(command("deliveries", "show", name, "--json", *state).stdout)["id"] == name
    assert "127.0.0.1" in command("deliveries", "show", name, *state).stdout
    before = stand.log.read_text().count("published")
    assert command("deliveries", "retry", name, *state).returncode == 0
    until(lambda: stand.log.read_text().count("published") > before)
    assert command("deliveries", "forget", name, *state).returncode == 0
    assert stand.states() == {}
    assert stand.post(body)[1]["status"] == "duplicate"
    assert command("deliveries", "retry", name, *state).returncode == 2


def test_without_a_journal_deliveries_says_so(tmp_path: Path) -> None:
    for words in (["list"], ["retry", "x"]):
        ended = command("deliveries", *words, "--state-dir", str(tmp_path))
        assert ended.returncode == 1
        assert "no journal" in ended.stderr


def test_no_secret_reaches_the_process_list_or_the_log(stand: Stand) -> None:
    process = stand.start()
    stand.post(webhook("c1/production"))
    until(lambda: stand.published())
    with open(f"/proc/{process.pid}/cmdline", "rb") as file:  # noqa: PTH123
        words = file.read()
    for secret in (stand.secret, b"myop_sk_"):
        assert secret not in words
        assert secret not in stand.log.read_bytes()
