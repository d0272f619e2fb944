"""The smallest permissions that are enough, tried where an emulator can check them."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from myop_cdn.deploy import DeployOptions, deploy
from myop_cdn.errors import AccessDenied, ExitCode
from myop_cdn.model import DeleteLimit
from tests.deploy.trees import make_tree
from tests.readme import DOCS
from tests.servers.azure import ACCOUNT, KEY, connection_string
from tests.servers.s3 import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The one of `myop-cdn help iam`, as a reader would copy it.
_BLOCKS = re.findall(r"```json\n(.*?)```", (DOCS / "iam.md").read_text("utf-8"), re.DOTALL)
POLICY: dict[str, Any] = json.loads(next(block for block in _BLOCKS if "s3:ListBucket" in block))
TEXT = {"Content-Type": "text/plain"}


@pytest.fixture
def strict_s3(aws: None) -> Iterator[str]:
    """A server that checks policies, when told to."""
    with running({"INITIAL_NO_AUTH_ACTION_COUNT": "1000000"}) as url:
        yield url


def use_policy(endpoint: str, policy: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process is a user with nothing but that policy."""
    iam: Any = boto3.client("iam", endpoint_url=endpoint)
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="my-bucket")
    iam.create_user(UserName="ci")
    iam.put_user_policy(UserName="ci", PolicyName="p", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="ci")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    request = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", b"0", TEXT)
    urllib.request.urlopen(request, timeout=30).read()


def test_the_policy_for_s3_is_enough(
    tmp_path: Path, strict_s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_policy(strict_s3, POLICY, monkeypatch)
    options = DeployOptions(
        endpoint_url=strict_s3, delete=True, max_delete=DeleteLimit(percent=100)
    )
    for components in ({"a": ["qa"], "b": ["qa"]}, {"a": ["qa"]}):
        tree = make_tree(tmp_path / str(len(components)), components)
        report = deploy(tree, ["s3://my-bucket/myop"], options)
        assert report.exit_code is ExitCode.DONE, report
    assert len(report.destinations[0].deleted) == 2


def test_less_than_the_policy_is_told_and_nothing_is_tried_on(
    tmp_path: Path, strict_s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    less = json.loads(json.dumps(POLICY).replace('"s3:PutObject", ', ""))
    use_policy(strict_s3, less, monkeypatch)
    tree = make_tree(tmp_path, {"a": ["qa"]})
    options = DeployOptions(endpoint_url=strict_s3)
    report = deploy(tree, ["s3://my-bucket/myop"], options)
    assert isinstance(report.destinations[0].error, AccessDenied)
    assert report.destinations[0].uploaded == ()


def test_a_signature_that_reads_lists_writes_and_deletes_is_enough_for_azure(
    tmp_path: Path, azurite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.storage.blob import (
        BlobServiceClient,
        ContainerSasPermissions,
        generate_container_sas,
    )

    with BlobServiceClient.from_connection_string(connection_string(azurite)) as service:
        service.create_container("permissions")
    allowed = ContainerSasPermissions(read=True, list=True, write=True, delete=True, create=True)
    token = generate_container_sas(
        ACCOUNT,
        "permissions",
        account_key=KEY,
        permission=allowed,
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    text = f"BlobEndpoint={azurite}/{ACCOUNT};SharedAccessSignature={token}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    for components in ({"a": ["qa"], "b": ["qa"]}, {"a": ["qa"]}):
        tree = make_tree(tmp_path / str(len(components)), components)
        report = deploy(tree, ["az://permissions/myop"], DeployOptions(delete=True))
        assert report.exit_code is ExitCode.DONE, report
    assert len(report.destinations[0].deleted) == 2
    assert os.environ["AZURE_STORAGE_CONNECTION_STRING"] not in str(report)
