"""The installed `serve`, whose page has destinations read and changed by processes of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.listener.rig import PATIENCE, until
from tests.page.stand import ORGANIZATION, Stand
from tests.page.test_page import card, few

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _matched(get: Callable[..., bytes]) -> int:
    try:
        return int(json.loads(get("components"))["matched"])
    except urllib.error.HTTPError:  # 503 until the journal is open
        return 0


TOKEN = "a-token-of-more-than-16-bytes"


def test_the_page_of_serve_shows_and_rolls_back_by_processes_of_their_own(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from myop_cdn.send import body_of, post

    myop = Stand(tmp_path / "myop")
    few(myop)
    token, secret = tmp_path / "token", tmp_path / "secret"
    for file, text in ((token, TOKEN), (secret, "a-signing-secret-of-16")):
        file.write_text(text)
        file.chmod(0o600)
    cdn = tmp_path / "cdn"
    words = ["serve", "--port", "0", "--admin", "127.0.0.1:0", "--deploy", cdn.as_uri()]
    words += ["--state-dir", str(tmp_path / "state"), "--output", str(tmp_path / "out")]
    words += ["--secret-file", str(secret), "--admin-token-file", str(token)]
    with myop.sandbox as sandbox:
        env = {**os.environ, "MYOP_API_KEY": "myop_sk_" + "0" * 64, "MYOP_API_URL": sandbox.url}
        with (tmp_path / "log").open("wb") as log:
            line = [sys.executable, "-m", "myop_cdn", *words]
            child = subprocess.Popen(line, env=env, stderr=log)
        try:
            log_text = (tmp_path / "log").read_text
            listening, admin = until(
                lambda: (
                    (found := re.findall(r"http://127\.0\.0\.1:\d+/\S*", log_text())),
                    len(found) == 2 and (sorted(found, key=len)[1], sorted(found, key=len)[0]),
                )[1],
                "serve",
            )

            def get(path: str, **query: str) -> bytes:
                url = f"{admin}page/{path}?{urlencode(query)}"
                with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                    return bytes(answer.read())

            def act(path: str, **value: Any) -> Any:
                asked = urllib.request.Request(
                    f"{admin}page/{path}", json.dumps(value).encode() if value else None
                )
                asked.add_header("Content-Type", "application/json")
                asked.add_header("Authorization", f"Bearer {TOKEN}")
                with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
                    return json.load(answer)

            until(lambda: b"listening on" in (tmp_path / "log").read_bytes())
            until(lambda: _matched(get) == 2)
            where = {"destination": cdn.as_uri(), "component": "card", "environment": "production"}
            assert b"Classic card" in get("document", **where)
            release = myop.put("card", "production", card("Aurora card"), "Aurora")
            body = body_of([release], now=datetime.now(UTC), organization=ORGANIZATION)
            assert post(listening, body, secret.read_bytes()).status == 200
            until(lambda: b"Aurora card" in get("document", **where))

            def past() -> list[dict[str, str]]:
                found = json.loads(get("history", **where))["environments"]["production"]
                return list(found) if len(found) == 2 else []

            versions = until(past, "the commit, which comes after the document")
            assert [one["variantName"] for one in versions] == ["Aurora", "Classic"]
            goal = {**where, "to": versions[1]["commit"], "preview": False}
            job = act("action", action="rollback", **goal)["job"]
            outcome = until(lambda: act(f"job?job={job}")["outcome"])
            assert outcome["error"] is None
            assert b"Classic card" in get("document", **where)
        finally:
            child.terminate()
            assert child.wait(PATIENCE) == 0
    assert TOKEN not in (tmp_path / "log").read_text()
