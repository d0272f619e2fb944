"""The page in a real browser: what it shows, and that it changes by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from myop_cdn.errors import ListenerError
from myop_cdn.listener.admin.handler import Admin
from myop_cdn.listener.http.sockets import Address, listen
from myop_cdn.listener.queue.base import LiveDocument
from myop_cdn.listener.queue.journal import writing
from myop_cdn.model import DocumentRef
from tests.listener.conftest import make_rig
from tests.listener.rig import FakePublisher, failing, raising, until, webhook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.conftest import Run
    from tests.listener.rig import Rig
    from tests.page.conftest import Visit
    from tests.page.stand import Stand

__all__ = ["make_rig"]  # the fixture

NASTY = "<img src=x onerror=\"document.title='owned'\"> & 'co' </script><script>alert(1)</script>"


def card(text: str) -> str:
    return f"<!DOCTYPE html><body style='font:20px sans-serif'><h1>{text}</h1><p>Text of a card"


def few(stand: Stand) -> None:
    stand.put("card", "production", card("Classic card"), "Classic", name="Pricing Card")
    stand.put("card", "staging", card("Aurora card"), "Aurora")
    stand.put("banner", "production", card("A banner"), "Calm")


def shown(visitor: Visit, selector: str = ".cell iframe:not(.coming)") -> None:
    visitor.page.wait_for_selector(selector)


def there(page: Page, selector: str, number: int) -> None:
    """Wait until so many are there: without eval, which the page's policy forbids."""
    until(lambda: page.locator(selector).count() == number, selector)


def frames(visitor: Visit) -> list[str]:
    """What the frames that are there show."""
    return [one.locator("h1").inner_text() for one in visitor.page.frames[1:]]


def test_components_and_environments_are_shown_with_what_is_published(
    stand: Callable[..., Stand], visit: Callable[..., Visit], screenshots: Path
) -> None:
    here = stand(few)
    visitor = visit(here.url)
    page = visitor.page
    there(page, ".cell iframe:not(.coming)", 5)
    assert page.locator("thead th").all_inner_texts() == [
        "Component", "production", "staging", "preview",
    ]  # fmt: skip
    assert page.locator("tbody th a").all_inner_texts() == ["Banner", "Pricing Card"]
    row = page.locator("tr[data-key=card]")
    assert row.locator(".what b").all_inner_texts() == [
        "Pricing Card in production:\nClassic",  # the first line for who does not see the table
        "Pricing Card in staging:\nAurora",
        "Pricing Card in preview:\nAurora",
    ]
    assert row.locator("time").first.get_attribute("datetime")
    assert sorted(frames(visitor))[:2] == ["A banner", "A banner"]
    assert "not released" in page.locator("tr[data-key=banner]").inner_text()
    assert "Read-only" in page.locator("footer").inner_text()
    assert visitor.errors == []
    page.screenshot(path=screenshots / "live.png")


def test_a_release_changes_the_card_of_a_page_that_is_open_and_shifts_nothing(
    stand: Callable[..., Stand], visit: Callable[..., Visit]
) -> None:
    here = stand(few)
    visitor = visit(here.url)
    shown(visitor)
    page = visitor.page
    page.evaluate(
        "window.shift = 0; new PerformanceObserver((list) => list.getEntries().forEach("
        "(one) => { window.shift += one.value; })).observe({type: 'layout-shift'})"
    )
    for number in range(3):
        variant = f"Aurora {number}"
        release = here.put("card", "production", card(f"{variant} card"), variant)
        here.release(release)
        cell = page.locator(f"[data-key='card/production']:has-text('{variant}')")
        cell.wait_for()
        frame = page.frame_locator("[data-key='card/production'] iframe:last-child")
        frame.get_by_text(f"{variant} card").wait_for()
        there(page, "[data-key='card/production'] iframe", 1)
    assert page.evaluate("window.shift") == 0
    said = page.locator("#said").inner_text()
    assert said == "Pricing Card in production shows Aurora 2 now."


def test_activity_shows_deliveries_runs_and_what_the_destination_lacks(
    stand: Callable[..., Stand], visit: Callable[..., Visit], screenshots: Path
) -> None:
    here = stand(few)
    delivery = here.release(here.put("card", "production", card("Aurora card"), "Aurora"))
    visitor = visit(f"{here.url}#/activity")
    page = visitor.page
    row = page.locator(f"#delivery-{delivery}")
    row.wait_for()
    assert "Pricing Card in production → Aurora" in row.inner_text()
    assert "done" in row.inner_text()
    assert page.locator("svg.plot g.run").count() == 2
    label = page.locator("svg.plot").get_attribute("aria-label")
    assert label is not None
    assert label.startswith("2 runs, 0 failed")
    page.get_by_text("As a table").click()
    assert page.locator("table.list tbody tr").count() == 2
    page.screenshot(path=screenshots / "activity.png", full_page=True)
    assert visitor.errors == []


