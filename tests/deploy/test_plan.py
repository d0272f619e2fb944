"""The plan is a pure function: what holds for every tree and every listing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.deploy.facts import Seen
from myop_cdn.deploy.plan import make_plan
from myop_cdn.deploy.source import Wanted
from myop_cdn.model import DeleteLimit, is_layout

HASHES = [f"{digit}" * 32 for digit in "abc"]
KEYS = st.one_of(
    st.sampled_from(["manifest.json", "index.html", "components/x.json", ".myop-cdn/ledger.json"]),
    st.builds("components/{}/{}.json".format, st.sampled_from("abcdef"), st.sampled_from("qp")),
)


@st.composite
def wanted_maps(draw: st.DrawFn) -> dict[str, Wanted]:
    keys = draw(st.sets(KEYS.filter(is_layout)))
    md5s = {key: draw(st.sampled_from(HASHES)) for key in keys}
    hashed = draw(st.booleans())
    return {key: Wanted(key, 10, md5 * 2, md5 if hashed else None) for key, md5 in md5s.items()}


@st.composite
def seen_maps(draw: st.DrawFn) -> dict[str, Seen]:
    seen = {}
    for key in draw(st.sets(KEYS)):
        md5 = draw(st.sampled_from([None, *HASHES]))
        sha256 = draw(st.sampled_from([None, *(one * 2 for one in HASHES)]))
        seen[key] = Seen(
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


@given(wanted_maps(), seen_maps(), HEADERS, st.booleans())
def test_every_wanted_key_is_uploaded_or_unchanged(
    wanted: dict[str, Wanted], seen: dict[str, Seen], headers: str | None, delete: bool
) -> None:
    plan = make_plan(wanted, seen, headers, delete=delete)
    uploads = [up.key for up in plan.uploads] + ([plan.manifest.key] if plan.manifest else [])
    assert len(uploads) == len(set(uploads))
    assert set(uploads) <= set(wanted)
    assert len(uploads) + plan.unchanged == len(wanted)


@given(wanted_maps(), seen_maps(), HEADERS, st.booleans())
def test_no_key_is_both_uploaded_and_deleted_and_nothing_foreign_is_deleted(
    wanted: dict[str, Wanted], seen: dict[str, Seen], headers: str | None, delete: bool
) -> None:
    plan = make_plan(wanted, seen, headers, delete=delete)
    assert not {up.key for up in plan.uploads} & set(plan.deletes)
    assert all(is_layout(key) and key in seen and key not in wanted for key in plan.deletes)
    assert delete or not plan.deletes


@given(wanted_maps(), seen_maps(), HEADERS)
def test_the_manifest_comes_after_the_documents(
    wanted: dict[str, Wanted], seen: dict[str, Seen], headers: str | None
) -> None:
    plan = make_plan(wanted, seen, headers)
    assert "manifest.json" not in {up.key for up in plan.uploads}


@given(wanted_maps(), HEADERS, st.booleans())
def test_what_is_there_already_needs_nothing(
    wanted: dict[str, Wanted], headers: str | None, by_md5: bool
) -> None:
    seen = {
        key: Seen(key, one.size, "1", one.md5 if by_md5 else None, True, one.sha256, headers)
        for key, one in wanted.items()
    }
    assert all(one.decided(wanted[key], headers) for key, one in seen.items())
    assert make_plan(wanted, seen, headers, delete=True).is_empty


@given(wanted_maps(), seen_maps(), HEADERS)
def test_a_content_that_is_known_to_differ_is_uploaded(
    wanted: dict[str, Wanted], seen: dict[str, Seen], headers: str | None
) -> None:
    plan = make_plan(wanted, seen, headers)
    uploads = {up.key for up in plan.uploads}
    for key, one in wanted.items():
        if key == "manifest.json" or key not in seen:
            continue
        there = seen[key]
        known = there.md5 if there.md5_is_content else None
        if there.size != one.size or (known is not None and known != one.md5):
            assert key in uploads
        elif None is not there.md5 == one.md5 and there.headers == headers:
            assert key not in uploads


@given(wanted_maps(), seen_maps(), HEADERS)
def test_an_md5_is_asked_for_only_where_it_could_tell_something(
    wanted: dict[str, Wanted], seen: dict[str, Seen], headers: str | None
) -> None:
    for key, one in wanted.items():
        if key not in seen:
            continue
        there = seen[key]
        if there.lacks_md5(one):
            assert there.same_content(one) is None
        remembered = there.completed(one.sha256, headers)
        assert not remembered.lacks_md5(one)
        assert remembered.same_content(one) is (there.size == one.size)


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000))
def test_the_default_limit_is_a_quarter_or_one_component(
    removed: int, total: int, largest: int
) -> None:
    allowed = DeleteLimit().allows(removed, total, largest_component=largest)
    assert allowed == (removed <= max(largest, total // 4))
