"""A folder as a destination: whole files, nobody else's touched, no links followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from myop_cdn import files
from myop_cdn.errors import InputError, StorageError
from myop_cdn.files import TEMPORARY
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import SHA256_METADATA, Body, Cors, Headers, OpenOptions
from myop_cdn.storage.contract import listing

KEY = "components/a/qa.json"
BODY = Body.of(b"{}")


def test_a_url_is_percent_decoded(tmp_path: Path) -> None:
    open_backend(f"file://{tmp_path}/my%20site/%C3%BC").put(KEY, BODY, Headers())
    assert (tmp_path / "my site" / "ü" / KEY).read_bytes() == b"{}"


# Beside the file it was to become, beside another one, and where version 0.1.0 had them.
LEFTOVERS = (f"{KEY}/../.12ab{TEMPORARY}", f"components/b/.12ab{TEMPORARY}", ".myop-cdn/tmp/12-0")


@pytest.mark.parametrize("place", LEFTOVERS)
def test_leftovers_of_a_killed_run_are_not_objects_and_get_cleared(
    tmp_path: Path, place: str
) -> None:
    leftover = Path(os.path.normpath(tmp_path / place))
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    backend = open_backend(f"file://{tmp_path}")
    assert listing(backend) == {}
    backend.put(KEY, BODY, Headers())
    assert set(listing(backend)) == {KEY}
    assert not leftover.exists()
    assert not (tmp_path / ".myop-cdn").exists()


def test_a_run_that_lists_nothing_clears_what_lies_beside_its_files(tmp_path: Path) -> None:
    leftover = tmp_path / "components" / "a" / f".12ab{TEMPORARY}"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    open_backend(f"file://{tmp_path}").put(KEY, BODY, Headers())
    assert not leftover.exists()


@pytest.mark.parametrize("place", LEFTOVERS)
def test_a_temporary_file_in_use_is_left_alone(tmp_path: Path, place: str) -> None:
    import fcntl

    leftover = Path(os.path.normpath(tmp_path / place))
    leftover.parent.mkdir(parents=True)
    with leftover.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        backend = open_backend(f"file://{tmp_path}")
        backend.list(None)
        backend.put(KEY, BODY, Headers())
        assert leftover.exists()


def test_two_writers_of_the_same_process_id_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two containers on one volume: process 7 in both."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    seen: list[str] = []
    for _ in range(2):
        with files.written(tmp_path / "x.json", b"") as temporary:
            seen.append(temporary)
    assert len(set(seen)) == 2


def test_a_temporary_file_lies_beside_its_target(tmp_path: Path) -> None:
    """`components` may be a mount of its own, and a file can't be renamed into another one."""
    with files.written(tmp_path / KEY.rpartition("/")[2], b"{}") as temporary:
        assert Path(temporary).parent == tmp_path


