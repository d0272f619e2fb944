"""The examples at the end of each `--help`, run as they stand there."""

from __future__ import annotations

import json
import os
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from myop_cdn.cli.options import Command
from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from myop_cdn.signature import sign
from tests.readme import README, commands, described
from tests.samples import SECRET, full_tree, release, webhook, write
from tests.servers.api import Said, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Ended, Run
    from tests.servers.s3 import Bucket

# Run by tests of their own: these stay until they are ended, ask somebody else's CDN, or name a
# delivery that only the reader has.
ELSEWHERE = ("serve", "sandbox", "demo", "check", "deliveries")


def examples(*, elsewhere: bool = False) -> Iterator[tuple[str, str]]:
    """Each command's examples, in the order of the help."""
    for name, command in described().items():
        if isinstance(command, Command) and (elsewhere or name.split()[0] not in ELSEWHERE):
            for example in command.examples:
                yield name, example.replace("\\\n", " ")


def test_every_command_has_an_example_and_each_begins_with_it() -> None:
    shown = dict(examples(elsewhere=True))
    leaves = [name for name, command in described().items() if isinstance(command, Command)]
    assert list(shown) == leaves
    assert all(f"myop-cdn {name}" in example for name, example in examples(elsewhere=True))


@pytest.fixture
def scene(
    moto_endpoint: str, aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """Where the examples are right: a bucket, Myop's API, a receiver, a body and its signature.
    What the examples name that no machine has, and what takes its place here.
    """
    boto3.client("s3", endpoint_url=moto_endpoint).create_bucket(Bucket="my-bucket")
    cloudfront: Any = boto3.client("cloudfront", endpoint_url=moto_endpoint)
    origin = {
        "Id": "o",
        "DomainName": "my-bucket.s3.amazonaws.com",
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }
    made = cloudfront.create_distribution(
        DistributionConfig={
            "CallerReference": str(tmp_path),
            "Origins": {"Quantity": 1, "Items": [origin]},
            "DefaultCacheBehavior": {"TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all"},
            "Comment": "",
            "Enabled": True,
        }
    )
    body = webhook(release("pricing-card", "production"))
    (tmp_path / "body.json").write_bytes(body)
    tree = write(tmp_path / "api", full_tree({"pricing-card": ["production"]}))
    monkeypatch.chdir(tmp_path)
    with Sandbox(tree) as sandbox, StandIn(lambda _: Said({})) as receiver:
        for name, value in {
            "AWS_ENDPOINT_URL": moto_endpoint,
            "MYOP_API_URL": sandbox.url,
            "MYOP_API_KEY": REHEARSAL_KEY,
            "MYOP_WEBHOOK_SECRET": SECRET,
        }.items():
            monkeypatch.setenv(name, value)
        yield {
            '"$SIGNATURE"': sign(body, SECRET.encode()),
            "E2EXAMPLE": made["Distribution"]["Id"],
            "file:///srv/cdn": f"file://{tmp_path}/cdn",
            "http://127.0.0.1:3000": receiver.url,
            "--to 41": "--to 1",
            " 41": " 1",
            "2026-03-24T10:00:00Z": f"{datetime.now(UTC).year + 1}-01-01T00:00:00Z",
        }


def piped(run: Run, line: str, folder: Path) -> Ended:
    """What a shell makes of it: commands of this program, fed one from another."""
    fed, ended = b"", None
    for part in line.split(" | "):
        words = shlex.split(part)
        if words[0] == "cat":
            fed = (folder / words[1]).read_bytes()
            continue
        assert words[0] == "myop-cdn"
        ended = run(*words[1:], stdin=fed, env=os.environ)
        fed = ended.out
    assert ended is not None
    return ended


def test_the_readme_s_first_publish_succeeds_as_it_is_written(
    run: Run, scene: dict[str, str], bucket: Bucket, tmp_path: Path
) -> None:
    """At a new bucket, whose objects a CDN hands on."""
    text = README.read_text("utf-8")
    steps = commands(text[text.index("## The first publish") : text.index("## In your CI system")])
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    statement = {**everybody, "Resource": f"arn:aws:s3:::{bucket.name}/*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(policy))
    assert [step.split()[1] for step in steps] == ["doctor", "publish", "publish", "check"]
    for step in steps:
        line = step.replace("https://cdn.example.com/", f"{bucket.endpoint}/{bucket.name}/")
        ended = piped(run, line.replace("my-bucket", bucket.name), tmp_path)
        assert ended.code == 0, f"{line}: {ended.out.decode()}{ended.err}"


def test_every_example_succeeds_as_it_is_written(
    run: Run, scene: dict[str, str], tmp_path: Path
) -> None:
    assert run("sync").code == 0  # what deploy's examples upload
    assert (
        run("deploy", "s3://my-bucket/myop", "--cors-origin", "https://app.example.com").code == 0
    )
    for _, line in examples():
        for text, instead in scene.items():
            line = line.replace(text, instead)
        ended = piped(run, " ".join(line.split()), tmp_path)
        assert ended.code == 0, f"{line}: {ended.err}"
