"""`.github/workflows/myop-cdn.yml`: run by act, on this machine in place of a runner's.

The actions of others are stand-ins here, as they can't be downloaded; that of AWS does what the
real one does last: it puts short-lived keys into the environment of the steps that follow.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.recipes.conftest import EVERYTHING, Ran, execute, tool
from tests.samples import release
from tests.servers.s3 import KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.recipes.conftest import Init, Stand

ACTION = """\
name: stand-in
description: Takes the inputs of the real one
inputs: {}
runs:
  using: composite
  steps:
    - shell: bash
      run: printf '%s\\n' COMMANDS >> "$GITHUB_ENV"
"""
SECRETS = {
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/myop-cdn",
    "AWS_REGION": "us-east-1",
}


@dataclass(frozen=True)
class Repository:
    """A repository at GitHub."""

    folder: Path
    stand: Stand
    scratch: Path

    @property
    def workflow(self) -> str:
        """The workflow's text."""
        return (self.folder / ".github/workflows/myop-cdn.yml").read_text("utf-8")

    def run(self, event: str, content: Mapping[str, object]) -> Ran:
        """A run for this event, to its end."""
        file = self.scratch / "event.json"
        file.write_text(json.dumps(content))
        job = dict(self.stand.environment)
        for name in KEYS:
            del job[name]  # only the login brings them
        key = job.pop("MYOP_API_KEY")
        words = [tool("act"), event, "--eventpath", str(file)]
        words += ["--platform", "ubuntu-latest=-self-hosted", "--container-daemon-socket", "-"]
        for name, value in job.items():
            if name not in ("PATH", "HOME"):
                words += ["--env", f"{name}={value}"]
        for name, value in {"MYOP_API_KEY": key, **SECRETS}.items():
            words += ["--secret", f"{name}={value}"]
        for action in re.findall(r"uses: (\S+)", self.workflow):
            words += ["--local-repository", f"{action}={self._stand_in(action)}"]
        return execute(words, self.folder, self.stand.environment)

    def _stand_in(self, action: str) -> Path:
        folder = self.scratch / action.replace("/", "-")
        folder.mkdir(exist_ok=True)
        lines = [f"{name}={value}" for name, value in KEYS.items()] if "aws" in action else []
        commands = " ".join(lines) or f"LOGGED_IN_BY={action.partition('@')[0]}"
        (folder / "action.yml").write_text(ACTION.replace("COMMANDS", commands))
        return folder


@pytest.fixture
def github(stand: Stand, init: Init, repository: Path, tmp_path: Path, wheel: Path) -> Repository:
    tool("act")
    scratch = tmp_path / "act"
    scratch.mkdir()
    return Repository(init("github", repository), stand, scratch)


def dispatch(*releases: Mapping[str, str]) -> dict[str, object]:
    """The event file of a dispatch by Myop."""
    return {
        "action": "myop-components-deployed",
        "branch": "main",
        "client_payload": {"releases": list(releases)},
        "repository": {"default_branch": "main"},
    }


def test_a_release_is_published_and_only_that(github: Repository, stand: Stand) -> None:
    ran = github.run("repository_dispatch", dispatch(release("card", "qa")))
    assert ran.code == 0, ran.text
    assert stand.published() == {"components/card/qa.json", "components/card/preview.json"}
    assert "Log in to AWS" in ran.text
    assert "Main Log in to Google Cloud" not in ran.text


@pytest.mark.parametrize(
    ("event", "content"),
    [("schedule", {"schedule": "17 3 * * *"}), ("workflow_dispatch", {"inputs": None})],
)
def test_a_run_without_a_release_publishes_everything(
    github: Repository, stand: Stand, event: str, content: dict[str, object]
) -> None:
    ran = github.run(event, content)
    assert ran.code == 0, ran.text
    assert stand.published() == EVERYTHING


def test_a_payload_never_becomes_shell(github: Repository, stand: Stand) -> None:
    trap = "qa'; cd; touch pwned; '$(cd; touch pwned)"
    ran = github.run("repository_dispatch", dispatch(release("card", trap)))
    assert ran.code != 0
    assert not list(github.folder.parent.rglob("pwned"))
    assert "1 failed" in ran.text


def test_every_action_is_pinned_and_no_more_is_allowed_than_needed(
    stand: Stand, init: Init, tmp_path: Path
) -> None:
    init("github", tmp_path)
    text = (tmp_path / ".github/workflows/myop-cdn.yml").read_text("utf-8")
    uses = re.findall(r"uses: (\S+)( # v[\d.]+)?", text)
    assert len(uses) == 4
    assert all(re.search(r"@[0-9a-f]{40}$", action) and version for action, version in uses)
    assert "\npermissions: {}\n" in text
    assert re.findall(r"^      ([\w-]+: (?:read|write))\b", text, re.MULTILINE) == [
        "contents: read",
        "id-token: write",
    ]


def test_no_release_is_cancelled_by_the_next() -> None:
    """GitHub keeps one run of a group waiting and cancels the others that wait."""
    # What decides is the expression; act knows no groups.
    from myop_cdn.recipes import RECIPES, render

    text = render(RECIPES["github"].files[0], "s3://b", "myop-cdn")
    [group] = re.findall(r"^  group: (.*)$", text, re.MULTILINE)
    assert group == (
        "myop-cdn-${{ github.event_name == 'repository_dispatch' && github.run_id || 'full' }}"
    )
