"""The house's floors, read off the imports: they point downwards."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import myop_cdn

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUSE = Path(myop_cdn.__file__).parent
FILES = sorted(path.relative_to(HOUSE).as_posix() for path in HOUSE.rglob("*.py"))

# Every room with its floor; the longest name that fits a module counts. A room knows the floors
# below it and nothing of its own.
FLOORS = {
    "": 0,  # the package itself holds the version
    "errors": 0,
    "text": 0,
    "moments": 0,
    "azurelogin": 1,
    "retry": 1,
    "transport": 1,
    "filelock": 1,
    "files": 2,
    "names": 1,
    "programs": 1,
    "jsontext": 1,
    "progress": 1,
    "workers": 1,
    "signature": 2,
    "model": 2,
    "summary": 3,
    "report": 4,
    "payload": 3,
    "document": 3,
    "manifest": 3,
    "explain": 4,
    "tree": 4,
    "storage": 4,
    "cdn": 4,
    "exportnote": 5,
    "export": 5,
    "sandbox": 5,
    "send": 5,
    "notify": 5,
    "secretstore": 5,
    "sync": 6,
    "inputs": 6,
    "deploy": 6,
    "publish": 7,
    "status": 7,
    "doctor": 7,
    "check": 8,
    "page": 8,
    "api": 9,
    "listener": 9,
    "aws_lambda": 10,
    "recipes": 11,  # one of its files is a function of Lambda
    "demo": 11,
    "cli": 12,
    "wsgi": 13,
    "asgi": 13,
    "__main__": 13,
}
TERMINAL = {"click", "rich"}
SDKS = {"boto3", "botocore", "google", "azure"}
POSIX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"}


class Import(NamedTuple):
    """One import: of which module, and whether it is done when the file is loaded, and run."""

    module: str
    at_top: bool
    for_types: bool


@cache
def imports(file: str) -> tuple[Import, ...]:
    return tuple(_imports(ast.parse((HOUSE / file).read_text("utf-8")), True, False))


def _imports(node: ast.AST, at_top: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for name in child.names:
                yield Import(name.name, at_top, for_types)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            module = child.module or ""
            yield Import(module, at_top, for_types)
            for name in child.names:
                yield Import(f"{module}.{name.name}", at_top, for_types)
        else:
            inner = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from _imports(child, at_top and not inner, for_types or types)


def room_of(module: str) -> str:
    """The room of a module of this package, by the longest name that fits."""
    first = module.removeprefix("myop_cdn").lstrip(".").partition(".")[0]
    return first if first in FLOORS else ""


def module_of(file: str) -> str:
    return "myop_cdn." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def everywhere() -> Iterator[tuple[str, Import]]:
    for file in FILES:
        for one in imports(file):
            yield file, one


def test_every_file_has_a_floor() -> None:
    rooms = {file.partition("/")[0].removesuffix(".py") for file in FILES if file != "__init__.py"}
    assert rooms <= set(FLOORS), "give the new room a floor"


def test_imports_point_downwards() -> None:
    wrong = []
    for file, one in everywhere():
        if file == "__init__.py" and one.for_types:
            continue  # it tells type checkers what it hands on when asked, and loads none of it
        here, there = room_of(module_of(file)), room_of(one.module)
        if one.module.startswith("myop_cdn") and there != here and FLOORS[there] >= FLOORS[here]:
            wrong.append(f"{file} imports {one.module}")
    assert wrong == []


def test_only_the_command_line_knows_the_terminal() -> None:
    wrong = [
        f"{file} imports {one.module}"
        for file, one in everywhere()
        if one.module.partition(".")[0] in TERMINAL and not file.startswith("cli/")
    ]
    assert wrong == []


def test_only_their_own_backends_know_cloud_sdks_and_only_when_used() -> None:
    allowed = ("storage/s3", "storage/gcs", "storage/azure", "cdn/", "secretstore", "azurelogin")
    wrong = [
        f"{file} imports {one.module}"
        for file, one in everywhere()
        if one.module.partition(".")[0] in SDKS
        and (not file.startswith(allowed) or (one.at_top and not one.for_types))
    ]
    assert wrong == []


def test_nothing_posix_only_is_loaded_with_a_file() -> None:
    wrong = [
        f"{file} imports {one.module}"
        for file, one in everywhere()
        if one.at_top and one.module.partition(".")[0] in POSIX_ONLY
    ]
    assert wrong == []


def test_the_map_in_contributing_is_the_house() -> None:
    """Its picture has every room, in the order of the floors; each file that it names is there."""
    text = (HOUSE.parent / ".github" / "CONTRIBUTING.md").read_text("utf-8")
    picture = text[text.index("```\ncli/") :].split("```")[1]
    lines = [line.split("   ")[0].split() for line in picture.strip().splitlines()]
    drawn = [name.rstrip("/").removesuffix(".py") for line in lines for name in line]
    assert sorted(drawn) == sorted(set(FLOORS) - {"", "__main__"})
    assert all((HOUSE / name).exists() for line in lines for name in line)
    floors = [[FLOORS[name.rstrip("/").removesuffix(".py")] for name in line] for line in lines]
    assert all(min(upper) >= max(lower) for upper, lower in pairwise(floors)), floors
    for path in re.findall(r"`((?:myop_cdn|tests)/[a-z0-9_/.]+)`", text):
        assert (HOUSE.parent / path).exists(), path
