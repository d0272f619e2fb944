"""`--journal postgresql://…` on the command line: what it takes, what it refuses, what it hides."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.listener.queue.contract import record, store
from tests.servers.postgres import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run
    from tests.servers.postgres import Postgres

URL = "postgresql://myop@127.0.0.1:1/journal"
ENV = {"MYOP_WEBHOOK_SECRET": "0123456789abcdef", "MYOP_API_KEY": "myop_sk_" + "0" * 64}


def test_a_password_on_the_command_line_is_refused_and_not_repeated(run: Run) -> None:
    for words in (
        ("serve", "--deploy", "s3://b", "--journal", "postgresql://u:s3cr3t@h/d"),
        ("serve", "--deploy", "s3://b", "--journal", "postgresql://h/d?password=s3cr3t"),
        ("deliveries", "list", "--journal", "postgres://u:s3cr3t@h/d"),
    ):
        ended = run(*words, env=ENV)
        assert ended.code == 2
        assert "PGPASSWORD" in ended.err
        assert "s3cr3t" not in ended.err


def test_a_url_that_is_not_one_is_named_without_its_password(run: Run) -> None:
    given = {**ENV, "MYOP_CDN_JOURNAL": "postgresql://u:s3cr3t@h/d?colour=red"}
    ended = run("serve", "--deploy", "s3://b", env=given)
    assert ended.code == 2
    assert "colour" in ended.err
    assert "s3cr3t" not in ended.err
    ended = run("serve", "--deploy", "s3://b", "--journal", "mysql://u:s3cr3t@h/d", env=ENV)
    assert ended.code == 2
    assert "postgresql://" in ended.err
    assert "s3cr3t" not in ended.err


def test_replicas_need_a_destination(run: Run) -> None:
    ended = run("serve", "--journal", URL, env=ENV)
    assert ended.code == 2
    assert "give --deploy" in ended.err


def test_without_psycopg_it_says_what_to_install(tmp_path: Path) -> None:
    """As in a plain `pip install myop-cdn`, where there is no trace of it."""
    hidden = "import sys; sys.modules['psycopg'] = None; from myop_cdn.__main__ import main; main()"
    words = [sys.executable, "-c", hidden, "serve", "--deploy", "s3://b", "--journal", URL]
    ended = subprocess.run(words, capture_output=True, text=True, env=ENV, cwd=tmp_path)
    assert ended.returncode == 2
    assert f"hint: {sys.executable} -m pip install 'psycopg[binary]'" in ended.stderr


def test_a_database_that_is_away_is_an_error_of_one_line(run: Run) -> None:
    ended = run("deliveries", "list", "--journal", URL)
    assert ended.code == 1
    assert "Connection refused" in ended.err


def test_deliveries_are_looked_at_and_asked_for_again(run: Run, postgres: Postgres) -> None:
    from myop_cdn.listener.queue.base import Lane
    from myop_cdn.listener.queue.postgres.queue import PostgresQueue
    from tests.listener.rig import Lines

    url = postgres.empty("journal")
    queue = PostgresQueue(url, [Lane("s3://b")], Lines())
    queue.start()
    for one in (record("d1", body=b"{}"), record("d2")):
        store(queue, one)
    queue.close()
    env = {
        "MYOP_CDN_JOURNAL": f"postgresql://postgres@127.0.0.1:{postgres.port}/journal",
        "PGPASSWORD": PASSWORD,
    }
    found = run("deliveries", "list", "--json", env=env).json["deliveries"]
    assert [one["id"] for one in found] == ["d2", "d1"]
    assert found[0]["lacking"] == [{"destination": "s3://b", "error": None}]
    assert run("deliveries", "show", "d1", "--raw", env=env).out == b"{}"
    assert run("deliveries", "retry", "d1", env=env).code == 0
    assert run("deliveries", "forget", "d2", env=env).code == 0
    assert run("deliveries", "show", "d2", env=env).code == 2
    assert len(run("deliveries", "list", "--json", env=env).json["deliveries"]) == 1


@pytest.mark.parametrize("command", ["deploy", "verify"])
def test_the_variable_is_nothing_to_other_commands(run: Run, command: str) -> None:
    ended = run(command, "--help", env={"MYOP_CDN_JOURNAL": URL})
    assert ended.code == 0
    assert "is not the variable" not in ended.err
