"""Errors and exit codes: which one counts, and what JSON has of them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import ExitCode, InputError, unexpected

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("codes", "worst"),
    [((4, 3, 1, 0), 1), ((0, 4, 3), 3), ((0, 4), 4), ((0, 0), 0), ((), 0)],
)
def test_the_worst_exit_code_is_the_first_of_1_3_4_0(codes: tuple[int, ...], worst: int) -> None:
    assert ExitCode.worst(*map(ExitCode, codes)) == worst


def test_an_error_in_json_has_message_hint_and_exit_code() -> None:
    assert InputError("what", "do this").to_json() == {
        "message": "what",
        "hint": "do this",
        "exitCode": 2,
    }


def test_a_name_that_is_too_long_is_bad_input_and_no_defect(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long") as caught:
        (tmp_path / ("a" * 300)).stat()
    error = unexpected(caught.value)
    assert error.exit_code == ExitCode.USAGE
    assert "name is too long" in error.message


def test_ctrl_c_while_the_command_is_loaded_ends_it_without_a_traceback() -> None:
    pressed = (
        "import sys, importlib.abc\n"
        "class Pressed(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'myop_cdn.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Pressed())\n"
        "from myop_cdn.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", pressed], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, b"")
