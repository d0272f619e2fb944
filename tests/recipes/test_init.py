"""`init`: which files it writes, and what it never does."""

from __future__ import annotations

import re
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from myop_cdn import __version__, recipes
from myop_cdn.recipes import RECIPES, own_package

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run

EVERY = list(RECIPES)


@pytest.mark.parametrize("name", EVERY)
def test_the_files_lie_where_the_system_looks_for_them(run: Run, tmp_path: Path, name: str) -> None:
    ended = run("init", name, tmp_path / "repository")
    assert ended.code == 0, ended.err
    assert ended.out == b""
    written = {path.relative_to(tmp_path / "repository").as_posix() for path in _files(tmp_path)}
    assert written == {file.target for file in RECIPES[name].files}


@pytest.mark.parametrize("name", EVERY)
def test_no_variable_of_a_recipe_is_warned_of(run: Run, tmp_path: Path, name: str) -> None:
    run("init", name, tmp_path)
    text = "".join(path.read_text("utf-8") for path in _files(tmp_path))
    variables = dict.fromkeys(re.findall(r"MYOP_CDN_[A-Z_]+(?![A-Z_<…])(?<!_)", text), "x")
    ended = run("verify", "--signature", "x", env=variables)
    assert "is not the variable" not in ended.err


@pytest.mark.parametrize("name", EVERY)
def test_every_recipe_says_what_it_is_and_holds_no_mark(
    run: Run, tmp_path: Path, name: str
) -> None:
    run("init", name, tmp_path, "--destination", "gs://acme/site", "--package", "myop-cdn==9.8")
    texts = [path.read_text("utf-8") for path in _files(tmp_path)]
    for text in texts:
        assert text.removeprefix("#!/bin/sh\n").startswith(("# ", "// ", '"""'))
        assert "@DESTINATION@" not in text
        assert "@PACKAGE@" not in text
        assert text.endswith("\n")
        assert text.isascii()  # whatever the editor, the terminal and the pipe
        assert max(map(len, text.splitlines())) <= 111  # a health check and a pinned action
    if name != "nginx":  # it knows neither
        assert sum("gs://acme/site" in text for text in texts) == 1
        assert sum(text.count("myop-cdn==9.8") for text in texts) == 1


@pytest.mark.parametrize("name", EVERY)
def test_a_dash_prints_what_would_be_written(
    run: Run, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = run("init", name, "-").out.decode()
    assert list(tmp_path.iterdir()) == []
    run("init", name, tmp_path)
    for path in _files(tmp_path):
        assert path.read_text("utf-8") in printed


def test_a_file_that_is_there_is_left_alone_and_so_are_the_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("mine")
    ended = run("init", "docker", tmp_path)
    assert ended.code == 2
    assert f"{tmp_path}/compose.yaml already exists; nothing was written" in ended.err
    assert [path.name for path in _files(tmp_path)] == ["compose.yaml"]
    assert (tmp_path / "compose.yaml").read_text() == "mine"


def test_force_overwrites_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Jenkinsfile").write_text("mine")
    assert run("init", "jenkins", tmp_path, "--force").code == 0
    assert "pipeline {" in (tmp_path / "Jenkinsfile").read_text("utf-8")


def test_what_is_there_already_as_it_would_be_written_is_left_as_it_is(
    run: Run, tmp_path: Path
) -> None:
    assert "wrote" in run("init", "systemd", tmp_path).err
    for force in ((), ("--force",)):
        ended = run("init", "systemd", tmp_path, *force)
        assert (ended.code, "wrote" in ended.err) == (0, False)
        assert ended.err.count("unchanged: ") == len(_files(tmp_path))


def test_a_folder_that_can_t_be_made_is_one_clear_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = run("init", "jenkins", tmp_path / "file" / "below")
    assert ended.code == 1
    assert f"can't write {tmp_path}/file/below/Jenkinsfile" in ended.err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--destination", 's3://b"; rm -rf /; "'],
        ["--destination", "s3://b/$(id)"],
        ["--destination", "s3://b/%n"],
        ["--destination", "my-bucket"],
        ["--package", "myop-cdn' + evil + '"],
        ["--package", "myop-cdn\nRUN id"],
        ["--package", "myop-cdn$(id)"],
        ["--package", "<< pipeline.id >>"],
    ],
)
@pytest.mark.parametrize("name", EVERY)
def test_what_would_be_code_in_a_file_is_refused(
    run: Run, tmp_path: Path, name: str, wrong: list[str]
) -> None:
    assert run("init", name, tmp_path, *wrong).code == 2
    assert _files(tmp_path) == []


