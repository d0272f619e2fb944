"""`.circleci/config.yml`: its steps are run as CircleCI runs them.

CircleCI's own program asks its service even to read a file, so that nothing here can execute the
file as a whole: its values are put in and its commands run in the order of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.recipes.conftest import EVERYTHING, Ran, execute, tool
from tests.samples import release, webhook
from tests.servers.s3 import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.recipes.conftest import Init, Stand


@dataclass(frozen=True)
class Project:
    """A project in CircleCI."""

    folder: Path
    stand: Stand

    @property
    def config(self) -> Any:
        """The file, parsed."""
        return yaml.safe_load((self.folder / ".circleci/config.yml").read_text("utf-8"))

    def run(self, values: dict[str, str], **variables: str) -> Ran:
        """The job, with these values of the pipeline; those that a trigger lacks are empty."""
        job = self.config["jobs"]["publish"]
        ran = Ran(0, "")
        for step in job["steps"]:
            if step == "checkout" or "store_test_results" in step or self._is_done(step):
                continue
            given = step["run"].get("environment", {})
            environment = self.stand.environment | job["environment"] | variables
            for name, value in given.items():
                environment[name] = re.sub(
                    r"<< (pipeline\S+) >>", lambda found: values.get(found[1], ""), value
                )
            words = [tool("bash"), "-eo", "pipefail", "-c", step["run"]["command"]]
            ran = execute(words, self.folder, environment)
            if ran.code != 0:
                return ran
        return ran

    def _is_done(self, step: Any) -> bool:
        is_install = step["run"]["name"] == "Install myop-cdn"
        return is_install and (self.folder / ".myop-cdn-venv").exists()


@pytest.fixture
def fresh(stand: Stand, init: Init, tmp_path: Path) -> Project:
    """A container in which nothing was run yet."""
    return Project(init("circleci", tmp_path / "project"), stand)


@pytest.fixture
def project(fresh: Project, installed: Path) -> Project:
    """One in which the first step was run."""
    (fresh.folder / ".myop-cdn-venv").symlink_to(installed)
    (fresh.folder / "myop-cdn-report").mkdir()
    return fresh


BODY = "pipeline.trigger_parameters.webhook.body"


def test_a_release_is_published_and_only_that(project: Project, stand: Stand) -> None:
    ran = project.run({BODY: webhook(release("card", "qa")).decode()})
    assert ran.code == 0, ran.text
    assert stand.published() == {"components/card/qa.json", "components/card/preview.json"}


def test_a_schedule_has_no_body_and_publishes_everything(
    fresh: Project, stand: Stand, wheel: Path
) -> None:
    ran = fresh.run({"pipeline.trigger.type": "schedule"})
    assert ran.code == 0, ran.text
    assert stand.published() == EVERYTHING


def test_a_role_takes_the_place_of_keys(project: Project, stand: Stand) -> None:
    for name in KEYS:
        del stand.environment[name]
    role = "arn:aws:iam::123456789012:role/myop-cdn"
    ran = project.run({}, AWS_ROLE_ARN=role, CIRCLE_OIDC_TOKEN_V2="header.claims.signature")
    assert ran.code == 0, ran.text
    assert stand.published() == EVERYTHING


def test_a_payload_never_becomes_shell(project: Project, stand: Stand) -> None:
    trap = "qa'; touch pwned; '$(touch pwned)`touch pwned`"
    ran = project.run({BODY: webhook(release("card", trap)).decode()})
    assert ran.code == 4, ran.text  # Myop knows no such environment
    assert not (project.folder / "pwned").exists()


def test_each_document_is_a_test_of_the_job_whether_it_fails_or_not(project: Project) -> None:
    [stored] = [
        step["store_test_results"]["path"]
        for step in project.config["jobs"]["publish"]["steps"]
        if "store_test_results" in step
    ]
    for environment, failures in (("qa", 0), ("nowhere", 1)):
        project.run({BODY: webhook(release("card", environment)).decode()})
        [file] = (project.folder / stored).iterdir()
        cases = ElementTree.parse(file).getroot().findall("./testsuite/testcase")
        assert f"components/card/{environment}.json" in {case.get("name") for case in cases}
        assert len([case for case in cases if case.find("failure") is not None]) == failures


def test_a_service_account_s_key_becomes_a_file_for_google(project: Project, stand: Stand) -> None:
    key = '{"type": "service_account"}'
    ran = project.run({}, GOOGLE_KEY=key, MYOP_CDN_DESTINATION="gs://my-bucket/myop")
    assert ran.code == 1, ran.text
    assert "no usable Google credentials were found" in ran.text
    assert "service_account" not in ran.text


def test_the_payload_is_named_in_no_command(fresh: Project) -> None:
    for step in fresh.config["jobs"]["publish"]["steps"]:
        if "run" in step:
            assert "<<" not in step["run"]["command"]


def test_a_push_runs_nothing(fresh: Project) -> None:
    """A workflow's condition lists what it runs for."""
    [condition] = fresh.config["workflows"]["publish"]["when"].values()
    asked = {tuple(one["equal"]) for one in condition}
    assert asked == {
        (kind, "<< pipeline.trigger.type >>") for kind in ("webhook", "schedule", "api")
    }
