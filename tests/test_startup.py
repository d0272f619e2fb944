"""What a command loads: nothing that it does not need."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from myop_cdn.signature import sign
from myop_cdn.storage import GROUP, OWN
from tests.samples import SECRET, full_tree, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.s3 import Bucket

PROBE = """
import sys
from myop_cdn.cli import cli
try:
    cli(prog_name="myop-cdn")
finally:
    sys.stderr.write("\\nLOADED " + " ".join(sys.modules))
"""


def loaded(*words: str, stdin: bytes = b"", **variables: Any) -> set[str]:
    """The modules that the command has loaded when it ends, successfully."""
    # COV: coverage hands itself on to child processes, with all that it loads.
    ours = ("MYOP", "COV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        input=stdin,
        capture_output=True,
        env=env | variables,
        check=True,
        timeout=60,
    )
    return set(done.stderr.decode().rpartition("LOADED ")[2].split())


def tops(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


HEAVY = {"boto3", "botocore", "google", "azure", "rich", "sqlite3", "asyncio", "requests"}


def test_verify_pays_for_nothing_that_others_need() -> None:
    modules = loaded(
        "verify",
        "--signature",
        sign(b"{}", SECRET.encode()),
        stdin=b"{}",
        MYOP_WEBHOOK_SECRET=SECRET,
    )
    assert not tops(modules) & (HEAVY | {"urllib3", "ssl", "json", "socket", "tempfile"})
    assert not modules & {"pathlib", "urllib.parse", "ipaddress"}
    ours = {module for module in modules if module.startswith("myop_cdn.")}
    assert ours == {
        "myop_cdn.cli",
        "myop_cdn.cli.console",
        "myop_cdn.inputs",
        "myop_cdn.cli.options",
        "myop_cdn.cli.verify",
        "myop_cdn.errors",
        "myop_cdn.signature",
        "myop_cdn.text",
    }


def test_sync_loads_no_cloud_sdk_and_no_progress_bar(tmp_path: Path) -> None:
    with Sandbox(write(tmp_path / "api", full_tree({"card": ["qa"]}))) as sandbox:
        modules = loaded(
            "sync",
            "--output",
            str(tmp_path / "out"),
            MYOP_API_URL=sandbox.url,
            MYOP_API_KEY=REHEARSAL_KEY,
        )
    assert not tops(modules) & (HEAVY - {"asyncio"} | {"urllib3", "ssl", "http"})
    assert not any(module.startswith("myop_cdn.deploy") for module in modules)


def test_publish_to_a_folder_loads_no_cloud_sdk(tmp_path: Path) -> None:
    with Sandbox(write(tmp_path / "api", full_tree({"card": ["qa"]}))) as sandbox:
        modules = loaded(
            "publish",
            f"file://{tmp_path}/cdn",
            "--output",
            str(tmp_path / "out"),
            MYOP_API_URL=sandbox.url,
            MYOP_API_KEY=REHEARSAL_KEY,
        )
    assert not tops(modules) & {"boto3", "botocore", "google", "azure", "rich"}


def test_a_deploy_with_nothing_to_do_loads_what_it_needs(tmp_path: Path) -> None:
    tree = str(write(tmp_path / "tree", full_tree({"card": ["qa"]})))
    words = ("deploy", f"file://{tmp_path}/cdn", "--source", tree)
    loaded(*words)
    modules = loaded(*words)
    assert not tops(modules) & (HEAVY | {"urllib3", "http", "ssl", "email", "sysconfig"})
    assert "importlib.metadata" not in modules
    ours = {module for module in modules if module.startswith("myop_cdn.")}
    assert not any(module.startswith("myop_cdn.export.") for module in ours)
    assert {module for module in ours if module.startswith("myop_cdn.storage.")} <= {
        "myop_cdn.storage.base",
        "myop_cdn.storage.filelock",
        "myop_cdn.storage.local",
        "myop_cdn.storage.readonly",
        "myop_cdn.storage.store",
    }


def test_a_deploy_to_s3_that_goes_well_loads_no_sdk(tmp_path: Path, bucket: Bucket) -> None:
    tree = str(write(tmp_path / "tree", full_tree({"card": ["qa"]})))
    words = ("deploy", bucket.url, "--source", tree)
    variables: dict[str, Any] = {
        "AWS_ACCESS_KEY_ID": "AKTEST",
        "AWS_SECRET_ACCESS_KEY": "secretkey",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    loaded(*words, AWS_ENDPOINT_URL=bucket.endpoint, **variables)  # its log is not there yet
    modules = loaded(*words, AWS_ENDPOINT_URL=bucket.endpoint, **variables)
    assert not tops(modules) & (HEAVY | {"urllib3", "ssl", "email"})


def test_this_program_s_backends_are_registered_as_they_are_looked_up() -> None:
    registered = {one.name: one.value for one in entry_points(group=GROUP)}
    assert registered.items() >= {name: f"{GROUP}.{at}" for name, at in OWN.items()}.items()


def test_help_imports_no_command() -> None:
    modules = loaded("--help")
    assert not tops(modules) & (HEAVY | {"urllib3"})
    assert "myop_cdn.cli.publish" not in modules
