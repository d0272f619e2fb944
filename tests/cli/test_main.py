"""The frame of the command line: global options, configuration, and how everything ends."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import click
import pytest

from myop_cdn import __version__
from myop_cdn.cli import COMMANDS, cli, config
from myop_cdn.cli.console import Console
from myop_cdn.errors import InputError, MyopCdnError
from tests.readme import described

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run

KEY_ENV = {"MYOP_API_KEY": "myop_sk_x"}


def test_version_and_help_go_to_stdout(run: Run) -> None:
    assert run("--version").out.decode() == f"myop-cdn, version {__version__}\n"
    for words in (("--help",), ("-h",)):
        ended = run(*words)
        assert ended.code == 0
        assert all(name in ended.out.decode() for name in COMMANDS)


@pytest.mark.parametrize("command", described())
def test_every_command_has_help_that_fits_a_terminal(run: Run, command: str) -> None:
    ended = run(*command.split(), "--help")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.decode().splitlines()
    assert lines[0].startswith(f"Usage: cli {command} ")
    assert lines[lines.index("") + 1].startswith("  ")  # what it does
    assert max(map(len, lines)) <= 80


def test_no_command_shows_the_help_on_stderr_and_is_bad_usage(run: Run) -> None:
    ended = run()
    assert (ended.code, ended.out) == (2, b"")
    assert "Commands:\n  verify " in ended.err
    assert "error: " in ended.err


@pytest.mark.parametrize(
    "words", [("nonsense",), ("--nonsense",), ("verify", "--nope"), ("publish",)]
)
def test_bad_usage_is_one_line_and_a_hint(run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words)
    assert (ended.code, ended.out) == (2, b"")
    error, hint = ended.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: see '")


def test_a_defect_is_told_without_a_traceback_or_its_message(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("whsec_secret")

    monkeypatch.setattr("myop_cdn.cli.publish.scope_of", broken)
    ended = run("sync", "--json")
    assert ended.code == 1
    assert "unexpected ZeroDivisionError at test_main.py:" in ended.err
    assert "defect" in ended.err
    assert "whsec" not in ended.err
    assert ended.json["error"]["exitCode"] == 1


def test_an_interruption_exits_130_with_one_json_object(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("myop_cdn.cli.publish.scope_of", interrupted)
    ended = run("--log-format", "json", "sync", "--json")
    assert ended.code == 130
    assert ended.json["error"]["exitCode"] == 130
    assert [json.loads(line)["message"] for line in ended.err.splitlines()] == ["interrupted"]


# Configuration


def configured(tmp_path: Path, text: str) -> Path:
    (tmp_path / "config.toml").write_text(text)
    return tmp_path / "config.toml"


def test_the_option_wins_over_the_environment_over_the_file(run: Run, tmp_path: Path) -> None:
    file = configured(tmp_path, f'[sync]\noutput = "{tmp_path}/file"\npayload = "missing"\n')

    def output(*words: str, **env: str) -> str:
        ended = run("--config", file, "sync", "--json", *words, env=env)
        assert ended.code == 2
        return str(ended.json["output"])

    assert output() == f"{tmp_path}/file"
    assert output(MYOP_CDN_SYNC_OUTPUT="env") == "env"
    assert output("--output", "option", MYOP_CDN_SYNC_OUTPUT="env") == "option"


def test_the_config_file_can_be_named_by_the_environment(run: Run, tmp_path: Path) -> None:
    file = configured(tmp_path, "[sync]\njobs = 0\n")
    ended = run("sync", env={"MYOP_CDN_CONFIG": str(file)})
    assert ended.code == 2
    assert "--jobs" in ended.err


@pytest.mark.parametrize(
    ("words", "name", "meant"),
    [
        (("sync",), "MYOP_CDN_SYNC_ENVIROMENT", "MYOP_CDN_SYNC_ENVIRONMENT"),
        (("deploy", "memory://x"), "MYOP_CDN_DEPLOY_MAX_DELETES", "MYOP_CDN_DEPLOY_MAX_DELETE"),
        (
            ("deliveries", "list"),
            "MYOP_CDN_DELIVERIES_LIST_LIMITS",
            "MYOP_CDN_DELIVERIES_LIST_LIMIT",
        ),
    ],
)
def test_a_variable_that_is_misspelt_is_warned_of_once(
    run: Run, words: tuple[str, ...], name: str, meant: str
) -> None:
    ended = run("--log-format", "json", *words, env={name: "x", "MYOP_CDN_SERVE_NONE": "x"})
    messages = [json.loads(line)["message"] for line in ended.err.splitlines()]
    assert [one for one in messages if name in one] == [
        f"{name} is not the variable of an option; did you mean {meant!r}?"
    ]
    assert not any("SERVE" in one for one in messages)


def test_the_warning_is_a_line_of_json_where_that_is_asked_for_last(run: Run) -> None:
    ended = run("sync", "--log-format", "json", env={"MYOP_CDN_SYNC_X": "x"})
    assert all(json.loads(line) for line in ended.err.splitlines())
    assert "MYOP_CDN_SYNC_X" in ended.err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo"])
def test_an_option_has_one_name_for_argument_variable_and_file(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for option in command.params:
        if isinstance(option, click.Option) and option.name:
            assert f"--{option.name.replace('_', '-')}" in option.opts, option.name


def test_the_number_of_jobs_can_be_given_by_the_environment(run: Run) -> None:
    for value in ("0", "257", "many"):
        ended = run("sync", env={"MYOP_CDN_SYNC_JOBS": value})
        assert ended.code == 2
        assert "--jobs" in ended.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sync\n", "is not TOML"),
        ("x = 1\n", "[x] is not a table"),
        ("sync = 1\n", "[sync] is not a table"),
        ("[upload]\n", "[upload] is not a table"),
        ("[sync]\nmax-deletes = 3\n", "no option 'max-deletes'"),
        ('[sync]\napi-key = "myop_sk_private"\n', "no option 'api-key'"),
        ('[sync]\noutput = ["a", "b"]\n', "output takes one value"),
        ("[sync.output]\n", "output takes one value"),
        ('[sync]\nmax-delete = "many"\n', "--max-delete"),
    ],
)
def test_a_config_file_that_is_wrong_is_told_and_nothing_is_ignored(
    run: Run, tmp_path: Path, text: str, words: str
) -> None:
    ended = run("--config", configured(tmp_path, text), "sync")
    assert ended.code == 2
    assert words in ended.err
    assert "myop_sk_private" not in ended.err


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_config_file_that_cant_be_read_is_told(run: Run, name: str) -> None:
    ended = run("--config", name, "sync", "--json")
    assert ended.code == 2
    assert ended.json["command"] == "sync"


def test_a_config_file_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b'[sync]\noutput = "\xff"\n')
    with pytest.raises(InputError, match="not UTF-8"):
        config.default_map(str(tmp_path / "config.toml"))


# --json


@pytest.mark.parametrize(
    "words",
    [
        ("sync", "--json", "--nope"),
        ("sync", "--nope", "--json"),
        ("sync", "--json", "--jobs", "0"),
        ("sync", "--jobs", "0", "--json"),
        ("sync", "--json", "--payload", "missing"),
        ("sync", "--json", "--payload", "a", "--releases", "[]"),
        ("sync", "--json", "--api-url", "nonsense"),
        ("sync", "--json", "--environment", "a/b"),
        ("--log-format", "json", "sync", "--json", "--max-delete", "x"),
        ("--log-format", "nonsense", "sync", "--json"),
        ("publish", "--json"),
        ("publish", "--json", "nonsense://x"),
        ("publish", "--json", "memory://x", "--api-url", ""),
    ],
)
def test_bad_usage_with_json_is_exactly_one_object_too(run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words, env=KEY_ENV)
    assert ended.code == 2
    assert ended.json["command"] in ("sync", "publish")
    assert ended.json["error"]["exitCode"] == 2
    assert ended.json["error"]["message"]


def test_json_that_was_asked_for_elsewhere_counts_for_bad_usage_too(
    run: Run, tmp_path: Path
) -> None:
    file = configured(tmp_path, "[sync]\njson = true\n")
    for words in (("sync", "--nope"), ("sync", "--jobs", "0")):
        assert run(*words, env={"MYOP_CDN_SYNC_JSON": "1"}).json["error"]["exitCode"] == 2
        assert run("--config", file, *words).json["error"]["exitCode"] == 2
        assert run(*words, env={"MYOP_CDN_SYNC_JSON": "0"}).out == b""
        assert run(*words, env={"MYOP_CDN_SYNC_JSON": "nonsense"}).out == b""
        assert run(*words).out == b""


# What is said on stderr


def test_json_lines_have_time_level_and_message(run: Run) -> None:
    ended = run("--log-format", "json", "sync", "--payload", "missing")
    (line,) = map(json.loads, ended.err.splitlines())
    assert (line["level"], line["time"][-1]) == ("error", "Z")
    assert "missing" in line["message"]


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [(-1, {"warning"}), (0, {"warning", "info"}), (1, {"warning", "info", "debug"})],
)
def test_quiet_and_verbose_choose_what_is_said(
    capsys: pytest.CaptureFixture[str], verbosity: int, shown: set[str]
) -> None:
    console = Console(verbosity)
    console.debug("debug", number=7)
    console.info("info")
    console.warning("warning")
    said = capsys.readouterr().err
    assert {word for word in ("debug", "info", "warning") if word in said} == shown
    assert ("number=7" in said) is (verbosity > 0)


@pytest.mark.parametrize(
    ("variables", "on_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"NO_COLOR": ""}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"FORCE_COLOR": "3", "NO_COLOR": "1"}, False, False),
    ],
)
def test_colours_are_for_terminals_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    on_terminal: bool,
    elsewhere: bool,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for terminal, coloured in ((True, on_terminal), (False, elsewhere)):
        monkeypatch.setattr("sys.stderr.isatty", lambda it=terminal: it)
        Console().warning("careful")
        assert ("\x1b[" in capsys.readouterr().err) is coloured


def test_without_a_terminal_progress_is_lines_and_only_when_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for verbosity, expected in ((0, "noted\n"), (1, "fetching: 3\nnoted\n"), (-1, "")):
        with Console(verbosity).progress() as progress:
            progress.start("fetching", 3)
            progress.step()
            progress.note("noted")
        assert capsys.readouterr().err == expected


def test_the_reference_is_shown_without_what_a_browser_folds_it_by(run: Run) -> None:
    shown = run("help", "reference").out.decode()
    assert "\n## myop-cdn verify --help\n" in shown
    assert "<details>" not in shown
    assert "-->" not in shown


def test_the_terminal_of_a_ci_job_gets_no_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("NO_COLOR", "1")
    with Console().progress() as progress:
        progress.start("fetching", 2)
        progress.note("noted")
    assert capsys.readouterr().err == "noted\n"


def test_on_a_terminal_there_is_a_bar_that_is_gone_in_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.delenv("CI", raising=False)
    with Console().progress() as progress:
        progress.step()
        progress.start("fetching", 2)
        progress.step()
        progress.start("writing", 1)
        progress.note("noted [red]")
    captured = capsys.readouterr()
    assert "noted [red]" in captured.err
    assert captured.out == ""


def test_the_bar_tells_the_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.delenv("CI", raising=False)  # a job's terminal shows no bar
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes a terminal of it for the bar, too
    with Console().progress() as progress:
        progress.start("fetching", 1000)
        for _ in range(3):
            progress.step()
        progress.note("noted")  # which draws the bar again
    assert re.search(r"3/1000.*/s", capsys.readouterr().err)


def test_a_report_that_stdout_cant_spell_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    stream = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr("sys.stdout", stream)
    Console().report({"name": "日本 \udcff"})
    stream.flush()
    assert json.loads(stream.buffer.getvalue()) == {"name": "日本 \udcff"}


def test_only_the_first_report_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.report({"a": 1})
    console.report_failure(MyopCdnError("no"))
    assert json.loads(capsys.readouterr().out) == {"a": 1}


def test_the_documentation_is_shown_as_it_stands(run: Run) -> None:
    assert b"LoadCredential=api-key:/etc/myop-cdn/api-key" in run("help", "secrets").out
    assert b"postgresql://user@host/database" in run("help", "serve").out


def test_a_bar_is_not_wanted_where_stderr_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    with Console().progress() as progress:
        progress.start("fetching", 1)
        progress.step()
