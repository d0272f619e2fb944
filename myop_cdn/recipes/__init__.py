"""Files that a user commits as they are, to have a CI system or a server publish each release.

They lie beside this file, complete and commented, one folder for each recipe, and hold two marks:
`@DESTINATION@` and `@PACKAGE@`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote

from myop_cdn import __version__
from myop_cdn.errors import InputError

DESTINATION = "s3://my-bucket/myop"
_FOLDER = Path(__file__).parent
# Neither may end a string, begin an expression or add a line in any of the files' languages.
_DESTINATION = re.compile(r"[a-z][a-z0-9+.-]*://[\w.~:/@?&=+,-]+", re.ASCII)
_PACKAGE = re.compile(r"(?!.*<<)[\w .~:/@?&=+,<>!;#%()\[\]-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A file of a recipe.

    source: below this folder. target: below the folder that the user names.
    """

    source: str
    target: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """Files that belong together, and what is to be done with them, in one line.

    beside: another name for the only file, where a repository has one of its name already.
    """

    name: str
    files: tuple[RecipeFile, ...]
    next_step: str
    beside: str = ""

    def has(self, mark: str) -> bool:
        """Whether one of its files holds the mark DESTINATION or PACKAGE."""
        return any(f"@{mark}@" in _text(file) for file in self.files)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "jenkins",
            (RecipeFile("jenkins/Jenkinsfile", "Jenkinsfile"),),
            "add the credentials that its first lines name, commit it, and build it once",
            beside="myop-cdn.Jenkinsfile",
        ),
        Recipe(
            "gitlab",
            (RecipeFile("gitlab/gitlab-ci.yml", ".gitlab-ci.yml"),),
            "add the variables, the trigger and the schedule that its first lines name",
            beside="myop-cdn.gitlab-ci.yml",
        ),
        Recipe(
            "github",
            (RecipeFile("github/myop-cdn.yml", ".github/workflows/myop-cdn.yml"),),
            "add the secrets that its first lines name, and run it by hand once",
        ),
        Recipe(
            "circleci",
            (RecipeFile("circleci/config.yml", ".circleci/config.yml"),),
            "add the variables and the triggers that its first lines name",
            beside=".circleci/myop-cdn.yml",
        ),
        Recipe(
            "systemd",
            (
                RecipeFile("systemd/myop-cdn.service", "myop-cdn.service"),
                RecipeFile("systemd/myop-cdn.socket", "myop-cdn.socket"),
            ),
            "the first lines of myop-cdn.service are the commands that install it",
        ),
        Recipe(
            "nginx",
            (RecipeFile("nginx/myop-cdn.conf", "myop-cdn.conf"),),
            "its first lines are the commands that put your host's name into it and install it",
        ),
        Recipe(
            "docker",
            (
                RecipeFile("docker/Dockerfile", "Dockerfile"),
                RecipeFile("docker/compose.yaml", "compose.yaml"),
                RecipeFile("docker/dockerignore", ".dockerignore"),
            ),
            "the first lines of compose.yaml say how to add the secrets and to start it",
        ),
        Recipe(
            "kubernetes",
            (
                RecipeFile("kubernetes/myop-cdn.yaml", "myop-cdn.yaml"),
                RecipeFile("kubernetes/secret.yaml", "secret.yaml"),
                RecipeFile("docker/Dockerfile", "Dockerfile"),
                RecipeFile("docker/dockerignore", ".dockerignore"),
            ),
            "the first lines of myop-cdn.yaml say what goes into it and how to apply it",
        ),
        Recipe(
            "lambda",
            (
                RecipeFile("lambda/handler.py", "handler.py"),
                RecipeFile("lambda/template.yaml", "template.yaml"),
                RecipeFile("lambda/deploy.sh", "deploy.sh", executable=True),
            ),
            "the first lines of deploy.sh say how to add the secrets and to deploy it",
        ),
    )
}


def render(file: RecipeFile, destination: str, package: str) -> str:
    """The file's text, with the destination and the package put in.

    Raises InputError for either if it holds a character that has a meaning in one of the files.
    """
    if not _DESTINATION.fullmatch(destination):
        raise InputError(
            "the destination is not a plain URL", "s3://bucket/prefix, gs://…, az://… or file:///…"
        )
    if not _PACKAGE.fullmatch(package):
        raise InputError(
            "the package is not one that pip could install without quoting",
            "a name such as myop-cdn==0.1.0, a git+https:// URL, or the path of a wheel",
        )
    return _text(file).replace("@DESTINATION@", destination).replace("@PACKAGE@", package)


def _text(file: RecipeFile) -> str:
    return (_FOLDER / file.source).read_text("utf-8")


def own_package() -> tuple[str, str | None]:
    """What pip installs to have this very program elsewhere, and the folder or the wheel of this
    machine that it was installed from.

    A name and version where it came from a package index; the git URL with its commit where it
    came from there; else the name of a wheel, to be built from the folder or copied. Source:
    `direct_url.json` as PEP 610 has it.
    """
    index = f"myop-cdn=={__version__}"
    try:
        text = distribution("myop-cdn").read_text("direct_url.json")
    except PackageNotFoundError:
        return index, None
    if text is None:
        return index, None
    origin = json.loads(text)
    url, commit = origin["url"], origin.get("vcs_info", {}).get("commit_id")
    if commit is not None:
        return f"git+{url}@{commit}", None
    if url.startswith("file:"):
        return f"./myop_cdn-{__version__}-py3-none-any.whl", unquote(url.removeprefix("file://"))
    return url, None
