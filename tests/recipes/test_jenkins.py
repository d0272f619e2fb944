"""The Jenkinsfile: its shell steps are run as Jenkins runs them, its syntax is parsed.

No Jenkins is to be had without its own downloads, so that the declarative frame around the steps
is read here and not executed: what the plugin does comes from its source (a body as text for `$`,
header names with `_` for `-`).
"""

from __future__ import annotations

import ast
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from myop_cdn.signature import sign
from tests.recipes.conftest import EVERYTHING, Ran, execute, node, npm_package, tool
from tests.samples import SECRET, release, webhook

if TYPE_CHECKING:
    from pathlib import Path

    from tests.recipes.conftest import Init, Stand

STRING = r"('''.*?'''|'[^'\n]*')"


@dataclass
class Pipeline:
    """A Jenkinsfile's steps, and the workspace in which they run."""

    text: str
    workspace: Path
    environment: dict[str, str]

    def build(self, body: str | None = None, signature: str = "") -> Ran:
        """A build, triggered with this body, or without one: by hand or by the schedule."""
        environment = {**self.environment, **self._variables()}
        if body is not None:
            # As the plugin contributes them.
            environment |= {"x_myop_signature": signature, "x_myop_signature_0": signature}
        if not (self.workspace / ".myop-cdn-venv").exists():
            assert self._sh("Install", environment).code == 0
        if not body:
            return self._sh("Publish everything", environment)
        (self.workspace / "payload.json").write_bytes(body.encode())
        return self._sh("Publish the release", environment)

    def _variables(self) -> dict[str, str]:
        block = re.search(r"environment \{(.*?)\n  \}", self.text, re.DOTALL)
        assert block is not None
        found = re.findall(rf"^ +(\w+) = {STRING}$", block[1], re.MULTILINE)
        return {name: ast.literal_eval(value) for name, value in found}

    def stage(self, name: str) -> str:
        """A stage's text."""
        after = self.text[self.text.index(f"stage('{name}')") :]
        return after[: after.index("\n    }\n")]

    def _sh(self, stage: str, environment: dict[str, str]) -> Ran:
        # Groovy's strings and Python's have the same escapes; Jenkins runs them by `sh -xe`.
        [script] = re.findall(rf"\bsh {STRING}", self.stage(stage), re.DOTALL)
        words = [tool("sh"), "-xe", "-c", ast.literal_eval(script)]
        return execute(words, self.workspace, {**environment, "BODY": ""})


@pytest.fixture
def fresh(stand: Stand, init: Init, tmp_path: Path) -> Pipeline:
    """A pipeline that was never built."""
    folder = init("jenkins", tmp_path / "workspace")
    text = (folder / "Jenkinsfile").read_text("utf-8")
    return Pipeline(text, folder, stand.environment)


@pytest.fixture
def pipeline(fresh: Pipeline, installed: Path) -> Pipeline:
    """One whose workspace is kept from the last build."""
    (fresh.workspace / ".myop-cdn-venv").symlink_to(installed)
    return fresh


def test_a_signed_release_is_published_and_only_that(pipeline: Pipeline, stand: Stand) -> None:
    body = webhook(release("card", "qa"))
    ran = pipeline.build(body.decode(), sign(body, SECRET.encode()))
    assert ran.code == 0, ran.text
    assert stand.published() == {"components/card/qa.json", "components/card/preview.json"}


def test_the_first_build_has_no_body_and_publishes_everything(
    fresh: Pipeline, stand: Stand, wheel: Path
) -> None:
    ran = fresh.build()
    assert ran.code == 0, ran.text
    assert stand.published() == EVERYTHING


def test_each_document_is_a_test_of_the_build_and_none_of_the_build_before(
    pipeline: Pipeline, stand: Stand
) -> None:
    after = pipeline.text[pipeline.text.index("  post {") :]
    assert "junit testResults: 'myop-cdn.xml', allowEmptyResults: true" in after
    body = webhook(release("card", "qa"))
    assert pipeline.build(body.decode(), sign(body, SECRET.encode())).code == 0
    report = pipeline.workspace / "myop-cdn.xml"
    cases = ElementTree.parse(report).getroot().findall("./testsuite/testcase")
    assert "components/card/qa.json" in {case.get("name") for case in cases}
    assert "rm -f myop-cdn.xml" in pipeline.stage("Install")
    report.unlink()
    assert pipeline.build().code == 0
    assert report.exists()


def test_another_signature_publishes_nothing_and_is_a_red_build(
    pipeline: Pipeline, stand: Stand
) -> None:
    body = webhook(release("card", "qa"))
    for signature in (sign(body, b"another secret of them"), ""):
        ran = pipeline.build(body.decode(), signature)
        assert ran.code == 1, ran.text
        assert stand.published() == set()
        assert SECRET not in ran.text


def test_a_payload_never_becomes_shell(pipeline: Pipeline, stand: Stand) -> None:
    trap = "qa'; touch pwned; '$(touch pwned)`touch pwned`\"; touch pwned #"
    body = webhook(release("card", trap))
    ran = pipeline.build(body.decode(), sign(body, SECRET.encode()))
    assert ran.code == 4, ran.text  # Myop knows no such environment
    assert not (pipeline.workspace / "pwned").exists()


def test_a_body_larger_than_a_variable_may_be_is_published(
    pipeline: Pipeline, stand: Stand
) -> None:
    body = json.dumps(json.loads(webhook(release("card", "qa"))), indent=200_000).encode()
    assert len(body) > 128 * 1024
    ran = pipeline.build(body.decode(), sign(body, SECRET.encode()))
    assert ran.code == 0, ran.text
    assert "components/card/qa.json" in stand.published()


def test_the_steps_with_a_body_run_with_an_empty_variable(pipeline: Pipeline) -> None:
    """Else Linux would start no process for a large one."""
    for stage in ("Install", "Publish the release"):
        assert "withEnv(['BODY=']) {" in pipeline.stage(stage)
    assert "writeFile file: 'payload.json', text: env.BODY" in pipeline.stage("Publish the release")


def test_the_trigger_takes_the_body_as_text_and_the_header(pipeline: Pipeline) -> None:
    trigger = pipeline.text[
        pipeline.text.index("triggers {") : pipeline.text.index("environment {")
    ]
    for part in (
        "genericVariables: [[key: 'BODY', value: '$']]",
        "genericHeaderVariables: [[key: 'x-myop-signature', regexpFilter: '']]",
        "tokenCredentialId: 'myop-trigger-token'",
        "shouldNotFlatten: true",
        "cron('H 3 * * *')",
    ):
        assert part in trigger
    assert "generic-webhook-trigger/invoke?token=" in pipeline.text


def test_groovy_parses_it(pipeline: Pipeline, tmp_path: Path) -> None:
    tool("java")
    lint = npm_package("npm-groovy-lint") / "lib" / "index.js"
    words = [node(), str(lint), "--noserver", "--failon", "error", "--path", str(tmp_path)]
    ran = execute(words, tmp_path, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    assert ran.code == 0, ran.text
    assert re.search(r"'Error'\s+│ 0 ", ran.text), ran.text
