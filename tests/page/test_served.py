"""What the page is made of, as it goes over the wire: no browser is needed for these."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from myop_cdn.errors import ListenerError
from myop_cdn.page.snapshot import Contents
from tests.listener.rig import PATIENCE, until
from tests.page.test_page import card, few

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message

    from tests.conftest import Run
    from tests.page.stand import Stand


def get(
    here: Stand, path: str, query: dict[str, str] | None = None, **headers: str
) -> tuple[int, bytes, Message]:
    url = f"{here.url}{path}" + (f"?{urlencode(query)}" if query else "")
    given = {name.replace("_", "-"): one for name, one in headers.items()}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=given), timeout=PATIENCE
        ) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def of(here: Stand, **more: str) -> dict[str, str]:
    query = {"destination": here.destination, "component": "card", "environment": "production"}
    return query | more


@pytest.fixture
def here(stand: Callable[..., Stand]) -> Stand:
    return stand(few)


def test_the_page_allows_its_own_script_and_style_by_their_hashes_alone(here: Stand) -> None:
    status, body, headers = get(here, "")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(rb"https?://(?!www\.w3\.org/2000/svg)", body)
    assert get(here, "", If_None_Match=headers["ETag"])[0] == 304


def test_a_document_comes_with_what_keeps_it_in(here: Stand) -> None:
    status, body, headers = get(here, "page/document", of(here))
    assert (status, b"Classic card" in body) == (200, True)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in policy
    assert headers["Connection-Allowlist"] == "()"
    assert headers["Content-Type"].startswith("text/html")


def test_a_document_without_html_says_so(stand: Callable[..., Stand]) -> None:
    here = stand(lambda here: here.put("card", "production", " ", "Nothing"))
    assert b"There is no HTML in this document" in get(here, "page/document", of(here))[1]


def test_who_waits_in_great_number_keeps_nobody_else_from_an_answer(here: Stand) -> None:
    tag = get(here, "page/state")[2]["ETag"]
    asked = f"GET /page/state HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\nPrefer: wait=8"
    with ExitStack() as stack:
        for _ in range(300):
            sock = socket.create_connection(("127.0.0.1", here.port))
            stack.enter_context(sock).sendall(f"{asked}\r\n\r\n".encode())
        assert get(here, "healthz")[0] == 200
        here.release(here.put("card", "production", card("Aurora card"), "Aurora"))


def test_a_documents_source_is_text(here: Stand) -> None:
    _, body, headers = get(here, "page/source", of(here))
    assert body.decode() == card("Classic card")
    assert headers["Content-Type"].startswith("text/plain")
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_document_that_is_not_text_is_shown_as_far_as_it_is(stand: Callable[..., Stand]) -> None:
    here = stand(lambda made: made.put("card", "production", "<p>half a letter: \ud800"))
    status, body, _ = get(here, "page/document", of(here))
    assert (status, body) == (200, b"<p>half a letter: ?")


def test_what_was_there_before_is_found_by_its_hash(here: Stand) -> None:
    here.release(here.put("card", "production", card("Aurora card"), "Aurora"))
    found = json.loads(get(here, "page/history", of(here))[1])
    now, before = found["environments"]["production"]
    assert (now["variantName"], before["variantName"]) == ("Aurora", "Classic")
    _, body, _ = get(here, "page/source", of(here, sha256=before["sha256"]))
    assert body.decode() == card("Classic card")
    gone = get(here, "page/document", of(here, sha256="0" * 64))
    assert b"not kept any more" in gone[1]
    assert gone[2]["Cache-Control"] == "no-store"
    assert get(here, "page/source", of(here, sha256="0" * 64))[0] == 502


def test_a_component_that_no_log_knows_has_no_history(here: Stand) -> None:
    found = json.loads(get(here, "page/history", of(here, component="nobody"))[1])
    assert found["environments"] == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"destination": "s3://another"},
        {"component": "../card"},
        {"environment": "a/b"},
        {"sha256": "x"},
        {"sha256": "0" * 65},
    ],
)
def test_what_names_nothing_here_is_refused(here: Stand, wrong: dict[str, str]) -> None:
    assert get(here, "page/document", of(here) | wrong)[0] == 400


def test_answers_are_compressed_for_who_takes_that(here: Stand) -> None:
    plain = get(here, "")[1]
    packed = get(here, "", Accept_Encoding="br, gzip")
    assert packed[2]["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed[1]) == plain
    assert "Content-Encoding" not in get(here, "", Accept_Encoding="gzip;q=0")[2]
    assert len(packed[1]) < 40_000


def test_who_waits_for_a_change_is_answered_when_there_is_one(here: Stand) -> None:
    _, body, headers = get(here, "page/state")
    tag = headers["ETag"]
    assert get(here, "page/state", If_None_Match=tag)[0] == 304
    answers: list[tuple[int, Any]] = []

    def wait() -> None:
        status, changed, _ = get(here, "page/state", If_None_Match=tag, Prefer="wait=8")
        answers.append((status, changed))

    waiting = threading.Thread(target=wait)
    waiting.start()
    delivery = here.release(here.put("card", "production", card("Aurora card"), "Aurora"))
    waiting.join(PATIENCE)
    assert answers[0][0] == 200
    assert json.loads(body)["deliveries"] == []
    assert json.loads(answers[0][1])["deliveries"][0]["id"] == delivery
    last = get(here, "page/state")[2]["ETag"]
    assert get(here, "page/state", If_None_Match=last, Prefer="wait=1")[0] == 304


@pytest.mark.parametrize(("error", "status"), [(ListenerError("away"), 503), (ValueError(), 500)])
def test_the_page_goes_on_after_a_time_in_which_no_state_could_be_had(
    here: Stand, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    tag = get(here, "page/state")[2]["ETag"]
    queue, given = here.listener.queue, [0]
    version = queue.version

    def failing() -> str:
        given[0] += 1
        if given[0] > 1:  # not in the request itself, but while it waits
            raise error
        return version()

    monkeypatch.setattr(queue, "version", failing)
    assert get(here, "page/state", If_None_Match=tag, Prefer="wait=8")[0] == status
    monkeypatch.undo()
    assert get(here, "page/state", If_None_Match=tag, Prefer="wait=1")[0] == 304
    assert ("could not be put together" in here.log.text()) == (status == 500)


def test_the_state_is_put_together_once_for_all_who_look(
    here: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, looks = here.listener.queue, list[int]()
    overview = queue.overview
    monkeypatch.setattr(queue, "overview", lambda: looks.append(1) or overview())
    monkeypatch.setattr(queue, "version", lambda: "another")
    for _ in range(5):
        assert get(here, "page/state", Accept_Encoding="gzip")[0] == 200
    assert len(looks) == 1


def test_what_was_there_before_the_journal_is_live_since_it_came_there(here: Stand) -> None:
    queue = here.listener.queue
    queue.set_live(here.destination, [], list(queue.live(here.destination, None)))
    begun = time.time()
    queue.request_full_sync("a new journal", 0.0)
    for worker in here.listener.workers:
        worker.wake()
    found = until(lambda: queue.live(here.destination, None))
    assert len(found) > 3
    assert all(0 < one.since < begun for one in found.values())


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_get_nothing_but_the_page_itself(here: Stand, site: str) -> None:
    for path in ("page/state", "page/components", "page/history", "page/source", "status"):
        assert get(here, path, of(here), Sec_Fetch_Site=site)[0] == 403
    assert get(here, "", Sec_Fetch_Site=site)[0] == 200
    assert get(here, "page/document", of(here), Sec_Fetch_Dest="document")[0] == 403
    assert get(here, "page/document", of(here), Sec_Fetch_Dest="iframe")[0] == 200


def embedded(html: str) -> Any:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert match is not None
    return json.loads(match[1])


def test_a_file_holds_each_content_once(here: Stand, run: Run) -> None:
    file = here.place.root / "live.html"
    assert run("status", here.destination, "--html", file).code == 0
    data = embedded(file.read_text("utf-8"))
    (place,) = data["places"].values()
    assert [one["id"] for one in place["items"]] == ["banner", "card"]
    contents = sorted(data["html"].values())
    assert contents == sorted({*contents})
    assert card("Classic card") in contents
    assert data["state"]["writtenBy"] == "myop-cdn status"


def test_a_file_that_can_t_be_written_is_named(here: Stand, run: Run) -> None:
    ended = run("status", here.destination, "--html", "/proc/none/live.html")
    assert ended.code == 1
    assert "/proc/none/live.html" in ended.err


def test_a_file_holds_no_more_than_it_may(here: Stand) -> None:
    from contextlib import closing

    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.target import open_targets
    from myop_cdn.model import DocumentRef

    contents = Contents(2, most=len(card("Classic card")) + 10)
    refs = [DocumentRef("card", "production"), DocumentRef("card", "staging")]
    with closing(open_targets([here.destination], DeployOptions())[0]) as target:
        contents.add(target, [(one.path, one, "") for one in refs])
    assert len(contents.html) == 1


def test_a_file_that_is_full_costs_no_look_at_every_document(
    here: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import closing

    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.target import open_targets
    from myop_cdn.model import DocumentRef
    from myop_cdn.page import render

    shown: list[bytes] = []
    html_of = render.html_of
    monkeypatch.setattr(render, "html_of", lambda body: (shown.append(body), html_of(body))[1])
    ref = DocumentRef("card", "production")
    contents = Contents(1, most=10)
    with closing(open_targets([here.destination], DeployOptions())[0]) as target:
        contents.add(target, [(str(number), ref, "") for number in range(1000)])
    assert len(contents.html) == 0
    assert len(shown) < 100
