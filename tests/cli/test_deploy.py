"""`myop-cdn deploy` as a process: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.deploy.trees import make_tree

if TYPE_CHECKING:
    from pathlib import Path

COMPONENTS = {"card": ["production"]}


def myop_cdn(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The process that ran to its end."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MYOP")}
    return subprocess.run(
        [sys.executable, "-m", "myop_cdn", "deploy", *words],
        capture_output=True,
        text=True,
        env=env | variables,
        check=False,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree", COMPONENTS).root


def test_a_json_report_is_all_there_is_on_stdout(source: Path, tmp_path: Path) -> None:
    end = myop_cdn("--source", str(source), "--json", f"file://{tmp_path}/out")
    report = json.loads(end.stdout)
    assert end.returncode == 0
    assert report["command"] == "deploy"
    assert report["dryRun"] is False
    destination = report["destinations"][0]
    assert destination["url"] == f"file://{tmp_path}/out"
    assert {up["reason"] for up in destination["uploaded"]} == {"new", "manifest"}
    assert "3 uploaded" in end.stderr


def test_without_json_stdout_stays_empty(source: Path, tmp_path: Path) -> None:
    end = myop_cdn("--source", str(source), f"file://{tmp_path}/out")
    assert (end.returncode, end.stdout) == (0, "")
    again = myop_cdn("--source", str(source), f"file://{tmp_path}/out")
    assert "unchanged" in again.stderr


def test_a_dry_run_prints_a_line_for_each_object_and_makes_no_folder(
    source: Path, tmp_path: Path
) -> None:
    end = myop_cdn("--source", str(source), "--dry-run", f"file://{tmp_path}/out")
    assert len(end.stdout.splitlines()) == 3
    assert "(new)" in end.stdout
    assert not (tmp_path / "out").exists()


def test_the_environment_gives_options(source: Path, tmp_path: Path) -> None:
    variables = {"MYOP_CDN_DEPLOY_SOURCE": str(source), "MYOP_CDN_DEPLOY_DRY_RUN": "1"}
    end = myop_cdn(f"file://{tmp_path}/out", **variables)
    assert end.returncode == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "destination",
    ["", "out", "ftp://host/x", "s3://", "s3:///prefix", "s3://b/../x", "file://host/x", "file://"],
)
def test_a_malformed_destination_is_bad_usage_and_nothing_is_done(
    source: Path, tmp_path: Path, destination: str
) -> None:
    good = f"file://{tmp_path}/out"
    end = myop_cdn("--source", str(source), "--json", good, destination)
    assert end.returncode == 2
    assert json.loads(end.stdout)["error"]["exitCode"] == 2
    assert "Traceback" not in end.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    end = myop_cdn("--source", f"{tmp_path}/none", "--json", f"file://{tmp_path}/out")
    assert end.returncode == 3
    refused = json.loads(end.stdout)["destinations"][0]["refused"]
    assert "no such folder (nothing was changed; run a sync first" in refused
    assert "\nhint: nothing was changed; run a sync first" in "\n" + end.stderr


def test_delete_from_a_partial_tree_is_refused(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "tree", COMPONENTS, complete=False).root
    end = myop_cdn("--source", str(source), "--delete", f"file://{tmp_path}/out")
    assert end.returncode == 3
    error, hint = end.stderr.splitlines()
    assert error.startswith(f"error: file://{tmp_path}/out: refused: --delete needs a complete")
    assert "(" not in error
    assert hint.startswith("hint: run a full sync first")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words", [("--max-delete", "lots"), ("--cache-control", "a\r\nSet-Cookie: b"), ("--jobs", "0")]
)
def test_options_that_are_none_are_bad_usage(
    source: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    end = myop_cdn("--source", str(source), *words, f"file://{tmp_path}/out")
    assert end.returncode == 2
    assert not (tmp_path / "out").exists()
