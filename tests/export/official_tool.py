"""Makes an executable that stands in for `npx myop export`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCRIPT = """#!{python}
import json, os, pathlib, sys, time
place = pathlib.Path({place!r})
words = sys.argv[1:]
runs = place / "runs"
runs.mkdir(exist_ok=True)
number = len(list(runs.iterdir()))
environment = dict(os.environ)
(runs / str(number)).write_text(json.dumps({{"words": words, "environment": environment}}))
plan = json.loads((place / "plan.json").read_text())
output = pathlib.Path(words[words.index("--output") + 1])
for path, text in plan["files"].items():
    if "--releases" in words and path == "manifest.json":
        continue
    (output / path).parent.mkdir(parents=True, exist_ok=True)
    (output / path).write_text(text, "utf-8")
print(plan["says"].replace("KEY", os.environ["MYOP_API_KEY"]), flush=True)
if plan["hangs"]:
    (place / "child").write_text(str(os.getpid()))
    time.sleep(60)
sys.exit(plan["code"])
"""


class OfficialTool:
    """The stand-in at `place`; `plan` says what the next run does."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.program = place / "official tool"
        self.program.write_text(SCRIPT.format(python=sys.executable, place=str(place)))
        self.program.chmod(0o755)

    def plan(
        self, files: Mapping[str, bytes], code: int = 0, says: str = "", hangs: bool = False
    ) -> None:
        """What the next runs write, say and end with. KEY in `says` stands for the API key."""
        texts = {path: body.decode() for path, body in files.items()}
        plan = {"files": texts, "code": code, "says": says, "hangs": hangs}
        (self.place / "plan.json").write_text(json.dumps(plan))

    @property
    def runs(self) -> list[Any]:
        """`words` and `environment` of each run."""
        return [json.loads(one.read_text()) for one in sorted((self.place / "runs").iterdir())]
