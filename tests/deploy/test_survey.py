"""What is found out about objects that listing and ledger leave undecided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.deploy.facts import Seen
from myop_cdn.deploy.source import Wanted
from myop_cdn.deploy.survey import decide
from myop_cdn.errors import StorageError
from myop_cdn.storage import open_backend
from myop_cdn.storage.base import Body, Headers, OpenOptions
from myop_cdn.storage.store import Store

if TYPE_CHECKING:
    from pathlib import Path

KEY = "components/a/qa.json"
BODY = Body.of(b'{"a": 1}')
OTHER = Body.of(b'{"a": 2}')


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(open_backend(f"memory://{tmp_path.name}", OpenOptions()))
    store.put(KEY, BODY, Headers())
    return store


def found_out(store: Store, file: Body | Exception) -> tuple[Wanted, Seen]:
    def body(key: str) -> Body:
        assert key == KEY
        if isinstance(file, Exception):
            raise file
        return file

    planned = file if isinstance(file, Body) else BODY
    wanted = {KEY: Wanted.of(KEY, planned)}
    seen = {one.key: Seen.of(one) for one in store.list()}
    decide(store, wanted, seen, None, body, jobs=2)
    return wanted[KEY], seen[KEY]


@pytest.mark.parametrize("file", [BODY, OTHER])
def test_an_object_whose_md5_is_told_is_held_against_the_file(store: Store, file: Body) -> None:
    wanted, seen = found_out(store, file)
    assert wanted.md5 == file.md5
    assert seen.same_content(wanted) is (file is BODY)


def test_a_file_that_can_not_be_read_any_more_is_left_to_its_upload(store: Store) -> None:
    wanted, seen = found_out(store, StorageError("changed meanwhile"))
    assert wanted.md5 is None
    assert seen.same_content(wanted) is None
