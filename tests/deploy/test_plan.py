"""The plan is a pure function: what holds for every tree and every listing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from myop_cdn.deploy.log import Hold
from myop_cdn.deploy.plan import Rules, make_plan
from myop_cdn.deploy.remote import RemoteObject
from myop_cdn.deploy.source import LocalObject
from myop_cdn.model import DeleteLimit, is_layout

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
