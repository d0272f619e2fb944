"""Deploys to a real S3 server, seen from the bucket."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy import DeployOptions, deploy
from myop_cdn.errors import CredentialsError, ExitCode
from myop_cdn.model import DeleteLimit
from myop_cdn.progress import Silent
from tests.deploy.trees import document, make_tree, manifest
from tests.servers.proxy import SLOW_DOWN, Answer

if TYPE_CHECKING:
    from pathlib import Path

    from myop_cdn.report import DeployReport
    from myop_cdn.tree import Tree
    from tests.servers.proxy import Proxy, Seen
    from tests.servers.s3 import Bucket

COMPONENTS = {"card": ["production", "qa"], "form": ["production"]}
KEYS = [
    "components/card/preview.json",
    "components/card/production.json",
    "components/card/qa.json",
    "components/form/preview.json",
    "components/form/production.json",
]


def run(tree: Tree, bucket: Bucket, prefix: str = "", **options: object) -> DeployReport:
    """A deploy of `tree` to the bucket."""
    options.setdefault("endpoint_url", bucket.endpoint)
    url = f"{bucket.url}/{prefix}" if prefix else bucket.url
    return deploy(tree, [url], DeployOptions(**options))  # type: ignore[arg-type]


def layout(bucket: Bucket, prefix: str = "") -> dict[str, bytes]:
    """The bucket's objects without the tool's own ledger."""
    objects = bucket.objects()
    return {key: data for key, data in objects.items() if ".myop-cdn/" not in key}


def test_a_first_deploy_puts_every_file_with_its_headers(tmp_path: Path, bucket: Bucket) -> None:
    report = run(make_tree(tmp_path, COMPONENTS), bucket, "myop/site")
    assert report.exit_code is ExitCode.DONE
    reasons = {up.key: up.reason for up in report.destinations[0].uploaded}
    assert reasons == {**dict.fromkeys(KEYS, "new"), "manifest.json": "manifest"}
    stored = layout(bucket)
    for key in [*KEYS, "manifest.json"]:
        assert stored[f"myop/site/{key}"] == (tmp_path / key).read_bytes()
        answer = bucket.get(f"myop/site/{key}")
        assert answer["ContentType"] == "application/json; charset=utf-8"
        assert answer["CacheControl"] == "public, max-age=300"


def test_touching_every_file_uploads_nothing(tmp_path: Path, bucket: Bucket, proxy: Proxy) -> None:
    tree = make_tree(tmp_path, COMPONENTS)
    run(tree, bucket)
    for file in tmp_path.rglob("*.json"):
        os.utime(file, (2_000_000_000, 2_000_000_000))
    report = run(tree, bucket, endpoint_url=proxy.url)
    assert report.destinations[0].uploaded == ()
    assert report.destinations[0].unchanged == 6
    assert proxy.counted()["PUT"] == 0
    listed = [one.query for one in proxy.forwarded if "list-type" in one.query]
    assert sum("components" in one for one in listed) == 1


def test_a_change_of_the_same_size_is_found_and_is_the_only_upload(
    tmp_path: Path, bucket: Bucket
) -> None:
    tree = make_tree(tmp_path, COMPONENTS)
    run(tree, bucket)
    file = tmp_path / KEYS[1]
    file.write_bytes(file.read_bytes().replace(b"hello", b"hallo"))
    os.utime(file, (1_000_000_000, 1_000_000_000))
    report = run(tree, bucket)
    assert [(up.key, up.reason) for up in report.destinations[0].uploaded] == [(KEYS[1], "content")]
    assert layout(bucket)[KEYS[1]] == file.read_bytes()


def test_documents_are_uploaded_before_the_manifest(
    tmp_path: Path, bucket: Bucket, proxy: Proxy
) -> None:
    run(make_tree(tmp_path, COMPONENTS), bucket, endpoint_url=proxy.url)
    puts = [one.path for one in proxy.forwarded if one.method == "PUT" and ".myop" not in one.path]
    assert puts[-1].endswith("manifest.json")
    assert len(puts) == 6


def test_after_a_failed_upload_there_is_no_manifest_and_nothing_is_deleted(
    tmp_path: Path, bucket: Bucket, proxy: Proxy
) -> None:
    bucket.put("components/old/qa.json", document("old", ""))

    def break_one(seen: Seen) -> Answer | None:
        broken = seen.method == "PUT" and seen.path.endswith(KEYS[2])
        return Answer(400, b"<Error><Code>Odd</Code></Error>") if broken else None

    proxy.meddle = break_one
    tree = make_tree(tmp_path, COMPONENTS)
    report = run(tree, bucket, endpoint_url=proxy.url, delete=True)
    assert report.exit_code is ExitCode.PARTLY
    assert [one.key for one in report.destinations[0].failed] == [KEYS[2]]
    stored = layout(bucket)
    assert "manifest.json" not in stored
    assert "components/old/qa.json" in stored

    def no_trouble(seen: Seen) -> Answer | None:
        return None

    proxy.meddle = no_trouble
    again = run(tree, bucket, endpoint_url=proxy.url, delete=True)
    assert again.exit_code is ExitCode.DONE
    assert sorted(layout(bucket)) == [*KEYS, "manifest.json"]


def test_delete_takes_only_objects_of_the_layout(tmp_path: Path, bucket: Bucket) -> None:
    foreign = ["index.html", "components/readme.txt", "components/a/b/c.json", "other/qa.json"]
    for key in foreign:
        bucket.put(key, b"theirs")
    bucket.put("components/gone/qa.json", document("gone", ""))
    report = run(make_tree(tmp_path, COMPONENTS), bucket, delete=True)
    assert report.destinations[0].deleted == ("components/gone/qa.json",)
    assert set(layout(bucket)) == {*KEYS, "manifest.json", *foreign}


def test_a_prefix_ends_at_its_slash(tmp_path: Path, bucket: Bucket) -> None:
    bucket.put("ab/components/gone/qa.json", document("gone", ""))
    bucket.put("a/components/gone/qa.json", document("gone", ""))
    report = run(make_tree(tmp_path, COMPONENTS), bucket, "a", delete=True)
    assert report.destinations[0].deleted == ("components/gone/qa.json",)
    assert "ab/components/gone/qa.json" in bucket.objects()


@pytest.mark.parametrize("case", ["partial", "empty manifest", "file missing", "too many"])
def test_a_refused_delete_changes_nothing(tmp_path: Path, bucket: Bucket, case: str) -> None:
    for number in range(30):
        bucket.put(f"components/old{number}/qa.json", document(f"old{number}", ""))
    tree = make_tree(tmp_path, COMPONENTS, complete=case != "partial")
    if case == "empty manifest":
        tree.write("manifest.json", manifest({}))
    if case == "file missing":
        (tmp_path / KEYS[2]).unlink()
    before = bucket.objects()
    report = run(tree, bucket, delete=True)
    assert report.exit_code is ExitCode.REFUSED
    assert report.destinations[0].refused
    assert bucket.objects() == before


def test_a_given_limit_is_taken_as_it_is(tmp_path: Path, bucket: Bucket) -> None:
    for number in range(30):
        bucket.put(f"components/old{number}/qa.json", document(f"old{number}", ""))
    tree = make_tree(tmp_path, COMPONENTS)
    refused = run(tree, bucket, delete=True, max_delete=DeleteLimit(count=29))
    assert refused.exit_code is ExitCode.REFUSED
    done = run(tree, bucket, delete=True, max_delete=DeleteLimit(percent=100))
    assert len(done.destinations[0].deleted) == 30


@pytest.mark.parametrize("source", ["missing", "empty", "unreadable manifest"])
def test_a_source_that_is_no_tree_is_refused(tmp_path: Path, bucket: Bucket, source: str) -> None:
    bucket.put("components/old/qa.json", document("old", ""))
    tree = make_tree(tmp_path / "tree", {} if source == "empty" else COMPONENTS)
    if source == "missing":
        tree.root = tmp_path / "nowhere"
    if source == "unreadable manifest":
        tree.write("manifest.json", b'{"components": ')
    report = run(tree, bucket)
    assert report.exit_code is ExitCode.REFUSED
    assert list(bucket.objects()) == ["components/old/qa.json"]


def test_a_dry_run_reports_the_plan_and_writes_nothing(
    tmp_path: Path, bucket: Bucket, proxy: Proxy
) -> None:
    bucket.put("components/gone/qa.json", document("gone", ""))
    tree = make_tree(tmp_path, COMPONENTS)
    dry = run(tree, bucket, endpoint_url=proxy.url, delete=True, dry_run=True)
    assert set(proxy.counted()) <= {"LIST", "GET", "HEAD"}
    real = run(tree, bucket, delete=True)
    assert dry.destinations[0].uploaded == real.destinations[0].uploaded
    assert dry.destinations[0].deleted == real.destinations[0].deleted


def test_a_partial_tree_adds_its_documents_to_the_manifest_there(
    tmp_path: Path, bucket: Bucket
) -> None:
    run(make_tree(tmp_path / "full", COMPONENTS), bucket)
    part = {"form": ["production", "staging"], "banner": ["qa"]}
    report = run(make_tree(tmp_path / "part", part, complete=False, html="<i>new</i>"), bucket)
    assert report.exit_code is ExitCode.DONE
    expected = {"card": ["production", "qa"], "form": ["production", "staging"], "banner": ["qa"]}
    assert layout(bucket)["manifest.json"] == manifest(expected)
    assert set(KEYS) < set(layout(bucket))


def test_a_partial_tree_makes_no_manifest_up(tmp_path: Path, bucket: Bucket) -> None:
    run(make_tree(tmp_path, COMPONENTS, complete=False), bucket)
    assert sorted(layout(bucket)) == KEYS


def test_delete_is_passed_over_with_a_note_where_that_was_chosen(
    tmp_path: Path, bucket: Bucket
) -> None:
    bucket.put("components/old/qa.json", document("old", ""))
    tree = make_tree(tmp_path, COMPONENTS, complete=False)
    report = run(tree, bucket, delete=True, skip_partial_delete=True)
    assert report.exit_code is ExitCode.DONE
    assert "passed over" in report.destinations[0].notes[0]
    assert report.destinations[0].warnings == ()
    assert "components/old/qa.json" in bucket.objects()


def test_an_older_tree_goes_live_with_a_warning(tmp_path: Path, bucket: Bucket) -> None:
    run(make_tree(tmp_path / "new", COMPONENTS, exported_at="2026-03-25T10:00:00.000Z"), bucket)
    old = make_tree(tmp_path / "old", COMPONENTS, html="old")
    report = run(old, bucket)
    assert report.exit_code is ExitCode.DONE
    assert "older" in report.destinations[0].warnings[0]
    assert layout(bucket)["manifest.json"] == old.read("manifest.json")


def test_a_manifest_that_names_what_is_nowhere_is_withheld(tmp_path: Path, bucket: Bucket) -> None:
    tree = make_tree(tmp_path, COMPONENTS)
    (tmp_path / KEYS[2]).unlink()
    report = run(tree, bucket)
    assert report.exit_code is ExitCode.PARTLY
    assert report.destinations[0].failed[0].key == "manifest.json"
    assert "manifest.json" not in layout(bucket)
    bucket.put(KEYS[2], b"{}")
    assert run(tree, bucket).exit_code is ExitCode.DONE
    assert "manifest.json" in layout(bucket)


def test_every_fifth_answer_being_slow_down_ends_well_and_puts_nothing_twice(
    tmp_path: Path, bucket: Bucket, proxy: Proxy
) -> None:
    proxy.meddle = lambda seen: Answer(503, SLOW_DOWN) if seen.number % 5 == 0 else None
    tree = make_tree(tmp_path, {f"c{number}": ["qa"] for number in range(30)})
    report = run(tree, bucket, endpoint_url=proxy.url)
    assert report.exit_code is ExitCode.DONE
    puts = [one.path for one in proxy.forwarded if one.method == "PUT"]
    assert len(puts) == len(set(puts))
    assert len(layout(bucket)) == 61


def test_missing_credentials_end_the_run_at_the_first_request(
    tmp_path: Path, bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    report = run(make_tree(tmp_path, COMPONENTS), bucket, endpoint_url=proxy.url)
    error = report.destinations[0].error
    assert isinstance(error, CredentialsError)
    assert "AWS_ACCESS_KEY_ID" in error.hint
    assert report.exit_code is ExitCode.FAILED
    assert len(proxy.arrived) == 0


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("ExpiredToken", "expired"),
        ("InvalidAccessKeyId", "refused"),
        ("AccessDenied", "not allowed"),
    ],
)
def test_a_denied_upload_ends_the_run_without_trying_every_object(
    tmp_path: Path, bucket: Bucket, proxy: Proxy, code: str, word: str
) -> None:
    body = f"<Error><Code>{code}</Code></Error>".encode()
    proxy.meddle = lambda seen: Answer(403, body) if seen.method == "PUT" else None
    tree = make_tree(tmp_path, {f"c{number}": ["qa"] for number in range(50)})
    report = run(tree, bucket, endpoint_url=proxy.url, jobs=2)
    error = report.destinations[0].error
    assert error is not None
    assert word in error.message
    assert error.hint
    assert sum(one.method == "PUT" for one in proxy.arrived) < 10


def test_one_destination_that_fails_does_not_stop_the_others(
    tmp_path: Path, bucket: Bucket
) -> None:
    tree = make_tree(tmp_path / "tree", COMPONENTS)
    folder = f"file://{tmp_path}/out"
    options = DeployOptions(endpoint_url=bucket.endpoint)
    report = deploy(tree, ["s3://no-such-bucket", folder, bucket.url], options)
    assert report.exit_code is ExitCode.FAILED
    assert [one.exit_code for one in report.destinations] == [1, 0, 0]
    assert "no such bucket" in str(report.destinations[0].error)
    assert (tmp_path / "out" / "manifest.json").exists()


def test_a_file_that_changes_while_it_is_deployed_fails_alone(
    tmp_path: Path, bucket: Bucket, proxy: Proxy
) -> None:
    tree = make_tree(tmp_path, COMPONENTS)
    last = KEYS[-1]

    def change(seen: Seen) -> None:
        if seen.method == "PUT":  # all was hashed, and one at a time is uploaded
            (tmp_path / last).write_bytes(b"{}")

    proxy.meddle = change
    report = run(tree, bucket, endpoint_url=proxy.url, jobs=1)
    assert [one.key for one in report.destinations[0].failed] == [last]
    assert "changed while" in report.destinations[0].failed[0].error
    assert last not in layout(bucket)


def test_that_a_service_is_busy_is_told_while_it_is_tried_again(
    tmp_path: Path, bucket: Bucket, proxy: Proxy
) -> None:
    class Notes(Silent):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, message: str) -> None:
            self.notes.append(message)

    proxy.meddle = lambda seen: Answer(503, SLOW_DOWN) if seen.number <= 3 else None
    notes, options = Notes(), DeployOptions(endpoint_url=proxy.url)
    report = deploy(make_tree(tmp_path, COMPONENTS), [bucket.url], options, notes)
    assert report.exit_code is ExitCode.DONE
    (note,) = notes.notes  # one line for what several threads meet
    assert "trying again (2 of" in note


@pytest.mark.parametrize("dry_run", [True, False])
def test_reading_that_an_acl_grants_is_not_revoked_without_a_word(
    tmp_path: Path, bucket: Bucket, dry_run: bool
) -> None:
    """Another tool put the objects there, readable by everybody; a dry run says so, too."""
    tree = make_tree(tmp_path, COMPONENTS)
    for key in KEYS:
        bucket.put(key, tree.read(key), ACL="public-read")
    bucket.put(KEYS[0], document("card", "old"), ACL="public-read")
    report = run(tree, bucket, dry_run=dry_run).destinations[0]
    assert any("--acl public-read keeps that" in warning for warning in report.warnings)
    kept = run(tree, bucket, dry_run=dry_run, acl="public-read").destinations[0]
    assert not any("by their ACL" in warning for warning in kept.warnings)
