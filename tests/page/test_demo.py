"""The demo in a browser: while releases arrive, and what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.demo.components import PRICING
from myop_cdn.demo.live import LiveDemo
from myop_cdn.demo.place import fresh
from myop_cdn.demo.run import Demo
from tests.listener.rig import Lines
from tests.page.test_page import there

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.page.conftest import Visit


def test_a_release_changes_the_card_while_somebody_looks(
    visit: Callable[..., Visit], tmp_path: Path, screenshots: Path
) -> None:
    with LiveDemo(fresh(tmp_path), Lines()) as live:
        page = visit(live.url).page
        cell = page.locator(f"[data-key='{PRICING.id}/production']")
        cell.get_by_text("Classic").wait_for()
        there(page, ".cell iframe:not(.coming)", 12)
        assert live.release().component is PRICING
        cell.get_by_text("Aurora").wait_for()
        frame = page.frame_locator(f"[data-key='{PRICING.id}/production'] iframe:last-child")
        frame.get_by_text("two months free").wait_for()
        page.screenshot(path=screenshots / "demo.png")


def test_the_page_that_the_demo_leaves_shows_before_and_after(
    visit: Callable[..., Visit], tmp_path: Path
) -> None:
    demo = Demo(fresh(tmp_path), Lines())
    list(demo.tell())
    visitor = visit(f"{demo.place.page.as_uri()}#/component/{PRICING.id}?environment=production")
    page = visitor.page
    there(page, ".sides iframe:not(.coming)", 2)
    # Its own documents are trusted, so their scripts run: the price is written by one.
    texts = [one.locator("#price").inner_text() for one in page.frames[1:]]
    assert sorted(texts) == ["€10", "€12"]
    assert visitor.errors == []
