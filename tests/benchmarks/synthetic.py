"""Made-up export trees, the same ones every time, like the real one in sizes and likenesses."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ENVIRONMENTS = ("production", "staging", "qa", "preview")
_WORDS = (
    '<div class="card">', "</div>", "price", "Größe", "\n  ", "\t", "const state = {};", "☃",
    "return value;", "border-radius: 4px;", '"quoted"', "\\d+", "élan", "padding", "margin: 0",
)  # fmt: skip
_LEAST, _MOST = 512, 641 * 1024  # of the real export


@dataclass(frozen=True, slots=True)
class Shape:
    """A tree: `components` times four documents and a manifest.

    mean: bytes of a document. spread: sigma of the sizes' logarithm, 0 for all the same.
    distinct_of_12: of twelve components so many hold two contents rather than one.
    all_distinct: no document is like another.
    """

    name: str
    components: int
    mean: int
    spread: float = 0.0
    distinct_of_12: int = 5
    all_distinct: bool = False

    @property
    def documents(self) -> int:
        """How many component documents there are."""
        return self.components * len(_ENVIRONMENTS)


# A log-normal of this mean, cut at the real extremes, comes to 64 KB.
REAL = Shape("537 files, 64 KB mean, 35 % distinct", 134, 73_000, 1.0)
MANY = Shape("5,000 x 2 KB", 1250, 2048, all_distinct=True)
MOST = Shape("50,000 x 2 KB", 12_500, 2048, all_distinct=True)
FEW = Shape("500 x 2 KB", 125, 2048, all_distinct=True)
TINY = Shape("25 files", 6, 4096)


def make(shape: Shape, root: Path) -> Path:
    """Write the tree into `root`, which is made; its documents are in the official form."""
    entries = []
    for number in range(shape.components):
        component = f"{number:08x}-5eed-4000-8000-{number * 2654435761 % 2**48:012x}"
        folder = root / "components" / component
        folder.mkdir(parents=True)
        for environment, body in _documents(shape, number, component):
            (folder / f"{environment}.json").write_bytes(body)
        listed = [one for one in _ENVIRONMENTS if one != "preview"]
        entries.append({"id": component, "name": f"Component {number}", "environments": listed})
    manifest = {
        "version": 1,
        "exportedAt": "2026-03-24T10:00:00.000Z",
        "organization": "benchmark",
        "components": entries,
    }
    (root / "manifest.json").write_bytes(_dump(manifest))
    return root


def copy(tree: Path, to: Path) -> Path:
    """The same tree once more, for a contestant who must not see what others change."""
    return shutil.copytree(tree, to)


def touch(tree: Path, moment: float) -> None:
    """Give every file this modification time, as a fresh checkout does. moment: epoch seconds."""
    for folder, _, files in os.walk(tree):
        for file in files:
            os.utime(os.path.join(folder, file), (moment, moment))  # noqa: PTH118 - many of them


def change_one(tree: Path, serial: int, moment: float) -> None:
    """Put another content of the same size into one document. moment: epoch seconds."""
    path = sorted((tree / "components").glob("*/qa.json"))[0]
    data = path.read_bytes()
    place = data.index(b"edition ") + len(b"edition ")
    path.write_bytes(data[:place] + f"{serial % 10**6:06d}".encode() + data[place + 6 :])
    os.utime(path, (moment, moment))


def _documents(shape: Shape, number: int, component: str) -> Iterator[tuple[str, bytes]]:
    chance = random.Random(number)  # the same numbers every time are what is wanted
    two = number % 12 < shape.distinct_of_12
    contents: dict[int, str] = {}
    for position, environment in enumerate(_ENVIRONMENTS):
        which = position if shape.all_distinct else int(two and position > 1)
        if which not in contents:
            contents[which] = _html(chance, _size(chance, shape))
        variant = {
            "id": f"variant-{number}-{which}",
            "name": "Main",
            "loader": {
                "type": "HTMLLoader",
                "shadowRootMode": "localFrame",
                "HTML": contents[which],
            },
        }
        item = {
            "name": f"Component {number}",
            "id": component,
            "organizationId": "benchmark",
            "consume_variant": [variant],
        }
        yield environment, _dump({"version": "0.2.10", "item": item})


def _size(chance: random.Random, shape: Shape) -> int:
    if not shape.spread:
        return shape.mean
    # The mean of a log-normal distribution is exp(mu + sigma²/2).
    factor = chance.lognormvariate(-(shape.spread**2) / 2, shape.spread)
    return max(_LEAST, min(_MOST, int(shape.mean * factor)))


def _html(chance: random.Random, size: int) -> str:
    pieces = ["<!DOCTYPE html><!-- edition 000000 -->"]
    length = 420 + len(pieces[0])  # what stands around the HTML
    while length < size:
        word = f"{chance.choice(_WORDS)} {chance.getrandbits(48):x} "
        pieces.append(word)
        length += len(word.encode()) + word.count('"') + word.count("\\") + word.count("\n")
    return "".join(pieces)


def _dump(value: Any) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode()
