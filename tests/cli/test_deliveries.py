"""`myop-cdn deliveries` on a journal that is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.listener.queue.journal import FILE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Run


@pytest.mark.parametrize("data", [b"", b"no database" * 1000])
@pytest.mark.parametrize("words", [("list",), ("show", "x")])
def test_a_damaged_journal_comes_with_a_hint(
    run: Run, tmp_path: Path, data: bytes, words: tuple[str, ...]
) -> None:
    (tmp_path / FILE).write_bytes(data)
    ended = run("deliveries", *words, "--state-dir", tmp_path)
    error, hint = ended.err.splitlines()
    assert (ended.code, error.startswith("error: can't read the journal")) == (1, True)
    assert "serve sets such a file aside" in hint
    assert (tmp_path / FILE).read_bytes() == data


def test_writing_to_a_damaged_journal_comes_with_the_hint_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    ended = run("deliveries", "retry", "x", "--state-dir", tmp_path)
    assert (ended.code, "serve sets such a file aside" in ended.err) == (1, True)


def test_no_journal_at_all_keeps_its_own_hint(run: Run, tmp_path: Path) -> None:
    assert "--state-dir" in run("deliveries", "list", "--state-dir", tmp_path).err
