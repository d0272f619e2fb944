"""Other people's programs: what they get, and how they end."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

from myop_cdn import programs

if TYPE_CHECKING:
    from pathlib import Path

HERE = {"PATH": os.environ["PATH"]}


def test_a_program_gets_its_words_its_environment_and_nothing_to_read(tmp_path: Path) -> None:
    with (tmp_path / "said").open("wb") as output:
        words = ["sh", "-c", 'cat; echo "$1 $FACT"; echo oops >&2; exit 7', "x", "a  b;$HOME"]
        assert programs.run(words, {**HERE, "FACT": "told"}, 60, output) == 7
    assert (tmp_path / "said").read_text() == "a  b;$HOME told\noops\n"


def test_what_a_program_prints_goes_nowhere_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    assert programs.run(["sh", "-c", "echo noise; echo noise >&2"], HERE, 60) == 0
    assert capfd.readouterr() == ("", "")


def test_a_program_that_takes_too_long_is_ended_with_what_it_started() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as output:
        words = ["sh", "-c", "sleep 600 & echo begun; sleep 600"]
        assert programs.run(words, HERE, 0.5, output) is None
    with os.fdopen(reader, "rb", buffering=0) as said:
        while True:  # until nobody is left who could write
            assert select.select([said], [], [], 20)[0], "something is still running"
            if not said.read(100):
                break


@pytest.mark.parametrize("words", [["/no/such/program"], ["true", "a\0b"]])
def test_a_program_that_can_t_be_started_is_told(words: list[str]) -> None:
    with pytest.raises((OSError, ValueError)):
        programs.run(words, HERE, 60)
