"""Where secrets come from, and who else can read them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from myop_cdn.inputs import webhook_secrets

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("mode", "is_own", "readers"),
    [
        (0o400, True, None),
        (0o640, True, "its group"),
        (0o604, True, "everybody"),
        (0o440, False, None),  # as Kubernetes mounts a Secret for a user that is not root
        (0o444, False, "everybody"),
    ],
)
def test_a_secret_s_file_that_others_can_read_is_warned_of_where_that_can_be_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_own: bool, readers: str | None
) -> None:
    file = tmp_path / "secret"
    file.write_text("one-of-32-bytes-in-hexadecimals!")
    file.chmod(mode)
    owner = file.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner if is_own else owner + 1)
    warnings: list[str] = []
    webhook_secrets([str(file)], warnings.append)
    assert len(warnings) == (readers is not None)
    assert all(str(readers) in words for words in warnings)