def test_a_component_shows_its_versions_before_and_after_and_the_difference(
    stand: Callable[..., Stand], visit: Callable[..., Visit], screenshots: Path
) -> None:
    here = stand(few)
    delivery = here.release(here.put("card", "production", card("Aurora card"), "Aurora"))
    visitor = visit(here.url)
    page = visitor.page
    page.locator("[data-key='card/production']").click()
    there(page, ".sides iframe:not(.coming)", 2)
    assert sorted(frames(visitor)) == ["Aurora card", "Classic card"]
    assert page.locator("figcaption b").all_inner_texts() == ["Classic", "Aurora"]
    page.locator(".diff pre").wait_for()
    added = page.locator(".diff .added").inner_text()
    removed = page.locator(".diff .removed").inner_text()
    assert "Aurora card" in added
    assert "Classic card" in removed
    versions = page.locator(".versions li").all_inner_texts()
    assert len(versions) == 2
    assert f"serve incremental · delivery {delivery}" in versions[0]
    assert "serve full" in versions[1]
    page.screenshot(path=screenshots / "component.png", full_page=True)
    assert visitor.errors == []


def many(stand: Stand, components: int, environments: int) -> None:
    """Beyond what was published: what a journal of a large organization holds."""
    documents = [
        LiveDocument(
            DocumentRef(f"component-{n:05}", f"env-{e}"), f"Component {n}", f"v{n}", f"V {n}", 1e9
        )
        for n in range(components)
        for e in range(environments)
    ]
    stand.listener.queue.set_live(stand.destination, documents, [])


def test_searching_filtering_and_paging_are_the_servers(
    stand: Callable[..., Stand], visit: Callable[..., Visit]
) -> None:
    here = stand(few)
    many(here, 60, 2)
    visitor = visit(here.url)
    page = visitor.page
    page.get_by_text("1\u201324 of 62 components").wait_for()
    page.get_by_text("Next →").click()
    page.get_by_text("25\u201348 of 62 components").wait_for()
    page.get_by_role("searchbox").fill("COMPONENT 59")
    page.get_by_text("1 of 62 components").wait_for()
    assert page.locator("tbody th a").all_inner_texts() == ["Component 59"]
    page.get_by_role("searchbox").fill("%")
    page.locator(".empty").wait_for()
    page.get_by_role("searchbox").fill("")
    page.get_by_role("combobox").select_option("staging")
    page.locator(".gallery").wait_for()
    (only,) = page.locator(".gallery .what b").all_inner_texts()
    assert only == "Pricing Card in staging:\nAurora"
    page.reload()  # the address holds it all
    page.locator(".gallery").wait_for()
    assert "environment=staging" in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_has_all_of_it_in_its_width(
    stand: Callable[..., Stand], visit: Callable[..., Visit], screenshots: Path, scheme: str
) -> None:
    here = stand(few)
    here.release(here.put("card", "production", card("Aurora card"), "Aurora"))
    options: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": 390, "height": 844}}
    page = visit(here.url, **options).page
    for name, address in {"live": "", "activity": "#/activity", "card": "#/component/card"}.items():
        page.goto(f"{here.url}{address}")
        page.wait_for_selector("main :is(.cell, .deliveries, .versions)")
        page.wait_for_timeout(400)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.screenshot(path=screenshots / f"phone-{name}-{scheme}.png", full_page=True)


def test_names_with_html_in_them_are_text(
    stand: Callable[..., Stand], visit: Callable[..., Visit]
) -> None:
    def fill(made: Stand) -> None:
        made.put("card", "production", card("<b>one</b></script>"), NASTY, name=NASTY)

    here = stand(fill)
    here.release(here.put("card", "production", card("two</script><script>1"), f"2{NASTY}"))
    visitor = visit(here.url)
    page = visitor.page
    for address in ("", "#/activity", "#/component/card?environment=production"):
        page.goto(f"{here.url}{address}")
        page.get_by_text(NASTY).first.wait_for()
        page.wait_for_timeout(200)
        assert page.locator("main img, main script").count() == 0
        assert "owned" not in page.title()
    assert visitor.errors == []


def test_names_that_every_object_has_are_names_like_others(
    stand: Callable[..., Stand], visit: Callable[..., Visit], run: Run
) -> None:
    def fill(made: Stand) -> None:
        few(made)
        made.put("constructor", "toString", card("Odd"), "Odd", name="Constructor")
        made.put("__proto__", "__proto__", card("Odder"), "Odder", name="Proto")

    here = stand(fill)
    file = here.place.root / "live.html"
    assert run("status", here.destination, "--html", file).code == 0
    for address in (here.url, file.as_uri()):
        visitor = visit(address)
        page = visitor.page
        page.locator("tr[data-key=constructor]").wait_for()
        assert page.locator("tr[data-key=card] .cell.none").count() == 2
        for component, environment in (("constructor", "toString"), ("__proto__", "__proto__")):
            page.goto(f"{address}#/component/{component}")
            tab = page.locator(".tabs a").filter(has_text=environment)
            assert "Odd" in tab.inner_text()
            tab.click()
            page.locator(".versions li").wait_for()
        assert visitor.errors == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_plots_words_can_be_read_at_any_width(
    stand: Callable[..., Stand], visit: Callable[..., Visit], screenshots: Path, width: int
) -> None:
    here = stand(few)
    variants = [f"V{number}" for number in range(3)]
    for variant in variants:
        here.release(here.put("card", "production", card(variant), variant))
    page = visit(f"{here.url}#/activity", viewport={"width": 800, "height": 900}).page
    page.locator("svg.plot g.run").last.wait_for()
    page.set_viewport_size({"width": width, "height": 900})
    plot = page.locator("svg.plot")
    until(lambda: abs(_scale(page) - 1) < 0.1, "the plot is drawn anew")
    assert page.locator("svg.plot g.run").count() == 1 + len(variants)
    whole = plot.bounding_box()
    assert whole is not None
    words = page.locator("svg.plot text").all()
    boxes = [one.bounding_box() for one in words]
    for box in boxes:
        assert box is not None
        assert box["x"] >= whole["x"]
        assert box["x"] + box["width"] <= whole["x"] + whole["width"] + 1
        assert box["height"] >= 11
    plot.screenshot(path=screenshots / f"plot-{width}.png")


