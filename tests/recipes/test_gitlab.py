"""`.gitlab-ci.yml`: run by gitlab-ci-local, on this machine's shell in place of a container."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.recipes.conftest import EVERYTHING, Ran, execute, node, npm_package, tool
from tests.samples import release, webhook

if TYPE_CHECKING:
    from pathlib import Path

    from tests.recipes.conftest import Init, Stand


@dataclass(frozen=True)
class Project:
    """A project in GitLab."""

    folder: Path
    stand: Stand

    def run(self, source: str, **variables: str) -> Ran:
        """A pipeline of this source, to its end."""
        tool("rsync")
        npm_package("gitlab-ci-local")
        words = [node(), str(npm_package(".bin") / "gitlab-ci-local"), "--force-shell-executor"]
        words += ["--ignore-predefined-vars", "CI_PIPELINE_SOURCE"]
        for name, value in {"CI_PIPELINE_SOURCE": source, **variables}.items():
            words += ["--variable", f"{name}={value}"]
        # A runner hands its own environment on to a shell, as it does the project's variables.
        return execute(words, self.folder, {**self.stand.environment, "FORCE_COLOR": "0"})


@pytest.fixture
def project(stand: Stand, init: Init, repository: Path, wheel: Path) -> Project:
    return Project(init("gitlab", repository), stand)


def payload(folder: Path, body: bytes) -> Path:
    """The file behind TRIGGER_PAYLOAD: the body as GitLab writes it again, with its own keys."""
    file = folder / "TRIGGER_PAYLOAD"
    mine = {"id": "42", "ref": "main", "variables": {}}
    file.write_text(json.dumps({**json.loads(body), **mine}), "utf-8")
    return file


def test_a_release_is_published_and_only_that(
    project: Project, stand: Stand, tmp_path: Path
) -> None:
    file = payload(tmp_path, webhook(release("card", "qa")))
    ran = project.run("trigger", TRIGGER_PAYLOAD=str(file))
    assert ran.code == 0, ran.text
    assert stand.published() == {"components/card/qa.json", "components/card/preview.json"}


def test_a_schedule_publishes_everything(project: Project, stand: Stand) -> None:
    ran = project.run("schedule")
    assert ran.code == 0, ran.text
    assert stand.published() == EVERYTHING


def test_a_push_runs_nothing(project: Project, stand: Stand) -> None:
    ran = project.run("push")
    assert ran.code == 0, ran.text
    assert "starting shell" not in ran.text
    assert stand.published() == set()


def test_a_role_takes_the_place_of_keys(project: Project, stand: Stand) -> None:
    del stand.environment["AWS_ACCESS_KEY_ID"], stand.environment["AWS_SECRET_ACCESS_KEY"]
    # GitLab issues the token that the file asks for; gitlab-ci-local does not.
    ran = project.run(
        "web",
        AWS_ROLE_ARN="arn:aws:iam::123456789012:role/myop-cdn",
        MYOP_CDN_ID_TOKEN="header.claims.signature",
    )
    assert ran.code == 0, ran.text
    assert stand.published() == EVERYTHING


def test_a_payload_never_becomes_shell(project: Project, stand: Stand, tmp_path: Path) -> None:
    trap = "qa'; cd; touch pwned; '$(cd; touch pwned)"
    file = payload(tmp_path, webhook(release("card", trap)))
    ran = project.run("trigger", TRIGGER_PAYLOAD=str(file))
    assert ran.code != 0
    assert not os.path.exists(f"{stand.environment['HOME']}/pwned")  # noqa: PTH110
    assert "1 failed" in ran.text
