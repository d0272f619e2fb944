"""The values that cross the doors: merging and limits."""

from __future__ import annotations

import pytest

from myop_cdn.model import DeleteLimit, Release, Scope

A1, A2, B = Release("a", "qa", "1"), Release("a", "qa", "2"), Release("b", "qa", "1")


def test_of_merged_releases_the_newest_of_each_document_counts() -> None:
    merged = Scope.merge([Scope("incremental", (A1, B)), Scope("incremental", (A2,))])
    assert merged == Scope("incremental", (B, A2))


def test_a_full_scope_supersedes_and_keeps_what_was_announced() -> None:
    scopes = [Scope("incremental", (A1,)), Scope("full"), Scope("none"), Scope("incremental", (B,))]
    assert Scope.merge(scopes) == Scope("full", (A1, B))
    assert Scope.merge([Scope("none"), Scope("none")]) == Scope("none")
    assert Scope.merge([]) == Scope("none")


@pytest.mark.parametrize(
    ("limit", "removed", "total", "allowed"),
    [
        (DeleteLimit(), 25, 100, True),
        (DeleteLimit(), 26, 100, False),
        (DeleteLimit(), 5, 20, True),
        (DeleteLimit(), 6, 20, False),
        (DeleteLimit(), 3, 6, True),  # all of the component that has three
        (DeleteLimit(), 4, 6, False),
        (DeleteLimit(), 4, 4, False),
        (DeleteLimit(count=0), 0, 9, True),
        (DeleteLimit(count=0), 1, 9, False),
        (DeleteLimit(count=3), 3, 3, True),
        (DeleteLimit(percent=10), 1, 10, True),
        (DeleteLimit(percent=10), 2, 10, False),
        (DeleteLimit(percent=100), 10, 10, True),
        (DeleteLimit(percent=0), 0, 0, True),
    ],
)
def test_the_limit_of_what_may_go(
    limit: DeleteLimit, removed: int, total: int, allowed: bool
) -> None:
    assert limit.allows(removed, total, largest_component=3) is allowed


def test_a_limit_is_told_as_it_was_given() -> None:
    shown = [str(DeleteLimit(count=3)), str(DeleteLimit(percent=12.5)), str(DeleteLimit())]
    assert shown == ["3", "12.5 %", "25 %, or one component's documents"]
