"""Errors and exit codes: which one counts, and what JSON has of them."""

from __future__ import annotations

import pytest

from myop_cdn.errors import ExitCode, InputError


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
