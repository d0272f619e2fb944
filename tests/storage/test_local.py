"""A folder as a destination: whole files, nobody else's touched, no links followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import StorageError
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import Body, Headers
from myop_cdn.storage.contract import listing

if TYPE_CHECKING:
    from pathlib import Path

KEY = "components/a/qa.json"
BODY = Body.of(b"{}")


def test_a_url_is_percent_decoded(tmp_path: Path) -> None:
    open_backend(f"file://{tmp_path}/my%20site/%C3%BC").put(KEY, BODY, Headers())
    assert (tmp_path / "my site" / "ü" / KEY).read_bytes() == b"{}"


def test_leftovers_of_a_killed_run_are_no_objects_and_get_cleared(tmp_path: Path) -> None:
    leftover = tmp_path / ".myop-cdn" / "tmp" / "123-0"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    backend = open_backend(f"file://{tmp_path}")
    assert listing(backend) == {}
    backend.put(KEY, BODY, Headers())
    assert set(listing(backend)) == {KEY}
    assert not leftover.exists()
    backend.close()
    assert not (tmp_path / ".myop-cdn").exists()


def test_a_temporary_file_in_use_is_left_alone(tmp_path: Path) -> None:
    import fcntl

    leftover = tmp_path / ".myop-cdn" / "tmp" / "123-0"
    leftover.parent.mkdir(parents=True)
    with leftover.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        open_backend(f"file://{tmp_path}").put(KEY, BODY, Headers())
        assert leftover.exists()


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
    with pytest.raises(StorageError, match="no folder"):
        backend.list(None)
    with pytest.raises(StorageError):
        backend.put(KEY, BODY, Headers())


def test_a_folder_has_no_cors_rules_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        open_backend(f"file://{tmp_path}").allow_origins(["https://app.example.com"])
    assert "Access-Control-Allow-Origin" in caught.value.hint
