"""The page for everybody: axe-core's rules, and the keyboard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.page.test_actions import TOKEN, guarded
from tests.page.test_page import card, few

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.page.conftest import Visit
    from tests.page.stand import Stand


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core."""
    given = os.environ.get("TEST_AXE")
    if not given:
        pytest.skip("TEST_AXE names no axe.min.js (npm install axe-core)")
    return Path(given).read_text("utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(
    stand: Callable[..., Stand], visit: Callable[..., Visit], axe: str, scheme: str, width: int
) -> None:
    here = stand(few, **guarded())
    here.release(here.put("card", "production", card("Aurora card"), "Aurora"))
    options: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    page = visit(here.url, **options).page
    found = []
    for address in ("", "#/?environment=production", "#/activity", "#/component/card"):
        page.goto(f"{here.url}{address}")
        page.wait_for_selector("main :is(.cell, .deliveries, .versions)")
        page.wait_for_timeout(500)
        if address == "#/activity":
            page.get_by_role("button", name="Sign in").click()
            page.get_by_label("The token").fill(TOKEN)
            page.keyboard.press("Enter")
            page.get_by_role("button", name="Roll back").click()
        page.evaluate(axe)
        report = page.evaluate("axe.run({iframes: false, resultTypes: ['violations']})")
        found += [
            (address, one["id"], one["impact"], [node["html"][:120] for node in one["nodes"][:3]])
            for one in report["violations"]
            if one["impact"] in ("serious", "critical", "moderate")
        ]
        if page.locator("dialog[open]").count():
            page.keyboard.press("Escape")
    assert found == []


def test_all_of_it_can_be_reached_by_keyboard(
    stand: Callable[..., Stand], visit: Callable[..., Visit]
) -> None:
    here = stand(few)
    page = visit(here.url).page
    page.wait_for_selector(".cell iframe:not(.coming)")
    seen = []
    for _ in range(20):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("document.activeElement.name || document.activeElement.innerText")
        )
    assert seen[0] == "Skip to the content"
    assert {"Live", "Activity", "search", "environment", "Banner", "Pricing Card"} <= set(seen)
    card_cell = page.locator("[data-key='card/production']")
    card_cell.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".versions")
    assert page.evaluate("document.activeElement.id") == "main"
