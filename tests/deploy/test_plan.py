"""The plan is a pure function: what holds for every tree and every listing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.deploy import DeployOptions
from myop_cdn.deploy.log import Entry, Hold
from myop_cdn.deploy.plan import (
    CACHED_FOR,
    HELD,
    Plan,
    Rules,
    check_limit,
    check_manifest,
    looks_cached,
    make_plan,
    may_delete,
    needs_facts,
)
from myop_cdn.deploy.remote import RemoteObject
from myop_cdn.deploy.source import LocalObject, Source
from myop_cdn.errors import RefusedError
from myop_cdn.manifest import Manifest
from myop_cdn.model import DeleteLimit, DocumentRef, is_layout
from myop_cdn.report import Overtaken, Upload
from myop_cdn.tree import Tree
from tests.samples import index

HASHES = [f"{digit}" * 32 for digit in "abc"]
KEYS = st.one_of(
    st.sampled_from(["manifest.json", "index.html", "components/x.json", ".myop-cdn/ledger.json"]),
    st.builds("components/{}/{}.json".format, st.sampled_from("abcdef"), st.sampled_from("qp")),
)


@st.composite
def wanted_maps(draw: st.DrawFn) -> dict[str, LocalObject]:
    keys = draw(st.sets(KEYS.filter(is_layout)))
    md5s = {key: draw(st.sampled_from(HASHES)) for key in keys}
    hashed = draw(st.booleans())
    return {
        key: LocalObject(key, 10, md5 * 2, md5 if hashed else None) for key, md5 in md5s.items()
    }


@st.composite
def seen_maps(draw: st.DrawFn) -> dict[str, RemoteObject]:
    seen = {}
    for key in draw(st.sets(KEYS)):
        md5 = draw(st.sampled_from([None, *HASHES]))
        sha256 = draw(st.sampled_from([None, *(one * 2 for one in HASHES)]))
        seen[key] = RemoteObject(
            key,
            draw(st.sampled_from([10, 11])),
            "1",
            md5,
            draw(st.booleans()),
            sha256,
            draw(st.sampled_from([None, "wanted", "other"])),
        )
    return seen


HEADERS = st.sampled_from([None, "wanted"])


def at_rest(wanted: dict[str, LocalObject], headers: str | None) -> dict[str, RemoteObject]:
    """A destination that holds what is wanted."""
    return {
        key: RemoteObject(key, one.size, "1", one.md5, True, one.sha256, headers)
        for key, one in wanted.items()
    }


@given(wanted_maps(), seen_maps(), HEADERS)
def test_every_wanted_key_is_uploaded_or_unchanged(
    wanted: dict[str, LocalObject], seen: dict[str, RemoteObject], headers: str | None
) -> None:
    plan = make_plan(wanted, seen, Rules(headers))
    uploads = [up.key for up in plan.uploads]
    assert len(uploads) == len(set(uploads))
    assert not set(uploads) & set(plan.unchanged)
    assert {*uploads, *plan.unchanged} == set(wanted)


@given(wanted_maps(), HEADERS)
def test_what_is_there_already_needs_nothing(
    wanted: dict[str, LocalObject], headers: str | None
) -> None:
    seen = at_rest(wanted, headers)
    assert all(one.is_decided(wanted[key], headers) for key, one in seen.items() if not one.md5)
    hashed = {key: one._replace(md5=seen[key].md5) for key, one in wanted.items()}
    assert make_plan(hashed, seen, Rules(headers)).uploads == ()


@given(wanted_maps(), seen_maps(), HEADERS)
def test_a_content_that_is_known_to_differ_is_uploaded(
    wanted: dict[str, LocalObject], seen: dict[str, RemoteObject], headers: str | None
) -> None:
    uploads = {up.key for up in make_plan(wanted, seen, Rules(headers)).uploads}
    for key, one in wanted.items():
        there = seen.get(key)
        if there is None:
            assert key in uploads
            continue
        known = there.md5 if there.md5_is_content else None
        if there.size != one.size or (known is not None and known != one.md5):
            assert key in uploads
        elif None is not there.md5 == one.md5 and there.headers == headers:
            assert key not in uploads


@given(wanted_maps(), seen_maps())
def test_content_that_a_rollback_took_away_is_held_back_and_any_other_is_not(
    wanted: dict[str, LocalObject], seen: dict[str, RemoteObject]
) -> None:
    holds = {key: Hold(one.sha256) for key, one in wanted.items()}
    held = make_plan(wanted, seen, Rules(None, holds))
    assert held.uploads == ()
    others = {key: one._replace(sha256="f" * 64, md5=None) for key, one in wanted.items()}
    free = make_plan(others, {}, Rules(None, holds))
    assert {up.key for up in free.uploads} == set(wanted)


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000))
def test_the_default_limit_is_a_quarter_or_one_component(
    removed: int, total: int, largest: int
) -> None:
    allowed = DeleteLimit().allows(removed, total, largest_component=largest)
    assert allowed == (removed <= max(largest, total // 4))


# One document after another: each decision by itself

KEY = "components/card/qa.json"
NOW = datetime(2026, 3, 24, 12, 0, tzinfo=UTC)
ASKED = int(NOW.timestamp())
RULES = Rules("h", now=NOW)


def mine(**facts: Any) -> LocalObject:
    """A document as it is to be; `facts` as an entry of the log has them."""
    entry = Entry("b" * 64, **{"asked": ASKED, "name": "Card", "variant": "v2", **facts})
    return LocalObject(KEY, 10, "b" * 64, "b" * 32, entry, ("v2",), True)


def there(sha256: str = "a", headers: str | None = "h", **facts: Any) -> RemoteObject:
    """The document at the destination."""
    entry = Entry(sha256 * 64, **{"name": "Old card", "variant": "v1", **facts})
    return RemoteObject(KEY, 10, "1", sha256 * 32, True, sha256 * 64, headers, entry)


def planned(wanted: LocalObject, remote: RemoteObject | None, rules: Rules = RULES) -> Plan:
    return make_plan({KEY: wanted}, {KEY: remote} if remote else {}, rules)


@pytest.mark.parametrize(
    ("remote", "upload"),
    [
        (None, Upload(KEY, "new", "Card", "", "v2", 10)),
        (there("a"), Upload(KEY, "content", "Card", "v1", "v2", 10)),
        (there("b", "other"), Upload(KEY, "headers", "Card", "v1", "v2", 10)),
    ],
)
def test_an_upload_says_why_and_from_which_variant_to_which(
    remote: RemoteObject | None, upload: Upload
) -> None:
    assert planned(mine(), remote) == Plan((upload,))
    (made,) = planned(mine(), remote).uploads
    # Two uploads are equal by key and reason alone.
    assert (made.name, made.before, made.after) == (upload.name, upload.before, upload.after)
    assert made.size == upload.size


def test_a_component_without_a_name_keeps_the_one_that_is_there() -> None:
    assert planned(mine(name=""), there("a")).uploads[0].name == "Old card"
    assert planned(mine(name=""), None).uploads[0].name == ""


def test_the_same_content_and_headers_are_unchanged() -> None:
    assert planned(mine(), there("b")) == Plan((), (KEY,))


def test_an_older_document_is_overtaken_only_where_moments_count_and_nobody_forces_it() -> None:
    rules = replace(RULES, by_moment=True)
    later = there(asked=ASKED + 1)
    said = "the destination holds a later one, from 2026-03-24T12:00:01Z"
    assert planned(mine(), later, rules) == Plan(overtaken=(Overtaken(KEY, said),))
    for wanted, remote, other in (
        (mine(), there(asked=ASKED), rules),
        (mine(), later, RULES),
        (mine(), later, replace(rules, force=True)),
        (mine()._replace(is_noted=False), later, rules),
        (mine(), later._replace(facts=None), rules),
    ):
        assert [up.reason for up in planned(wanted, remote, other).uploads] == ["content"]
    same = there("b", "other", asked=ASKED + 1)  # the content is the later one's: headers alone
    assert [up.reason for up in planned(mine(), same, rules).uploads] == ["headers"]


def test_what_is_held_back_is_passed_over_even_if_it_is_forced() -> None:
    rules = Rules("h", {KEY: Hold("b" * 64)}, force=True)
    assert planned(mine(), there("a"), rules) == Plan(overtaken=(Overtaken(KEY, HELD),))
    assert planned(mine(), None, rules).overtaken == (Overtaken(KEY, HELD),)


def test_another_variant_within_ten_minutes_of_an_announcement_looks_cached() -> None:
    def at(minutes: float, **facts: str) -> RemoteObject:
        moment = (NOW - timedelta(minutes=minutes)).isoformat()
        return there(**{"announced": moment, **facts})

    assert looks_cached(mine(), at(1), RULES)
    assert planned(mine(), at(1)) == Plan(cached=(KEY,))
    assert planned(mine(), at(1), replace(RULES, force=True)).cached == ()
    assert looks_cached(mine(), at(9.99), RULES)
    assert not looks_cached(mine(), at(10), RULES)
    assert looks_cached(mine(), at(1), replace(RULES, now=NOW + CACHED_FOR))
    assert planned(mine(asked=0), at(1)).cached == (KEY,)
    assert looks_cached(mine(asked=0), at(1), RULES)  # then by the clock here
    assert not looks_cached(mine(asked=0), at(1), replace(RULES, now=NOW + CACHED_FOR))
    assert not looks_cached(mine(), at(1, variant="v2"), RULES)
    assert not looks_cached(mine()._replace(variants=()), at(1), RULES)
    assert not looks_cached(mine(), there(), RULES)
    assert not looks_cached(mine(), there(announced="yesterday"), RULES)
    assert not looks_cached(mine(), at(1)._replace(facts=None), RULES)
    assert not looks_cached(mine(announced=NOW.isoformat()), at(1), RULES)
    same_moment = (NOW - timedelta(minutes=1)).isoformat()
    assert looks_cached(mine(announced=same_moment), at(1), RULES)
    assert looks_cached(mine(announced=(NOW - timedelta(minutes=2)).isoformat()), at(1), RULES)


def test_what_an_object_remembers_has_to_be_known_only_where_it_could_decide() -> None:
    unknown = there("a")._replace(facts=None)
    assert needs_facts(mine(), unknown, RULES)
    assert not needs_facts(mine(), there("a"), RULES)
    assert not needs_facts(mine(), unknown, replace(RULES, force=True))
    assert not needs_facts(mine(), there("b")._replace(facts=None), RULES)
    plain = mine()._replace(variants=())
    assert not needs_facts(plain, unknown, RULES)
    assert needs_facts(plain, unknown, replace(RULES, by_moment=True))
    assert not needs_facts(plain._replace(is_noted=False), unknown, replace(RULES, by_moment=True))


# What is refused


def source(components: dict[str, list[str]] | None, *, documents: tuple[str, ...] = ()) -> Source:
    """A tree whose manifest (None: none) names these components, and that holds these keys."""
    manifest = None if components is None else Manifest.parse(index(components))
    held = {key: LocalObject(key, 1, "c" * 64) for key in documents}
    return Source(Tree(Path("nowhere")), "identity", held, manifest)


WHOLE = source({"card": ["qa"]}, documents=(KEY,))


def test_nothing_is_deleted_unasked_nor_beside_broken_files() -> None:
    assert may_delete(WHOLE, DeployOptions()) == (False, None)
    assert may_delete(WHOLE, DeployOptions(delete=True)) == (True, None)
    broken = WHOLE._replace(broken={"components/x/qa.json": "not JSON"})
    assert may_delete(broken, DeployOptions(delete=True)) == (False, None)


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        (source(None), "the tree is partial: it has no manifest.json"),
        (source({}), "the tree's manifest.json names no component"),
        (
            source({"card": ["qa"]}),
            (
                "the tree's manifest.json names components/card/preview.json and 1 more, "
                "which it does not hold"
            ),
        ),
        (
            source({"card": ["qa", "prod"]}, documents=(KEY,)),
            "the tree's manifest.json names components/card/prod.json, which it does not hold",
        ),
    ],
)
def test_deleting_from_a_tree_that_is_not_whole_is_refused_or_passed_over(
    tree: Source, why: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        may_delete(tree, DeployOptions(delete=True))
    assert refused.value.message == f"--delete needs a complete tree, and {why}"
    assert refused.value.hint == (
        "run a full sync first (myop-cdn sync --full), or leave --delete out"
    )
    passed = may_delete(tree, DeployOptions(delete=True, skip_partial_delete=True))
    assert passed == (False, f"--delete was passed over: {why}")


THERE = [f"components/c{number}/qa.json" for number in range(20)]


def test_more_than_the_limit_is_refused_and_the_last_day_counts() -> None:
    count = DeployOptions(max_delete=DeleteLimit(count=3))
    check_limit(THERE[:3], THERE, 0, count)
    check_limit((), THERE, 100, count)
    recently = ", 2 of them within the last 24 hours,"
    for gone, recent, said in (
        (THERE[:4], 0, "4 of 20 documents would be deleted; the limit is 3"),
        (THERE[:2], 2, f"4 of 22 documents{recently} would be deleted; the limit is 3"),
    ):
        with pytest.raises(RefusedError) as refused:
            check_limit(gone, THERE, recent, count)
        assert refused.value.message == said
        assert refused.value.hint == (
            "nothing was changed; look at it with --dry-run --max-delete 100%, "
            "then raise --max-delete if that is meant"
        )


def test_the_default_limit_lets_one_component_go_whole() -> None:
    large = [f"components/large/e{number}.json" for number in range(9)]
    check_limit(large, [*large, *THERE], 0, DeployOptions())
    with pytest.raises(RefusedError, match="10 of 29"):
        check_limit([*large, THERE[0]], [*large, *THERE], 0, DeployOptions())
    check_limit(THERE[:5], THERE, 0, DeployOptions())
    with pytest.raises(RefusedError):
        check_limit(THERE[:6], THERE, 0, DeployOptions())


def test_a_manifest_that_would_name_far_less_is_refused() -> None:
    listed = [ref for ref in map(DocumentRef.of, THERE) if ref]
    check_manifest(listed[:5], listed, DeployOptions())
    check_manifest((), (), DeployOptions(max_delete=DeleteLimit(count=0)))
    with pytest.raises(RefusedError) as refused:
        check_manifest(listed[:6], listed, DeployOptions(max_delete=DeleteLimit(percent=25)))
    assert refused.value.message == (
        "the new manifest.json would no longer name 6 of 20 documents; the limit is 25 %"
    )
    assert refused.value.hint == (
        "nothing was changed; is it the right API key and folder? If so, raise --max-delete"
    )
