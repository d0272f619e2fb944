"""What can be done on the page, and by whom."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.listener.admin.desk import DeskLimits
from myop_cdn.listener.admin.session import COOKIE, Sessions, TooManyGuesses
from myop_cdn.listener.child import Child
from tests.listener.rig import PATIENCE, until
from tests.page.stand import Hanging
from tests.page.test_page import card, few

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.page.conftest import Visit
    from tests.page.stand import Stand

TOKEN = "a-token-of-more-than-16-bytes"
HTML_FORM = "application/x-www-form-urlencoded"


def guarded() -> dict[str, Any]:
    return {"sessions": Sessions(lambda: (b"an-older-token-of-16-bytes", TOKEN.encode()))}


class Client:
    """Asks as a program does, with any headers."""

    def __init__(self, stand: Stand) -> None:
        self.url = stand.url
        self.origin = {"Origin": stand.url.rstrip("/")}

    def post(self, path: str, value: object, **headers: str) -> tuple[int, Any, dict[str, str]]:
        given = {"Content-Type": "application/json"}
        given |= {name.replace("_", "-"): one for name, one in headers.items()}
        asked = urllib.request.Request(
            f"{self.url}page/{path}", json.dumps(value).encode(), given, method="POST"
        )
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), dict(error.headers)

    def signed_in(self) -> dict[str, str]:
        """The headers of somebody who has logged in."""
        status, answer, headers = self.post("login", {"token": TOKEN}, **self.origin)
        assert status == 200
        cookie = headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
        return {"Cookie": cookie.split(";")[0], "X_Myop_Cdn_Key": answer["key"], **self.origin}


RETRY = {"action": "full", "preview": False}


def dues(stand: Stand) -> int:
    return sum(run.reason == "asked for on the page" for run in stand.listener.queue.runs(50))


def test_without_a_token_nothing_can_be_done_and_the_page_says_so(
    stand: Callable[..., Stand], visit: Callable[..., Visit]
) -> None:
    here = stand(few)
    page = visit(f"{here.url}#/activity").page
    page.locator(".deliveries, .empty").first.wait_for()
    assert "without --admin-token-file" in page.locator("footer").inner_text()
    assert page.locator("[data-act]").count() == 0
    status, answer, _ = Client(here).post("action", RETRY, Authorization=f"Bearer {TOKEN}")
    assert (status, "read-only" in answer["error"]) == (403, True)
    assert dues(here) == 0


def test_a_bearer_token_is_enough_for_a_program(stand: Callable[..., Stand]) -> None:
    here = stand(few, **guarded())
    client = Client(here)
    assert client.post("action", RETRY)[0] == 401
    assert client.post("action", RETRY, Authorization="Bearer wrong")[0] == 401
    right = {"Authorization": f"Bearer {TOKEN}"}
    status, answer, _ = client.post("action", {"action": "full"}, **right)
    assert (status, answer["outcome"]["title"]) == (200, "A full sync will be due")
    assert dues(here) == 0
    assert client.post("action", RETRY, **right)[0] == 200
    until(lambda: dues(here) == 1)


def test_a_session_acts_only_with_its_key_and_from_its_own_page(
    stand: Callable[..., Stand],
) -> None:
    here = stand(few, **guarded())
    client = Client(here)
    mine = client.signed_in()
    refused = [
        {**mine, "X_Myop_Cdn_Key": "guessed"},
        {name: value for name, value in mine.items() if name != "X_Myop_Cdn_Key"},
        {name: value for name, value in mine.items() if name != "Origin"},
        {**mine, "Cookie": f"{COOKIE}=guessed"},
        {**mine, "Origin": "http://127.0.0.1:1"},
        {**mine, "Origin": "http://127.0.0.1"},
        {**mine, "Origin": "null"},
        {**mine, "Sec_Fetch_Site": "same-site"},
        {**mine, "Sec_Fetch_Site": "cross-site"},
        {**mine, "Content_Type": HTML_FORM},
        {**mine, "Content_Type": "text/plain"},
        {**mine, "Host": "rebound.example"},
    ]
    for headers in refused:
        status = client.post("action", RETRY, **headers)[0]
        assert status in (401, 403, 415, 421), headers
    assert dues(here) == 0
    assert client.post("action", RETRY, **mine, Sec_Fetch_Site="same-origin")[0] == 200
    client.post("logout", {}, **mine)
    assert client.post("action", RETRY, **mine)[0] == 401


def test_a_session_ends_with_its_token() -> None:
    tokens = [TOKEN.encode()]
    sessions = Sessions(lambda: tuple(tokens))
    found = sessions.login(TOKEN.encode(), "here:1")
    assert found is not None
    tokens[0] = b"another-token-of-16-bytes"
    assert not sessions.may_act(_request(found.id, found.key), "here:1")


def test_a_session_ends_after_its_time() -> None:
    now = [0.0]
    sessions = Sessions(lambda: (TOKEN.encode(),), lambda: now[0])
    found = sessions.login(TOKEN.encode(), "here:1")
    assert found is not None
    assert sessions.may_act(_request(found.id, found.key), "here:1")
    now[0] = 13 * 3600.0
    assert not sessions.may_act(_request(found.id, found.key), "here:1")


def _request(session: str, key: str) -> Any:
    from myop_cdn.listener.http.request import HeadLimits, take_head

    head = (
        "POST /page/action HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n"
        f"Cookie: {COOKIE}={session}\r\nX-Myop-Cdn-Key: {key}\r\n\r\n"
    )
    return take_head(bytearray(head.encode()), HeadLimits())


def test_guessing_is_slowed_down_for_whoever_guesses(stand: Callable[..., Stand]) -> None:
    here = stand(few, **guarded())
    client = Client(here)
    statuses = [client.post("login", {"token": f"guess {n}"}, **client.origin)[0] for n in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    # Nor is a right guess told from a wrong one then.
    assert client.post("login", {"token": TOKEN}, **client.origin)[0] == 429
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post("action", {"action": "full"}, **bearer)[0] == 429


def test_who_has_guessed_too_often_may_try_again_later_and_others_at_once() -> None:
    now = [0.0]
    sessions = Sessions(lambda: (TOKEN.encode(),), lambda: now[0])
    mine = sessions.login(TOKEN.encode(), "192.0.2.7:1")
    assert mine is not None
    for number in range(5):
        # One network's addresses are as good as one: a customer has them all.
        assert sessions.login(b"a guess", f"[2001:db8::{number}]:{number}") is None
        assert sessions.login(b"a guess", f"192.0.2.7:{number}") is None
    for peer in ("[2001:db8::ffff]:1", "192.0.2.7:9"):
        with pytest.raises(TooManyGuesses):
            sessions.login(TOKEN.encode(), peer)
    assert sessions.login(TOKEN.encode(), "192.0.2.8:1") is not None
    assert sessions.may_act(_request(mine.id, mine.key), "192.0.2.7:1")
    now[0] = 11.0
    assert sessions.login(TOKEN.encode(), "192.0.2.7:1") is not None


@pytest.mark.parametrize("body", [[], "x", {"action": "x"}, {"action": "rollback", "to": 5}])
def test_what_can_not_be_meant_is_refused(stand: Callable[..., Stand], body: object) -> None:
    here = stand(few, **guarded())
    status, answer, _ = Client(here).post("action", body, Authorization=f"Bearer {TOKEN}")
    assert status == 400
    assert answer["error"]


def test_a_document_is_rolled_back_and_resumed_after_a_preview(
    stand: Callable[..., Stand], visit: Callable[..., Visit], screenshots: Path
) -> None:
    here = stand(few, **guarded())
    here.release(here.put("card", "production", card("Aurora card"), "Aurora"))
    visitor = visit(f"{here.url}#/component/card?environment=production")
    page = visitor.page
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("The token").fill("wrong")
    page.get_by_role("button", name="Sign in").last.click()
    page.get_by_text("that is not the token").wait_for()
    page.get_by_label("The token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").last.click()
    page.get_by_role("button", name="Sign out").wait_for()
    page.get_by_role("button", name="Roll back to this").click()
    page.get_by_text("1 would be put back, 0 would be removed").wait_for()
    page.screenshot(path=screenshots / "preview.png")
    assert "Aurora" in (here.place.cdn / "components/card/production.json").read_text("utf-8")
    page.get_by_role("button", name="Roll back", exact=True).click()
    page.get_by_text("1 put back, 0 removed").wait_for()
    page.get_by_role("button", name="Close").click()
    assert "Classic" in (here.place.cdn / "components/card/production.json").read_text("utf-8")
    page.get_by_text("Held back since a rollback").wait_for()
    live = here.listener.queue.live(here.destination, None)
    assert {one.variant_name for ref, one in live.items() if ref.environment == "production"} == {
        "Classic", "Calm",
    }  # fmt: skip
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("1 would be held back no longer").wait_for()
    page.get_by_role("button", name="Resume", exact=True).last.click()
    page.get_by_text("1 held back no longer").wait_for()
    page.reload()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").wait_for()
    assert page.get_by_role("button", name="Roll back to this").count() == 0
    assert visitor.errors == []


@pytest.mark.parametrize("preview", [True, False])
def test_an_action_that_is_cut_off_says_so_and_is_not_done_again(
    stand: Callable[..., Stand], preview: bool
) -> None:
    here = stand(few, **guarded(), acting=Child(Hanging(), DeskLimits(act=0.5).of).do)
    client, mine = Client(here), {"Authorization": f"Bearer {TOKEN}"}
    asked = {"action": "rollback", "destination": here.destination, "to": "1", "preview": preview}
    job = client.post("action", asked, **mine)[1]["job"]

    def outcome() -> Any:
        url = f"{here.url}page/job?job={job}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=mine)) as answer:
            return json.load(answer)["outcome"]

    found = until(outcome)
    assert "it was cut off: it took too long" in found["error"]
    assert "tried again" not in found["error"]
    assert ("a part of it may be done" in found["error"]) is not preview
    assert ("nothing was changed" in found["error"]) is preview


def test_a_delivery_is_done_again_or_forgotten(
    stand: Callable[..., Stand], visit: Callable[..., Visit]
) -> None:
    here = stand(few, **guarded())
    delivery = here.release(here.put("card", "production", card("Aurora card"), "Aurora"))
    page = visit(f"{here.url}#/activity").page
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("The token").fill(TOKEN)
    page.keyboard.press("Enter")
    row = page.locator(f"#delivery-{delivery}")
    row.get_by_role("button", name="Retry").click()
    page.get_by_text("It will be done again").wait_for()
    assert "Pricing Card in production: Aurora" in page.locator("dialog").inner_text()
    page.locator("dialog").get_by_role("button", name="Retry").click()
    page.get_by_text("It waits to be done again").wait_for()
    page.get_by_role("button", name="Close").click()
    until(lambda: here.listener.queue.deliveries(1)[0].attempts == 2)
    row.get_by_role("button", name="Forget").click()
    page.get_by_text("It will be forgotten").wait_for()
    page.locator("dialog").get_by_role("button", name="Forget").click()
    page.get_by_text("It is forgotten").wait_for()
    assert here.listener.queue.deliveries(1) == []
    row.wait_for(state="detached")


def test_another_sites_page_can_not_act_even_while_somebody_is_signed_in(
    stand: Callable[..., Stand], visit: Callable[..., Visit]
) -> None:
    here = stand(few, **guarded())
    page = visit(f"{here.url}#/activity").page
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("The token").fill(TOKEN)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()
    other = page.context.new_page()
    # Of the same host, so that the cookie is sent along, and of another port.
    elsewhere = "http://127.0.0.1:1/"
    other.route(elsewhere, lambda route: route.fulfill(body="<p>other", content_type="text/html"))
    other.goto(elsewhere)
    other.evaluate(
        """async (url) => {
          const body = JSON.stringify({action: "full", preview: false});
          for (const type of ["application/json", "text/plain"]) {
            for (const mode of ["cors", "no-cors"]) {
              await fetch(url + "page/action", {method: "POST", body, mode, credentials: "include",
                headers: {"Content-Type": type}}).catch(() => {});
            }
          }
          const form = document.createElement("form");
          form.action = url + "page/action";
          form.method = "post";
          document.body.append(form);
          form.submit();
        }""",
        here.url,
    )
    other.wait_for_timeout(500)
    assert dues(here) == 0