@pytest.mark.parametrize("key", [KEY, "manifest.json"])
def test_a_pipe_is_neither_waited_for_nor_listed(tmp_path: Path, key: str) -> None:
    (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(tmp_path / key)
    backend = open_backend(f"file://{tmp_path}")
    assert listing(backend) == {}
    for read in (backend.get, backend.head):
        with pytest.raises(StorageError, match="is not a plain file"):
            read(key)


def test_a_device_is_not_read(tmp_path: Path) -> None:
    backend = open_backend("file:///dev")
    with pytest.raises(StorageError, match="is not a plain file"):
        backend.get("zero")


def test_a_file_whose_name_is_not_text_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.json")).write_bytes(b"{}")
    assert listing(open_backend(f"file://{tmp_path}")) == {}


def test_a_listing_below_a_prefix_looks_into_no_other_folder(tmp_path: Path) -> None:
    backend = open_backend(f"file://{tmp_path}")
    for key in ("components/a/qa.json", ".myop-cdn/log/1.json", ".myop-cdn/state/1.json"):
        backend.put(key, BODY, Headers())
    looked: list[str] = []
    scandir = os.scandir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", lambda path: looked.append(str(path)) or scandir(path))
        page = backend.list(None, ".myop-cdn/log/", 1)
    assert [one.key for one in page.objects] == [".myop-cdn/log/1.json"]
    assert looked == [str(tmp_path / ".myop-cdn/log")]


def test_metadata_lies_beside_the_objects_and_is_not_one(tmp_path: Path) -> None:
    backend = open_backend(f"file://{tmp_path}")
    backend.put("manifest.json", BODY, Headers())
    assert not (tmp_path / ".myop-cdn").exists()
    backend.put(KEY, BODY, Headers(), {"variant": "v1"})
    assert (tmp_path / ".myop-cdn" / "metadata" / KEY).exists()
    assert set(listing(backend)) == {KEY, "manifest.json"}
    assert listing(backend, ".myop-cdn/metadata/") == {}
    backend.delete([KEY])
    assert not (tmp_path / ".myop-cdn").exists()


@pytest.mark.parametrize("sidecar", ["", "[" * 9000, "null", '{"x": 1}', '{"x": {}, "y": []}'])
def test_metadata_that_are_lost_or_damaged_are_none(tmp_path: Path, sidecar: str) -> None:
    backend = open_backend(f"file://{tmp_path}")
    backend.put(KEY, BODY, Headers(), {"variant": "v1"})
    (tmp_path / ".myop-cdn" / "metadata" / KEY).write_text(sidecar)
    head = backend.head(KEY)
    assert head is not None
    assert head.metadata == {SHA256_METADATA: BODY.sha256}
    backend.put(KEY, BODY, Headers(), {"variant": "v2"})
    head = backend.head(KEY)
    assert head is not None
    assert head.metadata == {SHA256_METADATA: BODY.sha256, "variant": "v2"}


def test_metadata_of_other_content_do_not_count(tmp_path: Path) -> None:
    backend = open_backend(f"file://{tmp_path}")
    backend.put(KEY, BODY, Headers(), {"variant": "v1"})
    (tmp_path / KEY).write_bytes(b"somebody else's")
    head = backend.head(KEY)
    assert head is not None
    assert set(head.metadata or ()) == {SHA256_METADATA}


def test_a_reader_between_two_steps_sees_either_content_with_its_own_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_backend(f"file://{tmp_path}")
    backend.put(KEY, BODY, Headers(), {"variant": "v1"})
    seen: list[tuple[str, str]] = []
    replace = os.replace

    def look(source: str, target: str) -> None:
        replace(source, target)
        head = backend.head(KEY)
        assert head is not None
        assert head.metadata is not None
        seen.append((head.version, head.metadata["variant"]))

    monkeypatch.setattr(os, "replace", look)
    new = Body.of(b"new")
    backend.put(KEY, new, Headers(), {"variant": "v2"})
    assert seen == [(BODY.sha256, "v1"), (new.sha256, "v2")]


@pytest.mark.parametrize("key", [".myop-cdn/metadata/x.json", f"components/a/.1{TEMPORARY}"])
def test_what_the_folder_keeps_for_itself_can_not_be_written(tmp_path: Path, key: str) -> None:
    backend = open_backend(f"file://{tmp_path}")
    with pytest.raises(StorageError, match="of this program's own"):
        backend.put(key, BODY, Headers())


def test_a_folder_has_no_acls(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither ACLs nor storage classes"):
        open_backend(f"file://{tmp_path}", OpenOptions(acl="public-read"))


def test_only_the_objects_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    open_backend(f"file://{tmp_path}").put(KEY, BODY, Headers(), {"variant": "v1"})
    assert len(synced) == 1


def test_foreign_files_stay(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    backend = open_backend(f"file://{tmp_path}")
    backend.put(KEY, BODY, Headers())
    backend.delete([KEY])
    assert (tmp_path / "index.html").read_text() == "mine"
    assert not (tmp_path / "components" / "a").exists()


def test_a_linked_folder_is_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    site = tmp_path / "site"
    outside.mkdir()
    site.mkdir()
    (site / "components").symlink_to(outside)
    backend = open_backend(f"file://{site}")
    with pytest.raises(StorageError, match="symbolic link"):
        backend.put(KEY, BODY, Headers())
    (outside / "a").mkdir()
    (outside / "a" / "qa.json").write_bytes(b"theirs")
    assert backend.delete([KEY])
    assert (outside / "a" / "qa.json").read_bytes() == b"theirs"
    assert listing(backend).keys() <= {"components"}


def test_a_linked_file_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"{}")
    place = tmp_path / "site" / KEY
    place.parent.mkdir(parents=True)
    place.symlink_to(target)
    backend = open_backend(f"file://{tmp_path}/site")
    head = backend.head(KEY)
    assert head is not None
    assert head.md5 != BODY.md5
    with pytest.raises(StorageError, match="symbolic link"):
        backend.get(KEY)
    backend.put(KEY, BODY, Headers())
    assert not place.is_symlink()
    assert target.read_bytes() == b"{}"


@pytest.mark.parametrize("key", ["", "..", "../x", "a//b", "/etc/passwd", "a/../b", "./a"])
def test_a_key_that_leads_out_is_refused(tmp_path: Path, key: str) -> None:
    backend = open_backend(f"file://{tmp_path}/site")
    with pytest.raises(StorageError):
        backend.put(key, BODY, Headers())
    assert not list(tmp_path.rglob("*.json"))


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("a file")
    backend = open_backend(f"file://{tmp_path}/site")
    with pytest.raises(StorageError, match="is not a folder"):
        backend.list(None)
    with pytest.raises(StorageError):
        backend.put(KEY, BODY, Headers())


def test_a_folder_has_no_cors_rules_and_says_so(tmp_path: Path) -> None:
    backend = open_backend(f"file://{tmp_path}")
    assert isinstance(backend, Cors)
    with pytest.raises(StorageError) as caught:
        backend.allow_origins(["https://app.example.com"])
    assert "Access-Control-Allow-Origin" in caught.value.hint
