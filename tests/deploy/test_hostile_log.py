"""A log that somebody else wrote: whatever it says, a command ends in order and soon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.deploy.log import Commit, Entry
from tests.deploy.trees import make_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Run

COMPONENTS = {"card": ["production"], "banner": ["production"]}
KEY = "components/card/production.json"
HUGE = 10**400
OLDEST = "0001-01-01T00:00:00+23:59"


@pytest.fixture
def cdn(run: Run, tmp_path: Path) -> Path:
    """A folder with two commits."""
    tree = make_tree(tmp_path / "tree", COMPONENTS)
    assert run("deploy", (tmp_path / "cdn").as_uri(), "--source", tree.root).code == 0
    make_tree(tmp_path / "tree", COMPONENTS, html="<p>other</p>")
    assert run("deploy", (tmp_path / "cdn").as_uri(), "--source", tree.root).code == 0
    return tmp_path / "cdn"


def newest(cdn: Path) -> Path:
    return min((cdn / ".myop-cdn/log").glob("*.json"))


def entry(**fields: Any) -> Any:
    """An entry that the log's own reader might not take."""
    return [*Entry("0" * 64, version="v", name="Card")._replace(**fields)]


def set_(**values: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda commit: commit | values


def change(one: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda commit: commit | {"changes": commit["changes"] | {KEY: one}}


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda _: [],
    "no fields": lambda _: {"form": 2},
    "a moment before all others": set_(at=OLDEST),
    "a moment without a zone": set_(at="2026-03-24T10:00:00"),
    "a number without end": set_(number=float("inf")),
    "a number of many digits": set_(number=HUGE),
    "another's number": set_(number=1),
    "deletions without end": set_(state={"removed": [[float("inf"), 1]]}),
    "a state of its own": set_(state=2),
    "a state far away": set_(state=-HUGE),
    "holds outside of the tree": set_(state={"holds": {"../../x": ["0" * 64, ""]}}),
    "changes elsewhere": set_(changes="../../../../../etc/passwd"),
    "changes in a device": set_(changes="../../../../../dev/zero"),
    "an entry from the future": change([None, entry(since=HUGE)]),
    "an entry from before all times": change([None, entry(since=-(10**12), asked=-(10**12))]),
    "an entry of lists": change([None, [[], {}]]),
    "a hash that is a path": change([entry(sha256="../../../../secret"), entry(sha256="/x")]),
    "names that move the cursor": change([None, entry(name="\x1b[2J\u202e::error::", variant="v")]),
    "half a letter": change([None, entry(name="\ud800", variant_name="\udfff", variant="v")]),
    "keys outside of the tree": set_(changes={"../../etc/passwd": [None, entry()]}),
    "a command of a CI job": set_(cause={"command": "::error::x\n::stop-commands::y"}),
}
COMMANDS = [
    "status {}",
    "history {}",
    "diff {}",
    "diff {} 1 2",
    "rollback {} --to 1 --dry-run",
    "rollback {} --resume --dry-run",
]


@pytest.mark.parametrize("garbage", HOSTILE)
def test_a_commit_of_somebody_elses_is_read_without_harm(
    run: Run, cdn: Path, tmp_path: Path, garbage: str
) -> None:
    file = newest(cdn)
    commit = HOSTILE[garbage](json.loads(file.read_bytes()))
    file.write_text(json.dumps(commit))
    (tmp_path / "secret").write_text("a secret")
    for command in COMMANDS:
        for form in ("", " --json"):
            ended = run(*(command + form).format(cdn.as_uri()).split())
            shown = ended.out.decode() + ended.err
            assert ended.code in (0, 1, 2, 3, 4), (command, shown)
            assert "unexpected" not in shown, (command, shown)
            assert "a secret" not in shown
            assert "\x1b" not in shown
            assert "\u202e" not in shown
            assert not any(line.lstrip().startswith("::") for line in shown.splitlines()), shown
    page = tmp_path / "page.html"
    ended = run("status", cdn.as_uri(), "--html", page)
    assert (ended.code, "unexpected" in ended.err) == (0, False), ended.err
    tree = make_tree(tmp_path / "tree", COMPONENTS, html="<p>newest</p>")
    ended = run("deploy", cdn.as_uri(), "--source", tree.root)
    assert (ended.code, "unexpected" in ended.err) == (0, False), ended.err
    assert "newest" in (cdn / KEY).read_text()


def test_the_name_of_a_commit_can_t_make_a_command_count_to_it(run: Run, cdn: Path) -> None:
    """The name says that there are nearly a hundred million commits before it."""
    last = newest(cdn)
    commit = Commit.parse(last.read_bytes())._replace(number=99_999_999)
    (last.parent / "999900000000.json").write_bytes(commit.dump())
    for command in ("status", "diff", "history"):
        ended = run(command, cdn.as_uri())
        assert (ended.code, "unexpected" in ended.err) == (0, False), ended.err
    ended = run("diff", cdn.as_uri(), "1")
    assert "what commit 3 did is not known any more" in ended.err
    assert run("rollback", cdn.as_uri(), "--to", "1", "--dry-run").code == 3


@pytest.mark.parametrize("since", [OLDEST, "9999-12-31T23:59:59-23:59", "nonsense"])
def test_an_objects_own_metadata_can_t_end_a_command(run: Run, cdn: Path, since: str) -> None:
    (metadata,) = (cdn / ".myop-cdn/metadata" / KEY).parent.glob("production.json*")
    text = metadata.read_text()
    value = json.loads(text)

    def edited(one: Any) -> Any:
        if not isinstance(one, dict):
            return one
        return {k: since if k in ("myopsince", "myopasked") else edited(v) for k, v in one.items()}

    metadata.write_text(json.dumps(edited(value)))
    for file in (cdn / ".myop-cdn/log").iterdir():
        file.unlink()
    ended = run("status", cdn.as_uri())
    assert (ended.code, "unexpected" in ended.err) == (0, False), ended.err


FOREIGN = {
    "the name of the largest number": "log/000000000000.json",
    "the name of one before": "log/000000000001.json",
    "a large number": "log/899999999999.json",
    "a number in a folder": "log/0/000000000000.json",
    "another name": "log/!readme.txt",
    "digits of another script": "log/" + "\u0660" * 12 + ".json",
    "a checkpoint of the largest number": "state/000000000000.json",
    "another name of a checkpoint": "state/!readme.txt",
}


@pytest.mark.parametrize("name", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("content", ["", "a commit of that number"])
def test_publishing_goes_on_whatever_lies_in_the_log(
    run: Run, cdn: Path, tmp_path: Path, name: str, content: str
) -> None:
    foreign = cdn / ".myop-cdn" / name
    digits = foreign.name.removesuffix(".json")
    number = 999_999_999_999 - int(digits) if digits.isdecimal() else 7
    commit = json.loads(newest(cdn).read_bytes()) | {"number": number}
    foreign.parent.mkdir(exist_ok=True, parents=True)
    foreign.write_bytes(json.dumps(commit).encode() if content else b"")
    before = len(list((cdn / ".myop-cdn/log").glob("99*.json")))

    for html in ("<p>third</p>", "<p>fourth</p>"):
        part = make_tree(tmp_path / html[3:-4], {"card": ["production"]}, html=html, complete=False)
        assert run("deploy", cdn.as_uri(), "--source", part.root).code == 0
        assert html in (cdn / KEY).read_text()
    tree = make_tree(tmp_path / "tree", COMPONENTS, html="<p>fifth</p>")
    assert run("deploy", cdn.as_uri(), "--source", tree.root).code == 0
    assert "fifth" in (cdn / KEY).read_text()

    log = sorted(path.name for path in (cdn / ".myop-cdn/log").glob("99*.json"))
    assert len(log) == before + 3
    assert log[0] == f"{999_999_999_999 - before - 3}.json"
    listed = json.loads(run("history", cdn.as_uri(), "--json").out)["commits"]
    assert [int(one["commit"]) for one in listed] == list(range(before + 3, 0, -1))
