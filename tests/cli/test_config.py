"""Targets in the configuration file, and `config show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.test_completion import offered
from tests.samples import KEY, full_tree, read, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a tree, and a file with two targets."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "myop-static", full_tree({"card": ["qa"]}))
    (tmp_path / "m.toml").write_text(
        f"""
[targets.production]
destinations = ["file://{tmp_path}/a", "file://{tmp_path}/b"]
cache-control = "public, max-age=60"
delete = true
jobs = 4
invalidate = []

[targets.staging]
destinations = "file://{tmp_path}/c"

[deploy]
jobs = 8
"""
    )
    return tmp_path


@pytest.mark.parametrize("after", [False, True])
def test_a_target_stands_for_its_destinations(run: Run, here: Path, after: bool) -> None:
    config, rest = ("--config", "m.toml"), ("deploy", "@production", f"file://{here}/d", "--json")
    ended = run(*rest, *config) if after else run(*config, *rest)
    assert ended.code == 0
    urls = [one["url"] for one in ended.json["destinations"]]
    assert urls == [f"file://{here}/{name}" for name in "abd"]
    for name in "abd":
        assert "components/card/qa.json" in read(here / name)


def source(run: Run, *words: str, option: str = "jobs", **env: str) -> tuple[object, str]:
    """An option's value and where it comes from."""
    ended = run("--config", "m.toml", "config", "show", "--json", "deploy", *words, env=env)
    assert ended.code == 0, ended.err
    found = ended.json["commands"]["deploy"][option]
    return found["value"], found["source"]


def test_the_command_line_wins_over_variables_these_over_a_target_and_that_over_the_rest(
    run: Run,
) -> None:
    variable = {"MYOP_CDN_DEPLOY_JOBS": "5"}
    assert source(run, "@production", "--jobs", "6", **variable) == (6, "command line")
    assert source(run, "@production", **variable) == (5, "MYOP_CDN_DEPLOY_JOBS")
    assert source(run, "@production") == (4, "m.toml, [targets.production]")
    assert source(run, "@staging") == (8, "m.toml, [deploy]")
    assert source(run, "@production", option="encoding") == ("identity", "default")
    assert source(run, "@production", option="delete") == (True, "m.toml, [targets.production]")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("deploy", "@prodution"), "there is no target @prodution; did you mean 'production'?"),
        (("deploy", "@production", "@staging"), "have different options"),
        (("status", "@production"), "has 2 destinations, and this command takes one"),
    ],
)
def test_a_target_that_can_t_be_meant_is_bad_usage(
    run: Run, here: Path, words: tuple[str, ...], message: str
) -> None:
    ended = run("--config", "m.toml", *words)
    assert (ended.code, message in ended.err) == (2, True), ended.err
    assert not (here / "a").exists()


def test_a_target_without_a_file_says_how_to_name_one(run: Run) -> None:
    ended = run("deploy", "@production")
    assert ended.code == 2
    assert "name the configuration file: --config FILE, or MYOP_CDN_CONFIG" in ended.err


def test_commands_of_one_destination_take_a_target_of_one(run: Run) -> None:
    run("--config", "m.toml", "deploy", "@staging")
    assert run("--config", "m.toml", "history", "@staging", "--json").code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("targets = 1", "[targets] is not a table"),
        ("[target.p]", "did you mean 'targets'?"),
        ("[targets]\nx = 1", "[targets.x] is not a table"),
        ("[targets.'a b']", "not a name"),
        ("[targets.x]", "has no destinations"),
        ("[targets.x]\ndestinations = [1]", "has no destinations"),
        ('[targets.x]\ndestinations = "@y"', "is a URL, not another target"),
        (
            '[targets.x]\ndestinations = "s3://a"\ncach-control = "x"',
            "did you mean 'cache-control'",
        ),
        ('[targets.x]\ndestinations = "s3://a"\npayload = "x"', "has no option 'payload'"),
    ],
)
def test_a_table_of_a_target_that_is_wrong_is_told(
    run: Run, here: Path, text: str, message: str
) -> None:
    (here / "wrong.toml").write_text(text)
    ended = run("--config", "wrong.toml", "verify", "--signature", "x")
    assert (ended.code, message in ended.err) == (2, True), ended.err


def test_what_somebody_chose_is_shown_and_secrets_are_not(run: Run, here: Path) -> None:
    (here / "key").write_text("myop_sk_private")
    (here / "s.toml").write_text(
        '[publish]\njson = true\nnotify = ["https://hooks.slack.com/services/private"]\n'
        'on-failure = "tell --token private"\nledger = "s3://me:private@bucket/x"\n'
    )
    env = {
        "MYOP_WEBHOOK_SECRET": "private",
        "MYOP_API_KEY_FILE": str(here / "key"),
        "MYOP_CDN_NOTIFY_SECRET": "private",
        "MYOP_CDN_SYNC_JOBS": "3",
    }
    ended = run("--config", "s.toml", "config", "show", env=env)
    text = ended.out.decode()
    assert "private" not in text + ended.err
    assert "jobs  3  (MYOP_CDN_SYNC_JOBS)" in text
    assert '["https://hooks.slack.com/…"]  (s.toml, [publish])' in text
    assert '"tell"  (s.toml, [publish])' in text
    assert f"hidden  ({here}/key)" in text
    assert "hidden  (MYOP_WEBHOOK_SECRET)" in text
    assert "cache-control" not in text  # nobody chose one
    assert run("config", "show", "nonsense").code == 2
    assert run("config", "show", "deliveries", "list", "--state-dir", here, "--json").code == 0


def test_a_secret_in_the_place_of_its_file_is_not_shown(run: Run) -> None:
    env = {
        "MYOP_API_KEY_FILE": KEY,
        "MYOP_CDN_NOTIFY_FILE": "https://hooks.slack.com/services/private",
        "MYOP_CDN_VERIFY_SECRET_FILE": "wh/private+private/private",
    }
    ended = run("config", "show", env=env)
    assert (ended.code, ended.out.count(b"***")) == (0, 3)
    for words in (
        ("publish", "file:///nowhere"),
        ("verify", "--signature", "x"),
        ("sync", "--api-key-file", KEY),
    ):
        failed = run(*words, env=env)
        assert (failed.code, "itself" in failed.err) == (2, True)
        for text in (ended.out.decode(), failed.err):
            assert KEY not in text
            assert "private" not in text


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "no-such-folder/webhook.key",
        "/etc/no-such-folder/webhook-secret",
        "myop-static/no",
    ],
)
def test_the_name_of_a_secret_s_file_that_is_missing_is_shown(run: Run, name: str) -> None:
    ended = run("verify", "--signature", "x", "--secret-file", name)
    assert ended.code == 2
    assert f"can't read the signing secret file {name}: No such file" in ended.err


def test_a_configuration_file_may_begin_with_a_byte_order_mark(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_bytes(b"\xef\xbb\xbf[publish]\r\njobs = 4\r\n")
    assert run("--config", file, "config", "show").code == 0


def test_targets_and_their_destinations_are_completed(here: Path) -> None:
    assert "plain,@production" in offered("--config", "m.toml", "publish", "@pro")
    assert f"plain,file://{here}/c" in offered("--config", "m.toml", "status", "file:")