def _scale(page: Page) -> float:
    """How large a unit of the plot is on the screen."""
    plot = page.locator("svg.plot")
    box, view = plot.bounding_box(), plot.get_attribute("viewBox")
    return box["width"] / float(view.split()[2]) if box and view else 0.0


def test_the_page_asks_nobody_but_its_own_listener(
    stand: Callable[..., Stand], visit: Callable[..., Visit]
) -> None:
    here = stand(few)
    visitor = visit(here.url)
    for address in ("", "#/activity", "#/component/card"):
        visitor.page.goto(f"{here.url}{address}")
        visitor.page.wait_for_load_state("load")
        visitor.page.wait_for_timeout(300)
    assert {url for url in visitor.requests if not url.startswith(here.url)} <= {"data:,"}
    assert all("?" in url or url.count("/") == 4 or url == here.url for url in visitor.requests)


def test_the_page_works_below_a_proxys_sub_path(
    stand: Callable[..., Stand], visit: Callable[..., Visit], browser: Any
) -> None:
    """Every address in it is relative to its own."""
    here = stand(few)
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []

    def passed(route: Any) -> None:
        path = route.request.url.split("/ops/myop/", 1)
        asked.append(route.request.url)
        if len(path) < 2:
            route.abort()
            return
        route.fulfill(response=route.fetch(url=here.url + path[1]))

    page.route("**/*", passed)
    page.goto("http://ops.localhost/ops/myop/")
    page.wait_for_selector(".cell iframe:not(.coming)")
    assert all("/ops/myop/" in url for url in asked)
    page.unroute_all(behavior="ignoreErrors")
    context.close()


def test_what_fails_is_shown_with_why_and_with_the_line_that_mends_it(
    make_rig: Callable[..., Rig], visit: Callable[..., Visit], screenshots: Path
) -> None:
    rig = make_rig()
    down = FakePublisher()
    down.answers = [raising(ListenerError("connection refused"))] * 50
    rig.publishers["gs://down"] = down
    rig.publisher.answers = [failing("card/production")] * 50
    rig.start()
    delivery = rig.post(webhook("card/production", "banner/qa")).json["delivery"]
    until(lambda: rig.listener.queue.state("s3://b", None).retries)
    until(lambda: rig.listener.queue.overview().lanes[1].agenda.outage)
    with writing(rig.journal) as connection:
        connection.execute("UPDATE retry SET given_up = 1, attempts = 11, due = due + 900")
    found = listen(Address("127.0.0.1", 0))
    admin = Admin(rig.listener, found, rig.log)
    admin.start()
    url = f"http://127.0.0.1:{found[0].getsockname()[1]}/"
    try:
        page = visit(f"{url}#/activity").page
        page.locator(".panel.bad").wait_for()
        lost = page.locator(".panel.bad").inner_text()
        assert "card in production" in lost
        mend = """myop-cdn publish s3://b --releases '[{"componentId":"card","""
        assert mend in lost
        places = page.locator("article").all_inner_texts()
        assert "failing" in places[1]
        assert "connection refused" in places[1]
        assert "next attempt" in places[1]
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        last = page.locator(f"#delivery-{delivery}").inner_text()
        assert "gs://down: connection refused" in last
        assert "components/card/production.json: 404" in last
        assert "Given up\n1 document" in page.locator(".tiles").inner_text()
        page.screenshot(path=screenshots / "failing.png", full_page=True)
        page.goto(url)
        page.get_by_text("given up").first.wait_for(state="attached")
    finally:
        admin.stop()


def test_an_open_components_page_follows_its_releases(
    stand: Callable[..., Stand], visit: Callable[..., Visit]
) -> None:
    here = stand(few)
    page = visit(f"{here.url}#/component/card?environment=production").page
    page.locator(".versions li").first.wait_for()
    here.release(here.put("card", "production", card("Aurora card"), "Aurora"))
    there(page, ".versions li", 2)
    assert page.locator("figcaption b").all_inner_texts() == ["Classic", "Aurora"]