@pytest.mark.parametrize(
    ("origin", "package", "folder"),
    [
        (None, f"myop-cdn=={__version__}", None),
        (
            '{"url": "https://git.example.com/m.git", "vcs_info": {"commit_id": "1f"}}',
            "git+https://git.example.com/m.git@1f",
            None,
        ),
        (
            '{"url": "file:///home/me/myop-cdn", "dir_info": {}}',
            f"./myop_cdn-{__version__}-py3-none-any.whl",
            "/home/me/myop-cdn",
        ),
        (
            '{"url": "file:///home/me/my%20files/m.whl", "archive_info": {}}',
            f"./myop_cdn-{__version__}-py3-none-any.whl",
            "/home/me/my files/m.whl",
        ),
        (
            '{"url": "https://files.example.com/m.whl", "archive_info": {}}',
            "https://files.example.com/m.whl",
            None,
        ),
    ],
)
def test_the_package_is_what_this_program_was_installed_from(
    monkeypatch: pytest.MonkeyPatch, origin: str | None, package: str, folder: str | None
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return origin

    monkeypatch.setattr(recipes, "distribution", lambda name: Installed())
    assert own_package() == (package, folder)


def test_a_wheel_that_is_yet_to_be_built_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a checkout"
    source.mkdir()
    monkeypatch.setattr("myop_cdn.cli.init.own_package", lambda: ("./m.whl", str(source)))
    ended = run("init", "gitlab", tmp_path)
    line = f" -m pip wheel --no-deps --wheel-dir {tmp_path} '{source}'"
    assert f"{sys.executable}{line}" in ended.err
    assert "pip wheel" not in run("init", "nginx", tmp_path).err  # it installs none


def test_a_wheel_that_this_program_came_from_is_to_be_copied_while_it_is_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "m.whl"
    monkeypatch.setattr("myop_cdn.cli.init.own_package", lambda: ("./m.whl", str(wheel)))
    assert f"{wheel} is no longer here" in run("init", "gitlab", "-").err
    wheel.touch()
    assert f"  cp {wheel} .\n" in run("init", "gitlab", "-").err


def test_what_is_left_to_do_is_said_of_a_printed_recipe_too(run: Run) -> None:
    ended = run("init", "github", "-")
    assert "next: put your destination in place of s3://my-bucket/myop\n" in ended.err
    assert "next: add the secrets" in ended.err
    own = run("init", "github", "-", "--destination", "s3://my-bucket/myop")
    assert "in place of" not in own.err


@pytest.mark.parametrize("name", ["jenkins", "gitlab", "circleci"])
def test_a_pipeline_that_is_there_already_is_kept_beside_it(
    run: Run, tmp_path: Path, name: str
) -> None:
    recipe = RECIPES[name]
    path = tmp_path / recipe.files[0].target
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    ended = run("init", name, tmp_path)
    assert ended.code == 2
    assert f"'myop-cdn init {name} - > {recipe.beside}'" in ended.err


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits a file's size")
def test_a_file_that_could_not_be_written_whole_is_not_there(run: Run, tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        ended = run("init", "github", tmp_path / "repository")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ended.code == 1
    assert "can't write" in ended.err
    assert not list(_files(tmp_path))


def test_scripts_can_be_run(run: Run, tmp_path: Path) -> None:
    for name, recipe in RECIPES.items():
        run("init", name, tmp_path / name)
        for file in recipe.files:
            mode = (tmp_path / name / file.target).stat().st_mode
            assert bool(mode & stat.S_IXUSR) == file.executable


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
